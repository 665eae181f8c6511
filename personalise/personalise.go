// Package personalise makes purse cards, PSAMs and load SAMs of FMCOS-type
// chips (purse.md section 11): from a description in YAML and a number comes a
// plan, from the plan the exact commands, and what the card then holds is read
// back and its keys are proved. It goes on with a card that was pulled out
// half-written, and gives the numbers of a tray of cards one by one, none
// twice, by a journal.
//
// It may import apdu, suite, money, firmware-profiles, internal/config and
// internal/filelock. It knows no reader, no vault and no simulator, holds no key but in a suite.Ring,
// and must never show one, send a real one in the clear, write to a card that
// is another's or in use, or erase a card that is no test card.
package personalise
