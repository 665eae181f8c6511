package feed

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/dianka/dianka/reader"
)

func event(n uint32) reader.Event {
	return reader.Event{State: reader.StateCard, Count: n, ATR: []byte{0x3B, byte(n)}}
}

func TestOrderAndFolding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var f Feed
		f.Publish(event(1))
		quick, slow := f.Subscribe(ctx), f.Subscribe(ctx)
		if e := <-quick; e.Count != 1 {
			t.Fatalf("first %+v, want the current state", e)
		}
		const last = 3 * depth
		for n := uint32(2); n <= last; n++ {
			f.Publish(event(n))
			if e := <-quick; e.Count != n {
				t.Fatalf("got %d, want %d: a quick subscriber misses nothing", e.Count, n)
			}
		}
		got, before := 0, uint32(0)
		for before < last {
			e := <-slow
			if e.Count <= before {
				t.Fatalf("%d after %d", e.Count, before)
			}
			before, got = e.Count, got+1
		}
		if got < depth || got > depth+1 {
			t.Errorf("a slow subscriber got %d events, want about %d, the last being the newest", got, depth)
		}
	})
}

func TestSubscribersOwnTheATR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Feed
		defer f.Close()
		f.Publish(event(1))
		a := <-f.Subscribe(t.Context())
		a.ATR[0] = 0
		if b := <-f.Subscribe(t.Context()); b.ATR[0] != 0x3B {
			t.Error("one subscriber writes into another's event")
		}
	})
}

// Neither the end of the context nor Close leaves a goroutine behind, read or
// not; the bubble would not end.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Feed
		ctx, cancel := context.WithCancel(context.Background())
		f.Subscribe(ctx) // never read
		read := f.Subscribe(ctx)
		<-read
		synctest.Wait()
		cancel()
		if _, ok := <-read; ok {
			t.Error("an event after the end")
		}
		f.Subscribe(context.Background()) // never read, ended by Close only
		late := f.Subscribe(context.Background())
		<-late
		f.Close()
		if _, ok := <-late; ok {
			t.Error("an event after Close")
		}
		if _, ok := <-f.Subscribe(context.Background()); ok {
			t.Error("an event of a closed feed")
		}
		f.Publish(event(9)) // harmless
	})
}
