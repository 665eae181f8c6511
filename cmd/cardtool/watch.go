package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/reader"
)

// rescan is how soon watch finds a reader that was plugged in; the watcher
// below it looks once a second as well.
const rescan = 500 * time.Millisecond

type eventJSON struct {
	Time       time.Time `json:"time"`
	Reader     string    `json:"reader"`
	Event      uint32    `json:"event"`
	State      string    `json:"state"`
	ATR        string    `json:"atr,omitempty"`
	Protocols  []string  `json:"protocols,omitempty"`
	Historical string    `json:"historical,omitempty"`
	Profiles   []string  `json:"profiles,omitempty"`
	Cause      string    `json:"cause,omitempty"`
}

func newWatchCommand(t *tool) *cobra.Command {
	var once bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Tell what happens in the readers, as it happens",
		Long: "Tells the present state of each reader and then every change: the time, the\n" +
			"reader, what is in it, the count of insertions and removals (a step of two is a\n" +
			"card that was swapped unseen), and the answer to reset in words. All readers\n" +
			"are watched, also those that are plugged in later, unless --reader names one.\n" +
			"Ends with Ctrl-C.",
		Example: "  cardtool watch --once\n" +
			"  cardtool watch --for 100ms --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			if limit > 0 {
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			events := make(chan reader.Event)
			var all sync.WaitGroup
			follow := func(slot reader.Slot) {
				all.Go(func() {
					for ev := range slot.Events(ctx) {
						select {
						case events <- ev:
						case <-ctx.Done():
							return
						}
						if once {
							return
						}
					}
				})
			}
			if chosen, err := t.choose(ctx); t.chosen() {
				if err != nil {
					return err
				}
				slot, err := t.slot(ctx)
				if err != nil {
					return fmt.Errorf("%s: %w", chosen, err)
				}
				follow(slot)
			} else if err := t.followAll(ctx, cmd, &all, once, follow); err != nil {
				return err
			}
			go func() {
				all.Wait()
				close(events)
			}()
			for ev := range events {
				if err := t.show(cmd, ev); err != nil {
					return err
				}
			}
			return nil // Ctrl-C is how it ends
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "tell the present state and end")
	cmd.Flags().DurationVar(&limit, "for", 0, "end after this time")
	return cmd
}

// followAll follows every reader that is there or comes. When the service goes
// away the slots say so themselves.
func (t *tool) followAll(ctx context.Context, cmd *cobra.Command, all *sync.WaitGroup, once bool, follow func(reader.Slot)) error {
	seen := map[string]bool{}
	look := func() (int, error) {
		names, err := t.names(ctx)
		for _, n := range names {
			if seen[n] {
				continue
			}
			slot, err := t.pcscSlot(strings.TrimPrefix(n, "pcsc:"))
			if err != nil {
				continue // gone again
			}
			seen[n] = true
			follow(slot)
		}
		return len(names), err
	}
	n, err := look()
	if err != nil {
		return err
	}
	if n == 0 {
		t.remark(cmd, "no reader is there")
	}
	if once {
		return nil
	}
	all.Go(func() {
		tick := time.NewTicker(rescan)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look() // an error is the service's absence, of which the slots tell
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

func (t *tool) show(cmd *cobra.Command, ev reader.Event) error {
	e := eventJSON{Time: ev.At, Reader: ev.Slot, Event: ev.Count, State: states[ev.State]}
	if ev.Cause != nil {
		e.Cause = ev.Cause.Error()
	}
	var a apdu.ATR
	if len(ev.ATR) > 0 {
		a, _ = apdu.ParseATR(ev.ATR) // what can be read of a bad one is shown
		e.ATR, e.Profiles = fmt.Sprintf("%X", ev.ATR), t.explainer().ProfilesOf(ev.ATR)
		e.Historical = fmt.Sprintf("%X", a.Historical)
		e.Protocols = protocols(a)
	}
	if t.json {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
		return err
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %-5s  event %d  %s\n", ev.At.Format("15:04:05.000"), e.Reader, e.State, e.Event, strings.TrimSpace(e.ATR+" "+e.Cause)); err != nil {
		return err
	}
	if e.ATR != "" {
		t.remark(cmd, "%s", summary(a, e.Profiles))
	}
	return nil
}

func protocols(a apdu.ATR) []string {
	list := []string{}
	for _, p := range a.Protocols {
		list = append(list, fmt.Sprintf("T=%d", p))
	}
	return list
}

// summary tells an answer to reset in a line.
func summary(a apdu.ATR, profiles []string) string {
	s := strings.Join(protocols(a), ", ")
	if s == "" {
		s = "not a whole answer to reset"
	}
	if len(a.Historical) > 0 {
		s += fmt.Sprintf("; historical bytes %X", a.Historical)
		if text := printable(a.Historical); text != "" {
			s += " " + text
		}
	}
	if len(profiles) > 0 {
		s += "; profile " + strings.Join(profiles, ", ")
	} else {
		s += "; named by no profile"
	}
	return s
}

func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return fmt.Sprintf("%q", b)
}

// chosen reports whether somebody named a reader.
func (t *tool) chosen() bool { return t.name != "" || envReader() != "" }
