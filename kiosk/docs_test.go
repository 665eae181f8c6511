package kiosk

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
)

var update = flag.Bool("update", false, "write the answers in docs/api.md anew")

// The examples of docs/api.md, run in their order, answer what the page says;
// and every endpoint has one.
func TestAPIExamples(t *testing.T) {
	pins()
	synctest.Test(t, apiExamples) // no time passes, so that every answer is the same each time
}

func apiExamples(t *testing.T) {
	const path = "../docs/api.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	sim, p, end := plug()
	defer end()
	s := newServer(t, f, func(c *Config) {
		c.Desk, c.Staff, c.Printer = paperDesk{fakeDesk{f}, sim, p}, c.Staff[:1], p
		c.Slips.Counter = SlipAsk // the slips of these examples are asked for
	})
	b := open(t, s)
	cards := map[string]string{ // which card lies in the reader for a call
		"POST /api/v1/sales": "new", "POST /api/v1/redemptions": "wang", "POST /api/v1/topups": "wang",
		"POST /api/v1/claims/310100009999-1-9/payout": "wang", "GET /api/v1/card": "wang", "POST /api/v1/card/empty": "wang", "POST /api/v1/transactions/310100001234-1-10/void": "wang",
	}
	covered := map[string]bool{}
	block := regexp.MustCompile("(?s)```http\n(GET|POST) (\\S+)\n(.*?)```\n\n```(json|text) (\\d+)\n(.*?)```")
	n := 0
	out := block.ReplaceAllFunc(doc, func(m []byte) []byte {
		n++
		p := block.FindStringSubmatch(string(m))
		method, target, rest, kind, status, want := p[1], p[2], p[3], p[4], p[5], p[6]
		covered[method+" "+strings.Split(target, "?")[0]] = true
		if id := cards[method+" "+target]; id != "" {
			if err := (fakeDesk{f}).Swap(id); err != nil {
				t.Fatal(err)
			}
		}
		head, body, _ := strings.Cut(rest, "\n\n")
		if strings.HasPrefix(rest, "\n") {
			head, body = "", rest
		}
		var header []string
		for _, l := range strings.Split(strings.TrimSpace(head), "\n") {
			if k, v, ok := strings.Cut(l, ": "); ok {
				header = append(header, k, v)
			}
		}
		if kind == "text" && !strings.HasPrefix(target, "/api/v1/events") {
			if w := b.raw(method, target, ""); w.Header().Get("Content-Type") != "image/svg+xml" || !strings.HasPrefix(w.Body.String(), strings.TrimSuffix(want, "…\n")) {
				t.Errorf("%s answers %d\n%.300s", target, w.Code, w.Body)
			}
			return m
		}
		if kind == "text" {
			eventsExample(t, s, b, target, want)
			return m
		}
		w := b.raw(method, target, strings.TrimSpace(body), header...)
		var got bytes.Buffer
		if err := json.Indent(&got, bytes.TrimSpace(w.Body.Bytes()), "", "  "); err != nil {
			t.Fatalf("%s %s: %v", method, target, err)
		}
		got.WriteByte('\n')
		if *update {
			return []byte(strings.TrimSuffix(string(m), want+"```") + got.String() + "```")
		}
		if http.StatusText(w.Code) == "" || status != strings.TrimSpace(strings.Fields(w.Result().Status)[0]) || got.String() != want {
			t.Errorf("%s %s answers %d\n%s\nthe page says %s\n%s", method, target, w.Code, got.String(), status, want)
		}
		return m
	})
	if *update {
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	routes := regexp.MustCompile(`mux\.HandleFunc\("((?:GET|POST) /(?:api|sim)[^"]*)"`)
	for _, file := range []string{"api.go", "staffadmin.go", "shiftreport.go", "stock.go", "sim.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes.FindAllStringSubmatch(string(src), -1) {
			pattern := regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(r[1], `[^/]+`) + "$")
			found := false
			for c := range covered {
				found = found || pattern.MatchString(c)
			}
			if !found {
				t.Errorf("docs/api.md has no example of %s", r[1])
			}
		}
	}
	if n < 27 {
		t.Errorf("only %d examples found", n)
	}
}

func eventsExample(t *testing.T, s *Server, b *browser, target, want string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &first{ResponseRecorder: httptest.NewRecorder(), cancel: cancel}
	r := httptest.NewRequest("GET", target, nil).WithContext(ctx)
	r.Host = "localhost"
	for k, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	s.ServeHTTP(w, r)
	event, _, _ := strings.Cut(want, "data:")
	if got := w.Body.String(); !strings.HasPrefix(got, event+`data: {"now":`) || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("events answer %.80s", got)
	}
}

// first ends a stream after what is flushed first.
type first struct {
	*httptest.ResponseRecorder
	cancel context.CancelFunc
}

func (f *first) Flush() { f.cancel() }
