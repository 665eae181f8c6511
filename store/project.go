package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/dianka/dianka/internal/canon"
	"github.com/dianka/dianka/journal"
	"github.com/dianka/dianka/money"
)

// Buckets. A ref is epoch (4) and sequence (8), big-endian, so that byte
// order is journal order.
var (
	bucketMeta     = []byte("meta")     // schema, identity, totals: sealed rows
	bucketJournal  = []byte("journal")  // ref → hash of the chain (32), entry
	bucketAcks     = []byte("acks")     // epoch, through → sealed row of the acknowledgement
	bucketSections = []byte("sections") // kind → sealed row of version (8), section

	bucketThread = []byte("thread") // ref of a transaction, ref of an entry of it
	bucketOpen   = []byte("open")   // ref of a transaction whose card may have moved
	bucketToken  = []byte("token")  // token → ref of the transaction
	bucketCard   = []byte("card")   // card, ref of the transaction
	bucketChild  = []byte("child")  // parent's ref, ref of the transaction
	bucketSold   = []byte("sold")   // card → ref of its CardSale

	bucketMark   = []byte("mark")   // token of an entry that begins no transaction → its ref
	bucketShifts = []byte("shifts") // ref of a ShiftClose
	bucketAbout  = []byte("about")  // ref of a ShiftOpen, ShiftClose or StockReceipt, ref of an entry about it
	bucketStock  = []byte("stock")  // first and last card of a pack → ref of its StockReceipt

	bucketStaff = []byte("staff") // number of a person (4) → sealed row of the Person
)

var (
	keptBuckets  = [][]byte{bucketMeta, bucketJournal, bucketAcks, bucketSections, bucketStaff}
	indexBuckets = [][]byte{bucketThread, bucketToken, bucketCard, bucketChild, bucketSold, bucketMark, bucketShifts, bucketAbout, bucketStock} // rows are only ever added

	// laterBuckets came after the first files of this schema were made. A file
	// without any of them is of such a program, and gets them at Open.
	laterBuckets = [][]byte{bucketMark, bucketShifts, bucketAbout, bucketStock, bucketStaff}
)

func projectionBuckets() [][]byte { return append([][]byte{bucketOpen}, indexBuckets...) }

// Rows of bucketMeta.
var (
	keySchema   = []byte("schema")
	keyIdentity = []byte("identity")
	keyTotals   = []byte("totals")
	keyRebuild  = []byte("rebuild") // present while projections are incomplete
	keyRemade   = []byte("remade")  // epoch in which the file was made anew from the second copy
	keyBase     = []byte("base")    // and epoch → sequence and hash where its chain begins
)

const refLen = 12

func putRef(b []byte, r journal.Ref) []byte {
	b = binary.BigEndian.AppendUint32(b, r.Epoch)
	return binary.BigEndian.AppendUint64(b, r.Seq)
}

func refKey(r journal.Ref) []byte { return putRef(make([]byte, 0, refLen), r) }

func getRef(b []byte) (journal.Ref, error) {
	if len(b) != refLen {
		return journal.Ref{}, fmt.Errorf("%w: a reference of %d bytes", ErrCorrupt, len(b))
	}
	return journal.Ref{Epoch: binary.BigEndian.Uint32(b), Seq: binary.BigEndian.Uint64(b[4:])}, nil
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// A sealed row carries its own checksum over bucket, key and value, since
// bbolt has none over data pages (storage-sync.md section 1.1).
func sealRow(bucket, key, value []byte) []byte {
	sum := rowSum(bucket, key, value)
	return append(sum[:], value...)
}

func rowSum(bucket, key, value []byte) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "dianka/row/1\x00%s\x00%x\x00", bucket, key)
	h.Write(value)
	return [sha256.Size]byte(h.Sum(nil))
}

// openRow gives the value, which lies in the file: copy it before the
// transaction ends.
func openRow(bucket, key, row []byte) ([]byte, error) {
	if len(row) < sha256.Size || rowSum(bucket, key, row[sha256.Size:]) != [sha256.Size]byte(row) {
		return nil, fmt.Errorf("%w: row %x of %s", ErrCorrupt, key, bucket)
	}
	return row[sha256.Size:], nil
}

func putRow(tx *bbolt.Tx, bucket, key, value []byte) error {
	return tx.Bucket(bucket).Put(key, sealRow(bucket, key, value))
}

// getRow gives nil without an error when there is no such row.
func getRow(tx *bbolt.Tx, bucket, key []byte) ([]byte, error) {
	row := tx.Bucket(bucket).Get(key)
	if row == nil {
		return nil, nil
	}
	return openRow(bucket, key, row)
}

// stored splits a value of the journal into the hash after the entry and the
// entry's bytes.
func stored(v []byte, r journal.Ref) (h journal.Hash, entry []byte, err error) {
	if len(v) < len(h) {
		return h, nil, fmt.Errorf("%w: entry %d-%d is missing or short", ErrCorrupt, r.Epoch, r.Seq)
	}
	return journal.Hash(v[:len(h)]), v[len(h):], nil
}

// hashBefore is the hash of the chain before r.
func hashBefore(tx *bbolt.Tx, t money.TerminalID, r journal.Ref) (journal.Hash, error) {
	if r.Seq <= 1 {
		return journal.Genesis(t, r.Epoch), nil
	}
	r.Seq--
	v := tx.Bucket(bucketJournal).Get(refKey(r))
	if v == nil {
		b, err := getBase(tx, t, r.Epoch)
		if err != nil || b.seq == r.Seq {
			return b.hash, err
		}
	}
	h, _, err := stored(v, r)
	return h, err
}

// A base is where the chain of an epoch begins in a file that was made anew
// from the second copy: the utility holds what is before.
func putBase(tx *bbolt.Tx, b chain) error {
	return putRow(tx, bucketMeta, baseKey(b.epoch), join(refKey(journal.Ref{Epoch: b.epoch, Seq: b.seq}), b.hash[:]))
}

// getBase gives the beginning of the epoch when there is no such row.
func getBase(tx *bbolt.Tx, t money.TerminalID, epoch uint32) (chain, error) {
	b := chain{epoch: epoch, hash: journal.Genesis(t, epoch)}
	v, err := getRow(tx, bucketMeta, baseKey(epoch))
	if err != nil || v == nil {
		return b, err
	}
	if len(v) != refLen+len(b.hash) {
		return b, fmt.Errorf("%w: base of epoch %d", ErrCorrupt, epoch)
	}
	b.seq, b.hash = binary.BigEndian.Uint64(v[4:]), journal.Hash(v[refLen:])
	return b, nil
}

func baseKey(epoch uint32) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(keyBase), epoch)
}

// verified gives an entry's bytes after checking that they are what was
// hashed. They lie in the file.
func verified(tx *bbolt.Tx, t money.TerminalID, r journal.Ref) ([]byte, error) {
	v := tx.Bucket(bucketJournal).Get(refKey(r))
	if v == nil {
		return nil, fmt.Errorf("%d-%d: %w", r.Epoch, r.Seq, ErrNotFound)
	}
	hash, entry, err := stored(v, r)
	if err != nil {
		return nil, err
	}
	prev, err := hashBefore(tx, t, r)
	if err != nil {
		return nil, err
	}
	if journal.Link(prev, entry) != hash {
		return nil, fmt.Errorf("%w: entry %d-%d is not what was written", ErrCorrupt, r.Epoch, r.Seq)
	}
	return entry, nil
}

func parse(b []byte, t money.TerminalID, r journal.Ref) (journal.Entry, error) {
	e, err := journal.Parse(b)
	if err != nil {
		return e, fmt.Errorf("%w: entry %d-%d: %w", ErrCorrupt, r.Epoch, r.Seq, err)
	}
	if e.Name != r.Of(t) {
		return e, fmt.Errorf("%w: entry %s lies where %s belongs", ErrCorrupt, e.Name, r.Of(t))
	}
	return e, nil
}

func readEntry(tx *bbolt.Tx, t money.TerminalID, r journal.Ref) (journal.Entry, error) {
	b, err := verified(tx, t, r)
	if err != nil {
		return journal.Entry{}, err
	}
	return parse(b, t, r)
}

// fold makes a transaction of its entries, those before the entry until, or
// all when until is zero.
func fold(tx *bbolt.Tx, t money.TerminalID, r, until journal.Ref) (journal.Transaction, error) {
	first := refKey(r)
	c := tx.Bucket(bucketThread).Cursor()
	k, _ := c.Seek(first)
	if !bytes.HasPrefix(k, first) {
		return journal.Transaction{}, fmt.Errorf("transaction %d-%d: %w", r.Epoch, r.Seq, ErrNotFound)
	}
	if !bytes.Equal(k, join(first, first)) {
		return journal.Transaction{}, fmt.Errorf("%w: transaction %d-%d has no beginning", ErrCorrupt, r.Epoch, r.Seq)
	}
	e, err := readEntry(tx, t, r)
	if err != nil {
		return journal.Transaction{}, damaged(err)
	}
	out, err := journal.Begin(e)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for k, _ = c.Next(); bytes.HasPrefix(k, first); k, _ = c.Next() {
		at, err := getRef(k[refLen:])
		if err != nil {
			return out, err
		}
		if !until.IsZero() && bytes.Compare(k[refLen:], refKey(until)) >= 0 {
			break
		}
		e, err := readEntry(tx, t, at)
		if err != nil {
			return out, damaged(err)
		}
		if err := out.Add(e); err != nil {
			return out, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return out, nil
}

// damaged turns "not found" into damage where an index says that it is there.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// row is a row of an index.
type row struct{ bucket, key, value []byte }

// rows are the index rows that an entry makes. Rows with a value are put only
// when the key is new: the first token and the first sale of a card stand.
func rows(s step) []row {
	e := s.e
	if out := settling(e); out != nil {
		return out
	}
	if s.after == nil { // of no transaction, or of one whose beginning is not here
		return nil
	}
	at := refKey(e.Name.Ref())
	switch {
	case e.Body.Type().Begins():
		t, err := journal.Begin(e)
		if err != nil {
			return nil
		}
		out := []row{{bucket: bucketThread, key: join(at, at)}}
		if !t.Card.IsZero() {
			out = append(out, row{bucket: bucketCard, key: join(t.Card[:], at)})
		}
		if t.Token != (journal.Token{}) {
			out = append(out, row{bucketToken, append([]byte(nil), t.Token[:]...), at})
		}
		if !t.Parent.IsZero() {
			out = append(out, row{bucket: bucketChild, key: join(refKey(t.Parent), at)})
		}
		if t.Sale != nil {
			out = append(out, row{bucketSold, append([]byte(nil), t.Card[:]...), at})
		}
		return out
	case e.Body.Type().Continues():
		begin := refKey(e.Ref)
		out := []row{{bucket: bucketThread, key: join(begin, at)}}
		if b, ok := e.Body.(*journal.CashReturned); ok && b.Token != (journal.Token{}) {
			out = append(out, row{bucketToken, append([]byte(nil), b.Token[:]...), begin})
		}
		return out
	}
	return nil
}

// totals are the projections that are sums. They name the entry up to which
// they were made.
type totals struct {
	Through journal.Ref
	Hash    journal.Hash
	Unsent  money.Fen // see Unsent.Value
	Shift   Shift     // the latest; Number 0 = none yet
}

// Fields walks the row of the totals.
func (t *totals) Fields(c *canon.Codec) {
	canon.U32(c, &t.Through.Epoch)
	canon.U64(c, &t.Through.Seq)
	canon.Fixed(c, t.Hash[:])
	canon.I64(c, &t.Unsent)
	s := &t.Shift
	canon.U32(c, &s.Number)
	canon.U32(c, &s.Open.Epoch)
	canon.U64(c, &s.Open.Seq)
	canon.U32(c, &s.Clerk)
	canon.I64(c, &s.Opened)
	for _, f := range []*money.Fen{&s.OpeningCash, &s.CashIn, &s.CashOut, &s.TopUps, &s.Redemptions, &s.Deposits, &s.Voids} {
		canon.I64(c, f)
	}
	canon.U32(c, &s.Count)
	canon.U32(c, &s.Unknown)
	canon.Bool(c, &s.Closed)
	canon.U32(c, &s.Close.Epoch)
	canon.U64(c, &s.Close.Seq)
	canon.I64(c, &s.ClosedAt)
	canon.I64(c, &s.Counted)
	canon.I64(c, &s.Expected)
	if c.Reading() && c.Rest() == 0 {
		return // written by a program that knew of neither, and so did neither
	}
	canon.I64(c, &s.Bills)
	canon.I64(c, &s.Claims)
}

func loadTotals(tx *bbolt.Tx) (t totals, err error) {
	b, err := getRow(tx, bucketMeta, keyTotals)
	if err != nil {
		return t, err
	}
	if b == nil {
		return t, fmt.Errorf("%w: no totals", ErrCorrupt)
	}
	if err := canon.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("%w: totals: %w", ErrCorrupt, err)
	}
	return t, nil
}

// step is one entry with the transaction it belongs to, before and after it;
// both nil when it belongs to none, before nil when it begins one.
type step struct {
	e             journal.Entry
	hash          journal.Hash
	before, after *journal.Transaction
}

// follow gives the step that an entry makes which is in the journal already or
// comes from the second copy. What continues a transaction whose beginning is
// not here makes no projection.
func (m *memory) follow(tx *bbolt.Tx, e journal.Entry, h journal.Hash) (step, error) {
	x := step{e: e, hash: h}
	switch {
	case e.Body.Type().Begins():
		t, err := journal.Begin(e)
		if err != nil {
			return x, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		x.after = &t
	case e.Body.Type().Continues():
		if m.absent(e.Ref) {
			return x, nil
		}
		before, err := fold(tx, m.id.Terminal, e.Ref, e.Name.Ref())
		if err != nil {
			return x, damaged(err)
		}
		after := before
		if err := after.Add(e); err != nil {
			return x, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		x.before, x.after = &before, &after
	}
	return x, nil
}

// apply takes one entry into the sums. unsent tells whether an entry is not
// yet acknowledged.
func (t *totals) apply(s step, unsent func(journal.Ref) bool) {
	t.Through, t.Hash = s.e.Name.Ref(), s.hash
	if tr := s.after; tr != nil && tr.Load != nil && unsent(tr.Name.Ref()) {
		t.Unsent += exposure(s.after) - exposure(s.before)
	}
	t.Shift.apply(s)
}

// exposure is what an unsent load adds to Unsent.Value.
func exposure(t *journal.Transaction) money.Fen {
	if t == nil || t.Load == nil || t.Result == journal.NotDone {
		return 0
	}
	return t.Amount
}

func (s *Shift) apply(x step) {
	ref := x.e.Name.Ref()
	switch b := x.e.Body.(type) {
	case *journal.ShiftOpen:
		*s = Shift{Number: b.Number, Open: ref, Clerk: x.e.Actor.ID, Opened: x.e.Wall, OpeningCash: b.Cash, Expected: b.Cash}
		return
	case *journal.ShiftClose:
		if s.Number == b.Number && !s.Closed && s.Number != 0 {
			s.Closed, s.Close, s.ClosedAt, s.Counted, s.Expected = true, ref, x.e.Wall, b.Counted, b.Expected
		}
		return
	}
	if s.Number == 0 || s.Closed || x.after == nil {
		return
	}
	begun := !less(x.after.Name.Ref(), s.Open) // within this shift
	was, is := journal.Transaction{}, *x.after
	if x.before != nil {
		was = *x.before
	} else {
		s.Count++
	}
	if begun {
		if x.before != nil && was.Open() {
			s.Unknown--
		}
		if is.Open() {
			s.Unknown++
		}
	}
	doneNow := is.Result == journal.Done && (x.before == nil || was.Result != journal.Done)
	switch {
	case is.Load != nil:
		if cashTaken(is) && (x.before == nil || !cashTaken(was)) {
			s.CashIn += is.Amount
		}
		if doneNow {
			s.TopUps += is.Amount
		}
		if b, ok := x.e.Body.(*journal.CashReturned); ok {
			if begun && is.Load.Tendered > 0 {
				s.CashIn -= b.Amount
			} else {
				s.CashOut += b.Amount
			}
		}
	case is.Bill != nil:
		if x.before == nil {
			s.CashIn += is.Amount
		}
		if doneNow {
			s.Bills += is.Amount
		}
		if b, ok := x.e.Body.(*journal.CashReturned); ok {
			if begun {
				s.CashIn -= b.Amount
			} else {
				s.CashOut += b.Amount
			}
		}
	case is.Claim != nil && doneNow:
		s.Claims += is.Amount
		s.CashOut += is.Amount
	case is.Sale != nil:
		s.CashIn += is.Amount
		s.Deposits += is.Amount
	case is.Kind == journal.KindRedemption && doneNow:
		s.Redemptions += is.Amount
	case is.Kind == journal.KindVoidDebit && doneNow:
		s.Voids += is.Amount
		s.CashOut += is.Amount
	}
	s.Expected = s.OpeningCash + s.CashIn - s.CashOut
}

// cashTaken reports whether the drawer holds the cash of a load: from the
// intent on when it was tendered before, else once the card has, or may have,
// the value.
func cashTaken(t journal.Transaction) bool {
	return t.Load.Tendered > 0 || t.Result == journal.Done || t.Result == journal.Unknown
}

func less(a, b journal.Ref) bool {
	return a.Epoch < b.Epoch || a.Epoch == b.Epoch && a.Seq < b.Seq
}

// putProjections writes the index rows of one step.
func putProjections(tx *bbolt.Tx, s step) error {
	for _, r := range rows(s) {
		b := tx.Bucket(r.bucket)
		if r.value != nil && b.Get(r.key) != nil {
			continue
		}
		if err := b.Put(r.key, r.value); err != nil {
			return err
		}
	}
	if s.after == nil {
		return nil
	}
	b, key := tx.Bucket(bucketOpen), refKey(s.after.Name.Ref())
	switch was := s.before != nil && s.before.Open(); {
	case s.after.Open() && !was:
		return b.Put(key, nil)
	case !s.after.Open() && was:
		return b.Delete(key)
	}
	return nil
}

// appending tells bbolt that these buckets grow at their end, so that full
// pages stay full.
func appending(tx *bbolt.Tx) {
	for _, name := range [][]byte{bucketJournal, bucketThread} {
		if b := tx.Bucket(name); b != nil { // a rebuild may have to make it first
			b.FillPercent = 0.9
		}
	}
}
