package reader

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrAmbiguous says that a fragment fits more than one reader; the error
// around it lists them. Nothing has been sent.
var ErrAmbiguous = errors.New("more than one reader fits that name")

// Backends opens slots by the names used in configuration and on command
// lines, "kind:rest". The key is the kind ("pcsc", "sim", ...), the value
// opens what stands after the colon. The program that wires things fills it,
// so this package knows no backend:
//
//	slots := reader.Backends{"pcsc": service.Slot, "sim": desk.Slot}
//	customer, err := slots.Open("pcsc:Twin")
type Backends map[string]func(rest string) (Slot, error)

// Open opens the slot of that name. It fails with ErrKind when no backend
// has that kind, or with what the backend says.
func (b Backends) Open(name string) (Slot, error) {
	kind, rest, found := strings.Cut(name, ":")
	open := b[kind]
	if !found || open == nil {
		kinds := make([]string, 0, len(b))
		for k := range b {
			kinds = append(kinds, k+":")
		}
		slices.Sort(kinds)
		return nil, &Error{Slot: name, Op: "open", Kind: ErrKind,
			Hint: "a reader's name begins with one of: " + strings.Join(kinds, " ")}
	}
	return open(rest)
}

// Match finds the one name that is meant by fragment: the equal one, or the
// only one that contains it whatever the case of its letters. An empty
// fragment means the only one there is. It fails with ErrSlotName when none
// fits and with ErrAmbiguous when several do; both errors list the
// candidates.
func Match(fragment string, names []string) (string, error) {
	var fit []string
	for _, n := range names {
		if n == fragment {
			return n, nil
		}
		if strings.Contains(strings.ToLower(n), strings.ToLower(fragment)) {
			fit = append(fit, n)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return "", fmt.Errorf("%w: %q fits %s", ErrAmbiguous, fragment, quoted(fit))
	case len(names) == 0:
		return "", fmt.Errorf("%w: %q, and no reader is there at all", ErrSlotName, fragment)
	}
	return "", fmt.Errorf("%w: %q; there are %s", ErrSlotName, fragment, quoted(names))
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}
