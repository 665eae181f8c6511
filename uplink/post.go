package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/wire"
)

// Errors of the link. After each of them it is unknown whether the question
// reached the utility: ask again under the same name.
var (
	ErrOffline = errors.New("uplink: the link is down")
	ErrStalled = errors.New("uplink: nothing moved on the line for too long")
	ErrServer  = errors.New("uplink: the server is not the utility's")
	ErrAnswer  = errors.New("uplink: the answer is not to this question")
)

// Refusal is an answer of the utility's door other than 200. It is not
// signed, so nothing about money may rest on it.
type Refusal struct {
	Status     int           // HTTP status
	Word       string        // as in utility/terminals: "refused", "busy", …
	RequestID  string        // under which the utility's log has it
	RetryAfter time.Duration // 0 when it did not say
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("uplink: the utility answered %d %s (request %s)", r.Status, r.Word, r.RequestID)
}

// dead reports whether err speaks against the link as such, not against this
// one question.
func dead(err error) bool {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Status >= 500 || r.Status == http.StatusUnauthorized
	}
	return err != nil && !errors.Is(err, context.Canceled)
}

const (
	dialWait      = 5 * time.Second
	helloStall    = 5 * time.Second
	batchStall    = 15 * time.Second
	questionWait  = 10 * time.Second
	maxSmall      = 64 << 10
	maxHelloBytes = wire.MaxSection + (1 << 20)
	maxWord       = 64
	pingAfter     = 15 * time.Second // a silent line is asked whether it lives
	pingWait      = 5 * time.Second
)

// line is one way to the utility: its address and a pool of connections under
// one certificate.
type line struct {
	base   *url.URL
	client *http.Client
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("uplink: %q is not the utility's address: https://host:port", s)
	}
	return u, nil
}

func newLine(base *url.URL, cfg *tls.Config, dial func(context.Context, string, string) (net.Conn, error)) *line {
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	return &line{base: base, client: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, dialWait)
				defer cancel()
				return dial(ctx, network, addr)
			},
			TLSClientConfig:     cfg,
			TLSHandshakeTimeout: dialWait,
			ForceAttemptHTTP2:   true,
			DisableCompression:  true,
			MaxIdleConns:        2,
			IdleConnTimeout:     2 * time.Minute,
			HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// tlsConfig trusts servers of one CA, whatever address was dialled and
// whatever the terminal's clock says: a clock that lost its battery must not
// cut a terminal off, the CA certifies no server but the utility's, and every
// answer that matters carries the utility's own signature.
func tlsConfig(trust func(chain []*x509.Certificate) (*x509.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         wire.ServerName,
		InsecureSkipVerify: true, // VerifyConnection does it, without the clock
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return ErrServer
			}
			ca, err := trust(s.PeerCertificates)
			if err != nil {
				return err
			}
			roots := x509.NewCertPool()
			roots.AddCert(ca)
			leaf := s.PeerCertificates[0]
			if _, err := leaf.Verify(x509.VerifyOptions{
				Roots: roots, DNSName: wire.ServerName, CurrentTime: leaf.NotBefore,
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			}); err != nil {
				return fmt.Errorf("%w: %w", ErrServer, err)
			}
			return nil
		},
	}
}

// watchdog ends a request on which nothing moves.
type watchdog struct {
	timer *time.Timer
	wait  time.Duration
}

func (w *watchdog) moved() { w.timer.Reset(w.wait) }

type movingBody struct {
	io.Reader
	dog *watchdog
}

func (b movingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.dog.moved()
	}
	return n, err
}

// post sends one message and gives the sealed answer, unread. It repeats
// nothing that may have been sent, except what the transport knows to be
// safe. Stall is how long the line may stand still.
func (l *line) post(ctx context.Context, path string, q canon.Record, max int64, stall time.Duration) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := &watchdog{wait: stall, timer: time.AfterFunc(stall, func() { cancel(ErrStalled) })}
	defer dog.timer.Stop()

	body := wire.Marshal(q)
	open := func() (io.ReadCloser, error) { return io.NopCloser(movingBody{bytes.NewReader(body), dog}), nil }
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	req.Body, _ = open()
	req.GetBody, req.ContentLength = open, int64(len(body))
	req.Header.Set("Content-Type", wire.ContentType)
	// Every message of the protocol may be repeated; an empty value tells the
	// transport so and is not sent.
	req.Header["Idempotency-Key"] = []string{}
	stalled := func(err error) error {
		if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
			return cause
		}
		return fmt.Errorf("uplink: %s: %w", path, err)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, stalled(err)
	}
	defer resp.Body.Close()
	dog.moved()
	if resp.StatusCode != http.StatusOK {
		word, _ := io.ReadAll(io.LimitReader(resp.Body, maxWord))
		r := &Refusal{Status: resp.StatusCode, Word: printable(word), RequestID: printable([]byte(resp.Header.Get("X-Request-Id")))}
		if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
			r.RetryAfter = time.Duration(s) * time.Second
		}
		return nil, r
	}
	if resp.ContentLength > max {
		return nil, fmt.Errorf("%w: %d bytes", wire.ErrMessage, resp.ContentLength)
	}
	b, err := io.ReadAll(io.LimitReader(movingBody{resp.Body, dog}, max+1))
	if err != nil {
		return nil, stalled(err)
	}
	if int64(len(b)) > max {
		return nil, fmt.Errorf("%w: more than %d bytes", wire.ErrMessage, max)
	}
	return b, nil
}

// printable keeps what an unsigned stranger may put into our log.
func printable(b []byte) string {
	out := make([]byte, 0, min(len(b), maxWord))
	for _, c := range b[:min(len(b), maxWord)] {
		if c > ' ' && c < 0x7F {
			out = append(out, c)
		}
	}
	return string(out)
}
