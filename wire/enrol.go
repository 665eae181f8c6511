package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// ErrEnrolmentCode means that a text is not an enrolment code.
var ErrEnrolmentCode = errors.New("wire: not an enrolment code: DK1-…-… as the utility printed it")

// ServerName is the one name in the certificate of every utility server. A
// terminal asks for it whatever address it dials: the utility's own CA
// certifies no other server.
const ServerName = "utility.dianka"

// CAPin is the first 16 bytes of the SHA-256 of the CA certificate: finding
// another certificate with the same 128 bits is out of reach, and the code
// stays short enough to type.
type CAPin [16]byte

// PinOf gives the pin of a CA certificate in DER.
func PinOf(ca []byte) CAPin {
	h := sha256.Sum256(ca)
	return CAPin(h[:16])
}

var codeDigits = base32.StdEncoding.WithPadding(base32.NoPadding)

// EnrolmentCode is what a technician types or scans once: "DK1-", the
// one-time secret in upper case, "-", and the pin of the utility's CA in 26
// base32 digits. It lets a terminal know the utility before the utility knows
// the terminal.
func EnrolmentCode(secret string, ca []byte) string {
	pin := PinOf(ca)
	return "DK1-" + secret + "-" + codeDigits.EncodeToString(pin[:])
}

// ParseEnrolmentCode reads what EnrolmentCode writes; case, and blanks around
// and within it, do not count. It fails with ErrEnrolmentCode.
func ParseEnrolmentCode(s string) (secret string, pin CAPin, err error) {
	s = strings.ToUpper(strings.Join(strings.Fields(s), ""))
	rest, ok := strings.CutPrefix(s, "DK1-")
	i := strings.LastIndexByte(rest, '-')
	if !ok || i < 1 || i > maxSecret {
		return "", CAPin{}, ErrEnrolmentCode
	}
	b, err := codeDigits.DecodeString(rest[i+1:])
	if err != nil || len(b) != len(pin) || codeDigits.EncodeToString(b) != rest[i+1:] {
		return "", CAPin{}, ErrEnrolmentCode
	}
	return rest[:i], CAPin(b), nil
}

// Limits of enrolment in bytes.
const (
	maxSecret = 128
	MaxCSR    = 2048 // PKCS #10 request
	MaxCert   = 4096 // X.509 certificate
)

// EnrolRequest asks the utility to take a terminal. It is signed with the
// record key that it names, which proves that the sender holds it.
type EnrolRequest struct {
	Secret        string // the one-time part of the enrolment code
	Terminal      money.TerminalID
	PSAM, LoadSAM money.SAMID // zero when there is none
	RecordKey     [ed25519.PublicKeySize]byte
	CSR           []byte // PKCS #10 of the key that opens connections
	Signature     journal.Signature
}

func (m *EnrolRequest) Fields(c *canon.Codec) {
	m.fields(c)
	canon.Fixed(c, m.Signature[:])
}

func (m *EnrolRequest) fields(c *canon.Codec) {
	canon.String(c, &m.Secret, maxSecret)
	canon.Fixed(c, m.Terminal[:])
	canon.Fixed(c, m.PSAM[:])
	canon.Fixed(c, m.LoadSAM[:])
	canon.Fixed(c, m.RecordKey[:])
	canon.Bytes(c, &m.CSR, MaxCSR)
}

// enrolSigned is an EnrolRequest without its signature.
type enrolSigned struct{ *EnrolRequest }

func (m enrolSigned) Fields(c *canon.Codec) { m.fields(c) }

func (m *EnrolRequest) signed() []byte {
	return append([]byte("dianka/enrol/1\x00"), canon.Marshal(enrolSigned{m})...)
}

// Sign sets RecordKey and Signature.
func (m *EnrolRequest) Sign(key ed25519.PrivateKey) {
	m.RecordKey = [ed25519.PublicKeySize]byte(key.Public().(ed25519.PublicKey))
	m.Signature = journal.Signature(ed25519.Sign(key, m.signed()))
}

// Verify fails with ErrMessage when the sender does not hold RecordKey.
func (m *EnrolRequest) Verify() error {
	if !ed25519.Verify(m.RecordKey[:], m.signed(), m.Signature[:]) {
		return fmt.Errorf("%w: not signed with the record key it names", ErrMessage)
	}
	return nil
}

// EnrolAnswer is what a terminal becomes. After the first epoch, Prev* is the
// head of the epoch before as the utility holds it.
type EnrolAnswer struct {
	Terminal    money.TerminalID
	Shop        money.ShopID
	Epoch       uint32
	PrevEpoch   uint32
	PrevSeq     uint64
	PrevHash    journal.Hash
	Utility     [ed25519.PublicKeySize]byte // the key that signs answers and sections
	Certificate []byte                      // X.509, CN = terminal number
	CA          []byte                      // X.509, the one that the code pins
}

func (m *EnrolAnswer) Fields(c *canon.Codec) {
	canon.Fixed(c, m.Terminal[:])
	canon.U32(c, &m.Shop)
	canon.U32(c, &m.Epoch)
	canon.U32(c, &m.PrevEpoch)
	canon.U64(c, &m.PrevSeq)
	canon.Fixed(c, m.PrevHash[:])
	canon.Fixed(c, m.Utility[:])
	canon.Bytes(c, &m.Certificate, MaxCert)
	canon.Bytes(c, &m.CA, MaxCert)
}

// UnsealEnrolAnswer reads an EnrolAnswer, which carries the very key that
// seals it: what makes it credible is the connection, whose server proved the
// CA that the code pins.
func UnsealEnrolAnswer(b []byte) (EnrolAnswer, error) {
	var s Sealed
	var a EnrolAnswer
	if err := Unmarshal(b, &s); err != nil {
		return EnrolAnswer{}, err
	}
	if err := Unmarshal(s.Body, &a); err != nil {
		return EnrolAnswer{}, err
	}
	if err := Unseal(b, "enrolled", a.Utility[:], &a); err != nil {
		return EnrolAnswer{}, err
	}
	return a, nil
}

// RenewRequest asks for a new certificate for a new key, over a connection
// that the present certificate opened. The Hello lets the utility judge the
// terminal first.
type RenewRequest struct {
	Hello Hello
	CSR   []byte
}

func (m *RenewRequest) Fields(c *canon.Codec) {
	m.Hello.Fields(c)
	canon.Bytes(c, &m.CSR, MaxCSR)
}

// RenewAnswer carries the certificate.
type RenewAnswer struct {
	Terminal    money.TerminalID
	Certificate []byte
}

func (m *RenewAnswer) Fields(c *canon.Codec) {
	canon.Fixed(c, m.Terminal[:])
	canon.Bytes(c, &m.Certificate, MaxCert)
}

// ContentType of every body between terminal and utility.
const ContentType = "application/vnd.dianka.v1"

// Paths of the protocol, all of them POST. The answer to each is Sealed; its
// What is the word on the right.
const (
	PathHello      = "/v1/hello"      // hello
	PathBatches    = "/v1/batches"    // ack
	PathQuestions  = "/v1/questions"  // question
	PathLoads      = "/v1/loads"      // load
	PathVoids      = "/v1/voids"      // void
	PathAllowances = "/v1/allowances" // allowance
	PathAccounts   = "/v1/accounts"   // account
	PathBills      = "/v1/bills"      // bill
	PathClaims     = "/v1/claims"     // claim
	PathCollects   = "/v1/collects"   // collect
	PathCards      = "/v1/cards"      // card
	PathEnrol      = "/v1/enrol"      // enrolled; the only one without a certificate
	PathRenew      = "/v1/renew"      // renewed
)
