package world

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"

	"github.com/dianka/dianka/wire"
)

// link is the line between a terminal and the utility.
type link struct {
	st   *station
	up   bool
	plan []string        // faults of the next messages, first first
	late []*http.Request // they arrive after the next message

	at        string // meanwhile happens while a message to this path is on its way, once
	meanwhile func()
}

// Faults of a message.
const (
	loseRequest  = "request lost"
	loseAnswer   = "answer lost"
	twice        = "request arrives twice"
	lateCopy     = "request arrives again later"
	alterRequest = "request altered"
	alterAnswer  = "answer altered"
	halfOpen     = "line half open"
	cutInside    = "line cut in the middle"
	tooSlow      = "answer after the deadline"
	overtaken    = "request arrives after a later one"
)

var linkFaults = []string{loseRequest, loseAnswer, twice, lateCopy, alterRequest, alterAnswer, halfOpen, cutInside, tooSlow, overtaken}

var errLine = errors.New("world: the line is cut")

// line is the client's transport: what it is given reaches the utility's door
// without a network between.
type line struct {
	s    *station
	base *http.Transport
}

// CloseIdleConnections has nothing to close.
func (l *line) CloseIdleConnections() {}

// atCounter reports whether a message asks for a decision that no card proves.
func atCounter(r *http.Request) bool {
	return r.URL.Path == wire.PathBills || r.URL.Path == wire.PathCollects || r.URL.Path == wire.PathCards
}

// RoundTrip implements http.RoundTripper.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	s := l.s
	s.effect()
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	if !s.link.up {
		return nil, errLine
	}
	cert, err := l.base.TLSClientConfig.GetClientCertificate(nil)
	if err != nil {
		return nil, err
	}
	send := func(b []byte) *http.Request {
		c := r.Clone(context.WithoutCancel(r.Context()))
		c.Body = io.NopCloser(bytes.NewReader(b))
		c.ContentLength = int64(len(b))
		c.RemoteAddr = "192.0.2.1:1"
		c.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}}
		return c
	}
	if f := s.link.meanwhile; f != nil && r.URL.Path == s.link.at {
		s.link.meanwhile = nil
		f()
	}
	fault := ""
	if len(s.link.plan) > 0 {
		fault, s.link.plan = s.link.plan[0], s.link.plan[1:]
	}
	if fault != "" {
		s.w.fault(fault)
	}
	serve := s.w.utility.serve
	var resp *http.Response
	switch fault {
	case loseRequest:
		return nil, errLine
	case halfOpen, tooSlow, overtaken: // nobody is told
		switch fault {
		case tooSlow:
			_, _ = serve(send(body))
		case overtaken:
			s.link.late = append(s.link.late, send(body))
		}
		<-r.Context().Done()
		s.effect()
		return nil, context.Cause(r.Context())
	case cutInside:
		s.link.up = false
		_, _ = serve(send(body))
		s.effect()
		return nil, errLine
	case twice:
		_, _ = serve(send(body))
		resp, err = serve(send(body))
	case alterRequest:
		if r.URL.Path != wire.PathBatches && r.URL.Path != wire.PathHello {
			return nil, errLine // only TLS covers a question's name, and it ends the connection
		}
		b := bytes.Clone(body)
		if len(b) > 0 {
			b[s.rnd.IntN(len(b))] ^= 1 << s.rnd.IntN(8)
		}
		resp, err = serve(send(b))
	default:
		resp, err = serve(send(body))
	}
	keep := s.link.late
	s.link.late = nil
	for _, old := range keep {
		if atCounter(old) && old.URL.Path != r.URL.Path {
			s.link.late = append(s.link.late, old) // until one like it has overtaken it
			continue
		}
		_, _ = serve(old)
	}
	if fault == lateCopy {
		s.link.late = append(s.link.late, send(body))
	}
	s.effect()
	if err != nil {
		return nil, err
	}
	switch fault {
	case loseAnswer:
		return nil, errLine
	case alterAnswer:
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		if len(b) > 0 {
			b[s.rnd.IntN(len(b))] ^= 1 << s.rnd.IntN(8)
		}
		resp.Body = io.NopCloser(bytes.NewReader(b))
	}
	return resp, nil
}
