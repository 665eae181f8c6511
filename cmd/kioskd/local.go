package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/dianka/dianka/internal/local"
	"github.com/dianka/dianka/internal/station"
)

// answerTools lets cardtool ask the running terminal by a socket in a folder,
// and work it as service allows, until the function that it gives is called,
// which waits for what is under way. A terminal that can't serves all the same.
func answerTools(dir string, st *station.Station, service http.Handler, log *slog.Logger) (stop func()) {
	l, err := local.Listen(dir)
	if err != nil {
		log.Warn("cardtool can't ask this terminal", "err", err)
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := local.Serve(ctx, l, station.Local{Station: st}, service); err != nil {
			log.Warn("cardtool can no longer ask this terminal", "err", err)
		}
	}()
	return func() { cancel(); <-done }
}
