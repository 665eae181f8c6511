//go:build linux

package line_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/line"
	"github.com/dianka/dianka/internal/pty"
)

func open(t testing.TB) (*pty.Device, *line.Wire) {
	t.Helper()
	d, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	l, err := line.OpenSerial(line.Serial{Device: d.Path, Baud: 115200, Stop2: true})
	if err != nil {
		t.Fatal(err)
	}
	w := line.NewWire(l)
	t.Cleanup(func() { w.Close() })
	return d, w
}

func TestBothWays(t *testing.T) {
	d, w := open(t)
	big := bytes.Repeat([]byte("0123456789"), 100)
	go d.Write(big)
	var got []byte
	for buf := make([]byte, 7); len(got) < len(big); {
		n, err := w.Read(t.Context().Done(), buf, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Equal(got, big) {
		t.Error("what comes in is not what was sent")
	}
	go w.Send(t.Context(), big)
	if _, err := io.ReadFull(d, got); err != nil || !bytes.Equal(got, big) {
		t.Errorf("what goes out is not what was sent: %v", err)
	}
	if baud, err := d.Speed(); baud != 115200 {
		t.Errorf("%d baud, %v", baud, err)
	}
	if w.Rate != 115200/11 {
		t.Errorf("%d bytes a second", w.Rate)
	}
}

// A read timeout and a hang-up look alike to the library: no bytes and io.EOF.
func TestTimeoutIsNoHangUp(t *testing.T) {
	d, w := open(t)
	if _, err := w.Read(t.Context().Done(), make([]byte, 1), 350*time.Millisecond); !errors.Is(err, line.ErrTime) {
		t.Fatalf("a silent line: %v", err)
	}
	select {
	case <-w.Gone():
		t.Fatal("a silent line counts as gone")
	default:
	}
	d.Write([]byte{1})
	if n, err := w.Read(t.Context().Done(), make([]byte, 4), time.Minute); n != 1 {
		t.Fatalf("after the silence: %d, %v", n, err)
	}
	d.Close()
	began := time.Now()
	if _, err := w.Read(t.Context().Done(), make([]byte, 1), time.Minute); !errors.Is(err, line.ErrGone) {
		t.Errorf("a pulled cable: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to see", took)
	}
	if sent, err := w.Send(t.Context(), []byte{1}); sent != 0 || !errors.Is(err, line.ErrGone) {
		t.Errorf("sent %d, %v", sent, err)
	}
}

// What was sent before the cable was pulled is still read.
func TestRestBeforeHangUp(t *testing.T) {
	d, w := open(t)
	d.Write([]byte{1, 2, 3})
	b := make([]byte, 1)
	if _, err := w.Read(t.Context().Done(), b, time.Minute); err != nil {
		t.Fatal(err)
	}
	d.Close()
	<-w.Gone()
	for want := byte(2); want <= 3; want++ {
		if _, err := w.Read(t.Context().Done(), b, time.Minute); err != nil || b[0] != want {
			t.Errorf("%v, %v", b, err)
		}
	}
	if _, err := w.Read(t.Context().Done(), b, time.Minute); !errors.Is(err, line.ErrGone) {
		t.Errorf("%v", err)
	}
}

func TestCloseDoesNotHang(t *testing.T) {
	for name, before := range map[string]func(*pty.Device, *line.Wire){
		"idle":          func(*pty.Device, *line.Wire) {},
		"under a read":  func(_ *pty.Device, w *line.Wire) { go w.Next(context.Background()) },
		"under a write": func(_ *pty.Device, w *line.Wire) { fill(w) },
		"pulled":        func(d *pty.Device, _ *line.Wire) { d.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			d, w := open(t)
			before(d, w)
			began := time.Now()
			w.Close()
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// fill writes until the line takes nothing.
func fill(w *line.Wire) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	return w.Send(ctx, make([]byte, 1<<20))
}

func TestTakesNothing(t *testing.T) {
	_, w := open(t)
	if n, err := fill(w); !errors.Is(err, line.ErrSlow) || n == 0 || n >= 1<<20 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestExclusive: another program gets nothing, as this user or as another one,
// whom the system itself refuses; and the line is free after.
func TestExclusive(t *testing.T) {
	d, w := open(t)
	if _, err := line.OpenSerial(line.Serial{Device: d.Path}); !errors.Is(err, line.ErrInUse) {
		t.Errorf("a second open of ours: %v", err)
	}
	os.Chmod(d.Path, 0o666)
	stranger := func() string {
		cmd := exec.Command("sh", "-c", "exec 3<>"+d.Path)
		if os.Geteuid() == 0 { // root may pass TIOCEXCL
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Skip(err)
		}
		return string(out)
	}
	if said := stranger(); !strings.Contains(said, "busy") {
		t.Errorf("another program was told %q", said)
	}
	w.Close()
	if said := stranger(); said != "" {
		t.Errorf("after close: %q", said)
	}
	l, err := line.OpenSerial(line.Serial{Device: d.Path})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// A pseudo-terminal has no control wires: this holds that it is said. What
// they do on a real line no test here shows.
func TestNoModem(t *testing.T) {
	_, w := open(t)
	if err := w.Modem.SetRTS(false); !errors.Is(err, line.ErrNoModem) {
		t.Errorf("%v", err)
	}
	if err := w.Modem.SetDTR(true); !errors.Is(err, line.ErrNoModem) {
		t.Errorf("%v", err)
	}
}

func TestNoSuchLine(t *testing.T) {
	if _, err := line.OpenSerial(line.Serial{Device: "/dev/does-not-exist"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	d, _ := pty.Open()
	defer d.Close()
	if _, err := line.OpenSerial(line.Serial{Device: d.Path, Baud: 10753}); err == nil {
		t.Error("a speed that no line has")
	}
	if l, err := line.OpenSerial(line.Serial{Device: d.Path}); err != nil {
		t.Errorf("after a failed open the line is held: %v", err)
	} else {
		l.Close()
	}
}

func TestNoAllocation(t *testing.T) {
	d, w := open(t)
	go io.Copy(d, d)
	out, in, ctx := make([]byte, 200), make([]byte, 200), t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := w.Send(ctx, out); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(out); {
			n, err := w.Read(ctx.Done(), in, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
