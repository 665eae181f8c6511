package kiosk

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dianka/dianka/internal/words"
	"github.com/dianka/dianka/journal"
)

// constants lists the values of the string constants of a type in a Go file,
// or with values=false the names of its constants. New codes are found by
// themselves, so that none comes without words.
func constants(t *testing.T, file, typ string) (names, values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			name := ""
			switch e := v.Type.(type) {
			case *ast.Ident:
				name = e.Name
			case *ast.SelectorExpr:
				name = e.Sel.Name
			}
			if name != typ {
				continue
			}
			for i, n := range v.Names {
				names = append(names, n.Name)
				if b, ok := v.Values[i].(*ast.BasicLit); ok && b.Kind == token.STRING {
					s, _ := strconv.Unquote(b.Value)
					values = append(values, s)
				}
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s has no constants of type %s any more", file, typ)
	}
	return names, values
}

func snake(name string) string {
	return strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])|([A-Z])([A-Z][a-z])`).ReplaceAllString(name, "${1}${3}_${2}${4}"))
}

func TestMessagesSayTheSameThings(t *testing.T) {
	m := must(loadMessages())
	first := slices.Sorted(maps.Keys(m.text[words.Languages[0]]))
	mark := regexp.MustCompile(`\{\w+\}`)
	for _, lang := range words.Languages[1:] {
		if other := slices.Sorted(maps.Keys(m.text[lang])); !slices.Equal(first, other) {
			for _, k := range first {
				if !slices.Contains(other, k) {
					t.Errorf("%s lacks %s", lang, k)
				}
			}
			for _, k := range other {
				if !slices.Contains(first, k) {
					t.Errorf("%s lacks %s", words.Languages[0], k)
				}
			}
		}
		for _, k := range first {
			a, b := mark.FindAllString(m.text[words.Languages[0]][k], -1), mark.FindAllString(m.text[lang][k], -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(slices.Compact(a), slices.Compact(b)) && !strings.HasPrefix(k, "outcome.") {
				t.Errorf("%s has the marks %v in one language and %v in the other", k, a, b)
			}
		}
	}
	for lang, text := range m.text {
		for k, v := range text {
			if strings.TrimSpace(v) == "" && !strings.HasPrefix(k, "card.hint.") {
				t.Errorf("%s: %s is empty", lang, k)
			}
		}
	}
}

// Every code, reason and outcome says what happened, what became of the money
// and what to do next, in every language (DESIGN law 10).
func TestEveryEndHasWords(t *testing.T) {
	m := must(loadMessages())
	want := func(key string, parts ...string) {
		t.Helper()
		for _, lang := range words.Languages {
			for _, p := range parts {
				if m.text[lang][key+p] == "" {
					t.Errorf("%s: no words for %s%s", lang, key, p)
				}
			}
		}
	}
	three := []string{".sentence", ".money", ".next"}
	for _, file := range []string{"../terminal/refusal.go", "refusal.go"} {
		_, codes := constants(t, file, "Code")
		for _, c := range codes {
			want("refusal."+c, three...)
		}
	}
	names, _ := constants(t, "../journal/entries.go", "Reason")
	for _, n := range names {
		want("reason."+snake(strings.TrimPrefix(n, "Reason")), three...)
	}
	if len(names) != len(reasons) {
		t.Errorf("%d reasons in the journal, %d have a word here", len(names), len(reasons))
	}
	for _, word := range reasons {
		want("reason."+word, three...)
	}
	_, codes := constants(t, "../wire/wire.go", "Code")
	for _, c := range codes {
		if c != "" {
			want("utility." + c)
			want("utility."+c, "")
		}
	}
	kindNames, _ := constants(t, "../journal/transaction.go", "Kind")
	if len(kindNames) != len(kinds) {
		t.Errorf("%d kinds in the journal, %d have a word here", len(kindNames), len(kinds))
	}
	outcomes := []string{"sale_load"}
	for _, k := range kinds {
		outcomes = append(outcomes, k)
		want("kind."+k, "")
	}
	for _, k := range outcomes {
		for _, r := range []journal.Result{journal.Done, journal.NotDone, journal.Pending, journal.Unknown} {
			want("outcome."+k+"."+results[r], three...)
		}
		want("outcome."+k+".not_done_returned", three...)
	}
	want("outcome.sale_load.not_begun", three...)
	for _, r := range results {
		want("verdict."+r, "", "_kiosk")
	}
	for _, a := range actors {
		want("actor."+a, "")
	}
}

// Every text that a page or a script asks for exists.
func TestPagesUseTextsThatExist(t *testing.T) {
	m := must(loadMessages())
	asks := regexp.MustCompile(`data-t="([^"]+)"|\.T "([^"]+)"|\bt\("([^"]+)"|both\("([^"]+)"\)|\? "([a-z_]+\.[a-z_.]+)" : "([a-z_]+\.[a-z_.]+)"|\["([a-z]+\.[a-z_]+)",|advice\("([^"]+)"|"(refusal\.[a-z_]+)"|` + "`(refusal\\.[a-z_]+)\\.\\$" + `\{`)
	pair := regexp.MustCompile(`data-t="([^"]+)"[^>]*>(?:\{\{\.T "([^"]+)"\}\})?`)
	n := 0
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !(strings.HasSuffix(path, ".html") || strings.HasSuffix(path, ".js")) {
			return err
		}
		b, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		for _, hit := range asks.FindAllStringSubmatch(string(b), -1) {
			for _, key := range hit[1:] {
				if key == "" {
					continue
				}
				n++
				if m.has(key + ".sentence") {
					key += ".sentence"
				}
				if !m.has(key) {
					t.Errorf("%s asks for %q, which has no text", path, key)
				} else if served(key) {
					t.Errorf("%s asks for %q, which no page carries", path, key)
				}
			}
		}
		for _, hit := range pair.FindAllStringSubmatch(string(b), -1) {
			if hit[1] != hit[2] {
				t.Errorf("%s: an element is %q for the script and %q for the template", path, hit[1], hit[2])
			}
		}
		return nil
	})
	if err != nil || n < 150 {
		t.Fatalf("looked at %d texts, %v", n, err)
	}
}
