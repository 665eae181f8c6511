//go:build !linux

package main

import "github.com/dianka/dianka/internal/checkup"

// hostMachine knows nothing below the PC/SC service, which is the system's own
// here.
func hostMachine() checkup.Machine { return checkup.Machine{} }

// readerConfigs are files of pcscd.
func readerConfigs() []string { return nil }

// usbID is not known on this system.
func usbID(string, string) string { return "" }
