package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUSBReaders(t *testing.T) {
	sys := t.TempDir()
	for path, text := range map[string]string{
		"1-1/manufacturer": "Gemalto\n", "1-1/product": "PC Twin Reader\n", "1-1/idVendor": "08e6\n", "1-1/idProduct": "3437\n", "1-1:1.0/bInterfaceClass": "0b\n",
		"1-2/product": "Keyboard\n", "1-2:1.0/bInterfaceClass": "03\n",
		"1-3/idVendor": "072f\n", "1-3/idProduct": "90cc\n", "1-3:1.0/bInterfaceClass": "0b\n",
	} {
		path = filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := usbReaders(sys)
	if len(got) != 2 || got[0] != "Gemalto PC Twin Reader (08e6:3437)" || got[1] != "a card reader (072f:90cc)" {
		t.Errorf("%q", got)
	}
}
