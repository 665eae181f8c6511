// Package receipt says what a slip says: a small document of lines with roles,
// made from a transaction or from the sums of a shift, and two renderings of
// it that lay out alike, bytes for an ESC/POS printer and a picture in SVG.
//
// It may import journal, money and libraries. It does no I/O, reads no clock,
// knows no printer's state, and decides nothing about money: a slip repeats
// what the journal says. Whatever comes from outside, as the name of a shop, is
// cleaned of control characters before it can become a printer's command.
package receipt

import (
	"time"

	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// Role is what a line is for; how it looks is the renderings' affair.
type Role uint8

// Roles of lines.
const (
	RoleLogo    Role = iota + 1 // the logo, where the paper has one
	RoleShop                    // who gives the slip
	RoleTitle                   // what kind of slip
	RoleMark                    // what must not be overlooked: reprint, off line, not verified
	RoleVerdict                 // Result in words and shape; Text and Value are the words in both languages
	RoleAmount                  // the amount, large
	RoleFact                    // Text names, Value says
	RoleRule                    // a line across
	RoleNotice                  // a sentence that matters
	RoleText                    // a sentence
	RoleHash                    // Value in characters that must not be broken anyhow
	RoleQR                      // Value as a QR code
)

// Line is one line of a document before it is laid out.
type Line struct {
	Role   Role
	Text   string
	Value  string
	Result journal.Result // of a RoleVerdict: Done, NotDone or Unknown
}

// Doc is a slip.
type Doc struct {
	Lang  string // of words.Languages
	Lines []Line
}

// Text gives the first line of a role, for tests and titles.
func (d Doc) text(r Role) string {
	for _, l := range d.Lines {
		if l.Role == r {
			return l.Text
		}
	}
	return ""
}

// Title is the title of the slip in its language.
func (d Doc) Title() string { return d.text(RoleTitle) }

// Head is what every slip of a terminal bears.
type Head struct {
	Shop     string // the shop's printed name, may be empty
	ShopID   money.ShopID
	Terminal money.TerminalID
	Issuer   string // who issued the card and answers for its value, may be empty
	Hotline  string // telephone number for questions; empty: "95598"
	Logo     bool   // the paper has one
}

// CardFacts is what is known of the card beyond its number (field.md section
// 4.1: what a voucher of a prepaid card must say). The zero value knows
// nothing.
type CardFacts struct {
	Known   bool
	Named   bool
	ValidTo time.Time // zero: not known
}

// Slip is what the slip of a transaction is made from.
type Slip struct {
	Head
	Lang        string
	Transaction journal.Transaction
	Child       *journal.Transaction // first load of a sale, debit of a void; nil: none
	Hash        journal.Hash         // of the journal's head: it covers the transaction
	Wanted      money.Fen            // first load that a sale was asked for, 0: none or not known any more
	Offline     bool                 // the link was down; counts where the entries do not say so themselves
	Why         string               // a reason in words of the slip's language, for what was not done; may be empty
	Card        CardFacts
	Settles     bool // the slip tells how an unknown outcome ended, and names the first slip
	Copy        int  // 0: the first print; n: the n-th reprint
}

// Report is what the slip of a shift is made from: an X report while it is
// open, the Z report once at its end. The sums are the journal's; nothing is
// added up here.
type Report struct {
	Head
	Lang   string
	Final  bool // Z, else X
	Number uint32
	Clerk  string
	Opened time.Time
	At     time.Time // of the report, or of the close

	OpeningCash, CashIn, CashOut money.Fen
	TopUps, Redemptions          money.Fen
	Deposits, Voids, Bills       money.Fen
	Claims                       money.Fen // paid out
	Count, Unknown               uint32
	Counted, Expected            *money.Fen     // nil: not told, as before a blind count
	Reason                       string         // for the difference, may be empty
	Unsent                       uint32         // entries that the utility does not have yet
	UnsentSlips, AttentionSlips  []journal.Name // listed by number; nil: not told, as of a shift long closed
	Hash                         journal.Hash
	Slip                         journal.Name // the entry that closed the shift, or the newest one of an X report
	Copy                         int
}

// MaskAccount shows the first two and the last four digits of an account.
func MaskAccount(a money.AccountNumber) string {
	if a == 0 {
		return ""
	}
	s := a.String()
	return s[:2] + "****" + s[len(s)-4:]
}
