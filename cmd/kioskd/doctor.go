package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/internal/checkup"
	"github.com/dianka/dianka/internal/fscheck"
	"github.com/dianka/dianka/internal/station"
	"github.com/dianka/dianka/printer"
	"github.com/dianka/dianka/store"
	"github.com/dianka/dianka/uplink"
)

// defaultConfig is where the package's unit has the configuration
// (packaging/kioskd.service).
const defaultConfig = "/etc/dianka/kioskd.yaml"

// What the doctor says of one thing, as cardtool's doctor, which repeats it.
const (
	fine    = checkup.OK
	warning = checkup.Warning
	problem = checkup.Problem
)

func newDoctorCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say in a minute what is wrong with this terminal, and what to do",
		Long: "Looks at the filesystem, the folder, the room, the terminal's file and its second\n" +
			"copy, the clock, the certificate and the keys; one line for each. It changes\n" +
			"nothing. While the daemon runs it asks that instead of its file; with the daemon\n" +
			"stopped it sees more. Exits with 1 when there is a problem.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(path)
			if err != nil {
				return err
			}
			d := doctor{c: c, now: time.Now(), check: station.Self(), filesystem: fscheck.Dir}
			d.examine(cmd.Context())
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				if err := e.Encode(d.findings); err != nil {
					return err
				}
			} else {
				checkup.Write(cmd.OutOrStdout(), d.findings)
			}
			if n := checkup.Problems(d.findings); n > 0 {
				return fmt.Errorf("problems: %d", n)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "for machines")
	return cmd
}

// doctor examines one terminal. What it asks of the machine is injected where
// a test must choose the answer.
type doctor struct {
	c          Config
	now        time.Time
	check      station.Check
	filesystem func(string) (fscheck.Verdict, error)
	findings   []checkup.Finding
}

func (d *doctor) say(check, state, next, format string, args ...any) {
	d.findings = append(d.findings, checkup.Finding{Check: check, State: state, Says: fmt.Sprintf(format, args...), Next: next})
}

func (d *doctor) examine(ctx context.Context) {
	if _, err := os.Stat(d.c.State); err != nil {
		d.say("folder", problem, "make it, or set `state` right; `kioskd enrol` makes it too", "%v", err)
		return
	}
	d.disk()
	d.folder()
	d.keys()
	last := d.file(ctx)
	d.clock(last)
	d.printer(ctx)
}

// printer asks the receipt printer how it is.
func (d *doctor) printer(ctx context.Context) {
	p, err := d.c.printer(nil)
	switch {
	case err != nil:
		d.say("printer", problem, "set `printer.address` right", "%v", err)
		return
	case p == nil:
		d.say("printer", fine, "", "none is configured")
		return
	}
	life, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { p.Run(life); close(ended) }()
	wait, cancel := context.WithTimeout(ctx, 6*time.Second)
	s := p.Check(wait)
	cancel()
	end()
	<-ended
	at := string(d.c.Printer.Address)
	switch s.State() {
	case printer.StateOK:
		if s.PaperLow {
			d.say("printer", warning, "have a new roll ready", "%s answers; cover closed, paper nearly used up", at)
		} else {
			d.say("printer", fine, "", "%s answers; cover closed, paper in", at)
		}
	case printer.StateNoAnswer:
		if s.InUse {
			d.say("printer", fine, "", "%s is in use by the daemon, whose screens show its state", at)
			return
		}
		d.say("printer", problem, "look at its power and its cable, then at `printer` in the configuration; its self-test slip tells the speed", "%s does not answer: %s", at, s.Detail)
	case printer.StatePaperOut:
		d.say("printer", problem, "load paper", "%s has no paper", at)
	case printer.StateCoverOpen:
		d.say("printer", problem, "close the cover", "%s: its cover is open", at)
	default:
		d.say("printer", problem, "switch it off, look for jammed paper, switch it on", "%s says %s", at, s.State())
	}
}

func (d *doctor) disk() {
	v, err := d.filesystem(d.c.State)
	switch {
	case err != nil:
		d.say("filesystem", warning, "", "it could not be looked at: %v", err)
	case v.State == fscheck.OK:
		d.say("filesystem", fine, "", "%s on %s: %s", v.Type, v.Mount, v.Says)
	case v.State == fscheck.Warning:
		d.say("filesystem", warning, "prefer ext4 or xfs on a disk of this machine", "%s on %s: %s", v.Type, v.Mount, v.Says)
	case d.c.UnsafeFilesystem != "":
		d.say("filesystem", warning, "move `state` to ext4 or xfs on a disk of this machine", "%s on %s: %s; accepted because: %s", v.Type, v.Mount, v.Says, d.c.UnsafeFilesystem)
	default:
		d.say("filesystem", problem, "move `state` to ext4 or xfs on a disk of this machine", "%s on %s: %s", v.Type, v.Mount, v.Says)
	}
}

func (d *doctor) folder() {
	st, err := os.Stat(d.c.State)
	switch {
	case err != nil:
		d.say("folder", problem, "", "%v", err)
	case runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0:
		d.say("folder", problem, "chmod 700 "+d.c.State, "%s has mode %04o: others may come in", d.c.State, st.Mode().Perm())
	default:
		d.say("folder", fine, "", "%s", d.c.State)
	}
	for _, pattern := range []string{station.StorePath(d.c.State) + ".damaged-*", d.copyPath() + ".aside-*"} {
		names, _ := filepath.Glob(pattern)
		for _, n := range names {
			d.say("kept file", warning, "send it to the utility; delete it only when they agree that nothing is missing", "%s was put aside", n)
		}
	}
}

func (d *doctor) keys() {
	k, err := uplink.LoadKeys(station.KeysPath(d.c.State))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(station.StorePath(d.c.State)); err == nil {
			d.say("keys", problem, "delete nothing: put the keys file back from where it was moved; if it is lost, get a code from the utility and run `kioskd enrol`, which keeps the file and its entries",
				"the terminal's file is there, but its keys file %s is lost: nothing can be signed or sent", station.KeysPath(d.c.State))
			return
		}
		d.say("keys", problem, "get a code from the utility and run `kioskd enrol`", "this terminal is not enrolled")
		return
	case errors.Is(err, uplink.ErrPermissions):
		d.say("keys", problem, "chmod 600 "+station.KeysPath(d.c.State), "%v", err)
		return
	case err != nil:
		d.say("keys", problem, "call the utility and enrol again", "%v", err)
		return
	}
	d.say("keys", fine, "", "of terminal %s, epoch %d, for their owner only", k.Terminal, k.Epoch())
	from, until, err := k.Validity()
	switch left := until.Sub(d.now); {
	case err != nil:
		d.say("certificate", problem, "call the utility and enrol again", "%v", err)
	case left <= 0:
		d.say("certificate", problem, "connect; if the utility does not take it any more, enrol again", "it ended on %s", until.Format(time.DateOnly))
	case left < until.Sub(from)/4:
		d.say("certificate", warning, "connect: it is renewed by itself from half of its life on", "it ends on %s", until.Format(time.DateOnly))
	default:
		d.say("certificate", fine, "", "until %s", until.Format(time.DateOnly))
	}
}

func (d *doctor) copyPath() string {
	if d.c.Copy != "" {
		return d.c.Copy
	}
	return filepath.Join(d.c.State, "terminal.copy")
}

// file looks at the terminal's file and its second copy, and gives the time of
// the last entry, zero when it is not known.
func (d *doctor) file(ctx context.Context) (last time.Time) {
	path := station.StorePath(d.c.State)
	const repair = "delete nothing; stop the daemon, run `kioskd recover`, then `kioskd enrol`"
	if err := d.check(ctx, path); err != nil {
		d.say("file", problem, repair, "%v", err)
		d.lonelyCopy()
		return last
	}
	if foreign(d.c.State) {
		d.say("file", warning, "run this as the user of the daemon to hold file and copy against each other", "it verifies, as far as another user may look")
		return d.lonelyCopy()
	}
	v, err := store.Look(path, store.Options{Copy: d.c.Copy, Timeout: 50 * time.Millisecond}) // for reading: to examine is to change nothing
	switch {
	case errors.Is(err, store.ErrInUse):
		d.say("file", fine, "", "in use by the daemon, which had it checked when it started; stop the daemon to check it now")
		if d.daemon(ctx) {
			return d.lonelyCopy()
		}
		if c, err := store.InspectCopy(path, store.Options{Copy: d.c.Copy}); err == nil { // it ends where the journal does
			d.unsent("at most ", c.Entries, time.UnixMilli(c.First))
		}
		return d.lonelyCopy()
	case errors.Is(err, fs.ErrNotExist):
		d.say("file", problem, "`kioskd recover` when there is a second copy, else `kioskd enrol`", "it is not there")
		return d.lonelyCopy()
	case err != nil:
		d.say("file", problem, repair, "%v", err)
		return d.lonelyCopy()
	}
	if v.Remade {
		d.say("file", problem, "get a code from the utility and run `kioskd enrol`", "it was made anew from the second copy and takes nothing new")
	} else {
		d.say("file", fine, "", "structure and chain verify; epoch %d, %d entries, %d not acknowledged", v.Head.Epoch, v.Head.Seq, v.Unsent.Count)
	}
	d.unsent("", v.Unsent.Count, time.UnixMilli(v.Unsent.Oldest))
	switch {
	case v.FreeErr != nil:
		d.say("room", warning, "", "it could not be looked at: %v", v.FreeErr)
	case v.Free < uint64(v.Reserve):
		d.say("room", problem, "free some room on the disk", "%d MiB free, %d MiB reserved: nothing new may begin", v.Free>>20, v.Reserve>>20)
	case !v.Ballast:
		d.say("room", warning, "start the daemon, which makes it; if it stays so, free some room on the disk", "%d MiB free, %d MiB reserved, and no ballast beyond it", v.Free>>20, v.Reserve>>20)
	default:
		d.say("room", fine, "", "%d MiB free, %d MiB reserved, and a ballast for what was begun", v.Free>>20, v.Reserve>>20)
	}
	switch c := v.Copy; {
	case errors.Is(c.Problem, store.ErrCopyBehind):
		d.say("second copy", warning, "nothing: the daemon puts it right when it starts", "%s: %v", c.Path, c.Problem)
	case c.Problem != nil:
		d.say("second copy", problem, "look at its disk; when the daemon starts it puts a copy that is none aside and makes it anew", "%s: %v", c.Path, c.Problem)
	default:
		d.say("second copy", fine, "", "%s agrees with the file", c.Path)
		d.media(c.Path)
	}
	if v.Last != 0 {
		last = time.UnixMilli(v.Last)
	}
	return last
}

// unsentOld is when entries that wait for the utility are worth a word.
const unsentOld = 24 * time.Hour

// unsent tells what the utility does not have yet.
func (d *doctor) unsent(about string, n uint64, oldest time.Time) {
	switch {
	case n == 0:
		d.say("journal", fine, "", "the utility has all of it")
	case d.now.Sub(oldest) > unsentOld:
		d.say("journal", warning, "bring the terminal on line; leave it switched on and its file in place until all is sent",
			"%s%d entries not sent, the oldest of %s", about, n, oldest.Format(time.DateTime))
	default:
		d.say("journal", fine, "", "%s%d entries not sent, the oldest of %s", about, n, oldest.Format(time.DateTime))
	}
}

// lonelyCopy looks at the second copy by itself.
func (d *doctor) lonelyCopy() (last time.Time) {
	c, err := store.InspectCopy(station.StorePath(d.c.State), store.Options{Copy: d.c.Copy})
	if err != nil {
		d.say("second copy", problem, "look at its disk; it is made anew when the daemon starts on a sound file", "%v", err)
		return last
	}
	if c.Entries > 0 {
		last = time.UnixMilli(c.Last)
	}
	d.say("second copy", fine, "", "%s verifies and holds %d entries that the utility may not have", c.Path, c.Entries)
	d.media(c.Path)
	return last
}

// media tells whether the copy shares the fate of the file's disk.
func (d *doctor) media(path string) {
	same, err := fscheck.SameDisk(filepath.Dir(path), d.c.State)
	if err == nil && same {
		d.say("copy's disk", warning, "set `copy` to a file on another disk", "the second copy is on the disk of the file: it helps against damage, not against the loss of the disk")
	} else if err == nil {
		d.say("copy's disk", fine, "", "another than the file's")
	}
}

// clock holds the clock against what is certainly past.
func (d *doctor) clock(last time.Time) {
	const next = "set the clock right; records go by number and are not affected"
	switch b := built(); {
	case d.now.Before(b):
		d.say("clock", problem, next, "it says %s, before this program was made (%s)", d.now.Format(time.DateTime), b.Format(time.DateOnly))
	case !last.IsZero() && d.now.Before(last.Add(-5*time.Minute)):
		d.say("clock", problem, next, "it says %s, before the last entry (%s)", d.now.Format(time.DateTime), last.Format(time.DateTime))
	default:
		d.say("clock", fine, "", "%s", d.now.Format(time.DateTime))
	}
}

// built is a time before which this program did not exist.
func built() time.Time {
	if i, ok := debug.ReadBuildInfo(); ok {
		for _, s := range i.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t.Add(-24 * time.Hour) // somebody's clock
			}
		}
	}
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
}
