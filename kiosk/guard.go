package kiosk

import (
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/dianka/dianka/terminal"
)

// policy lets pages load only what this server serves, with nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// guard stands before every handler: response headers, the names by which we
// may be called (DNS rebinding), calls from other sites, and panics.
func (s *Server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-store")
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log.Error("a handler panicked", "call", r.Method+" "+r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				code := CodeInternal
				if !safe(r) {
					code = CodeUncertain
				}
				s.refuse(w, r, refusal(code), code)
			}
		}()
		if !s.ours(r.Host) {
			s.refuse(w, r, refusal(CodeWrongHost), "")
			return
		}
		// A body in chunks may have come with a length as well, which net/http
		// drops without a word: whoever stands before us may have gone by it
		// and taken what we would read as the next request for this body. No
		// screen sends chunks.
		if len(r.TransferEncoding) > 0 {
			h.Set("Connection", "close")
			s.refuse(w, r, &terminal.Refusal{Code: CodeBadRequest, Detail: "a body needs a Content-Length"}, "")
			return
		}
		// Reads of data are refused across sites as well: another port of
		// this machine is "same site" to a cookie but not to us.
		site := r.Header.Get("Sec-Fetch-Site")
		data := strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/sim")
		if cross.Check(r) != nil || (data && (site == "cross-site" || site == "same-site")) {
			s.refuse(w, r, refusal(CodeCrossSite), "")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func safe(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// ours reports whether a Host header names this terminal.
func (s *Server) ours(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	return host == "localhost" || slices.ContainsFunc(s.cfg.Hosts, func(n string) bool { return strings.EqualFold(n, host) })
}
