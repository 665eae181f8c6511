// Package suite holds the cipher suites of the purse: key diversification,
// session keys, transaction MACs, TAC, and the line MAC and encryption of
// secure messaging (purse.md section 4). 3DES is built; SM4 has room behind
// the same interface but no implementation, because nothing that was seen
// confirms its session key and TAC (purse.md section 13).
//
// It also holds what card, SAM, terminal and host must agree on to the byte:
// the field orders of the transaction MACs (fields.go), the commands of the
// load SAM (loadsam.go), the well-known test keys (masters.go), and how those
// who make cards use keys that they never see (ring.go).
//
// It may import money and the standard library, and does no I/O. It never
// formats a key: no type here has a String method that shows one.
package suite

import "errors"

// Errors of the suite. None is raised after a card was touched.
var (
	ErrKeyLength = errors.New("suite: key is neither 8 nor 16 bytes")
	ErrFactor    = errors.New("suite: diversification factor is not 8 bytes")
	ErrBlock     = errors.New("suite: data is not a whole number of blocks")
	ErrChallenge = errors.New("suite: challenge is neither 4 nor 8 bytes")
	ErrLineData  = errors.New("suite: line data is longer than 255 bytes or has wrong length or padding inside")
	ErrLayout    = errors.New("suite: bytes are not of the form that the load SAM defines")
	ErrUnknownID = errors.New("suite: no cipher suite of that name")
)

// MAC is the leftmost four bytes of a message authentication code; a TAC has
// the same form.
type MAC [4]byte

// Suite is what differs between the cipher families of a purse. Keys are 8
// bytes (single DES) or 16 bytes; the key's length chooses the cipher, never
// the algorithm id that a card reports (purse.md section 4.2).
type Suite interface {
	// Name is the name by which profiles choose the suite, "3des".
	Name() string
	// Diversify derives the key of the next level: E(master, factor) ‖
	// E(master, NOT factor). Levels are repeated calls, region before card
	// (purse.md section 4.4). The factor is 8 bytes.
	Diversify(master []byte, factor [8]byte) ([]byte, error)
	// SessionKey encrypts the 8-byte input of purse.md section 4.5 under a
	// card key.
	SessionKey(cardKey []byte, input [8]byte) ([]byte, error)
	// TransactionMAC is the MAC of a transaction's fields under a session
	// key, IV zero, padding always added (purse.md section 4.6).
	TransactionMAC(sessionKey, fields []byte) (MAC, error)
	// TAC is the transaction authorisation cryptogram under the card's TAC
	// key, folded where the suite folds it (purse.md section 4.7).
	TAC(tacKey, fields []byte) (MAC, error)
	// LineMAC is the secure-messaging MAC over header and data with the
	// challenge as IV (purse.md section 4.8). The challenge is 4 or 8 bytes.
	LineMAC(key, challenge, data []byte) (MAC, error)
	// LineEncrypt enciphers LD ‖ data, padded when needed (section 4.9).
	LineEncrypt(key, data []byte) ([]byte, error)
	// LineDecrypt reverses LineEncrypt and removes LD and padding.
	LineDecrypt(key, cipher []byte) ([]byte, error)
	// Authenticate is the cryptogram of EXTERNAL AUTHENTICATE: the challenge
	// (4 bytes are extended with zeros) enciphered under key (section 4.10).
	Authenticate(key, challenge []byte) ([]byte, error)
}
