//go:build linux && cgo

package desk

import (
	"errors"
	"os"
	"testing"

	"github.com/dianka/dianka/reader/vpcd/private"
)

// TestTourPCSC is the tour behind a real pcscd with the virtual reader.
func TestTourPCSC(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"T=1", Options{PCSC: true}},
		{"T=0", Options{PCSC: true, T0: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			needPCSC(t)
			c.o.PCSCDir = pcscDir
			tour(t, c.o)
		})
	}
}

// needPCSC skips the test where no private pcscd is possible.
func needPCSC(t *testing.T) {
	t.Helper()
	probe, err := private.Start(t.Context(), pcscDir)
	if errors.Is(err, private.ErrMissing) && os.Getenv("DIANKA_REQUIRE_PCSCD") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	probe.Stop()
}

// TestBrowserFlowsPCSC: with cards behind a real pcscd.
func TestBrowserFlowsPCSC(t *testing.T) {
	t.Parallel()
	needPCSC(t)
	flows(t, Options{PCSC: true, PCSCDir: pcscDir}, "localhost").audited()
}
