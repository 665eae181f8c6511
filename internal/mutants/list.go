package main

// mutant is one deliberate bug: a guard taken out or turned round, and the
// test that must not pass with it.
type mutant struct {
	name     string
	bug      string // what is wrong then, for people
	file     string
	old, new string // old stands in the file once
	pkg, run string // the test
}

// world is the argument of a run of internal/world that is long enough.
const world = "TestSeeds"

var mutants = []mutant{
	// The terminal's business.
	{"order-swapped", "the outcome of a debit is told although it was not written", "terminal/purchase.go",
		"	if _, err := t.append(ctx, store.Draft{Actor: journal.System, Ref: name.Ref(), Body: out}); err != nil {\n		return none, &UncertainError{Name: name, Cause: err}\n	}\n	t.after(ctx, s, out.Result, out.After)",
		"	go t.append(ctx, store.Draft{Actor: journal.System, Ref: name.Ref(), Body: out})\n	t.after(ctx, s, out.Result, out.After)",
		"./internal/world", world},
	{"key-at-send", "a wish that comes twice is two sales: its token is not looked for", "terminal/run.go",
		"	tx, ok, err := t.cfg.Store.ByToken(tok)\n", "	tx, ok, err := t.cfg.Store.ByToken(journal.Token{1})\n", "./internal/world", world},
	{"blind-retry", "a debit that was not answered is sent again", "terminal/purchase.go",
		"	tac, mac2, err := s.app.DebitPurchase(ctx, g, stamp)\n", "	tac, mac2, err := s.app.DebitPurchase(ctx, g, stamp)\n	if err != nil {\n		tac, mac2, err = s.app.DebitPurchase(ctx, g, stamp)\n	}\n", "./internal/world", world},
	{"unknown-is-no", "what may have executed is called not done", "terminal/card.go",
		"	if apdu.MayHaveExecuted(err) {", "	if false {", "./internal/world", world},
	{"sent-is-unsent", "after a stop, a load whose MAC2 was written is called never sent", "terminal/recover.go",
		"		case tx.Load != nil && tx.Authorised == nil && tx.Name.Epoch > remade:", "		case tx.Load != nil && tx.Name.Epoch > remade:", "./internal/world", world},
	{"counter-not-compared", "a card without a proof is believed not to have moved, whatever its counter says", "purse/judge.go",
		"	if moved == 0 && !j.HasTAC && (", "	if !j.HasTAC && (moved >= 0 || ", "./purse", "TestJudge"},
	{"doubt-ignored", "a debit of another terminal in the same second is taken for one's own", "purse/judge.go",
		"	case h.doubt:", "	case false:", "./purse", "TestJudge"},
	{"unread-is-absent", "a log that could not be read counts as a card without a log, so that another terminal's proof passes for one's own", "purse/judge.go",
		"		if err != nil && !hidden(err) {", "		if false {", "./purse", "TestJudge"},
	{"end-by-name", "what the utility says of another entry of the same name settles one's own", "terminal/recover.go",
		" || a.Hash != hash || a.Held {", " || false && a.Hash != hash || a.Held {", "./terminal", "TestToldHowItEnded"},
	{"held-is-believed", "what the utility says of a name settles an entry that it holds in quarantine", "terminal/recover.go",
		" || a.Hash != hash || a.Held {", " || a.Hash != hash {", "./terminal", "TestToldHowItEnded"},
	{"told-not-done-forgets", "nobody looks again at the card of what the utility called not done", "terminal/recover.go",
		"		if tx.Result != journal.NotDone || tx.Evidence != journal.EvidenceUtility || t.doubted[tx.Name] {", "		if true {", "./terminal", "TestToldNotDoneIsLookedAt"},
	{"requests-doubted", "a card is asked about what never was its own to do, which it cannot answer", "terminal/recover.go",
		"		if tx.Purchase == nil && tx.Load == nil {", "		if false {", "./terminal", "TestCardOfRefusedRequest"},
	{"owed-after-claim", "cash that was paid out as a claim stays owed on the slip, in X and in Z", "terminal/report.go",
		"	return !collected && err == nil, err", "	return (!collected || true) && err == nil, err", "./terminal", "TestOwedOnce"},
	{"resent-after-6C", "a command with data is sent again when the card says that it wanted another length", "apdu/exchange.go",
		"ok && c.Case() == 2 && c.Ne != ne {", "ok && c.Ne != 0 && c.Ne != ne {", "./purse", "FuzzHostileCard"},
	{"clock-trusted", "ages are reckoned by the terminal's clock alone", "terminal/limits.go",
		"	if heard.After(now) {", "	if false {", "./terminal", "TestHotlistAges|TestSetBackBefore"},
	{"day-by-clock", "a day limit ends when the clock says that it is another day", "terminal/limits.go",
		"		if unseen || sameDay(", "		if unseen && false || sameDay(", "./terminal", "TestADayPerLink"},
	{"standing-ignored", "a terminal whose journal the utility does not recognise goes on selling", "terminal/limits.go",
		"	case wire.StandingBlocked, wire.StandingBehind, wire.StandingForked, wire.StandingReenrol:", "	case wire.StandingOldEpoch:", "./terminal", ""},
	{"psam-gap-ignored", "a disk older than the PSAM is not noticed off line", "terminal/sequence.go",
		"	case seq > q.most:", "	case false:", "./terminal", "TestRestoredDisk|TestSequenceGaps"},
	{"psam-twin-ignored", "another PSAM under the same number is served", "terminal/sequence.go",
		"	case seq < q.last, seq == q.last && !q.again:", "	case false:", "./terminal", "TestPSAMTwin"},
	{"second-person-any", "a clerk agrees to his own void", "terminal/purchase.go",
		"	if r.Second == r.Who.ID {", "	if false {", "./terminal", "TestSecondPersonOfAVoid"},

	// The terminal's file.
	{"commit-error-is-no", "a failed commit counts as nothing written, and the store goes on", "store/writer.go",
		"			failAll(s.stop(err))", "			failAll(err)", "./store", "TestFailedCommit"},
	{"copy-not-awaited", "the answer does not wait for the second copy", "store/writer.go",
		"	go func() { copied <- s.second.append(m.frames) }()", "	go func() { s.second.append(m.frames) }()\n	copied <- nil", "./store", "TestCopyBeforeAnswer"},
	{"old-file-not-healed", "entries that only the second copy has are left there", "store/reconcile.go",
		"	if len(beyond) > 0 || got.id.Epoch > s.now.Load().id.Epoch {", "	if false {", "./store", "TestOldFileHeals"},
	{"hash-not-checked", "an entry altered in the file is read as it is", "store/project.go",
		"	if journal.Link(prev, entry) != hash {", "	if false && journal.Link(prev, entry) != hash {", "./internal/world", world},
	{"ballast-not-dropped", "an outcome is refused on a full disk although room is held back", "store/writer.go",
		"!diskFull(err) || !s.unwritten(id) ||", "true || !diskFull(err) || !s.unwritten(id) ||", "./store", "TestBallast"},

	// The line and the utility.
	{"behind-is-good", "a restored terminal is not told that the utility holds more", "utility/down.go",
		"			return wire.StandingBehind, stored, nil", "			return wire.StandingGood, stored, nil", "./utility", ""},
	{"ack-before-store", "a batch is acknowledged although it was not stored", "utility/entries.go",
		"	if err := s.store.Append(ctx, []record.Line{l}); err != nil {\n		s.stale = true\n		return nil, err\n	}\n", "	_ = s.store.Append(ctx, []record.Line{l})\n", "./internal/world", world},
	{"posted-twice", "a counter that was proven already is posted once more", "utility/intake/judge.go",
		"		if x.Happened() {", "		if false {", "./utility", "TestClone"},
	{"room-not-asked", "a load is authorised whatever the shop's room", "utility/decide.go",
		"		if room < in.Amount {", "		if room < in.Amount && false {", "./utility", ""},
	{"allowance-unbounded", "an allowance is signed beyond the shop's room", "utility/decide.go",
		"min(want, book.Ceiling+room))", "want)", "./utility", ""},
	{"denied-not-asked", "nobody asks a card about what a terminal denies", "utility/down.go",
		"storage.ItemQuery{Doubted: true}", "storage.ItemQuery{Nameless: true}", "./utility", "TestDenied"},
	{"end-of-another", "the end of what was authorised under a name is told for another entry of it", "utility/entries.go",
		"it.Intent && it.Final {", "it.Final {", "./utility", "TestEndOfAnother"},
	{"overtaken-stays-open", "a debit whose counter another one proved before stays unknown for ever", "utility/intake/view.go",
		"		if x.Happened() {", "		if x.State == ledger.Open {", "./utility", "TestOvertaken"},
	{"first-step-unseen", "the first debit of a card may be denied: nothing is missing before the first proven one", "utility/views.go",
		"slices.Min(n) < list[0] {", "slices.Min(n) < 0 {", "./utility", "TestMissingRecords"},
	{"other-proof-accuses", "the proof of a third transaction is taken for a forgery", "utility/intake/judge.go",
		"	if err := e.observedProof(it, b); err != verdict(record.HeldBadTAC) {\n		return err\n	}\n", "	if err := e.observedProof(it, b); err != nil {\n		return err\n	}\n	return nil\n}\n\nfunc unreached() error {\n", "./internal/world", world},
	{"old-fork-freezes", "a terminal that was enrolled again is frozen by its old epoch", "utility/master/master.go",
		"t != nil && t.Current == r.Epoch {", "t != nil {", "./utility", "TestForkOfAnEarlierEpoch"},
	{"held-not-stored", "the utility says that it holds a contradiction that it dropped", "utility/entries.go",
		"	if !s.master.Forks[b.Head] {\n		if s.master.Frozen[b.Terminal] && len(s.master.Forks) >= maxForks {", "	if !s.master.Forks[b.Head] && !(s.master.Frozen[b.Terminal] && len(s.master.Forks) >= maxForks) {\n		if false {", "./utility", "TestForksOfMany"},
	{"records-missing-unseen", "a gap in the PSAM's numbers raises no alarm", "utility/intake/sequence.go",
		"	case last != 0 && seq > last && seq-last-1 > slack:", "	case false:", "./utility", "TestRecordsMissing"},
	{"guesses-free", "a terminal may try cryptograms as fast as it likes", "utility/entries.go",
		"			s.guesses.charge(epoch{from, b.Epoch}, s.clock(), held)", "			_ = held", "./utility", "TestGuessing"},

	{"sam-word-twice", "a load SAM's MAC2 may be named until it is right", "utility/intake/judge.go",
		"	if !it.Gave { // a second word is a guess: the SAM answers once, and MAC2 has 32 bits", "	if true {", "./utility", "TestReleaseOfWhatTheSAMNeverGave"},
	{"guess-by-observation", "a wrong proof of another's item costs nothing", "utility/guess.go",
		", record.HeldOtherProof:", ":", "./utility", "TestGuessingByObservation"},

	// Evidence and doors.
	{"signature-unread", "an evidence bundle is believed without its signature", "journal/bundle.go",
		"	if err := p.Head.Verify(r.Key[:], r.Signature); err != nil {", "	if err := p.Head.Verify(r.Key[:], r.Signature); err == ErrSignature {", "./journal", "Bundle"},
	{"salvage-unchained", "what is found on a dead disk counts although it does not follow from what is before it", "store/salvage.go",
		"		if journal.Link(before, list[i].entry) != list[i].hash {", "		if false {", "./store", "TestSalvage"},
	{"salvage-guesses", "of two entries of one name on a dead disk the first found is taken", "store/salvage.go",
		"	if tie {", "	if tie && false {", "./store", "TestSalvage"},
	{"stranger-let-in", "any user of the machine may ask the running terminal", "internal/local/local.go",
		"		if allowed(c, os.Getuid(), os.Getgid()) == nil {", "		if true {", "./internal/local", "TestStranger"},
	{"lost-answer-lost", "a bench load whose answer was lost is called not moved", "cmd/cardtool/pursemove.go",
		"	case errors.As(err, &ex) && ex.Executed:", "	case errors.As(err, &ex) && false:", "./cmd/cardtool", "TestScripts/pursemove"},
	{"smuggling", "a body with two lengths reaches the money calls", "kiosk/guard.go",
		"		if len(r.TransferEncoding) > 0 {", "		if false {", "./kiosk", "TestSmuggling"},
	{"fast-commit-unseen", "a filesystem that loses commits is taken for a safe one", "internal/fscheck/fscheck.go",
		"&fastCommit", "&0", "./internal/fscheck", "TestJudge"},
}
