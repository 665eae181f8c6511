// Command mutants puts deliberate bugs into the program, one at a time, and
// requires that a test catches each. It changes no file: the compiler is given
// the altered text in place of the file's. `make mutants` runs it; a name or
// several as arguments run those.
//
// It may import the standard library only.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	table := flag.Bool("table", false, "print the list as a table for docs/reliability.md and run nothing")
	flag.Parse()
	if *table {
		fmt.Print(markdown())
		return
	}
	survived, sound := 0, map[string]error{}
	for _, m := range mutants {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), m.name) {
			continue
		}
		start := time.Now()
		control, ran := sound[m.command()]
		if !ran {
			control = m.control()
			sound[m.command()] = control
		}
		verdict, text := "error", ""
		if control == nil {
			verdict, text = m.try()
		} else {
			text = control.Error()
		}
		fmt.Printf("%-24s %-9s %5.1f s  %s\n", m.name, verdict, time.Since(start).Seconds(), m.command())
		if verdict != "caught" {
			survived++
			fmt.Println(text)
		}
	}
	if survived > 0 {
		fmt.Printf("%d not caught\n", survived)
		os.Exit(1)
	}
}

func markdown() string {
	var b strings.Builder
	b.WriteString("| bug put in | what is wrong then | file | caught by |\n|---|---|---|---|\n")
	for _, m := range mutants {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | `%s` |\n", m.name, m.bug, m.file, strings.ReplaceAll(m.command(), "|", "\\|"))
	}
	return b.String()
}

func (m mutant) args() []string {
	a := []string{"-count=1", "-timeout=10m"}
	if m.run != "" {
		a = append(a, "-run", m.run)
	}
	a = append(a, m.pkg)
	if m.run == world {
		a = append(a, "-sim.seeds=1500", "-sim.most=1")
	}
	return a
}

// command is what a person would type.
func (m mutant) command() string {
	switch m.run {
	case "":
		return "go test " + m.pkg
	case world:
		return fmt.Sprintf("go test -run '%s' %s -sim.seeds=1500 -sim.most=1", m.run, m.pkg)
	}
	return fmt.Sprintf("go test -run '%s' %s", m.run, m.pkg)
}

// control runs the test without a bug: only one that passes then can tell.
func (m mutant) control() error {
	out, err := exec.Command("go", append([]string{"test"}, m.args()...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fails without the bug as well: %w\n%s", err, out[max(0, len(out)-2000):])
	}
	return nil
}

// alter gives the file's text with the bug in it.
func (m mutant) alter() (path string, text []byte, err error) {
	if path, err = filepath.Abs(m.file); err != nil {
		return "", nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	if n := strings.Count(string(b), m.old); n != 1 || m.old == "" {
		return "", nil, fmt.Errorf("%s: the line of %s stands there %d times, not once", m.file, m.name, n)
	}
	return path, []byte(strings.Replace(string(b), m.old, m.new, 1)), nil
}

// try runs the test on the bug. Caught means that the program compiled and
// that a test failed; one that did not end in time proves nothing.
func (m mutant) try() (verdict, text string) {
	path, altered, err := m.alter()
	if err != nil {
		return "stale", err.Error()
	}
	dir, err := os.MkdirTemp("", "dianka-mutant-")
	if err != nil {
		return "error", err.Error()
	}
	defer os.RemoveAll(dir)
	file, overlay := filepath.Join(dir, "file.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: file}})
	if err == nil {
		err = os.WriteFile(file, altered, 0o600)
	}
	if err == nil {
		err = os.WriteFile(overlay, list, 0o600)
	}
	if err != nil {
		return "error", err.Error()
	}
	cmd := exec.Command("go", append([]string{"test", "-overlay", overlay}, m.args()...)...)
	out, err := cmd.CombinedOutput()
	tail := string(out[max(0, len(out)-2000):])
	switch {
	case err == nil:
		return "SURVIVED", tail
	case strings.Contains(string(out), "[build failed]"), strings.Contains(string(out), "[setup failed]"), strings.Contains(string(out), "test timed out"), !strings.Contains(string(out), "FAIL"):
		return "error", tail
	}
	return "caught", ""
}
