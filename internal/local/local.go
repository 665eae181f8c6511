// Package local lets a tool on the same machine ask a running terminal for
// its state and for evidence: JSON over HTTP on a Unix socket beside the
// terminal's file. Both sides look at who the other is by the operating
// system's word, and at the version of what they speak.
//
// It may import journal and internal/evidence. It only reads, gives out no
// key and no PIN, and must never hold the terminal up.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dianka/dianka/internal/evidence"
	"github.com/dianka/dianka/journal"
)

// Version is that of the protocol. The two sides must have the same.
const Version = 1

// Errors of asking. Nothing was changed.
var (
	ErrNone    = errors.New("local: no terminal is running there")
	ErrVersion = errors.New("local: the daemon speaks another version of the protocol than this tool")
	ErrPeer    = errors.New("local: who is at the other end is not the owner of the folder")
	ErrRefused = errors.New("local: the daemon refused")
)

// Path is where the socket of the terminal in a folder lies.
func Path(dir string) string { return filepath.Join(dir, "kioskd.sock") }

// Reader is a reader that the daemon holds, and for what.
type Reader struct {
	Role string `json:"role"` // card, psam or load_sam
	Name string `json:"name"`
}

// State is how a terminal stands.
type State struct {
	Program  string   `json:"program"`
	Terminal string   `json:"terminal"`
	Shop     string   `json:"shop"`
	Epoch    uint32   `json:"epoch"`
	Entries  uint64   `json:"entries"` // of the epoch
	Online   bool     `json:"online"`
	Standing string   `json:"standing,omitempty"` // what the utility thinks of its journal
	Unsent   uint64   `json:"unsent"`             // entries
	Oldest   int64    `json:"oldest_unsent_ms,omitempty"`
	Unknown  int      `json:"unknown"` // transactions
	Shift    uint32   `json:"shift,omitempty"`
	Busy     bool     `json:"busy"`    // value is moving now
	Stopped  bool     `json:"stopped"` // it could not write its file and serves nothing
	Copy     bool     `json:"copy_broken"`
	Card     string   `json:"card"` // state of the customer's card
	Readers  []Reader `json:"readers"`
	Warnings []string `json:"warnings"`
}

// Source answers.
type Source interface {
	State() State
	Evidence(want evidence.Wish) (journal.Bundle, error)
}

type hello struct {
	Version int `json:"version"`
}

type refusal struct {
	Error string `json:"error"`
	Kind  string `json:"kind"` // of sentinels
}

// sentinels are the errors that keep their meaning over the socket.
var sentinels = map[string]error{
	"wish": evidence.ErrWish, "nothing": evidence.ErrNothing, "no_key": evidence.ErrNoKey, "too_much": evidence.ErrTooMuch,
}

const (
	maxWaiting = 4               // questions at a time
	patience   = 5 * time.Minute // with a tool that reads slowly
)

// Listen makes the socket, which its owner and its group may use. The folder
// must be held by this process: an old socket is replaced.
func Listen(dir string) (net.Listener, error) {
	if err := os.Remove(Path(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", Path(dir))
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(Path(dir), 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &guarded{l.(*net.UnixListener)}, nil
}

// guarded hands over only those who may ask.
type guarded struct{ *net.UnixListener }

func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if allowed(c, os.Getuid(), os.Getgid()) == nil {
			return c, nil
		}
		c.Close()
	}
}

// Serve answers until ctx ends.
func Serve(ctx context.Context, l net.Listener, src Source) error {
	waiting := make(chan struct{}, maxWaiting)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, hello{Version}) })
	mux.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, src.State()) })
	mux.HandleFunc("GET /v1/evidence", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		b, err := src.Evidence(evidence.Wish{From: q.Get("from"), To: q.Get("to"), Transaction: q.Get("transaction")})
		if err != nil {
			no := refusal{Error: err.Error()}
			for kind, s := range sentinels {
				if errors.Is(err, s) {
					no.Kind = kind
				}
			}
			answer(w, http.StatusConflict, no)
			return
		}
		w.Write(b.Bytes())
	})
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case waiting <- struct{}{}:
				defer func() { <-waiting }()
				mux.ServeHTTP(w, r)
			default:
				answer(w, http.StatusServiceUnavailable, refusal{Error: "too many ask at once"})
			}
		}),
		ReadHeaderTimeout: 5 * time.Second, WriteTimeout: patience, IdleTimeout: time.Second, MaxHeaderBytes: 8 << 10,
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

// Client asks a running terminal.
type Client struct{ http http.Client }

// Dial finds the terminal that runs in a folder, and never waits long. It
// fails with ErrNone, ErrPeer or ErrVersion.
func Dial(ctx context.Context, dir string) (*Client, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	owner := ownerOf(st)
	c := &Client{http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", Path(dir))
			if err != nil {
				return nil, err
			}
			if err := allowed(conn.(*net.UnixConn), owner, -1); err != nil {
				conn.Close()
				return nil, err
			}
			return conn, nil
		},
		DisableKeepAlives: true,
	}}}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var h hello
	switch err := c.get(short, "/hello", &h); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	case err != nil:
		return nil, err
	case h.Version != Version:
		return nil, fmt.Errorf("%w: %s and %s", ErrVersion, strconv.Itoa(h.Version), strconv.Itoa(Version))
	}
	return c, nil
}

// State asks how the terminal stands.
func (c *Client) State(ctx context.Context) (s State, err error) {
	return s, c.get(ctx, "/v1/state", &s)
}

// Evidence asks for a bundle. It fails as evidence.Export does.
func (c *Client) Evidence(ctx context.Context, want evidence.Wish) (journal.Bundle, error) {
	q := url.Values{"from": {want.From}, "to": {want.To}, "transaction": {want.Transaction}}
	b, err := c.ask(ctx, "/v1/evidence?"+q.Encode(), journal.MaxBundle)
	if err != nil {
		return journal.Bundle{}, err
	}
	return journal.ParseBundle(b)
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	b, err := c.ask(ctx, path, 1<<20)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

func (c *Client) ask(ctx context.Context, path string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://kioskd"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > most:
		return nil, fmt.Errorf("%w: an answer of more than %d bytes", ErrRefused, most)
	case resp.StatusCode == http.StatusOK:
		return b, nil
	}
	var no refusal
	if json.Unmarshal(b, &no) != nil {
		no.Error = strings.TrimSpace(resp.Status)
	}
	if s, ok := sentinels[no.Kind]; ok {
		return nil, fmt.Errorf("%w (%s)", s, no.Error)
	}
	return nil, fmt.Errorf("%w: %q", ErrRefused, no.Error)
}
