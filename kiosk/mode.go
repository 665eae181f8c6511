package kiosk

import (
	"fmt"
	"slices"
)

// Mode says which screens a terminal offers.
type Mode string

// The modes. With one reader and both screens, whoever's transaction holds the
// card has it, and the other screen says so.
const (
	ModeBoth    Mode = "both"
	ModeCounter Mode = "counter" // the clerk's screen only
	ModeKiosk   Mode = "kiosk"   // the customer's screen only
)

// ParseMode reads a mode; the empty text is ModeBoth.
func ParseMode(s string) (Mode, error) {
	m := Mode(s)
	switch {
	case m == "":
		return ModeBoth, nil
	case slices.Contains([]Mode{ModeBoth, ModeCounter, ModeKiosk}, m):
		return m, nil
	}
	return "", fmt.Errorf("kiosk: no mode %q: counter, kiosk or both", s)
}

// offers reports whether a page is to be had here. A page that is not has no
// session either, whatever cookie a browser brings.
func (m Mode) offers(screen string) bool {
	switch screen {
	case "clerk":
		return m != ModeKiosk
	case "kiosk":
		return m != ModeCounter
	}
	return true
}
