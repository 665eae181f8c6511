// Package fscheck tells whether a folder lies on a filesystem that keeps what
// it was told to keep: one whose sync reaches a disk of this machine, and that
// has no known fault that damages a file when the power goes.
//
// It imports the standard library and golang.org/x/sys only. It reads; it
// never writes, mounts or refuses: that is for who asks.
package fscheck

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// State is how good a filesystem is for money.
type State string

// States.
const (
	OK      State = "ok"
	Warning State = "warning" // not known to be bad, or not to be told
	Unsafe  State = "unsafe"
)

// Verdict says what a folder lies on.
type Verdict struct {
	State State
	Type  string // as the kernel calls it; "unknown" when it is not to be told
	Mount string // where it is mounted
	Says  string // the reason, and how sure it is
}

// types are what is known of filesystems. Those that are not here are not
// known to be bad.
var types = map[string]struct {
	magic uint32
	state State
	says  string
}{
	"ext4":    {0xEF53, OK, "a journal on a disk of this machine"},
	"ext3":    {0xEF53, OK, "a journal on a disk of this machine"},
	"ext2":    {0xEF53, Warning, "it has no journal: a power cut can lose the names of files"},
	"xfs":     {0x58465342, OK, "a journal on a disk of this machine"},
	"nfs":     {0x6969, Unsafe, "a lock or a sync may hang or mean nothing on a server"},
	"nfs4":    {0x6969, Unsafe, "a lock or a sync may hang or mean nothing on a server"},
	"cifs":    {0xFF534D42, Unsafe, "a lock or a sync may hang or mean nothing on a server"},
	"smb3":    {0xFE534D42, Unsafe, "a lock or a sync may hang or mean nothing on a server"},
	"smbfs":   {0x517B, Unsafe, "a lock or a sync may hang or mean nothing on a server"},
	"vfat":    {0x4D44, Unsafe, "it has no journal and no modes: a power cut damages it, and others may read the keys"},
	"msdos":   {0x4D44, Unsafe, "it has no journal and no modes: a power cut damages it, and others may read the keys"},
	"exfat":   {0x2011BAB0, Unsafe, "it has no journal and no modes: a power cut damages it, and others may read the keys"},
	"overlay": {0x794C7630, Unsafe, "it is a layer of a container or a live system: what is written may be gone with it"},
	"fuse":    {0x65735546, Unsafe, "a program stands between the file and the disk, and may answer a sync by itself"},
	"fuseblk": {0x65735546, Unsafe, "a program stands between the file and the disk, and may answer a sync by itself"},
	"9p":      {0x01021997, Unsafe, "it is another machine's: a sync means what that one likes"},
	"tmpfs":   {0x01021994, Unsafe, "it is memory: all of it is gone when the power goes"},
	"ramfs":   {0x858458F6, Unsafe, "it is memory: all of it is gone when the power goes"},
}

// fastCommit is the bit of ext4's compatible features (offset 0x5C of the
// superblock, which lies at 1024) that means fast_commit.
const fastCommit = 0x0400

// judge says what dir lies on by statfs's magic and what the kernel tells
// under /proc. root is the root of the file tree; dir is absolute and has no
// symbolic links.
func judge(root fs.FS, dir string, magic uint32) Verdict {
	m, ok := mountOf(root, dir)
	v := Verdict{State: Warning, Type: "unknown", Mount: m.point}
	if ok {
		v.Type = m.typ
	}
	known, found := types[v.Type]
	if strings.HasPrefix(v.Type, "fuse.") {
		known, found = types["fuse"]
	}
	if !found || known.magic != magic && known.state != Unsafe {
		// The kernel's number counts where its words say nothing, or less.
		for name, t := range types {
			if t.magic == magic && t.state == Unsafe {
				v.Type, known, found = name, t, true
			}
		}
	}
	if !found {
		v.Says = fmt.Sprintf("nothing is known against it, and nobody has tried it here (statfs %#x)", magic)
		return v
	}
	v.State, v.Says = known.state, known.says
	if v.State == Unsafe {
		return v
	}
	for _, o := range m.options {
		if o == "nobarrier" || o == "barrier=0" {
			v.State, v.Says = Unsafe, "it is mounted with "+o+": a sync does not reach the disk"
			return v
		}
	}
	if v.Type == "ext4" {
		ext4(root, m, &v)
	}
	return v
}

// ext4 looks for fast_commit, which damaged bbolt files in power cuts until it
// was mended in 5.10.94, 5.15.27 and 5.17 (storage-sync.md section 1.2).
func ext4(root fs.FS, m mount, v *Verdict) {
	release, _ := fs.ReadFile(root, "proc/sys/kernel/osrelease")
	kernel := strings.TrimSpace(string(release))
	if mended(kernel) {
		v.Says += "; kernel " + kernel + " has no known fault with it"
		return
	}
	has, sure := m.fastCommit(root)
	switch {
	case has:
		v.State, v.Says = Unsafe, "it has fast_commit, and kernel "+kernel+" damages files with it in a power cut: update the kernel, or `tune2fs -O ^fast_commit`"
	case sure:
		v.Says += "; its superblock has no fast_commit"
	default:
		v.State, v.Says = Warning, "kernel "+kernel+" damages files in a power cut where ext4 has fast_commit, and whether it has could not be read: run this as root"
	}
}

// fastCommit tells whether an ext4 has fast_commit, and whether that is sure.
func (m mount) fastCommit(root fs.FS) (has, sure bool) {
	options, _ := fs.ReadFile(root, "proc/fs/ext4/"+path.Base(m.device)+"/options")
	if slices.Contains(m.options, "fast_commit") || slices.Contains(strings.Fields(string(options)), "fast_commit") {
		return true, true
	}
	f, err := root.Open(strings.TrimPrefix(m.device, "/"))
	if err != nil {
		return false, false
	}
	defer f.Close()
	super := make([]byte, 2048)
	for n := 0; n < len(super); {
		k, err := f.Read(super[n:])
		if n += k; err != nil && n < len(super) {
			return false, false
		}
	}
	if binary.LittleEndian.Uint16(super[1024+0x38:]) != 0xEF53 {
		return false, false
	}
	return binary.LittleEndian.Uint32(super[1024+0x5C:])&fastCommit != 0, true
}

// mended reports whether a kernel is one on which fast_commit, which came with
// 5.10, has no known fault. What cannot be read is not.
func mended(release string) bool {
	var v [3]int
	parts := strings.FieldsFunc(release, func(r rune) bool { return r == '.' || r == '-' || r == '+' || r == '_' })
	for i := range v {
		if i >= len(parts) {
			break
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			if i < 2 {
				return false
			}
			break
		}
		v[i] = n
	}
	switch {
	case v[0] == 0:
		return false
	case v[0] != 5:
		return true
	case v[1] == 10:
		return v[2] >= 94
	case v[1] == 15:
		return v[2] >= 27
	}
	return v[1] < 10 || v[1] >= 17
}

// mount is a line of /proc/self/mountinfo.
type mount struct {
	point, typ, device string
	options            []string // of the mount and of the filesystem
}

// mountOf finds what dir lies on: the longest mount point above it, the last
// of several.
func mountOf(root fs.FS, dir string) (best mount, ok bool) {
	b, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return best, false
	}
	for line := range strings.Lines(string(b)) {
		m, is := parseMount(line)
		if !is || dir != m.point && m.point != "/" && !strings.HasPrefix(dir, m.point+"/") {
			continue
		}
		if !ok || len(m.point) >= len(best.point) {
			best, ok = m, true
		}
	}
	return best, ok
}

// parseMount reads "36 35 98:0 / /mnt rw,noatime … - ext4 /dev/root rw".
func parseMount(line string) (m mount, ok bool) {
	left, right, ok := strings.Cut(line, " - ")
	a, b := strings.Fields(left), strings.Fields(right)
	if !ok || len(a) < 6 || len(b) < 3 {
		return m, false
	}
	m = mount{point: unescape(a[4]), typ: b[0], device: unescape(b[1])}
	m.options = append(strings.Split(a[5], ","), strings.Split(b[2], ",")...)
	return m, true
}

// unescape reads the octal escapes of blanks and the like.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
