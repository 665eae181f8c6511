package receipt

import (
	"embed"
	"fmt"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed words/*.yaml
var wordFiles embed.FS

// Languages of slips; the first is the default.
var Languages = []string{"zh-CN", "en"}

// texts holds every text: language, then dotted key. The files are part of the
// program, so that one that can't be read is a fault of the program; a test
// reads both.
var texts = sync.OnceValue(func() map[string]map[string]string {
	all := make(map[string]map[string]string)
	for _, lang := range Languages {
		b, err := wordFiles.ReadFile("words/" + lang + ".yaml")
		var tree map[string]any
		if err == nil {
			err = yaml.UnmarshalWithOptions(b, &tree, yaml.Strict())
		}
		if err != nil {
			panic(fmt.Sprintf("receipt: words in %s: %v", lang, err))
		}
		all[lang] = make(map[string]string)
		flatten(all[lang], "", tree)
	}
	return all
})

func flatten(into map[string]string, prefix string, tree map[string]any) {
	for k, v := range tree {
		switch v := v.(type) {
		case map[string]any:
			flatten(into, prefix+k+".", v)
		default:
			into[prefix+k] = fmt.Sprint(v)
		}
	}
}

// language picks a language that exists.
func language(want string) string {
	for _, l := range Languages {
		if strings.EqualFold(l, want) {
			return l
		}
	}
	return Languages[0]
}

// writer makes a document in one language.
type writer struct {
	Doc
	fill *strings.Replacer
}

func (w *writer) t(key string) string {
	s, ok := texts()[w.Lang][key]
	if !ok {
		return key
	}
	return w.fill.Replace(s)
}

func (w *writer) add(r Role, text string) {
	w.Lines = append(w.Lines, Line{Role: r, Text: clean(text)})
}

// fact adds a pair unless there is nothing to say.
func (w *writer) fact(key, value string) {
	if value != "" {
		w.Lines = append(w.Lines, Line{Role: RoleFact, Text: w.t(key), Value: clean(value)})
	}
}

func (w *writer) rule() { w.Lines = append(w.Lines, Line{Role: RoleRule}) }
