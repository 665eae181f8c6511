// Package floors holds the architecture: which package may import which.
// It contains nothing but its test.
package floors

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/dianka/dianka/"

// floor gives the floor of a package by the first element of its path; a
// longer entry wins over a shorter one.
var floor = map[string]int{
	"apdu": 0, "suite": 0, "money": 0, "journal": 0, "wire": 0, "firmware-profiles": 0, "internal/canon": 0, "internal/words": 0,
	"explain": 0, "script": 1, "dump": 1,
	"purse": 1, "personalise": 1, "reader": 1, "store": 1, "simcard": 1, "receipt": 1, "printer": 1,
	"terminal": 2,
	"kiosk":    3, "uplink": 3, "utility": 3,
	"cmd": 4, "internal/config": 0, "internal/station": 4, "internal/desk": 4, "internal/bench": 4, "internal/floors": 4,
	"internal/world": 4, "internal/mutants": 0,
	"internal/cli": 4, "internal/checkup": 1, "internal/filelock": 0, "internal/fscheck": 0, "internal/terminalaudit": 2, "internal/transcript": 1,
	"internal/diskcalls": 0, "internal/powerloss": 0, "internal/realfault": 4, "internal/evidence": 2, "internal/local": 3, "internal/line": 0, "internal/pty": 0,
}

// forbidden lists what the floors alone would allow. A pattern ending in /…
// covers everything below.
var forbidden = []struct{ from, to, why string }{
	{"purse", "reader", "purse talks to a card through an interface of its own"},
	{"reader", "simcard", "the virtual reader serves anything that answers APDUs"},
	{"reader", "purse", "a reader does not know what a purse is"},
	{"store", "reader", "the file knows no reader"},
	{"store", "purse", "the file knows no card protocol"},
	{"purse", "store", "the protocol knows no disk"},
	{"purse", "simcard", "the terminal side must not know the simulator"},
	{"personalise", "reader", "making a card needs its commands only"},
	{"personalise", "simcard", "the maker of cards must not know the simulator"},
	{"personalise", "purse", "what a card holds is read back by other code than the terminal's"},
	{"printer/printertest", "printer", "the simulated printer shares no parser with the driver"},
	{"printer/printertest", "receipt", "the simulated printer reads what was printed by itself"},
	{"printer", "receipt", "the driver prints bytes"},
	{"terminal", "simcard", "the simulator is for tests and the desk"},
	{"kiosk", "utility", "terminal and utility share floor 0 only"},
	{"kiosk", "simcard", "the screens do not know the simulator"},
	{"uplink", "utility", "terminal and utility share floor 0 only"},
	{"utility", "uplink", "terminal and utility share floor 0 only"},
	{"utility", "terminal", "terminal and utility share floor 0 only"},
	{"utility", "kiosk", "terminal and utility share floor 0 only"},
	{"utility", "purse", "terminal and utility share floor 0 only"},
	{"utility", "store", "terminal and utility share floor 0 only"},
	{"utility", "reader", "terminal and utility share floor 0 only"},
	{"utility", "simcard", "the simulator is for tests and the desk"},
	{"internal/terminalaudit", "terminal", "the auditor shares no code with what it checks"},
	{"utility/audit", "utility/intake", "the auditor shares no posting code with what it checks"},
	{"utility/audit", "utility/master", "the auditor shares no posting code with what it checks"},
}

func floorOf(path string) (int, bool) {
	best, n, ok := "", 0, false
	for p, f := range floor {
		if (path == p || strings.HasPrefix(path, p+"/")) && len(p) >= len(best) {
			best, n, ok = p, f, true
		}
	}
	return n, ok
}

func within(path, pattern string) bool {
	return path == pattern || strings.HasPrefix(path, pattern+"/")
}

// sources looks at every source. A verdict that go test remembers holds until a
// file changes that the test looked at, and what go list reads does not count:
// without this a new package would pass unseen.
func sources(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return fs.SkipDir
		case filepath.Ext(path) == ".go":
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportsPointDown(t *testing.T) {
	sources(t)
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Doc,Name,TestGoFiles,GoFiles", "../../...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath, Doc, Name string
			Imports, GoFiles      []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(p.ImportPath, module)
		f, ok := floorOf(path)
		if !ok {
			t.Errorf("%s is on no floor: enter it in this test and in the design", path)
			continue
		}
		seen++
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s says nowhere what it is for", path)
		}
		for _, imp := range p.Imports {
			to, inside := strings.CutPrefix(imp, module)
			if !inside {
				continue
			}
			if g, ok := floorOf(to); ok && g > f {
				t.Errorf("%s (floor %d) imports %s (floor %d)", path, f, to, g)
			}
			for _, r := range forbidden {
				if within(path, r.from) && within(to, r.to) {
					t.Errorf("%s imports %s: %s", path, to, r.why)
				}
			}
		}
	}
	if seen < 10 {
		t.Fatalf("only %d packages were seen: the test looked at nothing", seen)
	}
}

// TestAuditorUsesNoRule holds that the auditor takes from the ledger nothing
// but the types and states in which a storage hands out rows.
func TestAuditorUsesNoRule(t *testing.T) {
	rows := map[string]bool{"Account": true, "Item": true, "Class": true, "Posting": true, "State": true, "InHeld": true, "InClaim": true, "Collected": true, "Done": true}
	files, err := filepath.Glob("../../utility/audit/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "ledger" && !rows[sel.Sel.Name] {
					t.Errorf("%s uses ledger.%s", name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}
