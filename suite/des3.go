package suite

import (
	"crypto/cipher"
	"fmt"
)

// DES3 is the DES profile of the purse (purse.md section 4). It has no state
// and may be used from any goroutine.
type DES3 struct{}

var _ Suite = DES3{}

// ByName gives the suite that a profile names: "3des". It fails with
// ErrUnknownID.
func ByName(name string) (Suite, error) {
	if name == (DES3{}).Name() {
		return DES3{}, nil
	}
	return nil, fmt.Errorf("%q: %w", name, ErrUnknownID)
}

// Name is "3des".
func (DES3) Name() string { return "3des" }

// Diversify gives 16 bytes: E(master, F) ‖ E(master, NOT F), without any
// change of parity bits (purse.md section 4.4).
func (DES3) Diversify(master []byte, factor [8]byte) ([]byte, error) {
	c, err := desCipher(master)
	if err != nil {
		return nil, err
	}
	k := make([]byte, 16)
	for i, b := range factor {
		k[i], k[8+i] = b, ^b
	}
	c.Encrypt(k[:8], k[:8])
	c.Encrypt(k[8:], k[8:])
	return k, nil
}

// SessionKey gives 8 bytes (purse.md section 4.5).
func (DES3) SessionKey(cardKey []byte, input [8]byte) ([]byte, error) {
	c, err := desCipher(cardKey)
	if err != nil {
		return nil, err
	}
	k := make([]byte, 8)
	c.Encrypt(k, input[:])
	return k, nil
}

// TransactionMAC takes an 8-byte session key (purse.md section 4.6).
func (DES3) TransactionMAC(sessionKey, fields []byte) (MAC, error) {
	return MACAlg1(sessionKey, [8]byte{}, fields)
}

// TAC folds a 16-byte key (purse.md section 4.7). The MAC of RELOAD PIN has
// the same form (section 6 rule 5).
func (DES3) TAC(tacKey, fields []byte) (MAC, error) {
	k, err := XorFold(tacKey)
	if err != nil {
		return MAC{}, err
	}
	return MACAlg1(k[:], [8]byte{}, fields)
}

// LineMAC is algorithm 1 for an 8-byte key and algorithm 3 for a 16-byte key
// (purse.md section 4.8).
func (DES3) LineMAC(key, challenge, data []byte) (MAC, error) {
	iv, err := challengeBlock(challenge)
	if err != nil {
		return MAC{}, err
	}
	if len(key) == 8 {
		return MACAlg1(key, iv, data)
	}
	return MACAlg3(key, iv, data)
}

// LineEncrypt puts the length before the data and pads only when the whole
// is not a number of blocks already (purse.md section 4.9).
func (DES3) LineEncrypt(key, data []byte) ([]byte, error) {
	if len(data) > 255 {
		return nil, ErrLineData
	}
	c, err := desCipher(key)
	if err != nil {
		return nil, err
	}
	b := append([]byte{byte(len(data))}, data...)
	if len(b)%block != 0 {
		b = Pad(b)
	}
	for i := 0; i < len(b); i += block {
		c.Encrypt(b[i:], b[i:])
	}
	return b, nil
}

// LineDecrypt fails with ErrBlock when the cipher text is not whole blocks
// and with ErrLineData when length and padding do not agree.
func (DES3) LineDecrypt(key, text []byte) ([]byte, error) {
	if len(text) == 0 || len(text)%block != 0 {
		return nil, ErrBlock
	}
	c, err := desCipher(key)
	if err != nil {
		return nil, err
	}
	b := ecbDecrypt(c, text)
	n := 1 + int(b[0])
	if n > len(b) || len(b)-n >= block {
		return nil, ErrLineData
	}
	for i, v := range b[n:] {
		if (i == 0 && v != 0x80) || (i > 0 && v != 0) {
			return nil, ErrLineData
		}
	}
	return b[1:n], nil
}

// Authenticate gives 8 bytes (purse.md section 4.10).
func (DES3) Authenticate(key, challenge []byte) ([]byte, error) {
	b, err := challengeBlock(challenge)
	if err != nil {
		return nil, err
	}
	c, err := desCipher(key)
	if err != nil {
		return nil, err
	}
	c.Encrypt(b[:], b[:])
	return b[:], nil
}

func challengeBlock(challenge []byte) (b [8]byte, err error) {
	if len(challenge) != 4 && len(challenge) != 8 {
		return b, ErrChallenge
	}
	copy(b[:], challenge)
	return b, nil
}

func ecbDecrypt(c cipher.Block, text []byte) []byte {
	b := make([]byte, len(text))
	for i := 0; i < len(b); i += block {
		c.Decrypt(b[i:], text[i:])
	}
	return b
}
