package journal

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
)

// Errors of evidence bundles. None of them says anything about money: the
// entries that the bundle was made of are where they were.
var (
	ErrBundle  = errors.New("journal: bytes are not an evidence bundle")
	ErrWitness = errors.New("journal: an acknowledgement in the bundle is not the utility's, or not of these entries")
)

// Limits of a bundle.
const (
	MaxBundle     = 256 << 20 // bytes
	MaxRuns       = 1000      // epochs
	MaxRunEntries = 1_000_000 // entries of one run
	MaxAck        = 128 << 10 // bytes of a sealed acknowledgement
)

// Bundle is evidence: what a terminal did, in the very bytes that it hashed
// when it did it, signed by the terminal and, where the utility acknowledged
// it, by the utility. It can be verified without a terminal, a network or a
// secret, and holds none.
type Bundle struct {
	Terminal money.TerminalID
	Utility  [ed25519.PublicKeySize]byte // the utility's key as the terminal was given it; zero when Runs hold no acknowledgement
	Runs     []Run                       // by epoch and place, ascending; where one ends at the beginning of the next they are one chain
}

// Run is an unbroken run of entries of one epoch.
type Run struct {
	Epoch     uint32
	Key       [ed25519.PublicKeySize]byte // the terminal's record key of the epoch
	From      uint64                      // sequence of the first entry
	Before    Hash                        // the chain's hash before it
	Entries   [][]byte                    // at least one
	Signature Signature                   // of the head after the last entry, by Key
	Acks      [][]byte                    // sealed acknowledgements of the utility, as they came
}

var bundleMagic = [8]byte{'D', 'K', 'E', 'V', 'I', 'D', 0, 1}

// Fields walks the canonical layout.
func (b *Bundle) Fields(c *canon.Codec) {
	magic := bundleMagic
	canon.Fixed(c, magic[:])
	if magic != bundleMagic {
		c.Fail(ErrBundle)
		return
	}
	canon.Fixed(c, b.Terminal[:])
	canon.Fixed(c, b.Utility[:])
	canon.List(c, &b.Runs, MaxRuns, 4+ed25519.PublicKeySize+8+len(Hash{})+4+len(Signature{})+4, func(c *canon.Codec, r *Run) {
		canon.U32(c, &r.Epoch)
		canon.Fixed(c, r.Key[:])
		canon.U64(c, &r.From)
		canon.Fixed(c, r.Before[:])
		canon.List(c, &r.Entries, MaxRunEntries, 2, func(c *canon.Codec, e *[]byte) { canon.Bytes(c, e, MaxEntry) })
		canon.Fixed(c, r.Signature[:])
		canon.List(c, &r.Acks, MaxRunEntries, 4, func(c *canon.Codec, a *[]byte) { canon.Long(c, a, MaxAck) })
	})
}

// Bytes gives the canonical bytes of the bundle.
func (b *Bundle) Bytes() []byte { return canon.Marshal(b) }

// ParseBundle reads what Bytes gives. It fails with ErrBundle, and says where
// in the entries the bytes stop making sense.
func ParseBundle(b []byte) (Bundle, error) {
	var x Bundle
	if err := canon.Unmarshal(b, &x); err != nil {
		return Bundle{}, fmt.Errorf("%w: %s%w", ErrBundle, x.reached(), err)
	}
	return x, nil
}

// reached says how far the reading of a bundle came that is not whole.
func (b *Bundle) reached() string {
	for i := len(b.Runs) - 1; i >= 0; i-- {
		r := &b.Runs[i]
		if r.From == 0 {
			continue // not begun
		}
		if len(r.Entries) == 0 {
			return fmt.Sprintf("it breaks off before the entries from %s on: ", Ref{r.Epoch, r.From}.Of(b.Terminal))
		}
		for k, e := range r.Entries {
			if e == nil {
				return fmt.Sprintf("it breaks off at entry %s: ", Ref{r.Epoch, r.From + uint64(k)}.Of(b.Terminal))
			}
		}
		return fmt.Sprintf("it breaks off after entry %s, in the signature or the acknowledgements: ", Ref{r.Epoch, r.From + uint64(len(r.Entries)) - 1}.Of(b.Terminal))
	}
	return ""
}

// Head is the end of the run, which its signature covers.
func (r *Run) Head(t money.TerminalID) Head {
	h := r.Before
	for _, e := range r.Entries {
		h = Link(h, e)
	}
	return Head{Terminal: t, Epoch: r.Epoch, Seq: r.From + uint64(len(r.Entries)) - 1, Hash: h}
}

// Statement is what an acknowledgement says: that the utility holds the chain
// up to Head.
type Statement struct {
	Head Head
	At   int64             // the utility's clock, ms since 1970
	Held map[uint64]string // entries that it stored but did not post, by sequence, with the reason
}

// Witness reads a sealed acknowledgement and checks its seal; wire.Witness
// makes one of the utility's key.
type Witness func(sealed []byte) (Statement, error)

// Proof is what a bundle proves: that whoever held the record keys named in
// it wrote exactly these entries, in this order and with nothing between the
// first and the last of a run; and, as far as Through goes, that the utility
// held the same bytes at that time. It does not prove that what the entries
// say is true: that takes the card's own cryptograms, which are inside them
// and which the utility's vault checks. Nor does it prove that nothing came
// before a run or after it, or that a key belongs to whom it is said to:
// compare it with one got otherwise.
type Proof struct{ Runs []Proven }

// Proven is what is proven of a run.
type Proven struct {
	Head    Head
	Entries []Entry           // in order
	Through uint64            // the utility acknowledged every entry up to this one; 0: none of these
	At      int64             // when, by the utility's clock, ms since 1970; 0 when Through is
	Held    map[uint64]string // acknowledged entries that the utility had not posted, with its reason
}

// Verify proves the bundle: places and names of the entries, the chain
// through them, the terminal's signature of each run's head, and the
// acknowledgements by witness, which may be nil when there are none. It fails
// with ErrBundle, ErrEntry, ErrChain, ErrSignature or ErrWitness, and then
// nothing of the bundle is proven.
func (b *Bundle) Verify(witness Witness) (Proof, error) {
	if b.Terminal.IsZero() || len(b.Runs) == 0 {
		return Proof{}, fmt.Errorf("%w: it names no terminal or holds no entries", ErrBundle)
	}
	var p Proof
	var last Head
	for i := range b.Runs {
		r := &b.Runs[i]
		switch {
		case r.Epoch < last.Epoch || r.Epoch == 0:
			return Proof{}, fmt.Errorf("%w: its epochs do not grow", ErrBundle)
		case r.Epoch == last.Epoch && r.From <= last.Seq:
			return Proof{}, fmt.Errorf("%w: entry %s stands in it after entry %d", ErrBundle, Ref{r.Epoch, r.From}.Of(b.Terminal), last.Seq)
		case r.Epoch == last.Epoch && r.From == last.Seq+1 && r.Before != last.Hash:
			return Proof{}, fmt.Errorf("%w: entry %s does not follow from the one before it", ErrChain, Ref{r.Epoch, r.From}.Of(b.Terminal))
		}
		x, err := r.verify(b.Terminal, witness)
		if err != nil {
			return Proof{}, fmt.Errorf("epoch %d: %w", r.Epoch, err)
		}
		p.Runs, last = append(p.Runs, x), x.Head
	}
	return p, nil
}

func (r *Run) verify(t money.TerminalID, witness Witness) (Proven, error) {
	if r.From == 0 || len(r.Entries) == 0 || r.From > 1<<63-1-uint64(len(r.Entries)) {
		return Proven{}, fmt.Errorf("%w: empty or numbered wrongly", ErrBundle)
	}
	if r.From == 1 && r.Before != Genesis(t, r.Epoch) {
		return Proven{}, fmt.Errorf("%w: the first entry does not follow from the beginning of the epoch", ErrChain)
	}
	var p Proven
	hash, after := r.Before, make([]Hash, len(r.Entries)) // after each entry
	for i, raw := range r.Entries {
		e, err := Parse(raw)
		if err != nil {
			return Proven{}, fmt.Errorf("entry %d: %w", r.From+uint64(i), err)
		}
		if want := (Name{t, r.Epoch, r.From + uint64(i)}); e.Name != want {
			return Proven{}, fmt.Errorf("%w: %s stands where %s belongs", ErrChain, e.Name, want)
		}
		hash = Link(hash, raw)
		p.Entries, after[i] = append(p.Entries, e), hash
	}
	p.Head = Head{Terminal: t, Epoch: r.Epoch, Seq: r.From + uint64(len(r.Entries)) - 1, Hash: hash}
	if err := p.Head.Verify(r.Key[:], r.Signature); err != nil {
		return Proven{}, r.suspect(t, after, witness, err)
	}
	for _, a := range r.Acks {
		if witness == nil {
			return Proven{}, fmt.Errorf("%w: there is no key to check it with", ErrWitness)
		}
		s, err := witness(a)
		if err != nil {
			return Proven{}, fmt.Errorf("%w: %w", ErrWitness, err)
		}
		if err := p.take(r.From, after, s); err != nil {
			return Proven{}, err
		}
	}
	return p, nil
}

// suspect says which entries of a run can be others than those signed. The
// signature covers their last hash only; the utility's acknowledgements tell
// how far the run is still as it was.
func (r *Run) suspect(t money.TerminalID, after []Hash, witness Witness, err error) error {
	good, bad := r.From-1, r.From+uint64(len(after))-1
	for _, a := range r.Acks {
		if witness == nil {
			break
		}
		s, werr := witness(a)
		if werr != nil || s.Head.Terminal != t || s.Head.Epoch != r.Epoch || s.Head.Seq < r.From || s.Head.Seq >= r.From+uint64(len(after)) {
			continue
		}
		if after[s.Head.Seq-r.From] == s.Head.Hash {
			good = max(good, s.Head.Seq)
		} else {
			bad = min(bad, s.Head.Seq)
		}
	}
	switch {
	case good >= bad:
		return fmt.Errorf("%w: the utility holds the same entries up to %s; the signature after them is another's, or altered", err, Ref{r.Epoch, good}.Of(t))
	case bad == good+1:
		return fmt.Errorf("%w: entry %s was altered or forged, or the signature was", err, Ref{r.Epoch, bad}.Of(t))
	}
	return fmt.Errorf("%w: one of the entries %s to %s was altered or forged, or the signature was", err, Ref{r.Epoch, good + 1}.Of(t), Ref{r.Epoch, bad}.Of(t))
}

// take adds what the utility said, which must be about these very entries,
// the first of them being from.
func (p *Proven) take(from uint64, after []Hash, s Statement) error {
	if s.Head.Terminal != p.Head.Terminal || s.Head.Epoch != p.Head.Epoch || s.Head.Seq < from || s.Head.Seq > p.Head.Seq {
		return fmt.Errorf("%w: it is about terminal %s, epoch %d, entry %d", ErrWitness, s.Head.Terminal, s.Head.Epoch, s.Head.Seq)
	}
	if after[s.Head.Seq-from] != s.Head.Hash {
		return fmt.Errorf("%w: the utility holds other bytes up to entry %d", ErrWitness, s.Head.Seq)
	}
	if s.Head.Seq > p.Through {
		p.Through, p.At = s.Head.Seq, s.At
	}
	for seq, why := range s.Held {
		if seq < from || seq > s.Head.Seq {
			continue
		}
		if p.Held == nil {
			p.Held = map[uint64]string{}
		}
		p.Held[seq] = why
	}
	return nil
}
