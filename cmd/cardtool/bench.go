package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/script"
)

type spreadJSON struct {
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

type benchJSON struct {
	Reader      string     `json:"reader"`
	ATR         string     `json:"atr"`
	Protocol    string     `json:"protocol"`
	PowerUps    int        `json:"power_ups"`
	PowerUp     spreadJSON `json:"power_up_ms"`
	Exchanges   int        `json:"exchanges"`
	Exchange    spreadJSON `json:"exchange_ms"`
	PerSecond   float64    `json:"per_second"`
	GetResponse int        `json:"get_response"` // 61xx fetched
	WrongLength int        `json:"wrong_length"` // 6Cxx repeated
	Retries     int        `json:"retries"`      // failed exchanges after which the card was opened again
	Error       *fault     `json:"error,omitempty"`
}

// benchRetries is after how many failures of a slot its measurement ends.
const benchRetries = 20

func newBenchCommand(t *tool) *cobra.Command {
	var count, powerUps int
	var command string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast and how surely each slot answers",
		Long: "Measures, in each reader with a card or in the one of --reader: how long the card\n" +
			"takes from power to its answer to reset, which is what passes when it is put in;\n" +
			"how many exchanges go in a second (SELECT of the MF, which changes nothing, or\n" +
			"what --command says); and how often an exchange failed and the card had to be\n" +
			"opened again. A good contact has no retries: clean a slot that has, and the card.",
		Example: "  cardtool bench --reader sim:card --count 50\n" +
			"  cardtool bench --reader sim:t0 --count 20 --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := harmless(command)
			if err != nil {
				return err
			}
			if count < 1 || powerUps < 1 {
				return fmt.Errorf("%w: --count and --power-ups are 1 at least", cli.ErrUsage)
			}
			slots, err := t.benchSlots(cmd.Context())
			if err != nil {
				return err
			}
			out := []benchJSON{}
			var worst []error
			for _, s := range slots {
				r, err := t.bench(cmd.Context(), s, b, count, powerUps)
				if err != nil {
					worst = append(worst, err)
					r.Error = faultOf(err)
				}
				out = append(out, r)
			}
			if t.json {
				return errors.Join(t.emit(cmd, out), t.silent(errors.Join(worst...)))
			}
			if err := t.showBench(cmd, out); err != nil {
				return err
			}
			return errors.Join(worst...)
		},
	}
	f := cmd.Flags()
	f.IntVar(&count, "count", 200, "how many exchanges in each slot")
	f.IntVar(&powerUps, "power-ups", 10, "how many times power is taken and given")
	f.StringVar(&command, "command", "00A40000023F00", "the command, in hex; one that changes nothing")
	return cmd
}

// harmless reads a command that may be sent again and again. It fails with
// cli.ErrUsage for one that costs something.
func harmless(text string) ([]byte, error) {
	a, err := script.ParseAPDU(text)
	if err != nil {
		return nil, fmt.Errorf("--command: %w", err)
	}
	if r := explain.RiskOf(a.Bytes); r != explain.RiskNone {
		return nil, fmt.Errorf("%w: --command: %s %s", cli.ErrUsage, explain.Name(a.Bytes), r)
	}
	return a.Bytes, nil
}

// benchSlots are the slots to measure.
func (t *tool) benchSlots(ctx context.Context) ([]reader.Slot, error) {
	if t.chosen() {
		s, err := t.slot(ctx)
		return []reader.Slot{s}, err
	}
	names, err := t.names(ctx)
	if err != nil {
		return nil, err
	}
	var slots []reader.Slot
	for _, n := range names {
		if t.state(ctx, n).State != reader.StateCard {
			continue
		}
		s, err := t.pcscSlot(strings.TrimPrefix(n, "pcsc:"))
		if err != nil {
			return nil, err
		}
		slots = append(slots, s)
	}
	if len(slots) == 0 {
		return nil, &reader.Error{Slot: "pcsc:", Op: "open", Kind: reader.ErrNoCard, Hint: "put a card into the slot that is to be measured"}
	}
	return slots, nil
}

// bench measures one slot.
func (t *tool) bench(ctx context.Context, slot reader.Slot, command []byte, count, powerUps int) (r benchJSON, err error) {
	r = benchJSON{Reader: slot.Name()}
	if err := awaitCard(ctx, slot, t.wait); err != nil {
		return r, err
	}
	l := &line{slot: slot}
	var up, took []time.Duration
	defer func() {
		r.PowerUp, r.Exchange = spread(up), spread(took)
		if l.card != nil {
			l.card.Close()
		}
	}()
	open := func() error {
		began := time.Now()
		if err := l.open(ctx); err != nil {
			return err
		}
		up = append(up, time.Since(began))
		return nil
	}
	for range powerUps {
		if l.card != nil {
			l.card.Close() // takes the power away
		}
		if err := open(); err != nil {
			return r, err
		}
		r.PowerUps++
	}
	r.ATR, r.Protocol = fmt.Sprintf("%X", l.ATR()), fmt.Sprintf("T=%d", l.card.Protocol())
	bare := transmitFunc(func(ctx context.Context, c []byte) ([]byte, error) {
		b, err := l.bare.Transmit(ctx, c)
		if len(b) == 2 && b[0] == 0x6C {
			r.WrongLength++
		}
		if len(b) >= 2 && b[len(b)-2] == 0x61 {
			r.GetResponse++
		}
		return b, err
	})
	way := apdu.GetResponse(bare)
	var sum time.Duration
	for r.Exchanges < count {
		began := time.Now()
		_, err := way.Transmit(ctx, command)
		d := time.Since(began)
		if err == nil {
			r.Exchanges++
			took, sum = append(took, d), sum+d
			continue
		}
		if ctx.Err() != nil {
			return r, err
		}
		if r.Retries++; r.Retries > benchRetries {
			return r, fmt.Errorf("given up after %d failures: %w", r.Retries, err)
		}
		l.card.Close()
		if err := l.open(ctx); err != nil {
			return r, err
		}
	}
	r.PerSecond = math.Round(float64(r.Exchanges) / sum.Seconds())
	return r, nil
}

// spread sums up durations in milliseconds.
func spread(d []time.Duration) spreadJSON {
	if len(d) == 0 {
		return spreadJSON{}
	}
	d = slices.Sorted(slices.Values(d))
	at := func(p float64) float64 {
		return float64(d[min(len(d)-1, int(p*float64(len(d))))].Microseconds()) / 1000
	}
	return spreadJSON{at(0.5), at(0.99), at(1)}
}

func (t *tool) showBench(cmd *cobra.Command, list []benchJSON) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for i, r := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "reader\t%s\n", r.Reader)
		fmt.Fprintf(w, "power to answer to reset\tmedian %.1f ms, longest %.1f ms, %d times\n", r.PowerUp.Median, r.PowerUp.Max, r.PowerUps)
		fmt.Fprintf(w, "exchange\tmedian %.2f ms, 99 %% within %.2f ms, longest %.2f ms\n", r.Exchange.Median, r.Exchange.P99, r.Exchange.Max)
		fmt.Fprintf(w, "exchanges in a second\t%.0f, %s, %d sent\n", r.PerSecond, r.Protocol, r.Exchanges)
		fmt.Fprintf(w, "61xx fetched, 6Cxx repeated\t%d, %d\n", r.GetResponse, r.WrongLength)
		fmt.Fprintf(w, "retries\t%d\n", r.Retries)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range list {
		if r.Retries > 0 {
			t.remark(cmd, "%s: the contact is not good: clean the slot and the card, then try a card that works elsewhere", r.Reader)
		}
	}
	return nil
}
