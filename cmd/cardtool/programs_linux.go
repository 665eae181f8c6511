package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// program is a process that has PC/SC open.
type program struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// pcscPrograms finds the processes, other than this one, that have the PC/SC
// client library loaded. The service itself knows who holds which card and
// tells nobody; of these few it must be one.
func pcscPrograms() []program {
	list := []program{}
	files, _ := filepath.Glob("/proc/[0-9]*/maps")
	for _, f := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile(f) // another user's process: only root may
		if err != nil || !bytes.Contains(b, []byte("/libpcsclite")) {
			continue
		}
		name, _ := os.ReadFile(filepath.Dir(f) + "/comm")
		if n := strings.TrimSpace(string(name)); n != "pcscd" {
			list = append(list, program{pid, n})
		}
	}
	return list
}
