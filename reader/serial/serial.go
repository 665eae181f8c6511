// Package serial opens card readers on serial lines by the names of
// configurations and command lines, and finds out what is at the end of a
// line. Which protocol a reader speaks is the business of reader/twin.
//
// It may import reader and reader/twin. It must never open a line that pcscd
// is configured to own.
package serial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/twin"
)

// ReaderConf is the folder in which serial readers of pcscd are configured
// (reader.conf(5)).
const ReaderConf = "/etc/reader.conf.d"

// Options of a Service. The zero value is right for a terminal.
type Options struct {
	Deadline   time.Duration // of each exchange and each opening; zero: twin.DefaultDeadline
	Raw        bool          // bytes as they are
	ReaderConf string        // folder of pcscd's configuration; empty: ReaderConf
	Log        *slog.Logger  // nil: nothing is logged
}

// Service opens serial readers.
type Service struct {
	o    Options
	twin *twin.Service
}

// New makes a service, which opens nothing yet.
func New(o Options) *Service {
	if o.ReaderConf == "" {
		o.ReaderConf = ReaderConf
	}
	return &Service{o: o, twin: twin.New(twin.Options{Deadline: o.Deadline, Raw: o.Raw, Log: o.Log})}
}

// Slot opens what stands behind "serial:", as twin.ParseAddress reads it. The
// reader need not be there: the slot is lost until it is. It fails with
// reader.ErrSlotName, or with reader.ErrBusy, also when pcscd is configured to
// own the line.
func (s *Service) Slot(rest string) (reader.Slot, error) {
	name := "serial:" + rest
	a, err := twin.ParseAddress(rest)
	if err != nil {
		return nil, &reader.Error{Slot: name, Op: "open", Kind: reader.ErrSlotName, Cause: err}
	}
	if err := s.free(name, a.Device); err != nil {
		return nil, err
	}
	return s.twin.Slot(name, rest)
}

// Probe finds out what is at the end of a line. It powers no card.
func (s *Service) Probe(ctx context.Context, device string) (twin.Found, error) {
	name := "serial:" + device
	if err := s.free(name, device); err != nil {
		return twin.Found{}, err
	}
	f, err := twin.Probe(ctx, device)
	if err == nil {
		return f, nil
	}
	return f, twin.Explain(name, "probe", err)
}

// Close closes all slots.
func (s *Service) Close() error { return s.twin.Close() }

// free refuses a line that a stanza of pcscd names.
func (s *Service) free(name, device string) error {
	o, err := Owner(s.o.ReaderConf, device)
	if err != nil || o == nil { // what can't be read is not pcscd's word; the line's own lock holds in any case
		return nil
	}
	return &reader.Error{Slot: name, Op: "open", Kind: reader.ErrBusy, Cause: fmt.Errorf("%s gives the line to pcscd, as %q", o.File, o.Reader),
		Hint: fmt.Sprintf("use the reader as \"pcsc:%s\", or take its lines out of %s and restart pcscd", o.Reader, o.File)}
}

// Stanza is a reader of pcscd's configuration.
type Stanza struct {
	File   string
	Reader string // FRIENDLYNAME
	Device string // the path in DEVICENAME
}

// Owner finds the stanza below a folder that names a line, by whatever path,
// or nil.
func Owner(folder, device string) (*Stanza, error) {
	files, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		path := filepath.Join(folder, f.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			continue // a folder, or not ours to read
		}
		for _, s := range stanzas(path, string(b)) {
			if same(s.Device, device) {
				return &s, nil
			}
		}
	}
	return nil, nil
}

// stanzas reads a file: FRIENDLYNAME begins one, DEVICENAME is
// "path[:model]".
func stanzas(file, text string) (list []Stanza) {
	name := ""
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		value := strings.Trim(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l), f[0])), `"`)
		switch f[0] {
		case "FRIENDLYNAME":
			name = value
		case "DEVICENAME":
			list = append(list, Stanza{file, name, value})
		}
	}
	return list
}

// same reports whether the DEVICENAME of a stanza is the line, itself or with
// a model behind it, by this path or by another to the same device.
func same(stanza, device string) bool {
	real := func(p string) string {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			return r
		}
		return filepath.Clean(p)
	}
	if real(stanza) == real(device) {
		return true
	}
	if i := strings.LastIndexByte(stanza, ':'); i > 0 {
		return real(stanza[:i]) == real(device)
	}
	return false
}
