package purse

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/dianka/dianka/apdu"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// replay plays a recorded session from its nth command that begins with
// prefix. Recordings leave Le out in places, which Replay allows for.
func replay(t *testing.T, name, prefix string, nth int) *apdu.Replay {
	t.Helper()
	f, err := os.Open("testdata/traces/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr, err := apdu.ParseTrace(f)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range tr.Lines {
		if l.Kind == apdu.LineCommand && bytes.HasPrefix(l.Data, unhex(t, prefix)) {
			if nth--; nth == 0 {
				return apdu.NewReplay(apdu.Trace{Lines: tr.Lines[i:]})
			}
		}
	}
	t.Fatalf("%s: no such command", name)
	return nil
}

// on is an application of which the recording does not show the SELECT.
func on(c Card, p profiles.Card) *Application { return &Application{card: c, profile: p} }

// TestTraceLoadAndPurchase is a real FMCOS card: two loads initialised, one
// carried out, and a purchase (t02).
func TestTraceLoadAndPurchase(t *testing.T) {
	c := replay(t, "t02-fmcos-ep-load-purchase-2016.txt", "80500002", 1)
	terminal := money.TerminalID(unhex(t, "001122334455"))
	p := ep()
	p.LoadKeyIndex, p.PurchaseKeyIndex = 2, 0
	if in, err := on(c, p).InitLoad(background, 0x2000, terminal); err != nil || in.MAC1 != suite.MAC(unhex(t, "EA411F90")) {
		t.Fatalf("%+v, %v", in, err)
	}
	p.LoadKeyIndex = 1
	a := on(c, p)
	in, err := a.InitLoad(background, 0x2000, terminal)
	if err != nil || in.Before != 0 || in.Counter != 0 || in.KeyVersion != 1 || in.MAC1 != suite.MAC(unhex(t, "03976C22")) {
		t.Fatalf("%+v, %v", in, err)
	}
	tac, err := a.CreditLoad(background, money.Stamp(unhex(t, "20161216105800")), suite.MAC(unhex(t, "8AFA5718")))
	if err != nil || tac != suite.MAC(unhex(t, "FA00066D")) {
		t.Fatalf("%X, %v", tac, err)
	}
	buy, err := a.InitPurchase(background, 1, terminal)
	if err != nil || buy.Before != 0x2000 || buy.Counter != 0 || buy.Random != [4]byte(unhex(t, "584633C9")) {
		t.Fatalf("%+v, %v", buy, err)
	}
	tac, mac2, err := a.DebitPurchase(background, Grant{0, suite.MAC(unhex(t, "D45737C5"))}, money.Stamp(unhex(t, "20161216134600")))
	if err != nil || tac != suite.MAC(unhex(t, "8AF270DC")) || mac2 != suite.MAC(unhex(t, "66B54A6B")) {
		t.Fatalf("%X %X, %v", tac, mac2, err)
	}
}

// TestTraceLoad is a real FM1208 card (t03).
func TestTraceLoad(t *testing.T) {
	a := on(replay(t, "t03-fm1208-ep-load-2017.txt", "80500002", 1), ep())
	in, err := a.InitLoad(background, 1, money.TerminalID(unhex(t, "112233445566")))
	if err != nil || in.Before != 0x1A || in.Counter != 0x17 || in.Algorithm != 1 {
		t.Fatalf("%+v, %v", in, err)
	}
	tac, err := a.CreditLoad(background, money.Stamp(unhex(t, "20170310110734")), suite.MAC(unhex(t, "9C8A0625")))
	if err != nil || tac != suite.MAC(unhex(t, "16EAD516")) {
		t.Fatalf("%X, %v", tac, err)
	}
}

// TestTraceProof is the lane that lost an answer (t07): the counter after the
// lost transaction is what the next INITIALIZE shows, and the proof is asked
// for under it. The article names the halves TAC ‖ MAC2.
func TestTraceProof(t *testing.T) {
	for _, c := range []struct {
		tacFirst  bool
		tac, mac2 string
	}{{true, "0410385D", "807979F8"}, {false, "807979F8", "0410385D"}} {
		p := ep()
		p.ProofTACFirst = c.tacFirst
		a := on(replay(t, "t07-etc-get-transaction-prove-2021.txt", "805A0009", 1), p)
		proof, err := a.Prove(background, suite.TypeEPCompound, 0x0028)
		if err != nil || proof.TAC != suite.MAC(unhex(t, c.tac)) || proof.MAC2 != suite.MAC(unhex(t, c.mac2)) {
			t.Errorf("%+v, %v", proof, err)
		}
	}
}

// TestTraceSelect reads the public information out of a real FCI, and takes
// 6A81 of a blocked application for what it is (t10).
func TestTraceSelect(t *testing.T) {
	const name = "t10-fmcos-manual-examples.txt"
	a, err := Select(background, replay(t, name, "00A40400", 1), []profiles.Card{ep()})
	if err != nil {
		t.Fatal(err)
	}
	i := a.Info()
	if i.Number.String() != "00061998081700000030" || i.Issuer != [8]byte(unhex(t, "1111222233330006")) || i.AppType != 3 ||
		i.ValidFrom.String() != "19980815" || i.ValidTo.String() != "19981215" || i.IssuerData != [2]byte{0x55, 0x66} || i.Test() {
		t.Errorf("%+v", i)
	}
	_, err = Select(background, onFID{replay(t, name, "00A40000023F01", 1)}, []profiles.Card{ep()})
	if !errors.Is(err, ErrBlocked) || !errors.Is(err, apdu.SWFunctionNotSupported) || apdu.MayHaveExecuted(err) {
		t.Errorf("%v", err)
	}
}

// onFID asks by file identifier, as the recorded session did.
type onFID struct{ *apdu.Replay }

func (c onFID) Transmit(ctx context.Context, _ []byte) ([]byte, error) {
	return c.Replay.Transmit(ctx, []byte{0x00, 0xA4, 0x00, 0x00, 0x02, 0x3F, 0x01})
}
