package explain

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/money"
)

// Conversation is a trace in words.
type Conversation struct {
	Turns []Turn `json:"turns"`
	Moves []Move `json:"moves"`
	// Loaded and Spent are the sums of what was done and whose amount is
	// known, in fen.
	Loaded money.Fen `json:"loaded_fen"`
	Spent  money.Fen `json:"spent_fen"`
	// Unknown counts the moves whose outcome or amount the trace does not
	// tell.
	Unknown int `json:"unknown"`
}

// Turn is one command with its answer, a remark, or bare bytes.
type Turn struct {
	Line     int    `json:"line"` // of the trace, from 1
	Command  *Note  `json:"command,omitempty"`
	Answered int    `json:"answered_line,omitempty"` // where the response stands
	Response *Note  `json:"response,omitempty"`
	Remark   string `json:"remark,omitempty"`
	Data     *Note  `json:"data,omitempty"`  // bytes that are neither command nor response
	Means    string `json:"means,omitempty"` // what it did, when it did something
}

// Outcomes of a Move: three, never two.
const (
	Done    = "done"
	NotDone = "not done"
	Unknown = "unknown"
)

// Move is value that moved, or was to move.
type Move struct {
	Line    int       `json:"line"` // of the command that moves
	What    string    `json:"what"` // "load of the purse (EP)"
	Type    byte      `json:"type"` // transaction type
	Outcome string    `json:"outcome"`
	Known   bool      `json:"amount_known"`
	Amount  money.Fen `json:"amount_fen"`
	Before  money.Fen `json:"before_fen"` // when Known
	After   money.Fen `json:"after_fen"`  // when Known and done
	Counter uint16    `json:"counter"`    // before the increment, when Known
	Why     string    `json:"why,omitempty"`
}

// String tells a move in one sentence.
func (m Move) String() string {
	amount := ", amount not in the trace"
	if m.Known {
		amount = " of " + m.Amount.String() + " yuan"
	}
	s := fmt.Sprintf("%s%s: %s", m.What, amount, m.Outcome)
	if m.Known && m.Outcome == Done {
		s += fmt.Sprintf(", balance %s → %s yuan", m.Before, m.After)
	}
	if m.Why != "" {
		s += " (" + m.Why + ")"
	}
	return s
}

// adds reports whether a transaction type raises the balance.
func adds(typ byte) bool { return typ == 0x01 || typ == 0x02 }

// initialised is what an INITIALIZE left in the card.
type initialised struct {
	typ      byte
	amount   money.Fen
	before   money.Fen
	counter  uint16
	terminal []byte
}

// teller goes through a trace.
type teller struct {
	Explainer
	conv    Conversation
	asked   []byte // the command without an answer yet, nil when its bytes are not known
	at      int    // its turn, -1 when there is none
	waiting []byte // the command whose answer GET RESPONSE fetches
	pending *initialised
	open    []int // moves whose outcome may still be told by a proof
}

// Conversation tells a trace. bare are lines of the file that hold hex alone:
// their line numbers and bytes.
func (e Explainer) Conversation(t apdu.Trace, bare map[int][]byte) Conversation {
	s := teller{Explainer: e, at: -1}
	s.conv.Turns, s.conv.Moves = []Turn{}, []Move{}
	for i, l := range t.Lines {
		n := i + 1
		if b, ok := bare[n]; ok {
			s.unanswered()
			note := e.Guess(b)
			s.conv.Turns = append(s.conv.Turns, Turn{Line: n, Data: &note})
			continue
		}
		switch l.Kind {
		case apdu.LineRemark:
			s.conv.Turns = append(s.conv.Turns, Turn{Line: n, Remark: l.Remark})
			if strings.Contains(strings.ToLower(l.Remark), "answer to reset") || strings.HasPrefix(strings.ToLower(l.Remark), "reset") {
				s.unanswered()
				s.pending, s.waiting = nil, nil
			}
		case apdu.LineCommand:
			s.unanswered()
			s.command(n, l)
		case apdu.LineResponse:
			s.response(n, l)
		}
	}
	s.unanswered()
	for _, m := range s.conv.Moves {
		switch {
		case m.Outcome == Unknown || m.Outcome == Done && !m.Known:
			s.conv.Unknown++
		case m.Outcome != Done:
		case adds(m.Type):
			s.conv.Loaded += m.Amount
		default:
			s.conv.Spent += m.Amount
		}
	}
	return s.conv
}

func (s *teller) command(n int, l apdu.Line) {
	turn := Turn{Line: n, Remark: l.Remark}
	if l.Unknown != "" {
		turn.Command = &Note{What: "command", Says: "bytes not recorded: " + l.Unknown}
		s.asked = nil
	} else {
		note := s.Command(l.Data)
		if l.Redacted != nil {
			note.Hex = strings.TrimPrefix(l.String(), "> ")
			note.Hex, _, _ = strings.Cut(note.Hex, "  #")
			note = Note{What: note.What, Hex: note.Hex, Says: Name(l.Data) + "; secret bytes were taken out of the trace"}
		}
		turn.Command = &note
		s.asked = l.Data
	}
	s.at = len(s.conv.Turns)
	s.conv.Turns = append(s.conv.Turns, turn)
}

// unanswered closes a command to which no answer was recorded.
func (s *teller) unanswered() {
	if s.at < 0 {
		return
	}
	turn := &s.conv.Turns[s.at]
	if s.executes(s.asked) {
		turn.Means = s.move(turn, Unknown, "no answer is recorded")
	}
	if len(s.asked) > 1 && (s.asked[1] == 0xA4 || s.asked[1] == 0x50) {
		s.pending = nil
	}
	s.asked, s.at = nil, -1
}

// executes reports whether a command ends a transaction of the purse.
func (s *teller) executes(c []byte) bool {
	return len(c) >= 4 && c[0] >= 0x80 && c[0] < 0xE0 && (c[1] == 0x52 || c[1] == 0x54)
}

func (s *teller) response(n int, l apdu.Line) {
	if s.at < 0 {
		s.conv.Turns = append(s.conv.Turns, Turn{Line: n})
		s.at = len(s.conv.Turns) - 1
	}
	turn := &s.conv.Turns[s.at]
	turn.Answered = n
	if l.Remark != "" {
		turn.Remark = strings.TrimSpace(turn.Remark + "  " + l.Remark)
	}
	asked := s.asked
	s.asked, s.at = nil, -1
	if l.Unknown != "" {
		turn.Response = &Note{What: "response", Says: "bytes not recorded: " + l.Unknown}
		if s.executes(asked) {
			turn.Means = s.move(turn, Unknown, "the answer is not recorded")
		}
		return
	}
	// GET RESPONSE brings what an earlier command answered.
	meant := asked
	if len(asked) > 1 && asked[1] == 0xC0 && s.waiting != nil {
		meant = s.waiting
	}
	note := s.Response(meant, l.Data)
	if l.Redacted != nil {
		note.Parts = nil
		note.Hex, _, _ = strings.Cut(strings.TrimPrefix(l.String(), "< "), "  #")
	}
	turn.Response = &note
	r, err := apdu.ParseResponse(l.Data)
	if err != nil {
		if s.executes(asked) {
			turn.Means = s.move(turn, Unknown, "the answer is no response")
		}
		return
	}
	if asked == nil {
		return
	}
	fetched := len(asked) > 1 && asked[1] == 0xC0
	if _, more := r.SW.MoreData(); more && !fetched {
		s.waiting = asked
	}
	turn.Means = s.effect(turn, meant, r, fetched)
	if fetched {
		if _, more := r.SW.MoreData(); !more {
			s.waiting = nil
		}
	}
}

// effect follows the card's state and gives what the exchange meant for it.
func (s *teller) effect(turn *Turn, command []byte, r apdu.Response, fetched bool) string {
	c, err := apdu.ParseCommand(command)
	if err != nil {
		return ""
	}
	_, more := r.SW.MoreData()
	ok := r.SW.OK() || r.SW.SW1() == 0x62
	purse := c.CLA >= 0x80 && c.CLA < 0xE0
	switch {
	case c.INS == 0xA4 && !purse:
		s.pending = nil
	case purse && c.INS == 0x50:
		if more {
			return ""
		}
		s.pending = nil
		if ok {
			s.pending = initOf(c, r.Data)
		}
	case s.executes(command):
		if fetched { // 61xx said already that it was executed
			return ""
		}
		if _, wrong := r.SW.RightLength(); wrong {
			return s.move(turn, Unknown, "a wrong length told to a command with data; the card may have executed")
		}
		if ok || more {
			return s.move(turn, Done, "")
		}
		if refuses(r.SW) && len(r.Data) == 0 {
			return s.move(turn, NotDone, "the card said "+r.SW.Error())
		}
		return s.move(turn, Unknown, "the card said "+r.SW.Error())
	case purse && c.INS == 0x58:
		if ok || more {
			s.pending = nil
			return "the overdraft limit was changed"
		}
	case purse && c.INS == 0x5A:
		if more || len(c.Data) != 2 {
			return ""
		}
		return s.proof(turn, c.P2, binary.BigEndian.Uint16(c.Data), r)
	case c.INS == 0x20 || c.INS == 0x82 || purse && (c.INS == 0x5E || c.INS == 0x24):
		if left, is := r.SW.TriesLeft(); is {
			return fmt.Sprintf("a try was spent, %d left", left)
		}
		if r.SW == apdu.SWMethodBlocked {
			return "the PIN or key is blocked"
		}
	case purse && c.INS == 0x72:
		switch r.SW {
		case apdu.SWOK:
			return "the SAM finds the card's cryptogram right"
		case apdu.SWMACInvalid:
			return "the SAM finds the card's cryptogram wrong: the card may be forged"
		}
	}
	return ""
}

// refuses holds the words by which a card says that it has changed nothing
// (purse.md sections 5 and 8.4).
func refuses(sw apdu.SW) bool {
	switch sw.SW1() {
	case 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6D, 0x6E, 0x93, 0x94:
		return true
	}
	return sw == apdu.SWExecutionError
}

func initOf(c apdu.Command, d []byte) *initialised {
	types := map[[2]byte]byte{{0, 1}: 0x01, {0, 2}: 0x02, {1, 1}: 0x05, {1, 2}: 0x06, {2, 1}: 0x04, {3, 2}: 0x09, {5, 1}: 0x03}
	typ, ok := types[[2]byte{c.P1, c.P2}]
	if !ok || len(c.Data) != 11 || len(d) < 6 {
		return nil
	}
	return &initialised{typ: typ, amount: fen(c.Data[1:]), before: fen(d), counter: binary.BigEndian.Uint16(d[4:]), terminal: c.Data[5:11]}
}

// move notes what became of the transaction in hand and tells it.
func (s *teller) move(turn *Turn, outcome, why string) string {
	m := Move{Line: turn.Line, What: "a transaction whose INITIALIZE is not in the trace", Outcome: outcome, Why: why}
	if turn.Command != nil {
		m.What = strings.SplitN(turn.Command.Says, ",", 2)[0] + " without its INITIALIZE"
	}
	if p := s.pending; p != nil {
		m.Known, m.Type, m.What = true, p.typ, TxName(p.typ)
		m.Amount, m.Before, m.Counter = p.amount, p.before, p.counter
		m.After = p.before - p.amount
		if adds(p.typ) {
			m.After = p.before + p.amount
		}
	}
	s.pending = nil
	s.conv.Moves = append(s.conv.Moves, m)
	if outcome == Unknown && m.Known {
		s.open = append(s.open, len(s.conv.Moves)-1)
	}
	return m.String()
}

// proof settles what was open by GET TRANSACTION PROVE.
func (s *teller) proof(turn *Turn, typ byte, after uint16, r apdu.Response) string {
	said := ""
	for _, i := range s.open {
		m := &s.conv.Moves[i]
		if m.Outcome != Unknown || m.Type != typ || m.Counter+1 != after {
			continue
		}
		switch {
		case r.SW.OK() && len(r.Data) == 8:
			m.Outcome, m.Why = Done, fmt.Sprintf("proved in line %d", turn.Line)
			said = m.String()
		case r.SW == apdu.SWProofNotAvailable:
			m.Why += fmt.Sprintf("; the card has no proof of it in line %d", turn.Line)
			said = "the card has no proof of it: it did not happen, if the counter has not moved"
		}
	}
	switch {
	case said != "":
		return said
	case r.SW.OK() && len(r.Data) == 8:
		return fmt.Sprintf("the card proves that it carried out a %s which left the counter at %d", TxName(typ), after)
	case r.SW == apdu.SWProofNotAvailable:
		return fmt.Sprintf("the card has no proof of a %s that left the counter at %d", TxName(typ), after)
	}
	return ""
}

// Lines gives the conversation as text; with parts, every field of every
// command and answer.
func (c Conversation) Lines(parts bool) []string {
	var out []string
	say := func(line int, mark string, n *Note) {
		head := fmt.Sprintf("%4d %s ", line, mark)
		if n.Hex != "" {
			out = append(out, head+n.Hex)
			head = strings.Repeat(" ", 7)
		}
		if n.Says != "" {
			out = append(out, head+n.Says)
		}
		if parts {
			for _, p := range n.Parts {
				out = append(out, p.lines(strings.Repeat(" ", 9))...)
			}
		}
	}
	for _, t := range c.Turns {
		if t.Remark != "" && t.Command == nil && t.Response == nil {
			out = append(out, "# "+t.Remark)
		}
		if t.Command != nil {
			say(t.Line, ">", t.Command)
		}
		if t.Response != nil {
			say(t.Answered, "<", t.Response)
		} else if t.Command != nil {
			out = append(out, strings.Repeat(" ", 5)+"< no answer recorded")
		}
		if t.Data != nil {
			say(t.Line, " ", t.Data)
		}
		if t.Remark != "" && (t.Command != nil || t.Response != nil) {
			out = append(out, strings.Repeat(" ", 5)+"# "+t.Remark)
		}
		if t.Means != "" {
			out = append(out, strings.Repeat(" ", 5)+"= "+t.Means)
		}
	}
	return append(out, c.Summary()...)
}

// Summary tells the money that moved, one line for each move and one for all.
func (c Conversation) Summary() []string {
	out := []string{"money:"}
	if len(c.Moves) == 0 {
		return []string{"money: none moved"}
	}
	for _, m := range c.Moves {
		out = append(out, fmt.Sprintf("  line %d: %s", m.Line, m))
	}
	s := fmt.Sprintf("  in all: loaded %s yuan, spent %s yuan", c.Loaded, c.Spent)
	if c.Unknown > 0 {
		s += fmt.Sprintf(", and %d that this trace does not tell", c.Unknown)
	}
	return append(out, s)
}
