package suite

import (
	"encoding/binary"
	"fmt"

	"github.com/dianka/dianka/money"
)

// The load SAM gives MAC2 of a load while no host is on line, within an
// allowance that the host signs. Its four commands are ours, a vendor-neutral
// placeholder in the shape of the PSAM's (purse.md section 10.2):
//
//	80 70 01 00  SAMLoad          → sequence 4 ‖ MAC2 4
//	80 72 01 00  TAC 4            → 9000, or 9302 when the TAC is wrong
//	80 74 00 00  challenge 8      → LoadSAMState 38 ‖ MAC 4
//	80 76 00 00  Allowance 16 ‖ MAC 4, after GET CHALLENGE of 8 bytes
//
// INIT SAM FOR LOAD raises the lifetime totals in the SAM's memory before it
// releases MAC2; the sequence it answers is the lifetime count after this
// load. It answers 9401 above the ceiling of amount, 9402 above the ceiling
// of count, 9403 when it has no key of that version, 6A80 on a wrong type or
// number of factors, 9302 on a wrong MAC1; none of these changes anything.
// INSTALL ALLOWANCE answers 6984 without a challenge of 8 bytes, 9302 on a
// wrong MAC, 6985 when the sequence is not above the installed one.

// LoadSAMName is the DF name of the load SAM application, ASCII.
const LoadSAMName = "DIANKA.LSAM"

// Lengths of the load SAM's data in bytes.
const (
	LoadSAMStateLen = 38 // without its MAC
	AllowanceLen    = 16 // without its MAC
	samLoadFixed    = 28 // SAMLoad without factors
)

// SAMLoad is the data of INIT SAM FOR LOAD. Its order on the line is that of
// the fields here, all numbers big-endian.
type SAMLoad struct {
	Rnd        [4]byte // of INITIALIZE FOR LOAD
	Counter    uint16  // online counter before the load
	Before     money.Fen
	Amount     money.Fen
	Type       byte // TypeEDLoad or TypeEPLoad
	KeyVersion byte
	Algorithm  byte
	MAC1       MAC
	At         money.Stamp
	Factors    [][8]byte // card serial first, then region; 0..3, as many as the key has levels
}

// Encode gives 28 + 8·N bytes. It fails with money.ErrAmountRange, and with
// ErrLayout for more than three factors.
func (l SAMLoad) Encode() ([]byte, error) {
	if len(l.Factors) > 3 {
		return nil, fmt.Errorf("%d factors: %w", len(l.Factors), ErrLayout)
	}
	var f fields
	f.add(l.Rnd[:]...)
	f.add(byte(l.Counter>>8), byte(l.Counter))
	f.fen(l.Before)
	f.fen(l.Amount)
	f.add(l.Type, l.KeyVersion, l.Algorithm)
	f.add(l.MAC1[:]...)
	f.add(l.At[:]...)
	for _, x := range l.Factors {
		f.add(x[:]...)
	}
	return f.done()
}

// DecodeSAMLoad reads what Encode writes. It fails with ErrLayout.
func DecodeSAMLoad(b []byte) (SAMLoad, error) {
	n := len(b) - samLoadFixed
	if n < 0 || n > 24 || n%8 != 0 {
		return SAMLoad{}, fmt.Errorf("%d bytes: %w", len(b), ErrLayout)
	}
	l := SAMLoad{
		Rnd:        [4]byte(b),
		Counter:    binary.BigEndian.Uint16(b[4:]),
		Before:     money.FromPurse([4]byte(b[6:])),
		Amount:     money.FromPurse([4]byte(b[10:])),
		Type:       b[14],
		KeyVersion: b[15],
		Algorithm:  b[16],
		MAC1:       MAC(b[17:]),
		At:         money.Stamp(b[21:]),
	}
	for b = b[samLoadFixed:]; len(b) > 0; b = b[8:] {
		l.Factors = append(l.Factors, [8]byte(b))
	}
	return l, nil
}

// Allowance is what the host lets a load SAM give out. The ceilings are
// totals over the SAM's life, so a repetition can never add; a ceiling below
// what was used already stops loading.
type Allowance struct {
	Sequence      uint32    // above every earlier one
	CeilingAmount money.Fen // 0..money.MaxFen
	CeilingCount  uint32
}

// Encode gives the 16 bytes that MAC covers: sequence 4, amount 8, count 4.
func (a Allowance) Encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, AllowanceLen+len(MAC{})), a.Sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(a.CeilingAmount))
	return binary.BigEndian.AppendUint32(b, a.CeilingCount)
}

// Signed gives the 20 bytes of data of INSTALL ALLOWANCE.
func (a Allowance) Signed(mac MAC) []byte { return append(a.Encode(), mac[:]...) }

// DecodeAllowance reads the data of INSTALL ALLOWANCE. It fails with
// ErrLayout when the length or the amount is out of range; it does not check
// the MAC.
func DecodeAllowance(b []byte) (Allowance, MAC, error) {
	if len(b) != AllowanceLen+4 {
		return Allowance{}, MAC{}, fmt.Errorf("%d bytes: %w", len(b), ErrLayout)
	}
	amount, err := wideFen(b[4:])
	if err != nil {
		return Allowance{}, MAC{}, err
	}
	a := Allowance{binary.BigEndian.Uint32(b), amount, binary.BigEndian.Uint32(b[12:])}
	return a, MAC(b[16:]), nil
}

// MAC signs the allowance for one SAM: the line MAC under that SAM's
// allowance key, with the SAM's own challenge as IV, over the header
// 80 76 00 00 14, the SAM's number and the allowance.
func (a Allowance) MAC(s Suite, key []byte, challenge [8]byte, sam money.SAMID) (MAC, error) {
	data := []byte{0x80, 0x76, 0, 0, AllowanceLen + 4}
	data = append(data, sam[:]...)
	return s.LineMAC(key, challenge[:], append(data, a.Encode()...))
}

// AllowanceKey derives the allowance key of one SAM from the master.
func AllowanceKey(s Suite, master []byte, sam money.SAMID) ([]byte, error) {
	return s.Diversify(master, sam.Factor())
}

// LoadSAMState is the load SAM's report of what it may still give and what it
// gave, totals over its life.
type LoadSAMState struct {
	SAM       money.SAMID
	Allowance           // the one installed; zero before the first
	Total     money.Fen // given, 0..money.MaxFen
	Count     uint32    // loads given
}

// Encode gives the 38 bytes that MAC covers: SAM number 10, sequence 4,
// ceiling amount 8, ceiling count 4, total 8, count 4.
func (st LoadSAMState) Encode() []byte {
	b := append(make([]byte, 0, LoadSAMStateLen+len(MAC{})), st.SAM[:]...)
	b = append(b, st.Allowance.Encode()...)
	b = binary.BigEndian.AppendUint64(b, uint64(st.Total))
	return binary.BigEndian.AppendUint32(b, st.Count)
}

// Signed gives the 42 bytes that the SAM answers.
func (st LoadSAMState) Signed(mac MAC) []byte { return append(st.Encode(), mac[:]...) }

// DecodeLoadSAMState reads the answer of STATE. It fails with ErrLayout; it
// does not check the MAC.
func DecodeLoadSAMState(b []byte) (LoadSAMState, MAC, error) {
	if len(b) != LoadSAMStateLen+4 {
		return LoadSAMState{}, MAC{}, fmt.Errorf("%d bytes: %w", len(b), ErrLayout)
	}
	ceiling, err := wideFen(b[14:])
	if err != nil {
		return LoadSAMState{}, MAC{}, err
	}
	total, err := wideFen(b[26:])
	if err != nil {
		return LoadSAMState{}, MAC{}, err
	}
	return LoadSAMState{
		SAM:       money.SAMID(b),
		Allowance: Allowance{binary.BigEndian.Uint32(b[10:]), ceiling, binary.BigEndian.Uint32(b[22:])},
		Total:     total,
		Count:     binary.BigEndian.Uint32(b[34:]),
	}, MAC(b[38:]), nil
}

// MAC is the line MAC of the report under the SAM's allowance key, with the
// asker's challenge as IV. It covers five blocks and Allowance.MAC four, so
// neither can stand for the other.
func (st LoadSAMState) MAC(s Suite, key []byte, challenge [8]byte) (MAC, error) {
	return s.LineMAC(key, challenge[:], st.Encode())
}

func wideFen(b []byte) (money.Fen, error) {
	v := binary.BigEndian.Uint64(b)
	if v > uint64(money.MaxFen) {
		return 0, fmt.Errorf("amount %d: %w", v, ErrLayout)
	}
	return money.Fen(v), nil
}
