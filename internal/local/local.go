// Package local lets a tool on the same machine ask a running terminal for
// its state, the card in its reader and evidence: JSON over HTTP on a Unix
// socket. Both sides look at who the other is by the operating system's word,
// and at the version of what they speak. Who may ask is no person yet: calls
// that do something go on to the screens' own server, which wants one.
//
// It may import journal, internal/evidence and internal/checkup. By itself it only reads, gives
// out no key and no PIN, and must never hold the terminal up.
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
	"net/http/cookiejar"
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
const Version = 2

// Errors of asking. Nothing was changed.
var (
	ErrNone    = errors.New("local: no terminal is running there")
	ErrVersion = errors.New("local: the daemon speaks another version of the protocol than this tool")
	ErrPeer    = errors.New("local: who is at the other end is not the owner of the folder")
	ErrRefused = errors.New("local: the daemon refused")
	ErrLost    = errors.New("local: the daemon's answer did not come")
)

// Folders as the package's unit makes them. The state folder is for the
// daemon's user alone, so that a group's right to the socket is worth nothing
// in it; the other is for it and the group.
const (
	StateDir   = "/var/lib/dianka"
	RuntimeDir = "/run/dianka"
)

// Path is where the socket of the terminal in a folder lies.
func Path(dir string) string { return filepath.Join(dir, "kioskd.sock") }

// places are the folders in which to look for the socket of the terminal in a
// state folder.
func places(dir, state, runtime string) []string {
	if filepath.Clean(dir) == state {
		return []string{runtime, dir}
	}
	return []string{dir}
}

// Refusal is a no of the terminal's own, by its stable word: nothing was done.
type Refusal struct{ Code, Detail string }

// Error gives the word.
func (r *Refusal) Error() string {
	return strings.TrimSpace("the terminal says no: " + r.Code + " " + r.Detail)
}

// Unwrap gives ErrRefused.
func (r *Refusal) Unwrap() error { return ErrRefused }

// Reader is a reader that the daemon holds, and for what.
type Reader struct {
	Role  string `json:"role"` // card, psam or load_sam
	Name  string `json:"name"`
	Holds string `json:"holds"` // of card the state of the card there, else present or none
	ATR   string `json:"atr,omitempty"`
}

// SAM is a module as the terminal sees it.
type SAM struct {
	Present bool   `json:"present"`
	Serial  string `json:"serial,omitempty"`
	Problem string `json:"problem,omitempty"` // a stable word
}

// Allowance is what the load SAM may still load off line.
type Allowance struct {
	Known  bool   `json:"known"`
	Amount int64  `json:"amount_fen"`
	Count  uint32 `json:"count"`
}

// Card is the purse card in the terminal's reader, read just now.
type Card struct {
	Reader     string `json:"reader"`
	ATR        string `json:"atr"`
	Number     string `json:"number"`
	Profile    string `json:"profile"`
	Issuer     string `json:"issuer"`
	Test       bool   `json:"test"`
	AppType    byte   `json:"app_type"`
	AppVersion byte   `json:"app_version"`
	ValidFrom  string `json:"valid_from"`
	ValidTo    string `json:"valid_to"`
	Raw        string `json:"raw"` // the public information file
	Balance    int64  `json:"balance_fen"`
}

// Record is one of the card's own log.
type Record struct {
	Stamp    string `json:"stamp"`
	TxType   byte   `json:"type"`
	Counter  uint16 `json:"counter"`
	Amount   int64  `json:"amount_fen"`
	Terminal string `json:"terminal"`
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

	LastSync    time.Time `json:"last_sync,omitzero"` // none since the daemon began
	Skew        int64     `json:"skew_ms"`            // the utility's clock minus this one
	LinkError   string    `json:"link_error,omitempty"`
	Certificate time.Time `json:"certificate_end,omitzero"`
	PSAM        SAM       `json:"psam"`
	LoadSAM     SAM       `json:"load_sam"`
	HasLoadSAM  bool      `json:"load_sam_configured"`
	Allowance   Allowance `json:"allowance"`
	Profiles    string    `json:"profiles_broken,omitempty"` // why the folder of profiles is not in force as it is
}

// Source answers.
type Source interface {
	State() State
	Evidence(want evidence.Wish) (journal.Bundle, error)
	Card(ctx context.Context) (Card, error) // fails with a *Refusal
	Log(ctx context.Context) ([]Record, error)
}

type hello struct {
	Version int `json:"version"`
}

type refusal struct {
	Error string `json:"error"`
	Kind  string `json:"kind"` // of sentinels
	Code  string `json:"code,omitempty"`
}

// sentinels are the errors that keep their meaning over the socket.
var sentinels = map[string]error{
	"wish": evidence.ErrWish, "nothing": evidence.ErrNothing, "no_key": evidence.ErrNoKey, "too_much": evidence.ErrTooMuch,
}

const (
	maxWaiting = 4                // questions at a time
	patience   = 5 * time.Minute  // with a tool that reads slowly
	lastWait   = 15 * time.Second // for what is under way when the daemon ends
	cardWait   = 20 * time.Second // for a card while a transaction has it
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

// Serve answers until ctx ends, and lets what is under way then finish. Calls
// of /api/ go to service, which has to find out who the person is.
func Serve(ctx context.Context, l net.Listener, src Source, service http.Handler) error {
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
	mux.HandleFunc("GET /v1/card", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), cardWait)
		defer cancel()
		c, err := src.Card(ctx)
		tell(w, c, err)
	})
	mux.HandleFunc("GET /v1/log", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), cardWait)
		defer cancel()
		list, err := src.Log(ctx)
		tell(w, list, err)
	})
	if service != nil {
		mux.Handle("/api/", service)
	}
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
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		last, cancel := context.WithTimeout(context.Background(), lastWait)
		defer cancel()
		if s.Shutdown(last) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if !stop() {
		<-ended
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func tell(w http.ResponseWriter, v any, err error) {
	var no *Refusal
	switch {
	case errors.As(err, &no):
		answer(w, http.StatusConflict, refusal{Error: no.Detail, Code: no.Code})
	case err != nil:
		answer(w, http.StatusInternalServerError, refusal{Error: err.Error()})
	default:
		answer(w, http.StatusOK, v)
	}
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

// Client asks a running terminal.
type Client struct{ http http.Client }

// Dial finds the terminal that runs in a folder, and never waits long. That of
// StateDir may have its socket in RuntimeDir. It fails with ErrNone, ErrPeer or
// ErrVersion.
func Dial(ctx context.Context, dir string) (*Client, error) {
	var c *Client
	var err error
	for _, at := range places(dir, StateDir, RuntimeDir) {
		if c, err = dial(ctx, at); !errors.Is(err, ErrNone) {
			return c, err
		}
	}
	return c, err
}

func dial(ctx context.Context, dir string) (*Client, error) {
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
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: this user may not use its socket: %w", ErrPeer, err)
	case err != nil:
		return nil, err
	case h.Version != Version:
		return nil, fmt.Errorf("%w: %s and %s", ErrVersion, strconv.Itoa(h.Version), strconv.Itoa(Version))
	}
	return c, nil
}

// Card reads the card in the terminal's reader. It fails with a *Refusal.
func (c *Client) Card(ctx context.Context) (card Card, err error) {
	return card, c.get(ctx, "/v1/card", &card)
}

// Log reads the log of the card in the terminal's reader, newest first. It
// fails with a *Refusal.
func (c *Client) Log(ctx context.Context) (list []Record, err error) {
	return list, c.get(ctx, "/v1/log", &list)
}

// Do sends a call to the screens' own server and gives the status and the JSON
// that it answers; header are pairs. A session goes from call to call in the
// cookies. When it fails with ErrLost the call may have been carried out; with
// any other error it was not sent.
func (c *Client) Do(ctx context.Context, path string, body any, header ...string) (status int, answer []byte, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+path, strings.NewReader(string(b)))
	if err != nil {
		return 0, nil, err
	}
	req.GetBody = nil // or net/http might send it a second time by itself
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if c.http.Jar == nil {
		c.http.Jar, _ = cookiejar.New(nil) // it never fails
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if dial := new(net.OpError); errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, ErrPeer) {
			return 0, nil, fmt.Errorf("%w: %w", ErrNone, err)
		}
		return 0, nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	return resp.StatusCode, answer, nil
}

const maxAnswer = 1 << 20 // bytes

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
	b, err := c.ask(ctx, path, maxAnswer)
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
	if no.Code != "" {
		return nil, &Refusal{Code: no.Code, Detail: no.Error}
	}
	if s, ok := sentinels[no.Kind]; ok {
		return nil, fmt.Errorf("%w (%s)", s, no.Error)
	}
	return nil, fmt.Errorf("%w: %q", ErrRefused, no.Error)
}
