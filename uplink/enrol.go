package uplink

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/wire"
)

// ErrPin means that the server that answered is not the one whose CA the
// enrolment code names. The code was not sent and is still good.
var ErrPin = errors.New("uplink: the server is not the one that the enrolment code names; the code was not sent")

// EnrolOptions say who enrols where.
type EnrolOptions struct {
	URL           string // of the utility: https://host:port
	Code          string // as the utility printed it (wire.EnrolmentCode)
	Terminal      money.TerminalID
	PSAM, LoadSAM money.SAMID // zero for none
	Previous      *Keys       // when the terminal was enrolled before: its keys of earlier epochs are kept
	Dial          func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Enrol makes the terminal's keys and has the utility take them. The code is
// sent only to a server that the CA named in the code certifies. When it
// gives nil the code is used up: write the keys (SaveKeys) before anything
// else, then make the journal (store.Create, or Renew after the first time).
// A Refusal with the word "code" means that the code does not fit; after
// other errors the code may or may not be used up.
func Enrol(ctx context.Context, o EnrolOptions) (Keys, store.Identity, error) {
	fail := func(err error) (Keys, store.Identity, error) { return Keys{}, store.Identity{}, err }
	base, err := parseURL(o.URL)
	if err != nil {
		return fail(err)
	}
	secret, pin, err := wire.ParseEnrolmentCode(o.Code)
	if err != nil {
		return fail(err)
	}
	if o.Terminal.IsZero() || (o.Previous != nil && o.Previous.Terminal != o.Terminal) {
		return fail(fmt.Errorf("%w: terminal %s", ErrKeys, o.Terminal))
	}
	_, record, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fail(fmt.Errorf("uplink: make a key: %w", err))
	}
	key, csr, err := newTLSKey(o.Terminal)
	if err != nil {
		return fail(err)
	}
	l := newLine(base, tlsConfig(func(chain []*x509.Certificate) (*x509.Certificate, error) {
		for _, c := range chain {
			if c.IsCA && wire.PinOf(c.Raw) == pin {
				return c, nil
			}
		}
		return nil, ErrPin
	}), o.Dial)
	defer l.client.CloseIdleConnections()

	q := &wire.EnrolRequest{Secret: secret, Terminal: o.Terminal, PSAM: o.PSAM, LoadSAM: o.LoadSAM, CSR: csr}
	q.Sign(record)
	b, err := l.post(ctx, wire.PathEnrol, q, maxSmall, batchStall)
	if err != nil {
		return fail(fmt.Errorf("enrol: %w", err))
	}
	a, err := wire.UnsealEnrolAnswer(b)
	if err != nil {
		return fail(fmt.Errorf("enrol: %w", err))
	}
	if a.Terminal != o.Terminal || wire.PinOf(a.CA) != pin {
		return fail(fmt.Errorf("enrol: %w", ErrAnswer))
	}
	k := Keys{
		Terminal: a.Terminal, Shop: a.Shop, PSAM: o.PSAM, LoadSAM: o.LoadSAM,
		TLSKey: key, Certificate: a.Certificate, CA: a.CA, Utility: a.Utility,
	}
	if o.Previous != nil {
		k.Record = append(k.Record, o.Previous.Record...)
	}
	k.Record = append(k.Record, RecordKey{Epoch: a.Epoch, Seed: [ed25519.SeedSize]byte(record.Seed())})
	if err := k.check(); err != nil {
		return fail(fmt.Errorf("enrol: the answer does not fit: %w", err))
	}
	return k, store.Identity{
		Terminal: a.Terminal, Shop: a.Shop, Epoch: a.Epoch,
		PrevEpoch: a.PrevEpoch, PrevSeq: a.PrevSeq, PrevHash: a.PrevHash,
	}, nil
}
