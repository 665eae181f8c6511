//go:build linux

package desk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dianka/dianka/terminal"
)

// TestBlockOutlastsARestart blocks a terminal, cuts the link and starts the
// terminal again: it still sells nothing. Unblocked, it does.
func TestBlockOutlastsARestart(t *testing.T) {
	base, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tempDir(t), "desk")
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	restrict(t, dir)
	r := start(t, Options{Dir: dir})
	if err := r.Utility.Service.BlockTerminal(r.ctx, TerminalID, true); err != nil {
		t.Fatal(err)
	}
	r.Station.Uplink.Probe()
	r.until("the block", func(s terminal.Status) bool { return s.Limits.TopUpMax == 0 })
	r.stop()

	r = start(t, Options{Dir: dir, Cut: true})
	r.insert("zhang")
	req := terminal.TopUpRequest{Token: token(), Who: clerk, Card: r.Number("zhang"), Amount: 20_00, Tendered: 20_00}
	if _, err := r.Station.Terminal.TopUp(r.ctx, req); !isRefusal(err, terminal.CodeStanding) {
		t.Fatalf("a blocked terminal, restarted without a link: %v", err)
	}
	if err := r.Utility.Service.BlockTerminal(r.ctx, TerminalID, false); err != nil {
		t.Fatal(err)
	}
	r.LinkUp(true)
	r.until("the limits", func(s terminal.Status) bool { return s.Limits.TopUpMax > 0 })
	if _, err := r.Station.Terminal.TopUp(r.ctx, req); err != nil {
		t.Fatal(err)
	}
}
