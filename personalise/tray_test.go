package personalise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/internal/filelock"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

var errCrash = errors.New("the machine stopped")

func trayIn(t testing.TB, dir string, k Kind, orders []Order) *Tray {
	t.Helper()
	text := Example(k)
	d, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	j, err := OpenJournal(dir, d, text)
	if err != nil {
		t.Fatal(err)
	}
	tray := &Tray{Description: d, Keys: testRing(), Profiles: profiles.Builtin(), Orders: orders, Journal: j}
	if err := tray.Check(); err != nil {
		t.Fatal(err)
	}
	return tray
}

func numbers(t testing.TB, s string) []Order {
	t.Helper()
	list, err := ParseRange(KindPurse, s, money.TerminalID{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// owners are the numbers of which a card has something: in a file, or keys
// that are made of it.
func owners(t *testing.T, c *chip, list []Order) (own []string) {
	t.Helper()
	for _, o := range list {
		p := planOf(t, KindPurse, o.Number)
		c.Reset(t.Context())
		seen, err := p.d.Look(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		yes := seen.Named && seen.Number == o.Number
		if !yes && !seen.Blank && !seen.Named {
			if yes, _, err = p.Owner(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if yes {
			own = append(own, o.Number.String())
		}
	}
	return own
}

// TestCrashEverywhere stops the machine at every command to a card and before,
// in the middle of and after every line of the journal, and goes on, with the
// card that was in the reader first or with another one: no number is on two
// cards, no card gets two, and every card is done but one that lost power
// between a key file and its control key.
func TestCrashEverywhere(t *testing.T) {
	list := numbers(t, "100000000000000001-100000000000000004")
	// run makes the cards in order and crashes at a command of the first card,
	// or at a line of the journal.
	run := func(dir string, cards []*chip, line int, when string) (err error) {
		tray := trayIn(t, dir, KindPurse, list)
		defer tray.Journal.Close()
		n := 0
		tray.Journal.sync = func() error { return nil } // thousands of lines, and the crash is ours
		tray.Journal.write = func(b []byte) (int, error) {
			n++
			if n != line {
				return tray.Journal.f.Write(b)
			}
			switch when {
			case "half":
				tray.Journal.f.Write(b[:len(b)/2])
			case "after":
				tray.Journal.f.Write(b)
			}
			return 0, errCrash
		}
		for _, c := range cards {
			if _, err := tray.Next(t.Context(), c, Options{}); errors.Is(err, errCrash) || errors.Is(err, errPulled) {
				return err
			} else if err != nil && !errors.Is(err, ErrDeadEnd) {
				t.Fatalf("%v", err)
			}
		}
		return nil
	}
	type crash struct {
		at   int // command of the first card
		how  string
		line int
		when string
	}
	var crashes []crash
	for at := 1; ; at++ { // as many as there are
		c := []*chip{newChip()}
		c[0].at, c[0].how = at, "before"
		if run(t.TempDir(), c, 0, "") == nil {
			break
		}
		crashes = append(crashes, crash{at: at, how: "before"}, crash{at: at, how: "after"})
	}
	for line := 1; line <= 2; line++ {
		for _, when := range []string{"before", "half", "after"} {
			crashes = append(crashes, crash{line: line, when: when})
		}
	}
	if len(crashes) < 90 {
		t.Fatalf("only %d crashes", len(crashes))
	}
	lost := 0
	for _, x := range crashes {
		for _, first := range []string{"the same card", "another card"} {
			what := fmt.Sprintf("crash %+v, then %s", x, first)
			dir, cards := t.TempDir(), []*chip{newChip(), newChip()}
			cards[0].at, cards[0].how = x.at, x.how
			if err := run(dir, cards, x.line, x.when); !errors.Is(err, errCrash) && !errors.Is(err, errPulled) {
				t.Fatalf("%s: no crash: %v", what, err)
			}
			for _, c := range cards {
				c.putBack()
			}
			again := slices.Clone(cards)
			if first == "another card" {
				slices.Reverse(again)
			}
			if err := run(dir, again, 0, ""); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			given := map[string]int{}
			for i, c := range cards {
				own := owners(t, c, list)
				if len(own) > 1 {
					t.Errorf("%s: card %d has the numbers %v", what, i+1, own)
				}
				if len(own) == 0 {
					lost++
				}
				for _, n := range own {
					if given[n]++; given[n] > 1 {
						t.Errorf("%s: number %s is on two cards", what, n)
					}
					if f, err := planOf(t, KindPurse, numberIn(list, n)).Verify(t.Context(), c, false); err != nil || !f.Whole() {
						lost++
					}
				}
			}
			tray := trayIn(t, dir, KindPurse, list)
			if made, open := tray.Journal.Made(), len(tray.Journal.Open()); made < 1 || made+open > 3 {
				t.Errorf("%s: %d made, %d open", what, made, open)
			}
			tray.Journal.Close()
		}
	}
	t.Logf("%d crashes, %d cards that nobody can finish", 2*len(crashes), lost)
	if lost == 0 || lost > 24 {
		t.Errorf("%d cards were lost: the window between key file and control key is not what is thought", lost)
	}
}

func numberIn(list []Order, s string) Number {
	for _, o := range list {
		if o.Number.String() == s {
			return o.Number
		}
	}
	return Number{}
}

// TestTray: a card that is done is said to be so, another's is refused, the
// list ends, and a number that is given cannot be asked for by name.
func TestTray(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tray")
	list := numbers(t, "00000000000000000001-00000000000000000002")
	tray := trayIn(t, dir, KindPurse, list)
	a, b, c, whole := newChip(), newChip(), newChip(), newChip()
	if _, err := planOf(t, KindPurse, cardNo).Make(t.Context(), whole, Options{}); err != nil {
		t.Fatal(err)
	}
	want := func(c *chip, outcome Outcome, number byte, is error) {
		t.Helper()
		res, err := tray.Next(t.Context(), c, Options{Erase: true})
		if res.Outcome != outcome || !errors.Is(err, is) || number != 0 && res.Order.Number[9] != number {
			t.Errorf("%s, %s, %v", res.Outcome, res.Order.Number, err)
		}
	}
	want(a, Made, 1, nil)
	want(a, Already, 1, nil)
	want(made(t, KindPurse, cardNo), Refused, 0, ErrOther)
	if _, err := OpenJournal(dir, tray.Description, Example(KindPurse)); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("a second process: %v", err)
	}
	if res, err := tray.One(t.Context(), b, list[0], Options{Erase: true}); !errors.Is(err, ErrGiven) || res.Outcome != Refused {
		t.Errorf("%s, %v", res.Outcome, err)
	}
	if res, err := tray.One(t.Context(), made(t, KindPurse, cardNo), list[0], Options{Erase: true}); !errors.Is(err, ErrGiven) || res.Outcome != Refused {
		t.Errorf("%s, %v", res.Outcome, err)
	}
	if tray.Free() != 1 {
		t.Errorf("%d are free", tray.Free())
	}
	want(b, Made, 2, nil)
	want(c, Refused, 0, ErrNoMore)
	if _, err := c.Transmit(t.Context(), unhex(t, "00A40000023F00")); err != nil {
		t.Error(err)
	}
	tray.Journal.Close()

	// A card that nobody can finish closes its number; erased, it takes it.
	waste := trayIn(t, filepath.Join(t.TempDir(), "waste"), KindPurse, list[:1])
	d := newChip()
	for i, b := range whole.trace {
		if bytes.HasPrefix(b, []byte{0x80, 0xE0, 0, 0}) {
			d.at, d.how = i+1+2, "after" // the last is the application's; the tray looks first
		}
	}
	if res, err := waste.Next(t.Context(), d, Options{}); !errors.Is(err, errPulled) || res.Outcome != Left {
		t.Errorf("%s, %v", res.Outcome, err)
	}
	d.putBack()
	if res, err := waste.Next(t.Context(), d, Options{}); !errors.Is(err, ErrDeadEnd) || res.Outcome != Waste || len(waste.Journal.Open()) != 0 || waste.Free() != 0 {
		t.Errorf("%s, %v, open %v", res.Outcome, err, waste.Journal.Open())
	}
	if res, err := waste.One(t.Context(), d, list[0], Options{Erase: true}); err != nil || res.Outcome != Made || waste.Journal.Made() != 1 {
		t.Errorf("%s, %v", res.Outcome, err)
	}
	waste.Journal.Close()
	// Another description, a line that is none, and one that cannot follow.
	if _, err := OpenJournal(dir, tray.Description, append(Example(KindPurse), '#')); !errors.Is(err, ErrJournal) {
		t.Error(err)
	}
	file := filepath.Join(dir, journalFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"{}\n", "x\n", `{"number":"1","event":"made","at":"2026-01-02T00:00:00Z"}` + "\n", `{"number":"9","event":"made","at":"2026-01-02T00:00:00Z"}` + "\n"} {
		if err := os.WriteFile(file, append(bytes.Clone(good), line...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenJournal(dir, tray.Description, Example(KindPurse)); !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "line 6") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestLists reads ranges and lists.
func TestLists(t *testing.T) {
	if l := numbers(t, "00003310088800000009-00003310088800000011"); len(l) != 3 || l[2].Number.String() != "00003310088800000011" {
		t.Errorf("%v", l)
	}
	for _, s := range []string{"1", "2-1", "1-x", "1-200000", "00000000000000000001-01000000000000000001", "0-3"} {
		if l, err := ParseRange(KindPurse, s, money.TerminalID{}); err == nil {
			t.Errorf("%s: %d numbers", s, len(l))
		}
	}
	l, err := ParseList(KindSAM, []byte("# shelf 3\n00000000310100000001 310100001234\n\n00000000310100000002 310100001235 # spare\n"))
	if err != nil || len(l) != 2 || l[1].Terminal.String() != "310100001235" {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := ParseList(KindSAM, []byte("\n00000000310100000001 3101\n")); !errors.Is(err, config.ErrFile) || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
	if _, err := ParseList(KindPurse, []byte("1\n2 3 4\n")); !errors.Is(err, config.ErrFile) || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
}

// TestKeyFiles: keys and PINs are told apart, and no error shows one.
func TestKeyFiles(t *testing.T) {
	r, err := ParseKeys([]byte("# test keys\nload: 6A0D3C5F7E9182B4C6D8EAFC0E203142\nmf-line: FFFFFFFFFFFFFFFF\npin: 012345\nother-pin: \"12345\"\ndigits: 36363636363636361122334455667788\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"load": 16, "mf-line": 8, "pin": 3, "other-pin": 3, "digits": 16, "none": 0} {
		if r.Len(name) != n {
			t.Errorf("%s has %d bytes", name, r.Len(name))
		}
	}
	if b, err := r.Plain(suite.Derived{Name: "other-pin"}); err != nil || fmt.Sprintf("%X", b) != "12345F" {
		t.Errorf("%v", err)
	}
	for text, line := range map[string]string{
		"load: 6A0D3C5F7E9182B4C6D8EAFC0E20314":             "line 1",
		"a: 1234\nload: 6A0D3C5F7E9182B4C6D8EAFC0E203142zz": "line 2",
		"a: 1234\n\nLOAD: 6A0D3C5F7E9182B4C6D8EAFC0E203142": "line 3",
		"a: 1234\na: 6A0D3C5F7E9182B4C6D8EAFC0E203142":      "",
		"- 6A0D3C5F7E9182B4C6D8EAFC0E203142":                "line 1",
		"a: [6A0D3C5F7E9182B4C6D8EAFC0E203142]":             "line 1",
		"a: *6A0D3C5F7E9182B4C6D8EAFC0E203142":              "line 1",
		"6A0D3C5F7E9182B4C6D8EAFC0E203142":                  "line 1",
		"a: 'x\n6A0D3C5F7E9182B4C6D8EAFC0E203142":           "",
		"6A0D3C5F7E9182B4C6D8EAFC0E203142: 1234":            "line 1",
		"a: 1234\n---\nb: 6A0D3C5F7E9182B4C6D8EAFC0E203142": "line 1",
		"": "line 1",
	} {
		r, err := ParseKeys([]byte(text))
		if !errors.Is(err, config.ErrFile) || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
		if err != nil && strings.Contains(err.Error(), "6A0D3C5F") {
			t.Errorf("%q: the key is shown: %v", text, err)
		}
	}
}
