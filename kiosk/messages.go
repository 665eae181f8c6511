package kiosk

import (
	"embed"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/dianka/dianka/money"
)

//go:embed messages/*.yaml
var messageFiles embed.FS

// Languages of the screens; the first is the default.
var Languages = []string{"zh-CN", "en"}

// Words is one thing said in every language, keyed by language.
type Words map[string]string

// messages holds every text: language, then dotted key.
type messages struct{ text map[string]map[string]string }

func loadMessages() (*messages, error) {
	m := &messages{text: make(map[string]map[string]string)}
	for _, lang := range Languages {
		b, err := messageFiles.ReadFile("messages/" + lang + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("kiosk: messages: %w", err)
		}
		var tree map[string]any
		if err := yaml.UnmarshalWithOptions(b, &tree, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("kiosk: messages in %s: %w", lang, err)
		}
		flat := make(map[string]string)
		if err := flatten(flat, "", tree); err != nil {
			return nil, fmt.Errorf("kiosk: messages in %s: %w", lang, err)
		}
		m.text[lang] = flat
	}
	return m, nil
}

func flatten(into map[string]string, prefix string, tree map[string]any) error {
	for k, v := range tree {
		switch v := v.(type) {
		case string:
			into[prefix+k] = v
		case map[string]any:
			if err := flatten(into, prefix+k+".", v); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s%s is not a text", prefix, k)
		}
	}
	return nil
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
	w := make(Words, len(Languages))
	r := strings.NewReplacer(fill...)
	for _, lang := range Languages {
		w[lang] = r.Replace(m.in(lang, key))
	}
	return w
}

func (m *messages) has(key string) bool {
	_, ok := m.text[Languages[0]][key]
	return ok
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

// Yuan writes an amount as screens show it: ¥1,234.56, -¥5.00.
func Yuan(f money.Fen) string {
	sign, s := "", f.String()
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 6; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + "¥" + s
}
