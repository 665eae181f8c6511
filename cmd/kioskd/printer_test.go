package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/printer/printertest"
)

// TestDoctorAsksThePrinter holds what the doctor says of each state.
func TestDoctorAsksThePrinter(t *testing.T) {
	sim := printertest.New()
	addr, stop, err := sim.TCP()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ask := func(address string) checkup.Finding {
		c := defaults()
		c.Printer.Address = printerAddress(address)
		d := doctor{c: c}
		d.printer(context.Background())
		if len(d.findings) != 1 {
			t.Fatalf("%v", d.findings)
		}
		return d.findings[0]
	}
	if f := ask(""); f.State != fine {
		t.Errorf("%+v", f)
	}
	if f := ask("tcp:" + addr); f.State != fine || !strings.Contains(f.Says, "paper in") {
		t.Errorf("%+v", f)
	}
	sim.Set(func(c *printertest.Condition) { c.NearEnd = true })
	if f := ask("tcp:" + addr); f.State != warning {
		t.Errorf("%+v", f)
	}
	sim.Set(func(c *printertest.Condition) { c.CoverOpen = true })
	if f := ask("tcp:" + addr); f.State != problem || !strings.Contains(f.Says, "cover") || f.Next == "" {
		t.Errorf("%+v", f)
	}
	if f := ask("tcp:127.0.0.1:1"); f.State != problem || !strings.Contains(f.Says, "does not answer") {
		t.Errorf("%+v", f)
	}
}

// TestPrinterConfig holds that wrong settings are named before anything is
// opened.
func TestPrinterConfig(t *testing.T) {
	base := "utility: https://u:1\nreaders: {card: a, psam: b}\n"
	for text, want := range map[string]string{
		"printer: {address: 'lpt1'}":         "not an address",
		"printer: {width: 76}":               "58 or 80",
		"slips: {counter: never}":            "always",
		"slips: {lang: fr}":                  "slips.lang",
		"slips: {logo: /does/not/exist.png}": "slips.logo",
		"printer: {address: 'tcp:10.0.0.7'}": "not an address",
		"printer: {address: 'usb:/dev/lp0'}": "",
		"slips: {kiosk: always, issuer: 公司}": "",
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(base+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
