package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/journal"
)

// till is a terminal that loses answers.
type till struct {
	lost    func(w http.ResponseWriter) // how the answer of a money call ends
	wish    []string                    // answers to what became of it, in turn; the last for ever
	sent    int
	asked   int
	logins  int
	session bool
}

func (*till) State() local.State { return local.State{Terminal: "310100001234"} }
func (*till) Evidence(evidence.Wish) (journal.Bundle, error) {
	return journal.Bundle{}, errors.New("none")
}
func (*till) Card(context.Context) (local.Card, error) {
	return local.Card{Reader: "r", Number: "00003310088800000017", Profile: "dianka-ep", Balance: 30_00}, nil
}
func (*till) Log(context.Context) ([]local.Record, error) { return nil, nil }

func (s *till) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/api/v1/login":
		s.logins++
		s.session = true
		fmt.Fprint(w, "{}")
	case "/api/v1/logout":
	case "/api/v1/topups":
		s.sent++
		s.lost(w)
	case "/api/v1/wishes":
		var b struct{ Key string }
		if json.Unmarshal(body, &b) != nil || len(b.Key) < 20 {
			panic(string(body))
		}
		a := s.wish[min(s.asked, len(s.wish)-1)]
		s.asked++
		code := 200
		fmt.Sscan(a, &code)
		_, text, _ := strings.Cut(a, " ")
		if code == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, text)
	}
}

func receipt(overall, reason string) string {
	if reason != "" {
		reason = `,"reason":{"code":"` + reason + `","sentence":{"en":"why."}}`
	}
	return `200 {"id":"310100001234-1-9","kind":"topup","overall":"` + overall + `","sentence":{"en":"what."},"money":{"en":"where."},"next":{"en":"then."},"balance":3500,"actor":{"kind":"technician","id":"2"}` + reason + `}`
}

// A wish whose answer is lost is asked about, never sent again, and ends in one
// of three outcomes.
func TestThroughLost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no socket")
	}
	cut := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	answer := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			var code int
			fmt.Sscan(text, &code)
			_, text, _ := strings.Cut(text, " ")
			w.WriteHeader(code)
			fmt.Fprint(w, text)
		}
	}
	was := askWait
	askWait = 1500 * time.Millisecond
	defer func() { askWait = was }()
	for name, c := range map[string]struct {
		till till
		code int
		says string
	}{
		"it happened":                  {till{lost: cut, wish: []string{receipt("done", "")}}, 0, "done, transaction 310100001234-1-9 by technician 2, the card holds 35.00"},
		"it did not begin":             {till{lost: cut, wish: []string{`410 {"code":"not_begun","sentence":{"en":"x"}}`}}, 15, "not_begun"},
		"the card refused it":          {till{lost: cut, wish: []string{receipt("not_done", "card_refused")}}, 12, "not done: what. why. where."},
		"the card was pulled before":   {till{lost: cut, wish: []string{receipt("not_done", "card_removed")}}, 13, "not done"},
		"the utility said no":          {till{lost: cut, wish: []string{receipt("not_done", "host_refused")}}, 15, "not done"},
		"the terminal does not know":   {till{lost: cut, wish: []string{receipt("unknown", "")}}, 14, "outcome unknown: transaction 310100001234-1-9"},
		"the terminal is gone":         {till{lost: cut, wish: []string{"0"}}, 14, "cardtool terminal --wish"},
		"it was started again":         {till{lost: cut, wish: []string{"0", `401 {"code":"login_needed"}`, receipt("done", "")}}, 0, "done"},
		"answered that it failed":      {till{lost: answer(`500 {"code":"uncertain"}`), wish: []string{receipt("done", "")}}, 0, "done"},
		"answered with something else": {till{lost: answer(`200 <html>`), wish: []string{receipt("done", "")}}, 0, "done"},
		"refused":                      {till{lost: answer(`422 {"code":"topup_min","sentence":{"en":"too little."},"money":{"en":"None."}}`)}, 15, "too little. None."},
		"no card any more":             {till{lost: answer(`409 {"code":"no_card"}`)}, 11, "no_card"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "till")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			l, err := local.Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			till := c.till
			go func() { done <- local.Serve(ctx, l, &till, &till) }()
			defer func() { stop(); <-done }()
			var out, errs strings.Builder
			root := newRootCommand()
			root.SetIn(strings.NewReader("2468\n"))
			code := cli.Run(t.Context(), root, []string{"purse", "load", "5.00", "--through", "--state", dir, "--staff", "2", "--yes"}, &out, &errs)
			if code != c.code || !strings.Contains(out.String()+errs.String(), c.says) {
				t.Errorf("code %d\n%s%s", code, &out, &errs)
			}
			if till.sent != 1 {
				t.Errorf("the wish was sent %d times", till.sent)
			}
			if strings.Contains(out.String()+errs.String(), "2468") {
				t.Error("the PIN is shown")
			}
		})
	}
}
