//go:build linux

// Package private runs a PC/SC service of one's own: a pcscd with the
// vsmartcard virtual reader and nothing else, in mount and network namespaces
// of its own. It never meets the machine's pcscd, and the driver, which
// listens on all addresses, is heard by nobody outside; its two slots come
// out as Unix sockets for vpcd.Dial. kioskd --sim shows our simulated cards in
// a real PC/SC service with it, and tests stand on it.
//
// It works by running the program itself again inside the namespaces, so main
// (or TestMain) must call Inside first of all. It needs root, or a kernel that
// lets users make namespaces; and pcscd and vsmartcard-vpcd.
//
// It may import reader/vpcd and must never be part of a real terminal.
package private

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dianka/dianka/reader/vpcd"
)

// Readers are the names of the two virtual readers, in the order of
// Service.Slots.
var Readers = [2]string{"Virtual PCD 00 00", "Virtual PCD 00 01"}

// TwinReader is the name of the reader of StartSerial.
const TwinReader = "GemPC Twin serial 00 00"

const (
	insideEnv  = "DIANKA_PRIVATE_PCSCD"  // the folder, in the run inside
	serialEnv  = "DIANKA_PRIVATE_SERIAL" // the line of StartSerial
	driverPath = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
	twinDriver = "/usr/lib/pcsc/drivers/serial/libccidtwin.so"
	socketDir  = "/run/pcscd" // compiled into pcscd
	ready      = "ready"
)

// ErrMissing says that something is not installed or not allowed here; the
// error around it says what.
var ErrMissing = errors.New("private: no private pcscd possible")

// Service is a running private pcscd.
type Service struct {
	// Socket is what PC/SC programs need in PCSCLITE_CSOCK_NAME.
	Socket string
	// Slots are the addresses of the two slots for vpcd.Dial.
	Slots [2]string
	// Log is the file in which pcscd writes; commands are not in it, since
	// they may hold a PIN.
	Log string

	cmd  *exec.Cmd
	stop io.Closer // the inside ends when this does
	once sync.Once
	pid  int // of pcscd itself, as seen from here
}

// Start starts the service with its files in dir, and returns when both
// readers are there. It sets PCSCLITE_CSOCK_NAME for this process, which must
// not have used PC/SC before, unless with the same dir: the client library
// reads it once. Service ends with ctx, with Stop, or with this process.
func Start(ctx context.Context, dir string) (*Service, error) {
	if _, err := os.Stat(driverPath); err != nil {
		return nil, fmt.Errorf("%w: the virtual reader is not installed (Debian: vsmartcard-vpcd)", ErrMissing)
	}
	return start(ctx, dir, "")
}

// StartSerial starts a service whose one reader, of the name TwinReader, is
// what sits at the end of a serial line, "/dev/pts/3:GemPCTwin", under the
// driver of libccid. It has no Slots.
func StartSerial(ctx context.Context, dir, device string) (*Service, error) {
	if _, err := os.Stat(twinDriver); err != nil {
		return nil, fmt.Errorf("%w: the driver of serial readers is not installed (Debian: libccid)", ErrMissing)
	}
	return start(ctx, dir, device)
}

func start(ctx context.Context, dir, device string) (*Service, error) {
	if !called {
		return nil, errors.New("private: the program has not called Inside")
	}
	if err := possible(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Service{Socket: filepath.Join(dir, "run", "pcscd.comm"), Log: filepath.Join(dir, "pcscd.log")}
	for i := range s.Slots {
		s.Slots[i] = "unix:" + filepath.Join(dir, fmt.Sprintf("slot%d", i))
		if len(s.Slots[i]) > 100 { // sun_path has 108
			return nil, fmt.Errorf("private: the path %s is too long for a socket", dir)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, "unshare", unshareArgs(self)...)
	s.cmd.Env = append(os.Environ(), insideEnv+"="+dir, serialEnv+"="+device)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the keyboard is for us to pass on
	if s.stop, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("private: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if n, _ := fmt.Sscanf(line, ready+" %d", &s.pid); n != 1 {
		s.Stop()
		return nil, fmt.Errorf("private: pcscd did not start: %s (%v)", strings.TrimSpace(line), err)
	}
	return s, os.Setenv("PCSCLITE_CSOCK_NAME", s.Socket)
}

// Stop kills pcscd, as a crash would.
func (s *Service) Stop() {
	s.once.Do(func() {
		s.stop.Close()
		s.cmd.Wait()
	})
}

// Signal sends a signal to pcscd: tests stop it in its tracks.
func (s *Service) Signal(sig syscall.Signal) error { return syscall.Kill(s.pid, sig) }

// Stopped reports whether all of pcscd stands still after a SIGSTOP, which
// takes a moment to reach its threads.
func (s *Service) Stopped() bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		_, state, _ := strings.Cut(string(b), ") ") // proc(5): pid (name) state
		if !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return err == nil && len(tasks) > 0
}

func unshareArgs(self string, args ...string) []string {
	flags := []string{"--mount", "--net"}
	if os.Geteuid() != 0 {
		flags = append(flags, "--map-root-user")
	}
	return append(append(flags, "--", self), args...)
}

// possible names what is not there.
func possible() error {
	if _, err := pcscd(); err != nil {
		return fmt.Errorf("%w: pcscd is not installed", ErrMissing)
	}
	if _, err := os.Stat(socketDir); err != nil && os.MkdirAll(socketDir, 0o755) != nil {
		return fmt.Errorf("%w: %s is not there; start the machine's pcscd once", ErrMissing, socketDir)
	}
	if out, err := exec.Command("unshare", unshareArgs("true")...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: namespaces are not allowed here: %v: %s", ErrMissing, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// pcscd also finds what only root has in its path.
func pcscd() (string, error) {
	if p, err := exec.LookPath("pcscd"); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/pcscd")
}

// called says that this program is able to be the inside. Without it the
// program started inside would start another, and so on until nothing else runs.
var called bool

// Inside is to be called first in main. In a run that Start made it does what
// is to be done inside the namespaces and does not return; else it does
// nothing.
func Inside() {
	called = true
	dir := os.Getenv(insideEnv)
	if dir == "" {
		return
	}
	if err := inside(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func inside(dir string) error {
	// An interrupt at the keyboard reaches the whole group; our end is that
	// of standard input.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	run, readers := filepath.Join(dir, "run"), filepath.Join(dir, "readers")
	for _, d := range []string{run, readers} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	// A killed pcscd leaves these, and the next refuses to start over them.
	os.Remove(filepath.Join(run, "pcscd.comm"))
	os.Remove(filepath.Join(run, "pcscd.pid"))
	// The file format is reader.conf(5); every file in the folder is read.
	conf := fmt.Sprintf("FRIENDLYNAME \"Virtual PCD\"\nDEVICENAME /dev/null:0x%04X\nLIBPATH %s\nCHANNELID 0x%04X\n", vpcd.Port0, driverPath, vpcd.Port0)
	device := os.Getenv(serialEnv)
	if device != "" {
		conf = fmt.Sprintf("FRIENDLYNAME \"GemPC Twin serial\"\nDEVICENAME %s\nLIBPATH %s\nCHANNELID 1\n", device, twinDriver)
	}
	if err := os.WriteFile(filepath.Join(readers, "vpcd"), []byte(conf), 0o644); err != nil {
		return err
	}
	// Nothing that is mounted here may show outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount(run, socketDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", socketDir, err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "pcscd.log"))
	if err != nil {
		return err
	}
	path, err := pcscd()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "--foreground", "--info", "--config", readers)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), insideEnv+"=", serialEnv+"=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := await(filepath.Join(run, "pcscd.comm"), device == "", ended); err != nil {
		cmd.Process.Kill()
		return err
	}
	for i, port := range []int{vpcd.Port0, vpcd.Port1} {
		if device != "" {
			break
		}
		if err := bridge(filepath.Join(dir, fmt.Sprintf("slot%d", i)), port); err != nil {
			cmd.Process.Kill()
			return err
		}
	}
	fmt.Println(ready, cmd.Process.Pid)
	parent := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(parent)
	}()
	select {
	case <-parent:
		cmd.Process.Kill()
		<-ended
	case err = <-ended:
	}
	return err
}

// await waits until pcscd has made its socket, which is after its readers are
// there, and the driver of virtual readers listens.
func await(socket string, virtual bool, ended <-chan error) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		tcp, _ := os.ReadFile("/proc/net/tcp")
		_, err := os.Stat(socket)
		// 0A is LISTEN, proc(5). To connect would be to insert a card.
		if err == nil && (!virtual || strings.Contains(string(tcp), fmt.Sprintf(":%04X 00000000:0000 0A", vpcd.Port1))) {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("pcscd ended at once: %v", err)
		case <-time.After(5 * time.Millisecond): // another program, which announces nothing
		}
	}
	return errors.New("pcscd made no socket")
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// bridge carries connections from a Unix socket, which is seen outside, to the
// driver's port, which is not.
func bridge(path string, port int) error {
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		for {
			outer, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer outer.Close()
				inner, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					return
				}
				defer inner.Close()
				go func() {
					io.Copy(inner, outer)
					inner.Close()
				}()
				vpcd.CopyFromReader(outer, inner)
			}()
		}
	}()
	return nil
}
