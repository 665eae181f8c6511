package suite

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
)

const block = des.BlockSize // 8 bytes

// Pad adds padding M2 of ISO/IEC 9797-1: 80, then zeros to a multiple of the
// block. It is always added, so data of whole blocks gets one block more
// (purse.md section 4.1).
func Pad(data []byte) []byte {
	n := len(data)/block*block + block
	p := make([]byte, n)
	copy(p, data)
	p[len(data)] = 0x80
	return p
}

// MACAlg1 is ISO/IEC 9797-1 algorithm 1 with padding M2: CBC with single DES
// under an 8-byte key, leftmost four bytes (purse.md section 4.1).
func MACAlg1(key []byte, iv [8]byte, data []byte) (MAC, error) {
	if len(key) != 8 {
		return MAC{}, ErrKeyLength
	}
	c, err := des.NewCipher(key)
	if err != nil {
		return MAC{}, ErrKeyLength
	}
	last := cbc(c, iv, data)
	return MAC(last[:4]), nil
}

// MACAlg3 is ISO/IEC 9797-1 algorithm 3, the "retail MAC", with padding M2:
// CBC with single DES under the left half of a 16-byte key, the last block
// then deciphered under the right half and enciphered under the left;
// leftmost four bytes (purse.md section 4.1). Only the line uses it.
func MACAlg3(key []byte, iv [8]byte, data []byte) (MAC, error) {
	if len(key) != 16 {
		return MAC{}, ErrKeyLength
	}
	left, err := des.NewCipher(key[:8])
	if err != nil {
		return MAC{}, ErrKeyLength
	}
	right, err := des.NewCipher(key[8:])
	if err != nil {
		return MAC{}, ErrKeyLength
	}
	last := cbc(left, iv, data)
	right.Decrypt(last[:], last[:])
	left.Encrypt(last[:], last[:])
	return MAC(last[:4]), nil
}

// cbc chains data with padding M2 and gives the last block.
func cbc(c cipher.Block, iv [8]byte, data []byte) [8]byte {
	for len(data) >= block {
		subtle.XORBytes(iv[:], iv[:], data[:block])
		c.Encrypt(iv[:], iv[:])
		data = data[block:]
	}
	for i, b := range data {
		iv[i] ^= b
	}
	iv[len(data)] ^= 0x80
	c.Encrypt(iv[:], iv[:])
	return iv
}

// XorFold folds a 16-byte key to 8 bytes: left half xor right half (purse.md
// section 4.1). An 8-byte key stays as it is (section 4.7).
func XorFold(key []byte) ([8]byte, error) {
	switch len(key) {
	case 8:
		return [8]byte(key), nil
	case 16:
		var f [8]byte
		subtle.XORBytes(f[:], key[:8], key[8:])
		return f, nil
	}
	return [8]byte{}, ErrKeyLength
}

// KCV is the key check value: the first three bytes of eight zero bytes
// enciphered under the key. It names a key on paper without showing it.
func KCV(key []byte) ([3]byte, error) {
	c, err := desCipher(key)
	if err != nil {
		return [3]byte{}, err
	}
	var b [8]byte
	c.Encrypt(b[:], b[:])
	return [3]byte(b[:3]), nil
}

// Equal compares in a time that does not depend on where two MACs differ.
func (m MAC) Equal(other MAC) bool { return subtle.ConstantTimeCompare(m[:], other[:]) == 1 }

// desCipher chooses by key length: 8 bytes single DES, 16 bytes two-key
// triple DES (purse.md section 4.2).
func desCipher(key []byte) (cipher.Block, error) {
	switch len(key) {
	case 8:
		return des.NewCipher(key)
	case 16:
		var k [24]byte
		copy(k[:], key)
		copy(k[16:], key[:8])
		return des.NewTripleDESCipher(k[:])
	}
	return nil, ErrKeyLength
}
