package receipt

import (
	"embed"
	"strings"
	"sync"

	"github.com/dianka/dianka/internal/words"
)

//go:embed words/*.yaml
var wordFiles embed.FS

// texts holds every text: language, then dotted key. The files are part of the
// program, so that one that can't be read is a fault of the program; a test
// reads both.
var texts = sync.OnceValue(func() map[string]map[string]string {
	all, err := words.Load(wordFiles, "words")
	if err != nil {
		panic("receipt: " + err.Error())
	}
	return all
})

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
