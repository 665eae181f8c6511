package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/reader"
	broken "github.com/dianka/dianka/reader/fault"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/reader/vpcd"
)

const simHelp = `A fault is KIND[=VALUE][@N][/INS], for the N-th command from now on, counted from
1 and with /INS only among those with that instruction byte:

  tear          the card is out before it sees the command
  tear-during   it is torn in the middle of the command; =2 after two writes
  tear-after    it has carried the command out, and the answer is lost
  mute          it says nothing more to that command; mute-after: having done it
  sw=6F00       it has carried the command out, and answers this instead
  garbage       the same, with bytes that mean nothing
  delay=800ms   it takes so long; without @N at every command

A card that was torn out is put in again after a second. On standard input a
line is a fault, or "out", or "in", or "in CARD" for another card; the number of
the slot, 0 or 1, may stand before it.
`

// reinsert is after what time a hand puts a card in again.
const reinsert = time.Second

// simEventJSON is what --json tells.
type simEventJSON struct {
	Time  time.Time `json:"time"`
	Slot  int       `json:"slot"`
	Event string    `json:"event"` // in, out, fault, command, response
	Card  string    `json:"card,omitempty"`
	Says  string    `json:"says,omitempty"`
}

func newSimCommand(t *tool) *cobra.Command {
	var at, faults []string
	var serial string
	var show bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "sim CARD [CARD]",
		Short: "Offer simulated cards to a real PC/SC service, with faults on demand",
		Long: "Puts simulated cards into the two slots of vsmartcard's virtual reader (Debian:\n" +
			"vsmartcard-vpcd), where every PC/SC program finds them, until Ctrl-C. The cards\n" +
			"are those of `cardtool readers --sim`; NAME=FILE keeps one in a file. They have\n" +
			"the well-known test keys.\n\n" +
			"With --serial LINE the reader is one of the GemPC Twin family on a serial line of\n" +
			"its own, which is found under that path: `cardtool --reader serial:LINE`,\n" +
			"`kioskd --sim --reader serial:LINE`, or pcscd with libccid.\n\n" + simHelp,
		Example: "  cardtool sim card --dry-run\n" +
			"  cardtool sim card=zhang.card sam --fault tear-after@1/54 --dry-run",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			o := &offer{t: t, cmd: cmd, show: show}
			if serial != "" {
				o.line = newSerialLine(serial, len(args))
			}
			for i, name := range args {
				addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(vpcd.Port0+i))
				if i < len(at) {
					addr = at[i]
				}
				if o.line != nil {
					addr = o.line.address(i)
				}
				s := &offered{offer: o, number: i, addr: addr, plan: broken.NewPlan(uint64(time.Now().UnixNano())), wake: make(chan struct{}, 1)}
				if err := s.change(name); err != nil {
					return err
				}
				o.slots = append(o.slots, s)
			}
			for _, f := range faults {
				if err := o.order(f); err != nil {
					return err
				}
			}
			if dry, _ := cmd.Flags().GetBool("dry-run"); dry {
				for _, s := range o.slots {
					t.remark(cmd, "slot %d at %s would have the card %s", s.number, s.addr, s.name)
				}
				return nil
			}
			if o.line != nil {
				if err := o.line.plug(); err != nil {
					return err
				}
				defer o.line.unplug()
			}
			return o.run(ctx)
		},
	}
	f := cmd.Flags()
	f.StringVar(&serial, "serial", "", "offer a serial reader instead, on a line that is found under this path")
	f.StringArrayVar(&at, "at", nil, "where the driver of the virtual reader listens, for the first slot and then the second (default 127.0.0.1:35963 and :35964)")
	f.StringArrayVar(&faults, "fault", nil, "a fault, for the first slot, or SLOT FAULT")
	f.BoolVar(&show, "show", false, "show every exchange; PINs and keys are taken out")
	f.DurationVar(&limit, "for", 0, "end after this time")
	f.Bool("dry-run", false, "say what would be offered, and end")
	cmd.MarkFlagsMutuallyExclusive("serial", "at")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []string
		for _, s := range simulated {
			names = append(names, s.name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// offer is the cards that are offered.
type offer struct {
	t     *tool
	cmd   *cobra.Command
	show  bool
	line  *serialLine // nil: the virtual reader of PC/SC
	slots []*offered
	mu    sync.Mutex
	lost  error // of standard output
}

func (o *offer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the process, or with its standard input
		in := bufio.NewScanner(o.cmd.InOrStdin())
		for in.Scan() {
			if err := o.order(in.Text()); err != nil {
				o.mu.Lock()
				o.t.remark(o.cmd, "%s", strings.TrimPrefix(err.Error(), cli.ErrUsage.Error()+": "))
				o.mu.Unlock()
			}
		}
	}()
	var all sync.WaitGroup
	for _, s := range o.slots {
		all.Go(func() {
			if err := s.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return o.lost // Ctrl-C is how it ends
}

// tell tells what happens in a slot.
func (o *offer) tell(s *offered, event, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := simEventJSON{Time: time.Now(), Slot: s.number, Event: event, Says: fmt.Sprintf(format, args...)}
	if event == "in" {
		s.state.Lock()
		e.Card = s.name
		s.state.Unlock()
	}
	var err error
	switch {
	case o.t.json:
		var b []byte
		if b, err = json.Marshal(e); err == nil {
			_, err = fmt.Fprintf(o.cmd.OutOrStdout(), "%s\n", b)
		}
	case event == "command" || event == "response":
		_, err = fmt.Fprintf(o.cmd.OutOrStdout(), "%s\n", e.Says)
	default:
		_, err = fmt.Fprintf(o.cmd.OutOrStdout(), "# %s slot %d: %s\n", e.Time.Format("15:04:05.000"), s.number, e.Says)
	}
	if o.lost == nil {
		o.lost = err
	}
}

// order carries out a line: a fault, in or out, perhaps with a slot before it.
func (o *offer) order(text string) error {
	text = strings.TrimSpace(text)
	slot := o.slots[0]
	if head, rest, ok := strings.Cut(text, " "); ok {
		if n, err := strconv.Atoi(head); err == nil {
			if n < 0 || n >= len(o.slots) {
				return fmt.Errorf("%w: no card is offered in slot %d", cli.ErrUsage, n)
			}
			slot, text = o.slots[n], strings.TrimSpace(rest)
		}
	}
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "":
		return nil
	case "out":
		slot.take(true)
		return nil
	case "in":
		if rest = strings.TrimSpace(rest); rest != "" {
			slot.take(true)
			if err := slot.change(rest); err != nil {
				return err
			}
		}
		slot.take(false)
		return nil
	}
	return slot.spoil(text)
}

// offered is one slot and the card in it.
type offered struct {
	*offer
	number int
	addr   string
	plan   *broken.Plan
	wake   chan struct{}

	state   sync.Mutex
	name    string
	chip    virtual.Chip
	session stay
	out     bool
	delays  []delay
}

// change makes another card the slot's.
func (s *offered) change(card string) error {
	name, file, _ := strings.Cut(strings.TrimPrefix(card, "sim:"), "=")
	for _, k := range simulated {
		if k.name != name || k.chip == nil {
			continue
		}
		chip, err := k.chip(file)
		if err != nil {
			return err
		}
		s.state.Lock()
		defer s.state.Unlock()
		s.name, s.chip = name, &spoiled{broken.Chip(chip, s.plan), s}
		return nil
	}
	return fmt.Errorf("%w: no simulated card %q; cardtool readers --sim lists them", cli.ErrUsage, name)
}

// take takes the card out, or lets it in again.
func (s *offered) take(out bool) {
	s.state.Lock()
	defer s.state.Unlock()
	s.out = out
	if out && s.session != nil {
		s.session.Close()
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *offered) run(ctx context.Context) error {
	for first := true; ; first = false {
		s.state.Lock()
		out, chip := s.out, s.chip
		s.state.Unlock()
		if out {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		session, err := s.insert(ctx, chip)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return &reader.Error{Slot: s.addr, Op: "open", Kind: reader.ErrLost, Cause: err,
				Hint: "the virtual reader wants vsmartcard-vpcd installed and pcscd running: apt install vsmartcard-vpcd; systemctl restart pcscd"}
		case err == nil:
			s.state.Lock()
			s.session = session
			name := s.name
			stale := s.out || s.chip != chip // ordered meanwhile
			s.state.Unlock()
			if stale {
				session.Close()
				break
			}
			s.tell(s, "in", "card %s is in", name)
			<-session.Done()
			s.tell(s, "out", "it is out%s", why(session.Err()))
		}
		timer := time.NewTimer(reinsert)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// stay is one stay of a card in a reader.
type stay interface {
	Close() error
	Done() <-chan struct{}
	Err() error
}

func (s *offered) insert(ctx context.Context, chip virtual.Chip) (stay, error) {
	if s.line != nil {
		return s.line.insert(ctx, s.number, chip), nil
	}
	return vpcd.Dial(ctx, s.addr, chip)
}

func why(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, io.EOF):
		return ": the PC/SC service ended"
	}
	return ": " + err.Error()
}

// delay is a wait before an answer.
type delay struct {
	d     time.Duration
	when  func([]byte) bool
	left  int // accepted commands until it happens
	every bool
}

// maxDelay is longer than any patience.
const maxDelay = 10 * time.Minute

// spoil plans a fault: KIND[=VALUE][@N][/INS].
func (s *offered) spoil(text string) error {
	bad := func() error {
		return fmt.Errorf("%w: %q is neither a fault, KIND[=VALUE][@N][/INS], nor in nor out; see `cardtool sim --help`", cli.ErrUsage, text)
	}
	rest, ins, hasINS := strings.Cut(text, "/")
	rest, nth, hasN := strings.Cut(rest, "@")
	kind, value, hasValue := strings.Cut(rest, "=")
	var f broken.Fault
	if hasINS {
		b, err := hex.DecodeString(ins)
		if err != nil || len(b) != 1 {
			return bad()
		}
		f.When = func(c []byte) bool { return len(c) > 1 && c[1] == b[0] }
	}
	f.At = 1
	if hasN {
		n, err := strconv.Atoi(nth)
		if err != nil || n < 1 {
			return bad()
		}
		f.At = n
	}
	if wants := kind == "sw" || kind == "delay"; wants != hasValue && kind != "tear-during" {
		return bad()
	}
	switch kind {
	case "tear":
		f.Kind = broken.TearBefore
	case "tear-during":
		f.Kind, f.Writes = broken.TearDuring, 1
		if hasValue {
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return bad()
			}
			f.Writes = n
		}
	case "tear-after":
		f.Kind = broken.TearAfter
	case "mute":
		f.Kind = broken.Mute
	case "mute-after":
		f.Kind, f.Executed = broken.Mute, true
	case "garbage":
		f.Kind = broken.Garbage
	case "sw":
		b, err := hex.DecodeString(value)
		if err != nil || len(b) != 2 {
			return bad()
		}
		f.Kind, f.Answer = broken.Garbage, b
	case "delay":
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d > maxDelay {
			return bad()
		}
		s.state.Lock()
		s.delays = append(s.delays, delay{d, f.When, f.At, !hasN})
		s.state.Unlock()
		return nil
	default:
		return bad()
	}
	s.plan.Add(f)
	return nil
}

// wait is how long the answer to a command is to take.
func (s *offered) wait(command []byte) (sum time.Duration) {
	s.state.Lock()
	defer s.state.Unlock()
	for i := range s.delays {
		d := &s.delays[i]
		if d.when != nil && !d.when(command) {
			continue
		}
		if d.left--; d.every || d.left == 0 {
			sum += d.d
		}
	}
	return sum
}

// spoiled is a chip with its faults and delays, which tells of them.
type spoiled struct {
	virtual.Chip
	slot *offered
}

// Transmit implements virtual.Chip.
func (c *spoiled) Transmit(command []byte) ([]byte, error) {
	s := c.slot
	if s.show {
		s.tell(s, "command", "%v", redacted(command))
	}
	before := len(s.plan.Fired())
	if d := s.wait(command); d > 0 {
		s.tell(s, "fault", "the answer to %s takes %v", explain.Name(command), d)
		time.Sleep(d)
	}
	r, err := c.Chip.Transmit(command)
	if len(s.plan.Fired()) > before {
		s.tell(s, "fault", "%s at %s", faultWord(r, err), explain.Name(command))
	}
	if s.show && err == nil {
		s.tell(s, "response", "%v", apdu.Line{Kind: apdu.LineResponse, Data: r})
	}
	return r, err
}

func faultWord(r []byte, err error) string {
	switch {
	case errors.Is(err, virtual.ErrGone):
		return "torn out"
	case err != nil:
		return "mute"
	}
	return fmt.Sprintf("answered %X instead", r)
}
