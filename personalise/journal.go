package personalise

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/money"
)

// ErrJournal means that a journal cannot be gone on with. Nothing that it does
// not say was written to a card.
var ErrJournal = errors.New("the journal of the tray cannot be gone on with")

// What a journal says of a number.
const (
	eventBegun = "begun" // before the first command that carried it
	eventMade  = "made"  // after the card was read back
	eventWaste = "waste" // its card can only be erased or destroyed
)

// journalHead is the first line.
type journalHead struct {
	Journal     string `json:"journal"`
	Kind        Kind   `json:"kind"`
	Description string `json:"description"` // SHA-256
}

const journalVersion = "dianka-personalise-1"

type journalEntry struct {
	Number   string    `json:"number"`
	Terminal string    `json:"terminal,omitempty"`
	Event    string    `json:"event"`
	At       time.Time `json:"at"`
}

// journalFile is the file in the journal's folder, lines of JSON.
const journalFile = "cards.jsonl"

// Journal is which numbers were given to cards. A line is on disk before what
// it says can be seen on a card, or is told.
type Journal struct {
	lock  io.Closer
	f     *os.File
	state map[Number]string
	order []Number // in which they were begun
	now   func() time.Time
	write func([]byte) (int, error) // f.Write, but in tests
	sync  func() error              // f.Sync, but in tests
}

// OpenJournal opens the journal in a folder, or begins it. It holds the folder
// until Close. It fails with filelock.ErrHeld, and with ErrJournal when the
// journal belongs to another description or cannot be read.
func OpenJournal(dir string, d *Description, description []byte) (*Journal, error) {
	lock, err := filelock.Acquire(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{lock: lock, state: map[Number]string{}, now: time.Now}
	if err := j.open(filepath.Join(dir, journalFile), d, description); err != nil {
		j.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return j, nil
}

func (j *Journal) open(path string, d *Description, description []byte) error {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A line that a crash cut off said nothing yet: what follows it had not
	// been done.
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	head := journalHead{journalVersion, d.Kind, fmt.Sprintf("%x", sha256.Sum256(description))}
	for n, line := range bytes.Split(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n")) {
		if len(whole) == 0 {
			break
		}
		if n == 0 {
			var h journalHead
			switch err := json.Unmarshal(line, &h); {
			case err != nil || h.Journal != journalVersion:
				return fmt.Errorf("%w: it is no journal of ours", ErrJournal)
			case h != head:
				return fmt.Errorf("%w: it was begun with another description, or another state of this one", ErrJournal)
			}
			continue
		}
		if err := j.read(d.Kind, line); err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrJournal, n+1, err)
		}
	}
	if j.f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	j.write, j.sync = j.f.Write, j.f.Sync
	if err := j.f.Truncate(int64(len(whole))); err != nil {
		return err
	}
	if _, err := j.f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if len(whole) > 0 {
		return nil
	}
	if err := j.line(head); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && os.PathSeparator == '/' {
		return err
	}
	return nil
}

func (j *Journal) read(k Kind, line []byte) error {
	var e journalEntry
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return errors.New("it is no entry")
	}
	n, err := ParseNumber(k, e.Number)
	if err != nil {
		return err
	}
	was := j.state[n]
	switch {
	case e.Event == eventBegun && was == "":
		j.order = append(j.order, n)
	case e.Event == eventWaste && was == eventBegun:
	case e.Event == eventMade && (was == eventBegun || was == eventWaste): // erased, and made anew
	default:
		return fmt.Errorf("number %s cannot be %q after %q", n, e.Event, was)
	}
	j.state[n] = e.Event
	return nil
}

// line appends a line and waits until it is on the disk.
func (j *Journal) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := j.write(append(b, '\n')); err != nil {
		return err
	}
	return j.sync()
}

// note appends what became of a number.
func (j *Journal) note(o Order, event string) error {
	e := journalEntry{Number: o.Number.String(), Event: event, At: j.now().Truncate(time.Second)}
	if o.Terminal != (money.TerminalID{}) {
		e.Terminal = o.Terminal.String()
	}
	if err := j.line(e); err != nil {
		return fmt.Errorf("%w: %w", ErrJournal, err)
	}
	if event == eventBegun {
		j.order = append(j.order, o.Number)
	}
	j.state[o.Number] = event
	return nil
}

// Open are the numbers that were begun and not finished, oldest first.
func (j *Journal) Open() []Number {
	var list []Number
	for _, n := range j.order {
		if j.state[n] == eventBegun {
			list = append(list, n)
		}
	}
	return list
}

// Made counts the numbers whose cards are done.
func (j *Journal) Made() (n int) {
	for _, s := range j.state {
		if s == eventMade {
			n++
		}
	}
	return n
}

// Close lets go of the folder.
func (j *Journal) Close() error {
	var err error
	if j.f != nil {
		err = j.f.Close()
	}
	return errors.Join(err, j.lock.Close())
}
