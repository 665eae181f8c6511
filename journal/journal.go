// Package journal defines what a terminal did: the entries, their canonical
// bytes, the hash chain through them, and the signature of its head. Terminal
// and utility share this one definition; the bytes that a terminal hashed are
// the bytes that travel, are stored and are judged.
//
// It may import money, suite and internal/canon. It does no I/O, reads no
// clock and posts no money.
package journal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
)

// Errors of reading and checking. None of them touches a card.
var (
	ErrName      = errors.New("journal: not an entry name: terminal-epoch-sequence")
	ErrVersion   = errors.New("journal: entry of an unknown format version")
	ErrEntry     = errors.New("journal: bytes are not an entry")
	ErrChain     = errors.New("journal: the entry does not follow from the one before it")
	ErrSignature = errors.New("journal: the head is not signed by this terminal")
)

// Name names an entry for ever: terminal, epoch and sequence. It is the
// idempotency key of whatever the entry began (DESIGN law 5).
type Name struct {
	Terminal money.TerminalID
	Epoch    uint32 // issued by the utility at each enrolment, from 1
	Seq      uint64 // contiguous from 1 within the epoch
}

// String gives "310100001234-1-42", the transaction number on slips and in
// the API.
func (n Name) String() string {
	return fmt.Sprintf("%s-%d-%d", n.Terminal, n.Epoch, n.Seq)
}

// Ref is the name within its terminal.
func (n Name) Ref() Ref { return Ref{n.Epoch, n.Seq} }

// IsZero reports whether n names nothing.
func (n Name) IsZero() bool { return n == Name{} }

// ParseName reads what String writes.
func ParseName(s string) (Name, error) {
	p := strings.Split(s, "-")
	if len(p) != 3 {
		return Name{}, fmt.Errorf("%q: %w", s, ErrName)
	}
	t, err1 := money.ParseTerminalID(p[0])
	e, err2 := strconv.ParseUint(p[1], 10, 32)
	q, err3 := strconv.ParseUint(p[2], 10, 63)
	if err1 != nil || err2 != nil || err3 != nil || e == 0 || q == 0 {
		return Name{}, fmt.Errorf("%q: %w", s, ErrName)
	}
	return Name{t, uint32(e), q}, nil
}

// MarshalText and UnmarshalText serve JSON.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what ParseName reads.
func (n *Name) UnmarshalText(b []byte) (err error) {
	*n, err = ParseName(string(b))
	return err
}

func (n *Name) fields(c *canon.Codec) {
	canon.Fixed(c, n.Terminal[:])
	canon.U32(c, &n.Epoch)
	canon.U64(c, &n.Seq)
}

// NameFields walks a name inside another record.
func NameFields(c *canon.Codec, n *Name) { n.fields(c) }

// Ref points to an entry of the same terminal. The zero value points to none.
type Ref struct {
	Epoch uint32
	Seq   uint64
}

// IsZero reports whether r points to nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// Of gives the full name of r at terminal t.
func (r Ref) Of(t money.TerminalID) Name { return Name{t, r.Epoch, r.Seq} }

func (r *Ref) fields(c *canon.Codec) {
	canon.U32(c, &r.Epoch)
	canon.U64(c, &r.Seq)
}

// ActorKind tells who caused an entry (DESIGN law 8).
type ActorKind uint8

// Kinds of actor. What the machine did by itself is never booked on a person.
const (
	ActorSystem     ActorKind = 1 // recovery, sync, start
	ActorClerk      ActorKind = 2
	ActorCustomer   ActorKind = 3
	ActorTechnician ActorKind = 4
	ActorHeadOffice ActorKind = 5
)

// Actor is who caused an entry. ID is zero for system and customer.
type Actor struct {
	Kind ActorKind
	ID   money.StaffID
}

// System is the actor of what the machine does by itself.
var System = Actor{Kind: ActorSystem}

// Hash is SHA-256.
type Hash [sha256.Size]byte

// String gives hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Token is the caller's own mark of one wish, so that a double click is one
// sale. Screens send a random one; the zero value means none.
type Token [16]byte

// TokenOf makes a token of any text that a caller sends as its
// Idempotency-Key.
func TokenOf(s string) Token {
	h := sha256.Sum256([]byte("dianka/token/1\x00" + s))
	return Token(h[:16])
}

// Format constants of an entry.
const (
	Version   = 1    // format version, first byte of every entry
	SuiteV1   = 1    // SHA-256 and Ed25519
	MaxBody   = 4096 // bytes of a body
	headerLen = 65   // bytes before the body
	MaxEntry  = headerLen + MaxBody
)

// Entry is one line of the journal.
type Entry struct {
	Name  Name
	Wall  int64   // milliseconds since 1970 by the terminal's clock, which may be wrong; never ordered by
	Mono  uint64  // milliseconds since the daemon started
	Boot  [8]byte // random number of this start of the daemon
	Actor Actor
	Ref   Ref // the entry that this one continues; zero when it begins something
	Body  Body
}

// Fields walks the canonical layout.
func (e *Entry) Fields(c *canon.Codec) {
	version, suite, typ := uint8(Version), uint8(SuiteV1), Type(0)
	var body []byte
	if !c.Reading() {
		typ, body = e.Body.Type(), marshalBody(e.Body)
	}
	canon.U8(c, &version)
	canon.U8(c, &suite)
	if c.Reading() && (version != Version || suite != SuiteV1) {
		c.Fail(fmt.Errorf("%w: version %d suite %d", ErrVersion, version, suite))
		return
	}
	canon.U16(c, &typ)
	e.Name.fields(c)
	canon.I64(c, &e.Wall)
	canon.U64(c, &e.Mono)
	canon.Fixed(c, e.Boot[:])
	canon.U8(c, &e.Actor.Kind)
	canon.U32(c, &e.Actor.ID)
	e.Ref.fields(c)
	canon.Bytes(c, &body, MaxBody)
	if c.Reading() {
		b, err := unmarshalBody(typ, body)
		if err != nil {
			c.Fail(err)
			return
		}
		e.Body = b
	}
}

// Bytes gives the canonical bytes of the entry.
func (e Entry) Bytes() []byte { return canon.Marshal(&e) }

// Parse reads one entry. A type that this program does not know becomes a
// body of type Unrecognised that keeps the bytes; a known type whose body is
// malformed fails with ErrEntry.
func Parse(b []byte) (Entry, error) {
	var e Entry
	if err := canon.Unmarshal(b, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return e, nil
}

// Genesis is the hash before the first entry of an epoch.
func Genesis(t money.TerminalID, epoch uint32) Hash {
	b := append([]byte("dianka/genesis/1\x00"), t[:]...)
	return sha256.Sum256(binary.BigEndian.AppendUint32(b, epoch))
}

// Link is the hash of the chain after entry, given the hash before it.
func Link(prev Hash, entry []byte) Hash {
	h := sha256.New()
	h.Write([]byte("dianka/journal/1\x00"))
	h.Write(prev[:])
	h.Write(entry)
	return Hash(h.Sum(nil))
}

// Head is the end of a chain: the last entry and the hash after it. Seq 0
// with the genesis hash is the head of an empty epoch.
type Head struct {
	Terminal money.TerminalID
	Epoch    uint32
	Seq      uint64
	Hash     Hash
}

// Signature is an Ed25519 signature.
type Signature [ed25519.SignatureSize]byte

func (h Head) signed() []byte {
	b := append([]byte("dianka/head/1\x00"), h.Terminal[:]...)
	b = binary.BigEndian.AppendUint32(b, h.Epoch)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	return append(b, h.Hash[:]...)
}

// Sign signs the head with the terminal's record key.
func (h Head) Sign(key ed25519.PrivateKey) Signature {
	return Signature(ed25519.Sign(key, h.signed()))
}

// Verify fails with ErrSignature.
func (h Head) Verify(key ed25519.PublicKey, s Signature) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, h.signed(), s[:]) {
		return fmt.Errorf("head %d of epoch %d: %w", h.Seq, h.Epoch, ErrSignature)
	}
	return nil
}
