// Package powerloss makes the folders that a power cut can leave, out of the
// calls that a real program made: whatever a finished sync covers is there,
// of everything later any part may be. Sectors of 512 bytes and pages of 4096
// arrive or not, in any order; so do new lengths; names change in order, but
// no sync of a file makes a name durable, only one of its folder.
//
// What it does not show: a disk that lies about a sync, a damaged file
// system, a sector that is half written.
//
// It may import internal/diskcalls, for what a call is, and is imported by
// tests only.
package powerloss

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dianka/dianka/internal/diskcalls"
)

// Units in which a disk writes, in bytes.
const (
	Sector = 512
	Page   = 4096
)

// Options say which images are made.
type Options struct {
	Folder string // that the calls are about, as it was called then
	Base   string // copy of that folder, from before the first call
	Target string // empty folder in which the images are made, best in memory
	Seed   uint64
	Random int // images of random parts at each position
}

// Image is a folder as a power cut may leave it.
type Image struct {
	Dir  string
	Done int    // how many of the calls had ended when the power failed
	What string // which part of what was not synced is there
}

// Enumerate makes the images of every position, one after another in the same
// folder, and hands each to check, which may write to it. It ends with check's
// first error, and says how many images there were.
func Enumerate(calls []diskcalls.Call, o Options, check func(Image) error) (int, error) {
	d, err := load(o)
	if err != nil {
		return 0, err
	}
	n := 0
	rng := rand.New(rand.NewPCG(o.Seed, 0))
	for done := 0; ; done++ {
		for _, p := range d.parts(o.Random, rng) {
			if err := d.make(o.Target, p); err != nil {
				return n, err
			}
			n++
			if err := check(Image{o.Target, done, p.what}); err != nil {
				return n, fmt.Errorf("power lost after %d of %d calls, with %s: %w", done, len(calls), p.what, err)
			}
		}
		if done == len(calls) {
			return n, nil
		}
		if err := d.apply(calls[done], done, o.Folder); err != nil {
			return n, err
		}
	}
}

// file is the content of an inode.
type file struct {
	durable content
	pending []change // since the last sync, oldest first
}

// change is a write, or a new length when data is nil.
type change struct {
	seq  int // of its call
	at   int64
	data []byte
	size int64
}

// disk is the model of the folder. Names are relative to it.
type disk struct {
	names   map[string]*file // durable
	current map[string]*file // as the program sees it
	moves   []move           // of names, since the last sync of the folder

	made map[string]*made // what lies in the target now
}

type move struct {
	seq          int
	op, from, to string
	file         *file
}

// made is a file of the target with what is in it.
type made struct {
	content content
	os      *os.File
}

func load(o Options) (*disk, error) {
	d := &disk{names: map[string]*file{}, current: map[string]*file{}, made: map[string]*made{}}
	err := filepath.WalkDir(o.Base, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() { // a socket has no content to lose
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(o.Base, p)
		d.names[name] = &file{durable: content{}.with(change{data: b})}
		d.current[name] = d.names[name]
		return err
	})
	return d, err
}

// apply lets a call happen.
func (d *disk) apply(c diskcalls.Call, seq int, folder string) error {
	if c.Errno != 0 || c.Name == diskcalls.Answer {
		return nil
	}
	rel := func(p string) (string, bool) {
		if p == folder {
			return ".", true
		}
		r, ok := strings.CutPrefix(p, folder+"/")
		return r, ok
	}
	name, ok := rel(c.Path)
	to, toOK := rel(c.To)
	if !ok && !toOK {
		return nil // elsewhere
	}
	f := d.current[name]
	switch c.Name {
	case "pwrite64", "pwritev", "write", "writev":
		if f == nil {
			return fmt.Errorf("powerloss: call %d writes to %s, which is not there", seq, c.Path)
		}
		f.pending = append(f.pending, change{seq: seq, at: c.Offset, data: c.Data})
	case "ftruncate":
		f.pending = append(f.pending, change{seq: seq, size: c.Size})
	case "fallocate":
		if c.Size > f.length() {
			f.pending = append(f.pending, change{seq: seq, size: c.Size})
		}
	case "fsync", "fdatasync":
		if name == "." {
			d.syncNames(c.Began)
		} else if f != nil {
			f.sync(c.Began)
		}
	case "open":
		if f == nil {
			f = &file{}
			d.move(move{seq, "create", "", name, f})
		} else if c.Trunc {
			f.pending = append(f.pending, change{seq: seq, size: 0})
		}
	case "rename", "link":
		if f == nil || !toOK {
			return fmt.Errorf("powerloss: call %d: %s of %s to %s leaves the folder", seq, c.Name, c.Path, c.To)
		}
		d.move(move{seq, c.Name, name, to, f})
	case "unlink":
		d.move(move{seq, "unlink", name, "", f})
	case "sync_file_range": // promises nothing
	default:
		return fmt.Errorf("powerloss: call %d, %s, is none that is understood", seq, c.Name)
	}
	return nil
}

func (d *disk) move(m move) {
	d.moves = append(d.moves, m)
	m.apply(d.current)
}

func (m move) apply(names map[string]*file) {
	switch m.op {
	case "create", "link":
		names[m.to] = m.file
	case "rename":
		names[m.to] = m.file
		delete(names, m.from)
	case "unlink":
		delete(names, m.from)
	}
}

func (d *disk) syncNames(before int) {
	for len(d.moves) > 0 && d.moves[0].seq < before {
		d.moves[0].apply(d.names)
		d.moves = d.moves[1:]
	}
}

// sync makes durable what had ended before the sync began.
func (f *file) sync(before int) {
	var rest []change
	for _, c := range f.pending {
		if c.seq < before {
			f.durable = f.durable.with(c)
		} else {
			rest = append(rest, c)
		}
	}
	f.pending = rest
}

func (f *file) length() int64 {
	n := f.durable.size
	for _, c := range f.pending {
		if c.data == nil {
			n = c.size
		} else {
			n = max(n, c.at+int64(len(c.data)))
		}
	}
	return n
}

// part chooses what of the unsynced arrives: keep says it of each unit, moves
// how many changes of names.
type part struct {
	what  string
	moves int
	unit  int64
	keep  func() bool // asked once for each unit, in order
}

// units counts the units that are not synced.
func (d *disk) units(size int64) (n int) {
	for _, f := range d.files() {
		for _, c := range f.pending {
			c.each(size, func(int64, []byte) { n++ })
		}
	}
	return n
}

// files lists every file that a name can have, in a fixed order.
func (d *disk) files() []*file {
	var out []*file
	add := func(f *file) {
		if f != nil && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	for _, m := range []map[string]*file{d.names, d.current} {
		for _, n := range sorted(m) {
			add(m[n])
		}
	}
	for _, m := range d.moves {
		add(m.file)
	}
	return out
}

func sorted[T any](m map[string]T) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// each cuts a write at the borders of units; a new length is one unit.
func (c change) each(size int64, do func(at int64, data []byte)) {
	if c.data == nil {
		do(c.size, nil)
		return
	}
	for at, rest := c.at, c.data; len(rest) > 0; {
		n := min(size-at%size, int64(len(rest)))
		do(at, rest[:n])
		at, rest = at+n, rest[n:]
	}
}

// few is how many pages are each left out, and each brought alone.
const few = 64

// parts lists what may arrive at this position.
func (d *disk) parts(random int, rng *rand.Rand) []part {
	all := part{"all", len(d.moves), Page, func() bool { return true }}
	pages := d.units(Page)
	if pages == 0 && len(d.moves) == 0 {
		return []part{all}
	}
	out := []part{{"nothing", 0, Page, func() bool { return false }}, all}
	for i := range min(pages, few) {
		for _, alone := range []bool{true, false} {
			n := -1
			word := map[bool]string{true: "only page", false: "all but page"}[alone]
			out = append(out, part{fmt.Sprintf("%s %d of %d", word, i, pages), len(d.moves), Page, func() bool {
				n++
				return (n == i) == alone
			}})
		}
	}
	for i := range random {
		unit, word := int64(Sector), "sectors"
		if i%2 == 1 {
			unit, word = Page, "pages"
		}
		chance := []float64{0.5, 0.1, 0.9}[i/2%3]
		seed := rng.Uint64()
		r := rand.New(rand.NewPCG(seed, 1))
		out = append(out, part{
			fmt.Sprintf("random %s, seed %d", word, seed), r.IntN(len(d.moves) + 1), unit,
			func() bool { return r.Float64() < chance },
		})
	}
	return out
}

// make makes the target the folder in which the part has arrived.
func (d *disk) make(target string, p part) error {
	names := map[string]*file{}
	for n, f := range d.names {
		names[n] = f
	}
	for _, m := range d.moves[:p.moves] {
		m.apply(names)
	}
	contents := map[*file]content{}
	for _, f := range d.files() {
		var arrived []change
		for _, c := range f.pending {
			c.each(p.unit, func(at int64, data []byte) {
				if p.keep() {
					arrived = append(arrived, change{at: at, data: data, size: at})
				}
			})
		}
		contents[f] = f.durable
		if len(arrived) > 0 {
			contents[f] = f.durable.with(arrived...)
		}
	}
	for n, m := range d.made {
		if names[n] == nil {
			m.os.Close()
			delete(d.made, n)
		}
	}
	if err := clean(target, names); err != nil {
		return err
	}
	for _, n := range sorted(names) {
		if err := d.put(filepath.Join(target, n), n, contents[names[n]]); err != nil {
			return err
		}
	}
	return nil
}

// clean removes what the check, or an image before, left.
func clean(target string, names map[string]*file) error {
	return filepath.WalkDir(target, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if n, err := filepath.Rel(target, p); err != nil || names[n] != nil {
			return err
		}
		return os.Remove(p)
	})
}

// untouched is the time of every file of the target, by which it is seen that
// a check wrote to it.
var untouched = time.Unix(1_000_000_000, 0)

// put makes a file have a content, writing only the pages that differ from
// what is there.
func (d *disk) put(path, name string, want content) error {
	m := d.made[name]
	if m != nil {
		a, err := m.os.Stat()
		b, err2 := os.Stat(path)
		if err != nil || err2 != nil || !os.SameFile(a, b) || !b.ModTime().Equal(untouched) {
			m.os.Close()
			m = nil
		}
	}
	if m == nil {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		os.Remove(path)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		m = &made{os: f}
		d.made[name] = m
	}
	if m.content.size != want.size {
		if err := m.os.Truncate(want.size); err != nil {
			return err
		}
	}
	for i, p := range want.pages {
		var have *[Page]byte
		if i < len(m.content.pages) {
			have = m.content.pages[i]
		}
		if p == have {
			continue
		}
		if p == nil {
			p = new([Page]byte)
		}
		at := int64(i) * Page
		if _, err := m.os.WriteAt(p[:min(Page, want.size-at)], at); err != nil {
			return err
		}
	}
	m.content = want
	return os.Chtimes(path, untouched, untouched)
}
