// Package printer prints slips on a receipt printer that speaks ESC/POS, over
// a serial line, a USB device file or TCP, and says honestly what became of
// each: printed, not printed, or not certain.
//
// Libraries for such printers report success without paper, and print all old
// jobs when new paper comes. So the queue is ours, one goroutine sends, the
// printer is asked before and after every job, what is too old is dropped, what
// went wrong is cleared from the printer's own memory, and nothing is repeated.
//
// It may import libraries and internal/line. It must not know what a slip says, and no caller
// ever waits for it without an end: a sale does not hang on a printer.
package printer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dianka/dianka/internal/line"
)

// Fate is what became of a job.
type Fate string

// Fates.
const (
	Printed    Fate = "printed"     // everything was carried out, and the status after the cut was good
	NotPrinted Fate = "not_printed" // nothing of it was sent
	NotCertain Fate = "not_certain" // something was sent, and no good status came after: look at the paper
)

// Why tells what kept a job from being printed, beside the states.
type Why string

// Reasons of our own.
const (
	WhyNone    Why = ""
	WhyStale   Why = "stale"   // it waited too long: a slip that comes out with the next customer's is worse than none
	WhyFull    Why = "full"    // too many were waiting
	WhyStopped Why = "stopped" // the daemon ends
	WhyState   Why = "state"   // State says it
)

// Job is a slip to be printed.
type Job struct {
	Bytes []byte // ESC/POS, with the cut
	Lines int    // roughly how many lines come out, for how long printing may take
}

// Result is what became of a job.
type Result struct {
	Fate  Fate
	Why   Why
	State State // of the printer when the job ended
}

// Waits bound everything. A zero field has the value in its comment.
type Waits struct {
	Connect time.Duration // to open the line: 2 s
	Answer  time.Duration // for one answer to DLE EOT: 500 ms
	Send    time.Duration // until the printer took a job: 20 s, a long slip at 9600 baud takes 4
	Finish  time.Duration // until it printed what it took: 15 s
	Poll    time.Duration // between questions while nothing is printed: 2 s
	Lost    time.Duration // between tries when the line is gone: 3 s
}

func (w Waits) filled() Waits {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&w.Connect, 2*time.Second)
	set(&w.Answer, 500*time.Millisecond)
	set(&w.Send, 20*time.Second)
	set(&w.Finish, 15*time.Second)
	set(&w.Poll, 2*time.Second)
	set(&w.Lost, 3*time.Second)
	return w
}

// Options say which printer.
type Options struct {
	Open   Opener        // of ParseAddress
	MaxAge time.Duration // a job that waited longer is dropped; 0: 2 minutes
	// RealTimeOnly is for a printer that does not answer GS r: when it finished
	// is then guessed from the length of the slip.
	RealTimeOnly bool
	Waits        Waits
	Log          *slog.Logger // nil: discard
}

// MaxWaiting is how many jobs may wait.
const MaxWaiting = 16

// Printer is a printer and its queue. Its methods may be called from any
// goroutine; Run must run for anything to be printed.
type Printer struct {
	o    Options
	log  *slog.Logger
	jobs chan waiting
	asks chan chan Status
	busy atomic.Bool // a job is under way
	done chan struct{}

	mu      sync.Mutex
	status  Status
	changed chan struct{}
	ended   bool

	// Of Run's goroutine only.
	wire  *line.Wire
	fence bool // an answer to GS r came
	dirty bool // the printer may still hold a part of a job that failed
}

type waiting struct {
	Job
	born time.Time
	told func(Result)
}

// New makes a Printer. It opens nothing yet.
func New(o Options) *Printer {
	if o.MaxAge <= 0 {
		o.MaxAge = 2 * time.Minute
	}
	o.Waits = o.Waits.filled()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Printer{o: o, log: o.Log, jobs: make(chan waiting, MaxWaiting), asks: make(chan chan Status), done: make(chan struct{}), changed: make(chan struct{}),
		status: Status{Detail: "not asked yet"}}
}

// Status is what the printer last said. It never blocks.
func (p *Printer) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Changes gives a channel that is closed at the next change of the state.
func (p *Printer) Changes() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Check asks the printer now and gives what it said, for at most as long as
// ctx, then no answer. While a job is printed it gives what was last heard.
func (p *Printer) Check(ctx context.Context) Status {
	if p.busy.Load() {
		return p.Status()
	}
	c := make(chan Status, 1)
	select {
	case p.asks <- c:
	case <-p.done:
		return Status{Detail: "stopped", At: time.Now()}
	case <-ctx.Done():
		if p.busy.Load() {
			return p.Status()
		}
		return Status{Detail: ctx.Err().Error(), At: time.Now()}
	}
	select {
	case s := <-c:
		return s
	case <-ctx.Done():
		return Status{Detail: ctx.Err().Error(), At: time.Now()}
	}
}

// Print puts a job into the queue and returns at once. told is called exactly
// once, soon or from another goroutine, and must not block.
func (p *Printer) Print(j Job, told func(Result)) {
	p.mu.Lock()
	why, state := WhyNone, p.status.State()
	if p.ended {
		why = WhyStopped
	} else {
		select {
		case p.jobs <- waiting{j, time.Now(), told}:
		default:
			why = WhyFull
		}
	}
	p.mu.Unlock()
	if why != WhyNone {
		told(Result{NotPrinted, why, state})
	}
}

// Run owns the printer until ctx ends. A job under way is finished within its
// bounds; those that wait are told that they were not printed.
func (p *Printer) Run(ctx context.Context) {
	poll := time.NewTimer(0)
	defer poll.Stop()
	for {
		next := p.o.Waits.Poll
		select {
		case <-ctx.Done():
			p.end()
			return
		case w := <-p.jobs:
			p.busy.Store(true)
			r := p.job(w)
			p.busy.Store(false)
			if r.Fate != Printed {
				p.log.Warn("a slip was not printed", "fate", r.Fate, "why", r.Why, "state", r.State)
			}
			w.told(r)
		case c := <-p.asks:
			c <- p.ask()
		case <-poll.C:
			if !p.ask().Answered {
				next = p.o.Waits.Lost
			}
		}
		poll.Reset(next)
	}
}

func (p *Printer) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	close(p.done)
	for {
		select {
		case w := <-p.jobs:
			w.told(Result{NotPrinted, WhyStopped, p.Status().State()})
		default:
			p.drop()
			return
		}
	}
}

// drop lets the line go.
func (p *Printer) drop() {
	if p.wire != nil {
		p.wire.Close()
		p.wire = nil
	}
}

// say keeps a status and wakes who waits for a change.
func (p *Printer) say(s Status) Status {
	s.At = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.status
	p.status = s
	if old.State() != s.State() || old.PaperLow != s.PaperLow || old.At.IsZero() {
		p.log.Info("the printer's state", "state", s.State(), "paper_low", s.PaperLow, "detail", s.Detail)
		close(p.changed)
		p.changed = make(chan struct{})
	}
	return s
}

// ask opens the line when it is not, and asks the printer how it is. A line
// on which nothing answers is let go, so that another printer on it gets its
// chance.
func (p *Printer) ask() Status {
	if p.wire == nil {
		ctx, cancel := context.WithTimeout(context.Background(), p.o.Waits.Connect)
		l, err := p.open(ctx)
		cancel()
		if err != nil {
			return p.say(Status{Detail: err.Error(), InUse: errors.Is(err, line.ErrInUse)})
		}
		p.wire = line.NewWire(l)
	}
	s, err := p.round(p.o.Waits.Answer)
	if err != nil {
		p.drop()
		s = Status{Detail: err.Error()}
	}
	return p.say(s)
}

// open gives up on an open that hangs, and closes what comes of it later.
func (p *Printer) open(ctx context.Context) (line.Line, error) {
	type result struct {
		l   line.Line
		err error
	}
	done := make(chan result, 1)
	go func() {
		l, err := p.o.Open(ctx)
		done <- result{l, err}
	}()
	select {
	case r := <-done:
		return r.l, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.l.Close()
			}
		}()
		return line.Line{}, ctx.Err()
	}
}

// Errors of a round of questions.
var (
	errSilent = errors.New("printer: no answer to a status question")
	errOther  = errors.New("printer: what answers is no ESC/POS printer, or the speed of the line is wrong")
)

// round asks DLE EOT 1 to 4, one at a time, so that no answer is taken for
// another's.
func (p *Printer) round(answer time.Duration) (s Status, err error) {
	for n := 1; n <= questions; n++ {
		p.drain()
		ctx, cancel := context.WithTimeout(context.Background(), answer)
		_, err := p.wire.Send(ctx, []byte{0x10, 0x04, byte(n)})
		for err == nil {
			var b byte
			if b, err = p.wire.Next(ctx); err == nil {
				p.heard(b)
				if !isOurs(b) {
					err = errOther
				} else if s.take(n, b) {
					break
				}
			}
		}
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			err = errSilent
		}
		if err != nil {
			return Status{}, err
		}
	}
	s.Answered = true
	return s, nil
}

// drain takes what came in unasked.
func (p *Printer) drain() {
	var b [1]byte
	for p.wire.Take(b[:]) > 0 {
		p.heard(b[0])
	}
}

// heard looks at every byte that comes in for the answer to GS r.
func (p *Printer) heard(b byte) {
	if isOrdered(b) {
		p.fence = true
	}
}

// Commands of our own, by Epson's names.
var (
	askOrdered = []byte{0x1D, 'r', 1}                                            // GS r 1: the paper sensors, in turn
	clearAll   = []byte{0x10, 0x14, 8, 0x01, 0x03, 0x14, 0x01, 0x06, 0x02, 0x08} // DLE DC4 8: clear the buffers
	look       = 300 * time.Millisecond                                          // between looks while a job is printed
	slow       = time.Duration(4)                                                // times as long for an answer while it prints: the question may wait behind the slip
	perLine    = 40 * time.Millisecond                                           // the slowest printers do 25 lines a second
)

// job does one job. Nothing is sent unless the printer says that it is ready.
func (p *Printer) job(w waiting) Result {
	if time.Since(w.born) > p.o.MaxAge {
		return Result{NotPrinted, WhyStale, p.Status().State()}
	}
	s := p.ask()
	if !s.Good() {
		return Result{NotPrinted, WhyState, s.State()}
	}
	if p.dirty {
		p.clear()
		if s = p.ask(); !s.Good() {
			return Result{NotPrinted, WhyState, s.State()}
		}
	}
	p.fence = false
	ctx, cancel := context.WithTimeout(context.Background(), p.o.Waits.Send)
	sent, err := p.wire.Send(ctx, w.Bytes)
	if err == nil && !p.o.RealTimeOnly {
		p.drain()
		p.fence = false
		_, err = p.wire.Send(ctx, askOrdered)
	}
	cancel()
	if err != nil {
		return p.failed(sent, Status{Detail: err.Error()})
	}
	if s := p.finish(len(w.Bytes), max(w.Lines, bytes.Count(w.Bytes, []byte{'\n'}))); !s.Good() {
		return p.failed(sent, s)
	}
	return Result{Printed, WhyNone, StateOK}
}

// finish waits until everything sent was carried out, and gives the status
// after it: that of a printer that does not finish is not a good one.
func (p *Printer) finish(sent, lines int) Status {
	// A question waits in the line behind the slip: asked too early its answer
	// would come when another's is awaited.
	p.await(p.wire.Transmission(sent))
	end := time.Now().Add(p.o.Waits.Finish)
	sure := time.Now().Add(time.Second + time.Duration(lines)*perLine)
	for {
		p.await(look)
		fence := p.fence
		s, err := p.round(slow * p.o.Waits.Answer)
		switch {
		case err != nil:
			return Status{Detail: err.Error()}
		case !s.Good():
			return s
		case fence, p.o.RealTimeOnly && time.Now().After(sure):
			return s // asked after the cut
		case time.Now().After(end):
			return Status{Detail: "it did not finish"}
		}
	}
}

// await waits for the answer to GS r, at most so long.
func (p *Printer) await(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for !p.fence {
		b, err := p.wire.Next(ctx)
		if err != nil {
			return // the question that follows finds out why
		}
		p.heard(b)
	}
}

// failed ends a job that was begun: the printer forgets what it holds of it,
// now and again before the next, and the line is opened anew.
func (p *Printer) failed(sent int, s Status) Result {
	p.say(s)
	if sent == 0 {
		p.drop()
		return Result{NotPrinted, WhyState, s.State()}
	}
	p.dirty = true
	p.clear()
	p.drop()
	return Result{NotCertain, WhyState, s.State()}
}

// clear makes the printer forget what it did not print yet.
func (p *Printer) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), p.o.Waits.Answer)
	defer cancel()
	if _, err := p.wire.Send(ctx, clearAll); err == nil && p.Status().Good() {
		p.dirty = false
	}
}
