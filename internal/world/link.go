package world

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
)

// link is the line between a terminal and the utility.
type link struct {
	st   *station
	up   bool
	plan []string // faults of the next messages, first first
	late []*http.Request
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
)

var linkFaults = []string{loseRequest, loseAnswer, twice, lateCopy, alterRequest, alterAnswer, halfOpen, cutInside}

var errLine = errors.New("world: the line is cut")

// line is the client's transport: what it is given reaches the utility's door
// without a network between.
type line struct {
	s    *station
	base *http.Transport
}

// CloseIdleConnections has nothing to close.
func (l *line) CloseIdleConnections() {}

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
	case halfOpen: // nothing comes, and nobody is told
		<-r.Context().Done()
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
		b := bytes.Clone(body)
		if len(b) > 0 {
			b[len(b)*2/3] ^= 0x10
		}
		resp, err = serve(send(b))
	default:
		resp, err = serve(send(body))
	}
	for _, old := range s.link.late {
		_, _ = serve(old)
	}
	s.link.late = nil
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
			b[len(b)/2] ^= 0x01
		}
		resp.Body = io.NopCloser(bytes.NewReader(b))
	}
	return resp, nil
}

// serve hands a request to the utility's door. When the utility dies
// meanwhile there is no answer.
func (u *utility) serve(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	u.door.ServeHTTP(rec, r)
	if u.store.dead {
		u.restart()
		return nil, errLine
	}
	return rec.Result(), nil
}
