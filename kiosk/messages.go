package kiosk

import (
	"embed"
	"fmt"
	"strings"

	"github.com/dianka/dianka/internal/words"
)

//go:embed messages/*.yaml
var messageFiles embed.FS

// Words is one thing said in every language, keyed by language.
type Words map[string]string

// messages holds every text: language, then dotted key.
type messages struct{ text map[string]map[string]string }

func loadMessages() (*messages, error) {
	text, err := words.Load(messageFiles, "messages")
	if err != nil {
		return nil, fmt.Errorf("kiosk: %w", err)
	}
	return &messages{text}, nil
}

// in gives the text of a key in one language; a key without a text shows
// itself, and a test keeps that from happening.
func (m *messages) in(lang, key string) string {
	if t, ok := m.text[lang][key]; ok {
		return t
	}
	return key
}

// words gives a key in every language with its {name} marks filled.
func (m *messages) words(key string, fill ...string) Words {
	w := make(Words, len(words.Languages))
	r := strings.NewReplacer(fill...)
	for _, lang := range words.Languages {
		w[lang] = r.Replace(m.in(lang, key))
	}
	return w
}

func (m *messages) has(key string) bool {
	_, ok := m.text[words.Languages[0]][key]
	return ok
}
