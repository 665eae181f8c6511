package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/reader/pcsc"
)

func hostMachine() checkup.Machine {
	return checkup.Machine{
		USB:    func() []string { return usbReaders("/sys/bus/usb/devices") },
		Daemon: pcscDaemon,
		Socket: pcsc.Socket,
	}
}

// usbReaders lists the devices with an interface of the smart card class, 0B
// (USB CCID 1.1 section 4.2).
func usbReaders(sys string) []string {
	list := []string{}
	read := func(path string) string {
		b, _ := os.ReadFile(path)
		return strings.TrimSpace(string(b))
	}
	classes, _ := filepath.Glob(filepath.Join(sys, "*:*", "bInterfaceClass"))
	for _, c := range classes {
		if read(c) != "0b" {
			continue
		}
		device, _, _ := strings.Cut(filepath.Base(filepath.Dir(c)), ":")
		dir := filepath.Join(sys, device)
		name := strings.TrimSpace(read(dir+"/manufacturer") + " " + read(dir+"/product"))
		if name == "" {
			name = "a card reader"
		}
		list = append(list, name+" ("+read(dir+"/idVendor")+":"+read(dir+"/idProduct")+")")
	}
	return list
}

// pcscDaemon looks for pcscd among the programs and the processes.
func pcscDaemon(ctx context.Context) checkup.Daemon {
	d := checkup.Daemon{Known: true}
	path, err := exec.LookPath("pcscd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/pcscd") // not in a user's path
	}
	if err == nil {
		d.Installed = true
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		out, _ := exec.CommandContext(ctx, path, "--version").CombinedOutput()
		if m := regexp.MustCompile(`version ([0-9.]*[0-9])`).FindSubmatch(out); m != nil {
			d.Version = string(m[1])
		}
	}
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, c := range comms {
		if b, err := os.ReadFile(c); err == nil && strings.TrimSpace(string(b)) == "pcscd" {
			d.Process, _ = strconv.Atoi(filepath.Base(filepath.Dir(c)))
			break
		}
	}
	return d
}
