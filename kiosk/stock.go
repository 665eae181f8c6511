package kiosk

import (
	"context"
	"net/http"
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/terminal"
)

// stockAPI registers the calls about cards in stock.
func (s *Server) stockAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/stock", s.getStock)
	mux.HandleFunc("POST /api/v1/stock/receipts", settleCall(s, s.receive))
	mux.HandleFunc("POST /api/v1/stock/counts", settleCall(s, s.countStock))
}

// countView is what somebody found of a pack.
type countView struct {
	ID       string   `json:"id"`
	At       when     `json:"at"`
	Staff    string   `json:"staff"`
	Found    uint32   `json:"found"`
	Expected uint32   `json:"expected"` // at that time
	Missing  []string `json:"missing"`  // numbers, at most 400; empty when the cards were only counted
}

// packView is a pack in stock.
type packView struct {
	ID    string     `json:"id"` // the journal entry of its receipt
	From  string     `json:"from"`
	To    string     `json:"to"`
	Cards uint32     `json:"cards"`
	Sold  uint32     `json:"sold"`
	Left  uint32     `json:"left"` // how many there should be
	At    when       `json:"at"`
	Staff string     `json:"staff"`
	Count *countView `json:"count"` // the newest; null when it was never counted
}

func viewPack(p terminal.Pack) packView {
	v := packView{
		ID: p.Receipt.Name.String(), From: p.From.String(), To: p.To.String(), Cards: p.Cards, Sold: p.Sold, Left: p.Left(),
		At: when(time.UnixMilli(p.Receipt.Wall)), Staff: p.Receipt.Actor.ID.String(),
	}
	if p.Count == nil {
		return v
	}
	if b, ok := p.Count.Body.(*journal.StockCount); ok {
		v.Count = &countView{p.Count.Name.String(), when(time.UnixMilli(p.Count.Wall)), p.Count.Actor.ID.String(), b.Found, b.Expected, []string{}}
		for _, n := range b.Missing {
			v.Count.Missing = append(v.Count.Missing, n.String())
		}
	}
	return v
}

func (s *Server) getStock(w http.ResponseWriter, r *http.Request) {
	s.settleView(w, r, func() (any, error) {
		list, err := s.cfg.Terminal.Stock()
		if err != nil {
			return nil, err
		}
		v := struct {
			Packs []packView `json:"packs"` // by card number
		}{[]packView{}}
		for _, p := range list {
			v.Packs = append(v.Packs, viewPack(p))
		}
		return v, nil
	})
}

type receiveBody struct {
	From money.CardNumber `json:"from"`
	To   money.CardNumber `json:"to"`
}

func (s *Server) receive(ctx context.Context, c settled, b receiveBody) (any, error) {
	p, err := s.cfg.Terminal.Receive(ctx, terminal.ReceiveRequest{Token: c.token, Who: c.who, From: b.From, To: b.To})
	if err != nil {
		return nil, err
	}
	return viewPack(p), nil
}

type countBody struct {
	Pack  journal.Name        `json:"pack"`
	Found *uint32             `json:"found,omitempty"`
	Cards *[]money.CardNumber `json:"cards,omitempty"`
}

// countStock takes either how many cards are there or which.
func (s *Server) countStock(ctx context.Context, c settled, b countBody) (any, error) {
	req := terminal.CountRequest{Token: c.token, Who: c.who, Pack: b.Pack}
	switch {
	case (b.Found == nil) == (b.Cards == nil):
		return nil, &terminal.Refusal{Code: CodeBadRequest, Detail: "found or cards, and not both"}
	case b.Cards != nil:
		req.Read, req.Cards = true, *b.Cards
	default:
		req.Found = *b.Found
	}
	p, err := s.cfg.Terminal.CountStock(ctx, req)
	if err != nil {
		return nil, err
	}
	return viewPack(p), nil
}
