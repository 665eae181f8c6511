package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
		Serial: func() []checkup.SerialPort { return serialPorts(readerConfigs(), "/proc") },
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

// readerConfigs are the files in which serial readers are configured
// (reader.conf(5)); another folder can be named for a trial.
func readerConfigs() []string {
	list, _ := filepath.Glob(filepath.Join(serialConf(), "*"))
	return list
}

// serialPorts gives the terminal devices that the files name, and who has them
// open; of other users' programs root alone sees that.
func serialPorts(files []string, proc string) (list []checkup.SerialPort) {
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		name := filepath.Base(f)
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch key {
			case "FRIENDLYNAME":
				name = value
			case "DEVICENAME":
				path, _, _ := strings.Cut(value, ":")
				if !strings.HasPrefix(path, "/dev/tty") && !strings.HasPrefix(path, "/dev/serial/") && !strings.HasPrefix(path, "/dev/pts/") {
					continue // a USB device, or a virtual reader
				}
				p := checkup.SerialPort{Path: path, Reader: name}
				real, err := filepath.EvalSymlinks(path)
				if p.Missing = err != nil; !p.Missing {
					p.Holders = holders(real, proc)
				}
				list = append(list, p)
			}
		}
	}
	return list
}

// holders are the names of the programs that have a device open.
func holders(path, proc string) (names []string) {
	fds, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != path {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(fd)), "comm"))
		if n := strings.TrimSpace(string(comm)); n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// usbID is vendor and product of a device by what the driver says of its
// channel, "USB bus 1 device 5"; "" when it can't be told.
func usbID(sys, channel string) string {
	var bus, device int
	if n, _ := fmt.Sscanf(channel, "USB bus %d device %d", &bus, &device); n != 2 {
		return ""
	}
	list, _ := filepath.Glob(filepath.Join(sys, "*", "devnum"))
	for _, f := range list {
		dir := filepath.Dir(f)
		read := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			return strings.TrimSpace(string(b))
		}
		if read("busnum") == strconv.Itoa(bus) && read("devnum") == strconv.Itoa(device) {
			return read("idVendor") + ":" + read("idProduct")
		}
	}
	return ""
}
