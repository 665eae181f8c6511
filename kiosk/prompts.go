package kiosk

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dianka/dianka/internal/words"
)

// Spoken prompts are short recordings that a shop may put into a folder, one
// for a text of the messages: zh-CN/kiosk.insert.mp3. Without one the page
// speaks with the browser's own voice if it has one for the language.

// promptTypes are the kinds of recording that are served.
var promptTypes = []string{".mp3", ".ogg", ".wav"}

// findPrompts lists the recordings in a folder by their address below
// /prompts/. A file that belongs to no text is an error, since nobody would
// ever hear it.
func findPrompts(dir string, w *messages) (map[string]string, error) {
	found := map[string]string{}
	if dir == "" {
		return found, nil
	}
	for _, lang := range words.Languages {
		list, err := os.ReadDir(filepath.Join(dir, lang))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("kiosk: spoken prompts: %w", err)
		}
		for _, e := range list {
			ext := filepath.Ext(e.Name())
			if key := strings.TrimSuffix(e.Name(), ext); !e.Type().IsRegular() || !slices.Contains(promptTypes, ext) || !w.has(key) {
				return nil, fmt.Errorf("kiosk: spoken prompts: %s/%s is no recording of a text: want <key>%s", lang, e.Name(), strings.Join(promptTypes, ", "))
			}
			found[lang+"/"+e.Name()] = filepath.Join(dir, lang, e.Name())
		}
	}
	return found, nil
}

func (s *Server) getPrompt(w http.ResponseWriter, r *http.Request) {
	// Only what was found at the start is served: no name from outside is
	// ever joined to a path.
	file, ok := s.prompts[r.PathValue("lang")+"/"+r.PathValue("file")]
	if !ok {
		s.refuse(w, r, refusal(CodeNoPage), "")
		return
	}
	http.ServeFile(w, r, file)
}
