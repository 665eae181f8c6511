package personalise

import "embed"

//go:embed examples/*.yaml
var examples embed.FS

// Example gives the description of a test card of a kind, to begin with. It
// gives nil for a kind that does not exist.
func Example(k Kind) []byte {
	b, err := examples.ReadFile("examples/" + string(k) + ".yaml")
	if err != nil {
		return nil
	}
	return b
}

// Kinds are the kinds of cards.
func Kinds() []Kind { return []Kind{KindPurse, KindPSAM, KindLoadSAM, KindSAM} }
