// Package words reads what is said to people: one YAML file for each
// language, nested keys, texts at the ends.
//
// It may import the YAML library and nothing of this module. It knows no key
// and says nothing itself; whoever uses it embeds the files.
package words

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/goccy/go-yaml"
)

// Languages in which everything is said; the first is the default.
var Languages = []string{"zh-CN", "en"}

// Language picks one of Languages, whatever its case; the default for a
// language that is not one of them.
func Language(want string) string {
	for _, l := range Languages {
		if strings.EqualFold(l, want) {
			return l
		}
	}
	return Languages[0]
}

// Load reads <dir>/<language>.yaml of every language: texts by language and
// then by dotted key. It fails for a file that is not there, a key that stands
// twice and an end that is not a text.
func Load(files fs.FS, dir string) (map[string]map[string]string, error) {
	all := make(map[string]map[string]string, len(Languages))
	for _, lang := range Languages {
		b, err := fs.ReadFile(files, path.Join(dir, lang+".yaml"))
		if err != nil {
			return nil, fmt.Errorf("words: %w", err)
		}
		var tree map[string]any
		if err := yaml.UnmarshalWithOptions(b, &tree, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("words in %s: %w", lang, err)
		}
		all[lang] = make(map[string]string)
		if err := flatten(all[lang], "", tree); err != nil {
			return nil, fmt.Errorf("words in %s: %w", lang, err)
		}
	}
	return all, nil
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
