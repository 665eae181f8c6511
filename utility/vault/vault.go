// Package vault is where the utility's keys are used: the master keys of the
// cards and load SAMs, and the key that signs what goes down to terminals.
// Callers ask for a verdict or a MAC; no key, master or derived, ever leaves,
// but one that is no test key within the command that writes it to a card,
// enciphered (suite.Ring).
//
// It may import suite, money, journal, wire and firmware-profiles. It must
// never log, format or return a key, and knows no ledger.
package vault

import (
	"crypto/ed25519"
	"errors"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/suite"
)

// Errors of the vault. None says anything about a key.
var (
	ErrMAC     = errors.New("vault: MAC is wrong")
	ErrProfile = errors.New("vault: no such card profile, or it is not allowed here")
	ErrFile    = errors.New("vault: not a vault file, or the passphrase is wrong")
	ErrKeys    = errors.New("vault: a master key is missing")
	ErrTest    = errors.New("vault: test keys where real ones are asked, or the other way round")
)

// Card is a card as the vault must know it: the number diversifies its keys,
// the profile says how.
type Card struct {
	Number  money.CardNumber
	Profile string
}

// Load is what INITIALIZE FOR LOAD gave (purse.md section 7.1).
type Load struct {
	Terminal money.TerminalID
	TxType   uint8
	Before   money.Fen
	Amount   money.Fen
	Counter  uint16 // online counter before increment
	Random   [4]byte
	MAC1     suite.MAC
}

// LoadProof is what the TAC of a load covers (purse.md section 4.6).
type LoadProof struct {
	Terminal money.TerminalID
	TxType   uint8
	After    money.Fen
	Amount   money.Fen
	Counter  uint16
	Stamp    money.Stamp // the authority's
	TAC      suite.MAC
}

// Purchase is what TAC and MAC2 of a purchase cover (purse.md section 4.6).
type Purchase struct {
	Terminal money.TerminalID
	TxType   uint8
	Amount   money.Fen
	Counter  uint16 // offline counter before increment
	Random   [4]byte
	PSAMSeq  uint32
	Stamp    money.Stamp // the terminal's
	TAC      suite.MAC
	MAC2     suite.MAC
}

// Vault uses the keys. It may be asked from any goroutine.
type Vault interface {
	// CheckProfile fails with ErrProfile for a profile whose keys this vault
	// cannot derive or may not use.
	CheckProfile(name string) error
	// AuthoriseLoad verifies MAC1 and gives MAC2 under the host's stamp. It
	// fails with ErrMAC when the card did not make MAC1.
	AuthoriseLoad(c Card, l Load, at money.Stamp) (suite.MAC, error)
	// VerifyLoad reports whether the card made the TAC.
	VerifyLoad(c Card, p LoadProof) (bool, error)
	// VerifyPurchase reports whether the card made TAC and MAC2.
	VerifyPurchase(c Card, p Purchase) (tac, mac2 bool, err error)
	// VerifySAMState reads the state of a load SAM (suite.LoadSAMState and
	// its MAC, 42 bytes). It fails with ErrMAC when the SAM did not make it.
	VerifySAMState(challenge [8]byte, state []byte) (suite.LoadSAMState, error)
	// SignAllowance is the MAC under which a load SAM takes an allowance.
	SignAllowance(sam money.SAMID, challenge [8]byte, a suite.Allowance) (suite.MAC, error)
	// Seal signs a message (wire.Sealed) with the utility's key.
	Seal(what string, r canon.Record) []byte
	// PublicKey verifies what Seal signs.
	PublicKey() ed25519.PublicKey
}
