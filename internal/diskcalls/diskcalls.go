//go:build linux && amd64

package diskcalls

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// Fault says which call fails, and how.
type Fault struct {
	At    int           // number of the call, from 1; 0: none
	Errno syscall.Errno // what the program is told instead of the call being done; 0: it is killed before the call is done
}

// Process is a program that is, or can be, watched.
type Process struct {
	PID int

	cmd    *exec.Cmd
	orders io.WriteCloser
	events *json.Decoder

	mu    sync.Mutex
	calls []Call
	hit   chan struct{}
	gone  chan struct{}
	upTo  chan struct{} // answers to Sync
	once  sync.Once
	ended error
}

const env = "DIANKA_DISKCALLS"

// order tells the tracer to begin.
type order struct {
	Folders []string
	Fault   Fault
}

// event is what the tracer says.
type event struct {
	PID      int    // at the start
	Watching bool   // the order is carried out
	UpTo     bool   // everything that had ended when it was asked is told
	Problem  string // nothing more will come
	Call     *Call
}

// Start starts a program; its output goes to out and errs. The program is
// killed when this process ends.
func Start(out, errs io.Writer, path string, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(self, append([]string{path}, args...)...), hit: make(chan struct{}), gone: make(chan struct{}), upTo: make(chan struct{}, 1)}
	p.cmd.Env = append(os.Environ(), env+"=1")
	p.cmd.Stdout, p.cmd.Stderr = out, errs
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.ExtraFiles = []*os.File{to}
	p.events = json.NewDecoder(from)
	err = p.cmd.Start()
	to.Close()
	if err != nil {
		from.Close()
		return nil, err
	}
	var e event
	if err := p.events.Decode(&e); err != nil || e.PID == 0 {
		p.orders.Close()
		return nil, errors.Join(fmt.Errorf("diskcalls: %s did not start: %s", path, e.Problem), err, p.cmd.Wait())
	}
	p.PID = e.PID
	return p, nil
}

// Watch begins to watch the files below the folders, which are absolute
// paths, and to count; it returns when every thread of the program is
// watched. It can be called once.
func (p *Process) Watch(f Fault, folders ...string) error {
	if err := json.NewEncoder(p.orders).Encode(order{folders, f}); err != nil {
		return err
	}
	var e event
	if err := p.events.Decode(&e); err != nil || !e.Watching {
		return fmt.Errorf("diskcalls: cannot watch: %s: %w", e.Problem, err)
	}
	go p.collect()
	return nil
}

func (p *Process) collect() {
	defer close(p.gone)
	for {
		var e event
		if err := p.events.Decode(&e); err != nil {
			if err != io.EOF {
				p.ended = err
			}
			return
		}
		if e.Problem != "" {
			p.ended = errors.New("diskcalls: " + e.Problem)
		}
		if e.UpTo {
			p.upTo <- struct{}{}
		}
		if e.Call == nil {
			continue
		}
		p.mu.Lock()
		p.calls = append(p.calls, *e.Call)
		p.mu.Unlock()
		if e.Call.Injected {
			close(p.hit)
		}
	}
}

// Sync returns when everything is told that the program did before, or when it
// has ended. Without it, what the program says may be quicker.
func (p *Process) Sync() {
	if _, err := io.WriteString(p.orders, "{}\n"); err != nil {
		<-p.gone
		return
	}
	select {
	case <-p.upTo:
	case <-p.gone:
	}
}

// Hit is closed when the fault has happened.
func (p *Process) Hit() <-chan struct{} { return p.hit }

// Gone is closed when a watched program has ended and every call is told.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Calls gives what was seen up to now, in the order in which the calls ended.
func (p *Process) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Call(nil), p.calls...)
}

// Kill ends the program with SIGKILL, and returns when it has ended. The error
// tells of trouble with the watching.
func (p *Process) Kill() error {
	p.once.Do(func() {
		p.orders.Close()
		err := p.cmd.Wait()
		select {
		case <-p.hit:
		default:
			if err != nil {
				p.ended = errors.Join(p.ended, err)
			}
		}
	})
	return p.ended
}
