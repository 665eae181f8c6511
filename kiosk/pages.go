package kiosk

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/dianka/dianka/internal/words"
)

//go:embed pages/*.html static/*
var files embed.FS

// page is what a template sees.
type page struct {
	Lang      string
	Screen    string // "home", "clerk", "kiosk", "desk"
	Shop      string
	Simulated bool
	Counter   bool        // the clerk's page is offered
	Kiosk     bool        // the customer's is
	Prompts   string      // recordings, separated by spaces
	Messages  template.JS // every text in every language, as JSON
	t         func(string) string
}

// T gives a text in the page's language.
func (p page) T(key string) string { return p.t(key) }

// served reports whether the words of a key come with answers only, so that
// pages need not carry them.
func served(key string) bool {
	first, rest, _ := strings.Cut(key, ".")
	if first == "refusal" { // but for those that the screens say by themselves
		code, _, _ := strings.Cut(rest, ".")
		return !slices.Contains([]string{"stopped", "busy", "not_offered", "card_changed", "card_not_activated", "account_mismatch", "balance_low", "topup_max", "redeem_max"}, code)
	}
	return slices.Contains([]string{"outcome", "reason", "utility", "printer", "slip_state", "difference"}, first)
}

func (s *Server) pages(mux *http.ServeMux) error {
	t, err := template.ParseFS(files, "pages/*.html")
	if err != nil {
		return fmt.Errorf("kiosk: pages: %w", err)
	}
	texts := make(map[string]map[string]string)
	for _, lang := range words.Languages {
		texts[lang] = maps.Clone(s.words.text[lang])
		maps.DeleteFunc(texts[lang], func(key, _ string) bool { return served(key) })
	}
	all, err := json.Marshal(texts) // escapes <, > and &, so that it can stand in a script element
	if err != nil {
		return fmt.Errorf("kiosk: messages: %w", err)
	}
	prompts := strings.Join(slices.Sorted(maps.Keys(s.prompts)), " ")
	mux.HandleFunc("GET /prompts/{lang}/{file}", s.getPrompt)
	show := func(screen string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			lang, file, status := words.Language(r.URL.Query().Get("lang")), screen, http.StatusOK
			screen := screen
			switch {
			case !s.cfg.Mode.offers(screen):
				screen, file, status = "home", "away", http.StatusNotFound
			case screen == "kiosk":
				s.kioskSession(w, r)
			}
			var b bytes.Buffer
			err := t.ExecuteTemplate(&b, file+".html", page{
				Counter: s.cfg.Mode.offers("clerk"), Kiosk: s.cfg.Mode.offers("kiosk"), Prompts: prompts,
				Lang: lang, Screen: screen, Shop: s.cfg.Shop, Simulated: s.cfg.Desk != nil,
				Messages: template.JS(all), t: func(key string) string { return s.words.in(lang, key) },
			})
			if err != nil {
				s.refuse(w, r, err, CodeInternal)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			w.Write(b.Bytes())
		}
	}
	mux.HandleFunc("GET /{$}", show("home"))
	mux.HandleFunc("GET /clerk", show("clerk"))
	mux.HandleFunc("GET /kiosk", show("kiosk"))
	if s.cfg.Desk != nil {
		mux.HandleFunc("GET /desk", show("desk"))
	}
	static, err := fs.Sub(files, "static")
	if err != nil {
		return fmt.Errorf("kiosk: pages: %w", err)
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, refusal(CodeNoPage), "") })
	return nil
}

// kioskSession gives the customer's page a session of its own; it may redeem
// and nothing else. A page of another site that loads ours as a picture or a
// frame gets none: some dozens of them would push out the session of the
// screen at which a customer stands.
func (s *Server) kioskSession(w http.ResponseWriter, r *http.Request) {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return
	}
	q := r.Clone(r.Context())
	q.Header.Set("Dianka-Screen", "kiosk")
	if s.door.caller(q, true).s == nil {
		id, _ := s.door.open(nil, false)
		http.SetCookie(w, cookie(kioskCookie, id))
	}
}
