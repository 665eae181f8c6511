//go:build linux && amd64

package diskcalls

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Inside is to be called first in TestMain. In a run that Start made it
// starts the program, watches it and does not return; else it does nothing.
func Inside() {
	if os.Getenv(env) == "" {
		return
	}
	os.Unsetenv(env)
	syscall.CloseOnExec(3)
	out := &teller{to: json.NewEncoder(os.NewFile(3, "events"))}
	if err := inside(out); err != nil {
		out.tell(event{Problem: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

// teller is used by the tracer and by whoever reads orders.
type teller struct {
	mu sync.Mutex
	to *json.Encoder
}

func (t *teller) tell(e event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.to.Encode(e)
}

func inside(out *teller) error {
	runtime.LockOSThread() // whoever seizes a thread must also wait for it
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	out.tell(event{PID: pid})
	in := json.NewDecoder(os.Stdin)
	var o order
	if err := in.Decode(&o); err != nil { // the program was not to be watched
		cmd.Process.Kill()
		cmd.Wait()
		return nil
	}
	go func() {
		for {
			var ask struct{}
			if in.Decode(&ask) != nil {
				break
			}
			out.tell(event{UpTo: true})
		}
		syscall.Kill(pid, syscall.SIGKILL)
	}()
	t := &tracer{pid: pid, order: o, out: out, open: map[int]*Call{}}
	if err := t.seize(); err != nil {
		syscall.Kill(pid, syscall.SIGKILL)
		return err
	}
	out.tell(event{Watching: true})
	return t.loop()
}

type tracer struct {
	pid    int
	order  order
	out    *teller
	open   map[int]*Call // by thread: begun and not ended
	begun  int           // counted calls
	ended  int           // told
	killed bool
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE

// seize takes every thread. New ones are taken with their parent, so it is
// done when a look finds no other.
func (t *tracer) seize() error {
	taken := map[int]bool{}
	for {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", t.pid))
		if err != nil {
			return err
		}
		more := false
		for _, e := range tasks {
			tid, err := strconv.Atoi(e.Name())
			if err != nil || taken[tid] {
				continue
			}
			taken[tid], more = true, true
			if _, _, e := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, options, 0, 0); e != 0 {
				if e == syscall.EPERM || e == syscall.ESRCH { // taken by its parent, or ended
					continue
				}
				return fmt.Errorf("seize: %w", e)
			}
			if err := unix.PtraceInterrupt(tid); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("interrupt: %w", err)
			}
			var ws unix.WaitStatus
			if _, err := unix.Wait4(tid, &ws, unix.WALL, nil); err != nil {
				return fmt.Errorf("wait: %w", err)
			}
			if ws.Stopped() {
				if err := t.resume(tid, ws); err != nil {
					return err
				}
			}
		}
		if !more {
			return nil
		}
	}
}

func (t *tracer) loop() error {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.ECHILD:
			return nil
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		}
		if !ws.Stopped() {
			delete(t.open, tid)
			if tid == t.pid {
				return nil // the leader is reaped last
			}
			continue
		}
		if ws.StopSignal() == syscall.SIGTRAP|0x80 {
			t.stop(tid)
		}
		if err := t.resume(tid, ws); err != nil {
			return err
		}
	}
}

// resume lets a stopped thread go on to its next system call, with the signal
// that it was about to get.
func (t *tracer) resume(tid int, ws unix.WaitStatus) error {
	sig := int(ws.StopSignal())
	if ws.StopSignal() == syscall.SIGTRAP|0x80 || ws>>16 != 0 {
		sig = 0 // a stop of ptrace's own
	}
	if err := unix.PtraceSyscall(tid, sig); err != nil && err != syscall.ESRCH { // killed meanwhile
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// info is struct ptrace_syscall_info of ptrace(2).
type info struct {
	op   uint8
	_    [3]byte
	arch uint32
	_    [2]uint64
	nr   uint64 // at the exit: the value returned
	args [6]uint64
}

func (t *tracer) stop(tid int) {
	var i info
	if _, _, e := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(i), uintptr(unsafe.Pointer(&i)), 0, 0); e != 0 {
		return // killed meanwhile
	}
	switch i.op {
	case unix.PTRACE_SYSCALL_INFO_ENTRY:
		t.enter(tid, int(i.nr), i.args)
	case unix.PTRACE_SYSCALL_INFO_EXIT:
		t.exit(tid, int64(i.nr))
	}
}

func (t *tracer) enter(tid, nr int, a [6]uint64) {
	c := t.call(tid, nr, a)
	if c == nil {
		return
	}
	c.Began = t.ended
	if c.Name == Answer { // told before anyone can read it
		t.tell(c)
		return
	}
	t.open[tid] = c
	t.begun++
	if t.begun != t.order.Fault.At {
		return
	}
	c.Injected = true
	if t.order.Fault.Errno == 0 {
		t.killed = true
		t.tell(c)
		syscall.Kill(t.pid, syscall.SIGKILL) // which also keeps the call from being done
		return
	}
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) == nil {
		regs.Orig_rax = ^uint64(0) // no system call: nothing is done
		unix.PtraceSetRegs(tid, &regs)
	}
}

func (t *tracer) exit(tid int, value int64) {
	c := t.open[tid]
	if c == nil || t.killed {
		return
	}
	delete(t.open, tid)
	if c.Injected {
		c.Errno, c.Data = t.order.Fault.Errno, nil
		var regs unix.PtraceRegs
		if unix.PtraceGetRegs(tid, &regs) == nil {
			regs.Rax = uint64(-int64(c.Errno))
			unix.PtraceSetRegs(tid, &regs)
		}
		t.tell(c)
		return
	}
	switch {
	case value < 0:
		c.Errno, c.Data = syscall.Errno(-value), nil
	case c.Data != nil:
		c.Data = c.Data[:min(value, int64(len(c.Data)))]
	}
	if c.Name == "write" || c.Name == "writev" {
		c.Offset = t.position(int(c.Size)) - max(value, 0)
		c.Size = 0
	}
	t.tell(c)
}

func (t *tracer) tell(c *Call) {
	t.ended++
	t.out.tell(event{Call: c})
}

// call describes a system call that changes a file in the folders; nil when
// it is another.
func (t *tracer) call(tid, nr int, a [6]uint64) *Call {
	fd := int(int32(a[0]))
	byFD := func(name string) *Call {
		p, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, fd))
		if err != nil || !t.watched(p) {
			return nil
		}
		return &Call{Name: name, Path: strings.TrimSuffix(p, " (deleted)")}
	}
	byName := func(name string, dir, path, toDir, to uint64) *Call {
		c := &Call{Name: name, Path: t.path(int(int32(dir)), path)}
		if to != 0 {
			c.To = t.path(int(int32(toDir)), to)
		}
		if !t.watched(c.Path) && !t.watched(c.To) {
			return nil
		}
		return c
	}
	const cwd = ^uint64(99) // AT_FDCWD
	switch nr {
	case unix.SYS_WRITE:
		if c := byFD("write"); c != nil {
			c.Data, c.Size = t.read(a[1], a[2]), int64(fd)
			return c
		}
		// The head of an answer is seldom cut.
		if a[2] > 16 && bytes.HasPrefix(t.read(a[1], 8), []byte("HTTP/1.1")) {
			return &Call{Name: Answer, Data: t.read(a[1], a[2])}
		}
	case unix.SYS_PWRITE64:
		if c := byFD("pwrite64"); c != nil {
			c.Data, c.Offset = t.read(a[1], a[2]), int64(a[3])
			return c
		}
	case unix.SYS_WRITEV:
		if c := byFD("writev"); c != nil {
			c.Data, c.Size = t.readv(a[1], a[2]), int64(fd)
			return c
		}
	case unix.SYS_PWRITEV, unix.SYS_PWRITEV2:
		if c := byFD("pwritev"); c != nil {
			c.Data, c.Offset = t.readv(a[1], a[2]), int64(a[3])
			return c
		}
	case unix.SYS_FSYNC:
		return byFD("fsync")
	case unix.SYS_FDATASYNC:
		return byFD("fdatasync")
	case unix.SYS_FTRUNCATE:
		if c := byFD("ftruncate"); c != nil {
			c.Size = int64(a[1])
			return c
		}
	case unix.SYS_FALLOCATE:
		if c := byFD("fallocate"); c != nil {
			c.Size = int64(a[2] + a[3])
			return c
		}
	case unix.SYS_COPY_FILE_RANGE: // the target is the third
		fd = int(int32(a[2]))
		return byFD("copy_file_range")
	case unix.SYS_SYNC_FILE_RANGE:
		return byFD("sync_file_range")
	case unix.SYS_OPENAT:
		if a[2]&(unix.O_CREAT|unix.O_TRUNC) != 0 {
			c := byName("open", a[0], a[1], 0, 0)
			if c != nil {
				c.Trunc = a[2]&unix.O_TRUNC != 0
			}
			return c
		}
	case unix.SYS_RENAME:
		return byName("rename", cwd, a[0], cwd, a[1])
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return byName("rename", a[0], a[1], a[2], a[3])
	case unix.SYS_LINK:
		return byName("link", cwd, a[0], cwd, a[1])
	case unix.SYS_LINKAT:
		return byName("link", a[0], a[1], a[2], a[3])
	case unix.SYS_UNLINK:
		return byName("unlink", cwd, a[0], 0, 0)
	case unix.SYS_UNLINKAT:
		return byName("unlink", a[0], a[1], 0, 0)
	}
	return nil
}

func (t *tracer) watched(path string) bool {
	return slices.ContainsFunc(t.order.Folders, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}

// path reads a name that is relative to dir, a file descriptor.
func (t *tracer) path(dir int, at uint64) string {
	var b []byte
	for len(b) < unix.PathMax {
		// Up to the end of a page, since the next may not be there.
		part := t.read(at+uint64(len(b)), 4096-(at+uint64(len(b)))%4096)
		end := bytes.IndexByte(part, 0)
		if end >= 0 {
			b = append(b, part[:end]...)
			break
		}
		if b = append(b, part...); len(part) == 0 {
			break
		}
	}
	if filepath.IsAbs(string(b)) {
		return filepath.Clean(string(b))
	}
	link := fmt.Sprintf("/proc/%d/fd/%d", t.pid, dir)
	if dir == unix.AT_FDCWD {
		link = fmt.Sprintf("/proc/%d/cwd", t.pid)
	}
	base, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	return filepath.Join(base, string(b))
}

// read copies n bytes of the program's memory.
func (t *tracer) read(at, n uint64) []byte {
	if n == 0 || n > 1<<28 {
		return []byte{}
	}
	b := make([]byte, n)
	got, err := unix.ProcessVMReadv(t.pid, []unix.Iovec{{Base: &b[0], Len: n}}, []unix.RemoteIovec{{Base: uintptr(at), Len: int(n)}}, 0)
	if err != nil {
		return []byte{}
	}
	return b[:got]
}

func (t *tracer) readv(at, n uint64) []byte {
	out := []byte{}
	for i := range n {
		v := t.read(at+i*16, 16)
		if len(v) < 16 {
			return out
		}
		out = append(out, t.read(*(*uint64)(unsafe.Pointer(&v[0])), *(*uint64)(unsafe.Pointer(&v[8])))...)
	}
	return out
}

// position is where the next write without an offset goes.
func (t *tracer) position(fd int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", t.pid, fd))
	var pos int64
	fmt.Sscanf(string(b), "pos: %d", &pos)
	return pos
}
