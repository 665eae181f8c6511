package vpcd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/dianka/dianka/reader/fault"
	"github.com/dianka/dianka/reader/readertest"
	"github.com/dianka/dianka/reader/virtual"
	"github.com/dianka/dianka/reader/vpcd"
)

// driver is the other end: what vpcd does inside pcscd.
type driver struct {
	t    testing.TB
	conn net.Conn
}

func (d driver) send(m ...byte) {
	d.t.Helper()
	// Two writes, as the driver of Debian 12 does.
	for _, b := range [][]byte{binary.BigEndian.AppendUint16(nil, uint16(len(m))), m} {
		if _, err := d.conn.Write(b); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d driver) receive() []byte {
	d.t.Helper()
	var n [2]byte
	if _, err := io.ReadFull(d.conn, n[:]); err != nil {
		d.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(d.conn, b); err != nil {
		d.t.Fatal(err)
	}
	return b
}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func insert(t testing.TB, l net.Listener, c virtual.Chip) (*vpcd.Session, driver) {
	s, err := vpcd.Dial(t.Context(), l.Addr().String(), c)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return s, driver{t, conn}
}

func TestDialogue(t *testing.T) {
	chip := readertest.NewChip(5, false)
	s, d := insert(t, listen(t), chip)
	d.send(4)
	if atr := d.receive(); !bytes.Equal(atr, []byte{0x3B, 0x81, 0x01, 0x05, 0x85}) {
		t.Errorf("answer to reset %x", atr)
	}
	if _, on := chip.Powered(); on {
		t.Error("power before the reader gave it")
	}
	d.send(1)
	d.send(4)
	d.receive()
	if _, on := chip.Powered(); !on {
		t.Error("no power")
	}
	times, _ := chip.Powered()
	d.send(2)
	d.send(0x80, readertest.InsWho, 0, 0, 0)
	if r := d.receive(); !bytes.Equal(r, []byte{5, 0x90, 0}) {
		t.Errorf("answer %x", r)
	}
	if now, _ := chip.Powered(); now != times+1 {
		t.Error("a reset is a reset")
	}
	d.send(0x80, readertest.InsLong, 0x10, 0, 0, 0, 0)
	if r := d.receive(); len(r) != 0x1002 {
		t.Errorf("%d bytes", len(r))
	}
	d.send(0)
	d.send(0x80, readertest.InsWho, 0, 0, 0)
	if r := d.receive(); len(r) >= 2 {
		t.Errorf("a chip without power answers %x", r)
	}
	s.Close()
	<-s.Done()
	if s.Err() != nil {
		t.Error(s.Err())
	}
	if _, err := d.conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after removal: %v", err)
	}
}

func TestEnds(t *testing.T) {
	l := listen(t)
	who := []byte{0x80, readertest.InsWho, 0, 0, 0}
	t.Run("torn", func(t *testing.T) {
		chip := readertest.NewChip(1, false)
		s, d := insert(t, l, fault.Chip(chip, fault.NewPlan(1, fault.Fault{Kind: fault.TearAfter})))
		d.send(1)
		d.send(who...)
		<-s.Done()
		if !errors.Is(s.Err(), virtual.ErrGone) || chip.Executed() != 1 {
			t.Errorf("%v, executed %d", s.Err(), chip.Executed())
		}
	})
	t.Run("reader gone", func(t *testing.T) {
		chip := readertest.NewChip(1, false)
		s, d := insert(t, l, chip)
		d.send(1)
		d.send(4)
		d.receive()
		d.conn.Close()
		<-s.Done()
		if _, on := chip.Powered(); on || !errors.Is(s.Err(), io.EOF) {
			t.Errorf("power %v, %v", on, s.Err())
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := vpcd.Dial(ctx, l.Addr().String(), readertest.NewChip(1, false))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-s.Done()
		if s.Err() != nil {
			t.Error(s.Err())
		}
		(<-accepted(l)).Close()
	})
	t.Run("swapped, after a moment of emptiness", func(t *testing.T) {
		s, d := insert(t, l, fault.Chip(readertest.NewChip(1, false), fault.NewPlan(1, fault.Fault{Kind: fault.Swap, To: readertest.NewChip(2, false)})))
		d.send(1)
		start := time.Now()
		d.send(who...)
		conn := <-accepted(l)
		defer conn.Close()
		if took := time.Since(start); took < 500*time.Millisecond {
			t.Errorf("pcscd looks every 400 ms and would not see an empty slot for %v", took)
		}
		d = driver{t, conn}
		d.send(1)
		d.send(who...)
		if r := d.receive(); r[0] != 2 {
			t.Errorf("%x", r)
		}
		s.Close()
		<-s.Done()
	})
	t.Run("no reader", func(t *testing.T) {
		l := listen(t)
		l.Close()
		if _, err := vpcd.Dial(t.Context(), l.Addr().String(), readertest.NewChip(1, false)); err == nil {
			t.Error("inserted into nothing")
		}
	})
}

func accepted(l net.Listener) <-chan net.Conn {
	c := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			c <- conn
		}
		close(c)
	}()
	return c
}

// FuzzServe: whatever the other end says, the chip's end neither panics nor
// hangs when it is over.
func FuzzServe(f *testing.F) {
	f.Add([]byte{0, 1, 4, 0, 1, 1, 0, 5, 0x80, 0xA0, 0, 0, 0, 0, 1, 0})
	f.Add([]byte{0, 0})
	f.Add([]byte{0xFF, 0xFF, 1})
	f.Add([]byte{0, 1, 9, 0, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		done := make(chan error, 1)
		chip := readertest.NewChip(1, true)
		chip.Release()
		go func() { done <- vpcd.Serve(ours, chip) }()
		theirs.Write(said)
		theirs.Close()
		if err := <-done; err == nil {
			t.Error("ended without a reason")
		}
		if _, on := chip.Powered(); on {
			t.Error("power left on")
		}
		ours.Close()
	})
}
