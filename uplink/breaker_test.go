package uplink

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breaker{}
		if b.up() {
			t.Fatal("believed up before the first hello")
		}
		b.worked()
		if b.up() {
			t.Fatal("mended by something else than a probe")
		}
		b.probed()
		for i := range breakAfterTries {
			if !b.up() {
				t.Fatalf("broken after %d tries", i)
			}
			b.failed(time.Now())
		}
		if b.up() {
			t.Fatal("not broken after three tries")
		}
		b.worked()
		if b.up() {
			t.Fatal("mended by something else than a probe")
		}

		// Two tries, then one that works: counted anew.
		b.probed()
		b.failed(time.Now())
		b.failed(time.Now())
		b.worked()
		b.failed(time.Now())
		if !b.up() {
			t.Fatal("failures were added up across a success")
		}

		// One try that hung for five seconds is enough.
		b.probed()
		start := time.Now()
		time.Sleep(breakAfterTime)
		b.failed(start)
		if b.up() {
			t.Fatal("not broken by a try that hung")
		}
	})
}
