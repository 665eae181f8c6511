package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dianka/dianka/internal/desk"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/terminal"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"utilityd": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"desk":  deskCommand,
			"sql":   sqlCommand,
			"serve": serveCommand,
			"dead":  deadCommand,
		},
	})
}

// sqlCommand is `sql FILE STATEMENTS`, what an intruder with a database tool
// does.
func sqlCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql file statements")
	}
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(err)
	ts.Check(db.Close())
}

// serveCommand is `serve DIR PASSPHRASE-FILE`: the daemon, until the script
// ends.
func serveCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serve dir passphrase-file")
	}
	config := ts.MkAbs("serve.yaml")
	ts.Check(os.WriteFile(config, fmt.Appendf(nil, "dir: %s\nlisten: 127.0.0.1:0\npassphrase_file: %s\n", ts.MkAbs(args[0]), ts.MkAbs(args[1])), 0o600))
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"serve", "--config", config}, io.Discard, in); in.Close() }()
	ts.Defer(func() {
		stop()
		if c := <-code; c != 0 {
			panic(fmt.Sprintf("utilityd serve ended with %d", c))
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		ts.Logf("%s", lines.Text())
		if strings.Contains(lines.Text(), "the utility serves") {
			go io.Copy(io.Discard, out)
			return
		}
	}
	ts.Fatalf("utilityd serve did not start")
}

// deskCommand is `desk STATE`: a top-up and a payment on a desk, a bill in
// cash, one that the shop has no room for, whose cash is collected from the
// claim, and a replacement.
func deskCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: desk state")
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	d, err := desk.Open(ctx, desk.Options{Dir: ts.MkAbs(args[0]), Software: "test"})
	ts.Check(err)
	done := make(chan error, 1)
	life, end := context.WithCancel(ctx)
	go func() { done <- d.Run(life) }()
	term := d.Station.Terminal
	changes := term.Changes(ctx)
	until := func(what string, ok func(terminal.Status) bool) {
		for !ok(term.Status()) {
			select {
			case <-changes:
			case <-time.After(100 * time.Millisecond): // some of it announces less
			case <-ctx.Done():
				ts.Fatalf("waited in vain for %s", what)
			}
		}
	}
	clerk := journal.Actor{Kind: journal.ActorClerk, ID: 1}
	until("the link", func(s terminal.Status) bool { return s.Online && !s.LimitsAt.IsZero() })
	_, err = term.OpenShift(ctx, clerk, 100_00)
	ts.Check(err)
	ts.Check(d.Put("zhang"))
	until("the card", func(s terminal.Status) bool { return s.Card.State == terminal.CardReady })
	card := d.Number("zhang")
	up, err := term.TopUp(ctx, terminal.TopUpRequest{Token: journal.TokenOf("1"), Who: clerk, Card: card, Amount: 50_00, Tendered: 50_00})
	ts.Check(err)
	pay, err := term.Redeem(ctx, terminal.RedeemRequest{Token: journal.TokenOf("2"), Who: clerk, Card: card, Account: 100000017, Amount: 12_00})
	ts.Check(err)
	bill := terminal.BillRequest{Token: journal.TokenOf("3"), Who: clerk, Account: 100000017, Amount: 10_00, Tendered: 20_00}
	paid, err := term.PayBill(ctx, bill)
	ts.Check(err)
	bill.Token, bill.Amount, bill.Tendered = journal.TokenOf("4"), 4999_00, 5000_00
	refused, err := term.PayBill(ctx, bill)
	ts.Check(err)
	sent := func() { until("everything to be sent", func(s terminal.Status) bool { return s.Unsent.Count == 0 }) }
	sent()
	claim, err := term.Claim(ctx, refused.Name)
	ts.Check(err)
	out, err := term.CollectClaim(ctx, terminal.ClaimRequest{Token: journal.TokenOf("5"), Who: clerk, Claim: claim.Claim, Amount: claim.Amount})
	ts.Check(err)
	again, err := term.CollectClaim(ctx, terminal.ClaimRequest{Token: journal.TokenOf("6"), Who: clerk, Claim: claim.Claim, Amount: claim.Amount})
	ts.Check(err)
	replaced, err := term.ReplaceCard(ctx, terminal.CardRequest{Token: journal.TokenOf("7"), Who: clerk, Card: card, Why: journal.WhyDamaged})
	ts.Check(err)
	sent()
	fmt.Fprintf(ts.Stdout(), "top-up %d payment %d\n", up.Result, pay.Result)
	fmt.Fprintf(ts.Stdout(), "bill %d, without room %d, claim %s %d, again %d %s, replacement %d\n", paid.Result, refused.Result, claim.Amount, out.Result, again.Result, again.Decided.Code, replaced.Result)
	end()
	ts.Check(<-done)
	ts.Check(d.Close())
}

// TestReference keeps docs/utilityd.md current; `go run ./cmd/utilityd config
// --markdown > docs/utilityd.md` makes it.
func TestReference(t *testing.T) {
	want, err := os.ReadFile("../../docs/utilityd.md")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	reference(&got)
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("docs/utilityd.md is not current, it should be:\n%s", got.String())
	}
}
