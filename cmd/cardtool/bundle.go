package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/dianka/dianka/explain"
	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/internal/cli"
)

// What is taken out of everything that goes to support: numbers of cards and
// accounts but for their last four digits, and what could be a key. Terminal
// numbers, which have 12 digits and stand behind that word, stay, and so do
// answers to reset.
var (
	longNumber = regexp.MustCompile(`(?i)(terminal[" :=]+)?\b[0-9]{8,}\b`)
	longHex    = regexp.MustCompile(`\b[0-9A-Fa-f]{32,}\b`)
	keyWord    = regexp.MustCompile(`(?i)((?:\bkey|\bsecret|\btoken|\bpin_hash|密钥)[^0-9A-Za-z\n]{1,3})([^\s"',;]{6,})`)
)

// forSupport redacts a text line by line.
func forSupport(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		s := explain.Safe(line)
		s = longHex.ReplaceAllStringFunc(s, func(h string) string {
			if strings.HasPrefix(h, "3B") || strings.HasPrefix(h, "3F") {
				return h
			}
			return fmt.Sprintf("[%d hex digits]", len(h))
		})
		s = keyWord.ReplaceAllString(s, "$1**")
		s = longNumber.ReplaceAllStringFunc(s, func(n string) string {
			m := longNumber.FindStringSubmatch(n)
			if digits := strings.TrimPrefix(n, m[1]); m[1] != "" && len(digits) == 12 {
				return n
			}
			return m[1] + "****" + n[len(n)-4:]
		})
		out.WriteString(indent + s + "\n")
	}
	return out.String()
}

// writeBundle makes the archive for support. It never replaces a file.
func (t *tool) writeBundle(ctx context.Context, name string, list []checkup.Finding) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", cli.ErrUsage, err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(name)
		}
	}()
	z := zip.NewWriter(f)
	put := func(name, text string) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Now()})
		if err != nil {
			return err
		}
		_, err = w.Write([]byte(forSupport(text)))
		return err
	}
	var report bytes.Buffer
	checkup.Write(&report, list)
	asJSON, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	files := map[string]string{"doctor.txt": report.String(), "doctor.json": string(asJSON), "machine.txt": machineText()}
	order := []string{"doctor.txt", "doctor.json", "machine.txt"}
	for _, c := range readerConfigs() {
		b, err := os.ReadFile(c)
		if err != nil {
			b = []byte(err.Error())
		}
		n := "reader.conf.d/" + filepath.Base(c)
		files[n], order = string(b), append(order, n)
	}
	if log := serviceLogs(ctx); log != "" {
		files["log.txt"], order = log, append(order, "log.txt")
	}
	for _, n := range order {
		if err := put(n, files[n]); err != nil {
			return err
		}
	}
	return z.Close()
}

func machineText() string {
	s := fmt.Sprintf("cardtool %s, %s %s/%s, %s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, time.Now().Format(time.RFC3339))
	for _, p := range []string{"/etc/os-release", "/proc/version", "/proc/uptime"} {
		if b, err := os.ReadFile(p); err == nil {
			s += p + ":\n" + strings.TrimRight(string(b), "\n") + "\n"
		}
	}
	return s
}

// serviceLogs are the last lines of the services, where the system keeps them.
func serviceLogs(ctx context.Context) string {
	path, err := exec.LookPath("journalctl")
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-u", "pcscd", "-u", "kioskd", "-n", "500", "--no-pager").CombinedOutput()
	if err != nil {
		out = append(out, []byte("\n"+err.Error())...)
	}
	return string(out)
}
