//go:build linux && amd64

package realfault

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/diskcalls"
)

// The tests of this package must be able to fail: here kioskd has a bug, and
// they have to find it.

func TestControlPowerCut(t *testing.T) {
	for _, bug := range []string{withoutData, withoutMeta, intentTooLate} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			x := exchanges[1]
			said, err := observe(t, x, bug).check(t, random())
			if err == nil {
				t.Fatalf("the bug was not found: %s", said)
			}
			if !strings.Contains(said, "power lost after") {
				t.Fatalf("something else was found: %s", said)
			}
			t.Log(said[:min(len(said), 300)])
		})
	}
}

func TestControlKill(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		word, call, err := disturbed(filepath.Join(tempDir(t), "desk"), exchanges[1], diskcalls.Fault{At: n}, intentTooLate)
		switch {
		case err != nil && strings.Contains(err.Error(), "the chip holds"):
			t.Logf("call %d, %s: %v", n, call, err)
			return
		case err != nil:
			t.Fatal(err)
		case call == "":
			t.Fatalf("%d calls, and the bug was not found; the last ended %s", n-1, word)
		}
	}
}
