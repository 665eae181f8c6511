//go:build linux

package printer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/printer"
	"github.com/dianka/dianka/printer/printertest"
)

var short = printer.Waits{Connect: time.Second, Answer: 150 * time.Millisecond, Send: 2 * time.Second, Finish: 2 * time.Second, Poll: time.Hour, Lost: time.Hour}

// start runs a driver on an address until the test ends.
func start(t *testing.T, address string, change ...func(*printer.Options)) *printer.Printer {
	t.Helper()
	open, err := printer.ParseAddress(address, 115200)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, open, change...)
}

func run(t *testing.T, open printer.Opener, change ...func(*printer.Options)) *printer.Printer {
	o := printer.Options{Open: open, Waits: short}
	for _, c := range change {
		c(&o)
	}
	p := printer.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

// slip is a slip of so many lines with a cut.
func slip(name string, lines int) printer.Job {
	var b strings.Builder
	b.WriteString("\x1b@\x1c&")
	for i := range lines {
		s, err := simplifiedchinese.GB18030.NewEncoder().String(fmt.Sprintf("%s 第 %d 行", name, i+1))
		if err != nil {
			panic(err)
		}
		b.WriteString(s + "\n")
	}
	b.WriteString("\x1dVB\x00")
	return printer.Job{Bytes: []byte(b.String()), Lines: lines}
}

func send(p *printer.Printer, j printer.Job) <-chan printer.Result {
	c := make(chan printer.Result, 1)
	p.Print(j, func(r printer.Result) { c <- r })
	return c
}

func want(t *testing.T, c <-chan printer.Result, fate printer.Fate, why printer.Why, state printer.State) {
	t.Helper()
	select {
	case r := <-c:
		if (r != printer.Result{Fate: fate, Why: why, State: state}) {
			t.Fatalf("%+v, want %s %s %s", r, fate, why, state)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody said what became of the job")
	}
}

func check(p *printer.Printer) printer.Status {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return p.Check(ctx)
}

// plugs are the ways to a printer; each gives a new printer with its address.
var plugs = map[string]func(t *testing.T) (*printertest.Printer, string){
	"serial": func(t *testing.T) (*printertest.Printer, string) {
		p := printertest.New()
		dev, err := p.PTY()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Unplug)
		return p, "serial:" + dev
	},
	"usb": func(t *testing.T) (*printertest.Printer, string) {
		p := printertest.New()
		dev, err := p.PTY()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Unplug)
		return p, "usb:" + dev
	},
	"tcp": func(t *testing.T) (*printertest.Printer, string) {
		p := printertest.New()
		addr, stop, err := p.TCP()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stop() })
		return p, "tcp:" + addr
	},
}

func each(t *testing.T, test func(t *testing.T, sim *printertest.Printer, address string)) {
	for name, plug := range plugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, address := plug(t)
			test(t, sim, address)
		})
	}
}

func TestPrints(t *testing.T) {
	each(t, func(t *testing.T, sim *printertest.Printer, address string) {
		p := start(t, address)
		want(t, send(p, slip("充值", 40)), printer.Printed, "", printer.StateOK)
		want(t, send(p, slip("缴费", 2)), printer.Printed, "", printer.StateOK)
		s := sim.Slips()
		if len(s) != 2 || !s[0].Cut || !s[1].Cut || len(s[0].Lines) != 40 || s[1].Text() != "缴费 第 1 行\n缴费 第 2 行\n" || len(sim.Bad()) > 0 {
			t.Fatalf("%d slips, %v", len(s), sim.Bad())
		}
		if s := check(p); !s.Good() || s.At.IsZero() {
			t.Fatalf("%+v", s)
		}
	})
}

// TestNotReady holds that in every bad state nothing is sent, the state has
// its name, and what was refused does not come out when the state is over.
func TestNotReady(t *testing.T) {
	each(t, func(t *testing.T, sim *printertest.Printer, address string) {
		p := start(t, address)
		for _, c := range []struct {
			state printer.State
			set   func(*printertest.Condition, bool)
		}{
			{printer.StatePaperOut, func(c *printertest.Condition, on bool) { c.PaperOut = on }},
			{printer.StateCoverOpen, func(c *printertest.Condition, on bool) { c.CoverOpen = on }},
			{printer.StateOffline, func(c *printertest.Condition, on bool) { c.Offline = on }},
			{printer.StateCutter, func(c *printertest.Condition, on bool) { c.Cutter = on }},
			{printer.StateFault, func(c *printertest.Condition, on bool) { c.Broken = on }},
			{printer.StateNoAnswer, func(c *printertest.Condition, on bool) { c.Mute = on }},
		} {
			sim.Set(func(x *printertest.Condition) { c.set(x, true) })
			if s := check(p); s.State() != c.state {
				t.Fatalf("%+v is %s, want %s", s, s.State(), c.state)
			}
			want(t, send(p, slip("旧", 3)), printer.NotPrinted, printer.WhyState, c.state)
			sim.Set(func(x *printertest.Condition) { c.set(x, false) })
			if s := check(p); s.State() != printer.StateOK {
				t.Fatalf("after %s: %+v", c.state, s)
			}
		}
		if n := sim.Waiting(); n != 0 || len(sim.Slips()) != 0 {
			t.Fatalf("%d bytes wait, %d slips", n, len(sim.Slips()))
		}
		sim.Set(func(c *printertest.Condition) { c.NearEnd = true })
		if s := check(p); !s.Good() || !s.PaperLow {
			t.Fatalf("little paper: %+v", s)
		}
		want(t, send(p, slip("新", 3)), printer.Printed, "", printer.StateOK)
	})
}

// TestHalfPrinted holds that a slip on which the paper ends is not certain,
// that its rest never comes out, and that the next one does.
func TestHalfPrinted(t *testing.T) {
	each(t, func(t *testing.T, sim *printertest.Printer, address string) {
		p := start(t, address)
		sim.PaperFor(5)
		want(t, send(p, slip("甲", 40)), printer.NotCertain, printer.WhyState, printer.StatePaperOut)
		want(t, send(p, slip("乙", 3)), printer.NotPrinted, printer.WhyState, printer.StatePaperOut)
		sim.Set(func(c *printertest.Condition) { c.PaperOut = false })
		want(t, send(p, slip("丙", 3)), printer.Printed, "", printer.StateOK)
		text := ""
		for _, s := range sim.Slips() {
			text += s.Text()
		}
		if strings.Count(text, "甲") != 5 || strings.Contains(text, "乙") || strings.Count(text, "丙") != 3 {
			t.Fatalf("on paper:\n%s", text)
		}
	})
}

// TestStatusAfterCut holds that paper which ends with the last line is not
// taken for a slip that came out well.
func TestStatusAfterCut(t *testing.T) {
	sim, address := plugs["serial"](t)
	p := start(t, address)
	sim.PaperFor(3)
	want(t, send(p, slip("甲", 3)), printer.NotCertain, printer.WhyState, printer.StatePaperOut)
}

// TestCoverOpenedInTheMiddle holds the same for a cover.
func TestCoverOpenedInTheMiddle(t *testing.T) {
	sim := printertest.New()
	var armed atomic.Bool
	p := run(t, func(context.Context) (line.Line, error) {
		c := sim.Pipe()
		return line.Line{ReadWriteCloser: cutting{c, func(b []byte) {
			if armed.Load() && len(b) > 20 {
				sim.Set(func(c *printertest.Condition) { c.CoverOpen = true })
			}
		}}, Unblock: func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
	})
	if !check(p).Good() {
		t.Fatal("not ready")
	}
	armed.Store(true)
	want(t, send(p, slip("甲", 30)), printer.NotCertain, printer.WhyState, printer.StateCoverOpen)
	armed.Store(false)
	// The printer may not have read yet that it shall forget.
	for late := time.After(10 * time.Second); ; {
		changed := sim.Changed()
		if sim.Waiting() == 0 {
			break
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%d bytes wait for the cover", sim.Waiting())
		}
	}
	sim.Set(func(c *printertest.Condition) { c.CoverOpen = false })
	if n, waits := len(sim.Slips()), sim.Waiting(); n != 0 || waits != 0 {
		t.Fatalf("the rest of the slip came out, or waits: %d slips, %d bytes", n, waits)
	}
}

// cutting does something before each write.
type cutting struct {
	io.ReadWriteCloser
	before func(b []byte)
}

func (c cutting) Write(b []byte) (int, error) { c.before(b); return c.ReadWriteCloser.Write(b) }

// TestUnplugged holds that a line pulled out is no answer at once, and that a
// printer plugged in again is found.
func TestUnplugged(t *testing.T) {
	each(t, func(t *testing.T, sim *printertest.Printer, address string) {
		p := start(t, address)
		if !check(p).Good() {
			t.Fatal("not ready")
		}
		sim.Unplug()
		began := time.Now()
		want(t, send(p, slip("甲", 3)), printer.NotPrinted, printer.WhyState, printer.StateNoAnswer)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s to see that nothing is there", took)
		}
		if s := check(p); s.State() != printer.StateNoAnswer && !strings.HasPrefix(address, "tcp:") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("again", func(t *testing.T) {
		sim := printertest.New()
		p := run(t, func(context.Context) (line.Line, error) {
			c := sim.Pipe()
			return line.Line{ReadWriteCloser: c, Unblock: func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
		})
		check(p)
		sim.Unplug()
		if s := check(p); s.Good() {
			t.Error("an unplugged printer is good")
		}
		want(t, send(p, slip("甲", 3)), printer.Printed, "", printer.StateOK)
	})
	t.Run("in the middle", func(t *testing.T) {
		sim := printertest.New()
		p := run(t, func(context.Context) (line.Line, error) {
			c := sim.Pipe()
			return line.Line{ReadWriteCloser: cutting{c, func(b []byte) {
				if len(b) > 100 && len(b) < 256 { // the last piece
					c.Close()
				}
			}}}, nil
		})
		want(t, send(p, slip("甲", 40)), printer.NotCertain, printer.WhyState, printer.StateNoAnswer)
		if n := len(sim.Slips()); n > 1 {
			t.Errorf("%d slips: it was repeated", n)
		}
	})
}

// TestNobodyThere holds that what does not answer is never good, whatever it
// does instead.
func TestNobodyThere(t *testing.T) {
	for name, peer := range map[string]func(net.Conn){
		"silent": func(c net.Conn) { io.Copy(io.Discard, c) },
		"echoes": func(c net.Conn) { io.Copy(c, c) },
		"noise": func(c net.Conn) {
			go io.Copy(io.Discard, c)
			for {
				if _, err := c.Write([]byte{0xFF, 0x00, 0x80, 0x11, 0x13}); err != nil {
					return
				}
			}
		},
		"a modem": func(c net.Conn) {
			b := make([]byte, 8)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
				c.Write([]byte("ERROR\r\n"))
			}
		},
		"takes nothing": func(c net.Conn) { select {} },
	} {
		t.Run(name, func(t *testing.T) {
			p := run(t, func(context.Context) (line.Line, error) {
				a, b := net.Pipe()
				go peer(b)
				t.Cleanup(func() { b.Close() })
				return line.Line{ReadWriteCloser: a, Unblock: func() { a.SetDeadline(time.Unix(1, 0)) }}, nil
			})
			if s := check(p); s.Answered || s.State() != printer.StateNoAnswer || s.Detail == "" {
				t.Errorf("%+v", s)
			}
			want(t, send(p, slip("甲", 3)), printer.NotPrinted, printer.WhyState, printer.StateNoAnswer)
		})
	}
	for _, address := range []string{"serial:/dev/does-not-exist", "usb:/dev/does-not-exist", "tcp:127.0.0.1:1"} {
		if s := check(start(t, address)); s.State() != printer.StateNoAnswer || s.Detail == "" {
			t.Errorf("%s: %+v", address, s)
		}
	}
}

// TestStale holds that a slip which waited too long is never printed, and a
// full queue refuses at once.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := printertest.New()
		gate := make(chan struct{})
		p := run(t, func(ctx context.Context) (line.Line, error) {
			<-gate // a line that takes its time
			c := sim.Pipe()
			return line.Line{ReadWriteCloser: c, Unblock: func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
		}, func(o *printer.Options) {
			o.Waits = printer.Waits{Connect: 10 * time.Minute}
			o.MaxAge = 2 * time.Minute
		})
		synctest.Wait() // it opens the line
		old := send(p, slip("旧", 3))
		time.Sleep(2*time.Minute + time.Second)
		fresh := send(p, slip("新", 3))
		for range printer.MaxWaiting - 2 {
			send(p, slip("多", 1))
		}
		full := send(p, slip("满", 1))
		synctest.Wait()
		want(t, full, printer.NotPrinted, printer.WhyFull, printer.StateNoAnswer)
		close(gate)
		want(t, old, printer.NotPrinted, printer.WhyStale, printer.StateOK)
		want(t, fresh, printer.Printed, "", printer.StateOK)
		sim.Unplug()
	})
}

// TestUnorderedPrinter holds that a printer which does not answer GS r is
// waited for by the length of the slip when that is configured, and is not
// certain else.
func TestUnorderedPrinter(t *testing.T) {
	for _, only := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim := printertest.New()
			sim.Set(func(c *printertest.Condition) { c.Unordered = true })
			p := run(t, func(context.Context) (line.Line, error) {
				c := sim.Pipe()
				return line.Line{ReadWriteCloser: c, Unblock: func() { c.SetDeadline(time.Unix(1, 0)) }}, nil
			}, func(o *printer.Options) { o.Waits = printer.Waits{}; o.RealTimeOnly = only })
			c := send(p, slip("甲", 10))
			if only {
				want(t, c, printer.Printed, "", printer.StateOK)
			} else {
				want(t, c, printer.NotCertain, printer.WhyState, printer.StateNoAnswer)
			}
			sim.Unplug()
		})
	}
}

// TestStops holds that the end of the daemon leaves no job without a word, and
// that nobody waits after it.
func TestStops(t *testing.T) {
	sim := printertest.New()
	sim.Set(func(c *printertest.Condition) { c.Mute = true })
	o := printer.Options{Waits: short, Open: func(context.Context) (line.Line, error) {
		return line.Line{ReadWriteCloser: sim.Pipe()}, nil
	}}
	p := printer.New(o)
	waiting := send(p, slip("甲", 1)) // before it runs
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.Run(ctx)
	select {
	case r := <-waiting:
		if r.Fate != printer.NotPrinted {
			t.Errorf("%+v", r)
		}
	default:
		t.Error("a job was left without a word")
	}
	want(t, send(p, slip("乙", 1)), printer.NotPrinted, printer.WhyStopped, p.Status().State())
	if s := check(p); s.Answered {
		t.Errorf("%+v", s)
	}
}

// TestExclusive holds that two programs do not talk over one line.
func TestExclusive(t *testing.T) {
	for _, kind := range []string{"serial", "usb"} {
		_, address := plugs[kind](t)
		p := start(t, address)
		if !check(p).Good() {
			t.Fatal("not ready")
		}
		open, err := printer.ParseAddress(address, 9600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(context.Background()); !errors.Is(err, line.ErrInUse) {
			t.Errorf("%s: a second program got %v", kind, err)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, bad := range []string{"", "serial", "serial:", "tcp:host", "tcp:", "lpt:1", "/dev/usb/lp0"} {
		if _, err := printer.ParseAddress(bad, 0); !errors.Is(err, printer.ErrAddress) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestChanges holds that who shows the state hears of it.
func TestChanges(t *testing.T) {
	sim, address := plugs["tcp"](t)
	p := start(t, address)
	check(p)
	changed := p.Changes()
	sim.Set(func(c *printertest.Condition) { c.PaperOut = true })
	check(p)
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Error("nobody was told that the paper is out")
	}
}
