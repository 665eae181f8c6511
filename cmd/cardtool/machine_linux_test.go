package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/checkup"
)

func TestUSBReaders(t *testing.T) {
	sys := t.TempDir()
	for path, text := range map[string]string{
		"1-1/manufacturer": "Gemalto\n", "1-1/product": "PC Twin Reader\n", "1-1/idVendor": "08e6\n", "1-1/idProduct": "3437\n", "1-1/busnum": "1\n", "1-1/devnum": "5\n", "1-1:1.0/bInterfaceClass": "0b\n",
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
	for channel, want := range map[string]string{"USB bus 1 device 5": "08e6:3437", "USB bus 2 device 5": "", "serial 1": ""} {
		if got := usbID(sys, channel); got != want {
			t.Errorf("%s: %q", channel, got)
		}
	}
}

// TestSerialPorts finds the ports of serial readers in the configuration of
// the service, and who has them open, at a real device.
func TestSerialPorts(t *testing.T) {
	_, port := terminal(t)
	defer port.Close()
	file := filepath.Join(t.TempDir(), "twin")
	text := fmt.Sprintf("# DEVICENAME /dev/ttyS7\nFRIENDLYNAME \"GemPC Twin serial\"\nDEVICENAME %s:GemPCTwin\nLIBPATH /x\nFRIENDLYNAME \"other\"\nDEVICENAME /dev/ttyNone:GemPCTwin\nDEVICENAME /dev/null:0x8C7B\n", port.Name())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	want := []checkup.SerialPort{
		{Path: port.Name(), Reader: "GemPC Twin serial", Holders: []string{strings.TrimSpace(string(comm))}},
		{Path: "/dev/ttyNone", Reader: "other", Missing: true},
	}
	if got := serialPorts([]string{file}, "/proc"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
