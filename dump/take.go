package dump

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/explain"
	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/purse"
)

// Bounds of a dump.
const (
	maxDepth   = 4     // directories within directories
	maxFile    = 32767 // bytes, what READ BINARY can address
	maxRecords = 254
	maxEvents  = 8000 // exchanges, unless Options says otherwise
	maxResets  = 2    // after a failed exchange
)

// Card is the card to take down, 61xx and 6Cxx dealt with, and how to begin
// again with it after an exchange that failed.
type Card interface {
	apdu.Transmitter
	ATR() []byte
	Reset(ctx context.Context) error
}

// Options of Take.
type Options struct {
	Profiles *profiles.Set // nil = the built-in ones
	T0       bool          // the protocol in use
	All      bool          // try every file identifier, not only the usual ones
	Limit    time.Duration // 0 = two minutes
	MaxAsked int           // exchanges, 0 = 8000, with All 400000
}

// errEnough ends a dump at its bound.
var errEnough = errors.New("dump: enough")

type taker struct {
	card Card
	opt  Options
	d    *Dump
	end  time.Time
	// seen are the directories that were found, by what SELECT answered: some
	// card systems find every directory from everywhere.
	seen   map[string]bool
	resets int
}

// Take takes down a card. The dump holds what was found also when the card
// stops answering; the error says so then.
func Take(ctx context.Context, c Card, o Options) (*Dump, error) {
	if o.Profiles == nil {
		o.Profiles = profiles.Builtin()
	}
	if o.Limit <= 0 {
		o.Limit = 2 * time.Minute
	}
	if o.MaxAsked <= 0 {
		o.MaxAsked = maxEvents
		if o.All {
			o.MaxAsked = 50 * maxEvents
		}
	}
	t := &taker{card: c, opt: o, seen: map[string]bool{}, end: time.Now().Add(o.Limit)}
	t.d = &Dump{Format: Format, Taken: time.Now(), ATR: fmt.Sprintf("%X", c.ATR()), Protocol: "T=1", Tree: []*Node{}, Refused: []Refusal{}, Notes: []string{}}
	if o.T0 {
		t.d.Protocol = "T=0"
	}
	err := t.purse(ctx)
	if err == nil {
		err = t.walk(ctx)
	}
	switch {
	case err == nil:
		t.d.Whole = true
	case errors.Is(err, errEnough):
		t.note("stopped after %d exchanges: the card shows more than is asked for at a time, or never ends", t.d.Asked)
		err = nil
	default:
		t.note("the card stopped answering: %v", err)
	}
	return t.d, err
}

func (t *taker) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	if !slices.Contains(t.d.Notes, n) {
		t.d.Notes = append(t.d.Notes, n)
	}
}

// refused notes what a card does not show; the same word many times is one
// line.
func (t *taker) refused(what string, sw apdu.SW) {
	word := fmt.Sprintf("%04X", uint16(sw))
	for i := range t.d.Refused {
		if t.d.Refused[i].SW == word {
			t.d.Refused[i].Count++
			return
		}
	}
	t.d.Refused = append(t.d.Refused, Refusal{What: what, SW: word, Means: sw.Meaning(), Count: 1})
}

// bounded counts what is asked.
type bounded struct{ *taker }

func (b bounded) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if b.d.Asked >= b.opt.MaxAsked || time.Now().After(b.end) {
		return nil, errEnough
	}
	b.d.Asked++
	return b.card.Transmit(ctx, command)
}

func (t *taker) send(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	r, err := apdu.Send(ctx, bounded{t}, c)
	if errors.Is(err, errEnough) || err == nil {
		return r, err
	}
	// A card that stutters once may still tell the rest.
	if ctx.Err() != nil || t.resets >= maxResets {
		return r, err
	}
	t.resets++
	t.note("an exchange failed and the card was reset: %v", err)
	if rerr := t.card.Reset(ctx); rerr != nil {
		return r, errors.Join(err, rerr)
	}
	return apdu.Response{SW: apdu.SWUnspecified}, nil
}

// purse reads the purse of a known profile.
func (t *taker) purse(ctx context.Context) error {
	app, err := purse.Select(ctx, bounded{t}, t.opt.Profiles.MatchCards(t.card.ATR()))
	if err != nil {
		return t.purseRefused(ctx, "purse", err)
	}
	i := app.Info()
	p := &Purse{Profile: app.Profile().Name, Number: i.Number.String(), ValidFrom: i.ValidFrom.String(), ValidTo: i.ValidTo.String(), Log: []Record{}}
	t.d.Purse = p
	b, err := app.Balance(ctx)
	if err == nil {
		v := int64(b)
		p.Balance = &v
	}
	if err = t.purseRefused(ctx, "balance", err); err != nil {
		return err
	}
	list, err := app.Log(ctx)
	if err = t.purseRefused(ctx, "log", err); err != nil {
		return err
	}
	for _, r := range list {
		p.Log = append(p.Log, Record{Type: fmt.Sprintf("%02X", r.TxType), Amount: int64(r.Amount), Counter: r.Counter, Terminal: r.Terminal.String(), Stamp: fmt.Sprintf("%X", r.Stamp[:])})
	}
	// INITIALIZE of zero yuan moves nothing and shows the counters.
	in, err := app.InitLoad(ctx, 0, money.TerminalID{})
	if err == nil {
		p.LoadCounter = &in.Counter
	}
	if err = t.purseRefused(ctx, "on-line counter", err); err != nil {
		return err
	}
	buy, err := app.InitPurchase(ctx, 0, money.TerminalID{})
	if err == nil {
		p.PurchaseCounter = &buy.Counter
	}
	return t.purseRefused(ctx, "off-line counter", err)
}

// purseRefused notes a refusal and passes on what is none.
func (t *taker) purseRefused(ctx context.Context, what string, err error) error {
	var sw apdu.SW
	switch {
	case err == nil, errors.Is(err, errEnough):
		return err
	case errors.Is(err, purse.ErrBlocked):
		t.note("the purse is blocked")
		return nil
	case errors.As(err, &sw):
		t.refused(what, sw)
		return nil
	case errors.Is(err, purse.ErrNoPurse):
		return nil
	case errors.Is(err, purse.ErrPublicInfo), errors.Is(err, purse.ErrAnswer), errors.Is(err, apdu.ErrResponseShort):
		t.note("%s: %v", what, err)
		return nil
	}
	var incomplete *apdu.IncompleteError
	if errors.As(err, &incomplete) && incomplete.Err == nil || errors.Is(err, apdu.ErrEndlessResponse) {
		t.note("%s: %v", what, err)
		return nil
	}
	if t.resets < maxResets {
		t.resets++
		t.note("an exchange failed and the card was reset: %v", err)
		return t.card.Reset(ctx)
	}
	return err
}

// identifiers are the file identifiers that are tried in a directory: the
// purse's (purse.md section 3.1), a SAM's (9.1) and the usual ones of ISO/IEC
// 7816-4 and of telephone and identity cards.
func (t *taker) identifiers() []uint16 {
	var ids []uint16
	if t.opt.All {
		for id := 1; id < 0xFFFF; id++ {
			ids = append(ids, uint16(id))
		}
		return ids
	}
	for _, r := range [][2]uint16{{0x0001, 0x001F}, {0x0101, 0x0104}, {0x1001, 0x1004}, {0x2F00, 0x2F06}, {0x3F01, 0x3F08}, {0x5F00, 0x5F02}, {0x5F10, 0x5F11},
		{0x6F00, 0x6F07}, {0x7F10, 0x7F10}, {0x7F20, 0x7F20}, {0xA001, 0xA002}, {0xDF01, 0xDF08}, {0xEF01, 0xEF08}} {
		for id := r[0]; id <= r[1]; id++ {
			ids = append(ids, id)
		}
	}
	return ids
}

func byID(id uint16) apdu.Command {
	return apdu.Command{INS: 0xA4, Data: []byte{byte(id >> 8), byte(id)}, Ne: apdu.MaxShortNe}
}

// choose selects, in the forms that cards want it in.
func (t *taker) choose(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	r, err := t.send(ctx, c)
	if err != nil || selected(r.SW) {
		return r, err
	}
	switch r.SW {
	case apdu.SWWrongLength, apdu.SWWrongP1P2, apdu.SWWrongOffset:
		c.Ne, c.P2 = 0, c.P2|0x0C // no answer wanted
		return t.send(ctx, c)
	}
	return r, nil
}

func selected(sw apdu.SW) bool {
	return sw.OK() || sw == apdu.SWSelectedInvalidated || sw == apdu.SWNoInformation
}

// walk goes through the file system.
func (t *taker) walk(ctx context.Context) error {
	orderly, err := t.orderly(ctx)
	if err != nil {
		return err
	}
	mf, err := t.choose(ctx, byID(0x3F00))
	if err != nil {
		return err
	}
	root := &Node{ID: "3F00", Kind: "directory"}
	if selected(mf.SW) {
		root.describe(mf.Data)
	} else {
		root.Refused = mf.SW.Error()
		t.refused("select the MF", mf.SW)
	}
	t.seen[string(mf.Data)] = len(mf.Data) > 0
	t.d.Tree = append(t.d.Tree, root)
	if !orderly {
		return nil
	}
	if err := t.directory(ctx, root, []apdu.Command{byID(0x3F00)}, 0); err != nil {
		return err
	}
	return t.names(ctx, root)
}

// orderly finds out whether the card's answers to SELECT mean anything: it
// must not find what cannot be there, and must say so the same way each time.
func (t *taker) orderly(ctx context.Context) (bool, error) {
	var first apdu.SW
	for i, id := range []uint16{0xFFFF, 0xFFFE, 0xFFFF} {
		r, err := t.send(ctx, byID(id))
		if err != nil {
			return false, err
		}
		if i == 0 {
			first = r.SW
		}
		_, more := r.SW.MoreData()
		switch {
		case selected(r.SW) || more:
			t.note("the card finds files that cannot be there; it was not walked")
			return false, nil
		case r.SW != first || len(r.Data) > 0:
			t.note("the card answers the same command differently each time; it was not walked")
			return false, nil
		}
	}
	return true, nil
}

// describe takes in what SELECT answered.
func (n *Node) describe(fci []byte) {
	if len(fci) == 0 {
		return
	}
	n.FCI = fmt.Sprintf("%X", fci)
	list, err := apdu.ParseTLV(fci)
	if err != nil {
		return
	}
	for _, outer := range []uint32{0x6F, 0x62} {
		if d, ok := apdu.FindTLV(list, outer, 0x82); ok && len(d.Value) > 0 {
			n.Kind = explain.Descriptor(d.Value[0])
		}
		if name, ok := apdu.FindTLV(list, outer, 0x84); ok {
			n.Name = nameOf(name.Value)
			if n.Kind == "" {
				n.Kind = "directory" // only a directory has a name
			}
		}
		if id, ok := apdu.FindTLV(list, outer, 0x83); ok && len(id.Value) == 2 && n.ID == "" {
			n.ID = fmt.Sprintf("%X", id.Value)
		}
	}
}

func nameOf(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("%X", b)
		}
	}
	return string(b)
}

// missing are the words by which a card says that something is not there.
func missing(sw apdu.SW) bool {
	return sw == apdu.SWFileNotFound || sw == apdu.SWRecordNotFound || sw == apdu.SWWrongP1P2 || sw == apdu.SWWrongData
}

// directory takes down the current directory, to which path leads.
func (t *taker) directory(ctx context.Context, n *Node, path []apdu.Command, depth int) error {
	type sub struct {
		node *Node
		way  apdu.Command
	}
	var subs []sub
	own := map[byte]bool{} // short identifiers whose files were found
	back := func() error {
		for _, c := range path {
			if _, err := t.choose(ctx, c); err != nil {
				return err
			}
		}
		return nil
	}
	answered := false // the card said something other than one and the same refusal
	for _, id := range t.identifiers() {
		if id == 0x3F00 {
			continue
		}
		r, err := t.choose(ctx, byID(id))
		if err != nil {
			return err
		}
		if !selected(r.SW) {
			if !missing(r.SW) {
				t.refused(fmt.Sprintf("select %04X in %s", id, n.Label()), r.SW)
			} else {
				answered = true
			}
			continue
		}
		answered = true
		c := &Node{ID: fmt.Sprintf("%04X", id)}
		c.describe(r.Data)
		if c.Kind == "directory" {
			if t.seen[string(r.Data)] {
				if err := back(); err != nil {
					return err
				}
				continue
			}
			t.seen[string(r.Data)] = len(r.Data) > 0
			n.Children = append(n.Children, c)
			subs = append(subs, sub{c, byID(id)})
			if err := back(); err != nil {
				return err
			}
			continue
		}
		n.Children = append(n.Children, c)
		if err := t.file(ctx, c, 0); err != nil {
			return err
		}
		own[byte(id)&0x1F] = true
	}
	if err := t.shortNames(ctx, n, own); err != nil {
		return err
	}
	if !answered && len(n.Children) == 0 {
		t.note("the card refuses every file in %s", n.Label())
	}
	for _, s := range subs {
		if depth+1 >= maxDepth {
			t.note("directories deeper than %d were not walked", maxDepth)
			break
		}
		r, err := t.choose(ctx, s.way)
		if err != nil {
			return err
		}
		if !selected(r.SW) {
			s.node.Refused = r.SW.Error()
			continue
		}
		if err := t.directory(ctx, s.node, append(slices.Clone(path), s.way), depth+1); err != nil {
			return err
		}
		if err := back(); err != nil {
			return err
		}
	}
	return nil
}

// shortNames reads the files that are found by short identifier only.
func (t *taker) shortNames(ctx context.Context, n *Node, own map[byte]bool) error {
	for sfi := byte(1); sfi <= 30; sfi++ {
		if own[sfi] {
			continue
		}
		c := &Node{SFI: sfi}
		if err := t.file(ctx, c, sfi); err != nil {
			return err
		}
		if c.Kind != "" && (c.Refused == "" || c.Kind != "unknown") {
			n.Children = append(n.Children, c)
		}
	}
	return nil
}

// file reads a file, the current one for sfi 0. A file that is not there has
// no kind afterwards.
func (t *taker) file(ctx context.Context, n *Node, sfi byte) error {
	records := strings.Contains(n.Kind, "records")
	if !records {
		data, sw, err := t.binary(ctx, sfi)
		if err != nil {
			return err
		}
		switch {
		case sw == 0 || len(data) > 0:
			if n.Kind == "" {
				n.Kind = "transparent"
			}
			n.Data = fmt.Sprintf("%X", data)
			return nil
		case sw == apdu.SWIncompatibleFile || sw == apdu.SWNoCurrentEF && sfi == 0:
		case missing(sw) && sfi != 0:
			return nil
		default:
			if sfi == 0 || sw == apdu.SWSecurityNotSatisfied || sw == apdu.SWClassMismatch {
				if n.Kind == "" {
					n.Kind = "unknown"
				}
				n.Refused = sw.Error()
			}
			t.refused("read "+n.Label(), sw)
			if sw == apdu.SWSecurityNotSatisfied || sfi != 0 {
				return nil
			}
		}
	}
	list, sw, err := t.records(ctx, sfi)
	if err != nil {
		return err
	}
	switch {
	case sw == 0 || len(list) > 0:
		if !records {
			n.Kind = "records"
		}
		n.Records, n.Refused = list, ""
	case missing(sw) && sfi != 0:
	default:
		if n.Kind == "" {
			n.Kind = "unknown"
		}
		n.Refused = sw.Error()
		t.refused("read "+n.Label(), sw)
	}
	return nil
}

// binary reads a transparent file. sw is 0 when the file could be read.
func (t *taker) binary(ctx context.Context, sfi byte) (data []byte, sw apdu.SW, err error) {
	ne := apdu.MaxShortNe
	for len(data) < maxFile {
		c := apdu.Command{INS: 0xB0, P1: byte(len(data) >> 8), P2: byte(len(data)), Ne: ne}
		if sfi != 0 {
			if len(data) <= 0xFF { // beyond that the file is the current one, since it was read by its short identifier
				c.P1 = 0x80 | sfi
			}
		}
		r, err := t.send(ctx, c)
		if err != nil {
			return data, 0, err
		}
		good := r.SW.OK() || r.SW == apdu.SWEndOfFile || r.SW == apdu.SWDataMayBeCorrupt
		switch {
		case good && len(r.Data) == 0:
			return data, 0, nil
		case good:
			data = append(data, r.Data...)
			if r.SW == apdu.SWEndOfFile || len(r.Data) < ne && len(r.Data) < 64 {
				return data, 0, nil
			}
		case r.SW == apdu.SWWrongLength && ne == apdu.MaxShortNe && len(data) == 0:
			ne = 16 // some want no more than there is
		case len(data) > 0:
			return data, 0, nil // the end
		default:
			return nil, r.SW, nil
		}
	}
	return data[:maxFile], 0, nil
}

// records reads a file of records.
func (t *taker) records(ctx context.Context, sfi byte) (list []string, sw apdu.SW, err error) {
	for i := 1; i <= maxRecords; i++ {
		r, err := t.send(ctx, apdu.Command{INS: 0xB2, P1: byte(i), P2: sfi<<3 | 4, Ne: apdu.MaxShortNe})
		switch {
		case err != nil:
			return list, 0, err
		case r.SW.OK() || r.SW == apdu.SWEndOfFile:
			list = append(list, fmt.Sprintf("%X", r.Data))
		case r.SW == apdu.SWRecordNotFound || len(list) > 0:
			return list, 0, nil
		default:
			return nil, r.SW, nil
		}
	}
	return list, 0, nil
}

// names looks for applications that are found by name only: those of the
// profiles, the payment system's, and those that the card itself lists.
func (t *taker) names(ctx context.Context, root *Node) error {
	var names [][]byte
	add := func(b []byte) {
		if len(b) > 0 && len(b) <= 16 && !slices.ContainsFunc(names, func(n []byte) bool { return string(n) == string(b) }) {
			names = append(names, b)
		}
	}
	for _, p := range t.opt.Profiles.Cards {
		add(p.AID)
	}
	for _, p := range t.opt.Profiles.SAMs {
		for _, a := range []*profiles.SAMApplication{p.PSAM, p.LoadSAM} {
			if a != nil {
				add(a.AID)
			}
		}
	}
	add([]byte("1PAY.SYS.DDF01"))
	add([]byte("2PAY.SYS.DDF01"))
	for _, f := range root.Children {
		for _, r := range f.Records {
			b, _ := hex.DecodeString(r)
			if list, err := apdu.ParseTLV(b); err == nil {
				if aid, ok := apdu.FindTLV(list, 0x61, 0x4F); ok {
					add(aid.Value)
				}
			}
		}
	}
	for _, name := range names {
		way := apdu.Command{INS: 0xA4, P1: 0x04, Data: name, Ne: apdu.MaxShortNe}
		r, err := t.choose(ctx, way)
		if err != nil {
			return err
		}
		if !selected(r.SW) {
			if !missing(r.SW) {
				t.refused("select "+nameOf(name), r.SW)
			}
			continue
		}
		if t.seen[string(r.Data)] {
			continue
		}
		t.seen[string(r.Data)] = len(r.Data) > 0
		n := &Node{Kind: "directory", Name: nameOf(name)}
		n.describe(r.Data)
		t.d.Tree = append(t.d.Tree, n)
		if err := t.directory(ctx, n, []apdu.Command{way}, maxDepth-2); err != nil {
			return err
		}
	}
	return nil
}
