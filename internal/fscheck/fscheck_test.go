package fscheck

import (
	"encoding/binary"
	"strings"
	"testing"
	"testing/fstest"
)

const mounts = `21 1 254:0 / / rw,relatime shared:1 - %s /dev/vda1 rw,errors=remount-ro
22 21 0:20 / /proc rw - proc proc rw
23 21 0:40 / /var/lib/dianka\040two rw - nfs4 server:/x rw,vers=4.2
24 21 0:41 / /run rw,nosuid - tmpfs tmpfs rw
25 21 0:42 / /media/stick rw - fuse.ntfs-3g /dev/sdb1 rw
26 21 254:9 / /fast rw - xfs /dev/vdb rw,nobarrier
not a line
`

func super(features uint32) []byte {
	b := make([]byte, 4096)
	binary.LittleEndian.PutUint16(b[1024+0x38:], 0xEF53)
	binary.LittleEndian.PutUint32(b[1024+0x5C:], features)
	return b
}

func TestJudge(t *testing.T) {
	const ext = 0xEF53
	for _, c := range []struct {
		name, root, dir, kernel, options string
		magic                            uint32
		super                            []byte
		state                            State
		typ, says                        string
	}{
		{"ext4", "ext4", "/var/lib/dianka", "6.1.0-18-amd64", "", ext, nil, OK, "ext4", "6.1.0"},
		{"xfs", "xfs", "/var/lib/dianka", "6.1.0", "", 0x58465342, nil, OK, "xfs", ""},
		{"ext2", "ext2", "/var/lib/dianka", "6.1.0", "", ext, nil, Warning, "ext2", "no journal"},
		{"nobarrier", "ext4", "/fast/x", "6.1.0", "", 0x58465342, nil, Unsafe, "xfs", "nobarrier"},
		{"nfs in a name with a blank", "ext4", "/var/lib/dianka two/x", "6.1.0", "", 0x6969, nil, Unsafe, "nfs4", "server"},
		{"a name that only begins alike", "ext4", "/var/lib/dianka twofold", "6.1.0", "", ext, nil, OK, "ext4", ""},
		{"memory", "ext4", "/run/dianka", "6.1.0", "", 0x01021994, nil, Unsafe, "tmpfs", "memory"},
		{"fuse", "ext4", "/media/stick", "6.1.0", "", 0x65735546, nil, Unsafe, "fuse.ntfs-3g", "program"},
		{"container", "overlay", "/var/lib/dianka", "6.1.0", "", 0x794C7630, nil, Unsafe, "overlay", "layer"},
		{"vfat", "vfat", "/x", "6.1.0", "", 0x4D44, nil, Unsafe, "vfat", "journal"},
		{"exfat", "exfat", "/x", "6.1.0", "", 0x2011BAB0, nil, Unsafe, "exfat", "journal"},
		{"smb", "cifs", "/x", "6.1.0", "", 0xFE534D42, nil, Unsafe, "cifs", "server"},
		{"9p", "9p", "/x", "6.1.0", "", 0x01021997, nil, Unsafe, "9p", "machine"},
		{"the number says memory, the words another", "ext4", "/x", "6.1.0", "", 0x858458F6, nil, Unsafe, "ramfs", "memory"},
		{"never heard of", "zonefs", "/x", "6.1.0", "", 0x5A4F4653, nil, Warning, "zonefs", "0x5a4f4653"},

		{"fast commit, new kernel", "ext4", "/x", "6.18.4", "", ext, super(fastCommit), OK, "ext4", ""},
		{"fast commit, superblock", "ext4", "/x", "5.15.26-generic", "", ext, super(0x3C | fastCommit), Unsafe, "ext4", "tune2fs"},
		{"fast commit, options", "ext4", "/x", "5.10.93", "bsddf\nfast_commit\n", ext, nil, Unsafe, "ext4", "tune2fs"},
		{"no fast commit", "ext4", "/x", "5.16.3", "bsddf\n", ext, super(0x3C), OK, "ext4", "no fast_commit"},
		{"not to be told", "ext4", "/x", "5.16.3", "bsddf\n", ext, nil, Warning, "ext4", "as root"},
		{"not a superblock", "ext4", "/x", "5.16.3", "", ext, make([]byte, 4096), Warning, "ext4", "as root"},
		{"kernel not to be told", "ext4", "/x", "strange", "", ext, nil, Warning, "ext4", "as root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{
				"proc/self/mountinfo":       {Data: []byte(strings.Replace(mounts, "%s", c.root, 1))},
				"proc/sys/kernel/osrelease": {Data: []byte(c.kernel + "\n")},
			}
			if c.options != "" {
				root["proc/fs/ext4/vda1/options"] = &fstest.MapFile{Data: []byte(c.options)}
			}
			if c.super != nil {
				root["dev/vda1"] = &fstest.MapFile{Data: c.super}
			}
			v := judge(root, c.dir, c.magic)
			if v.State != c.state || v.Type != c.typ || v.Says == "" || !strings.Contains(v.Says, c.says) {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestMended(t *testing.T) {
	for release, want := range map[string]bool{
		"4.19.0": true, "5.4.200": true, "5.9.16": true, "5.10.0": false, "5.10.93": false, "5.10.94": true, "5.10.218-rt": true, "5.11.22": false,
		"5.14.0-362.el9": false, "5.15.0": false, "5.15.26": false, "5.15.27": true, "5.16.20": false, "5.17.0": true, "5.17-rc1": true, "6.1": true, "": false, "x.y": false,
	} {
		if mended(release) != want {
			t.Errorf("%q: %t", release, !want)
		}
	}
}

// FuzzMount reads any line.
func FuzzMount(f *testing.F) {
	for line := range strings.Lines(mounts) {
		f.Add(line)
	}
	f.Add("1 2 3 4 5 6 - a b c")
	f.Fuzz(func(t *testing.T, line string) {
		if m, ok := parseMount(line); ok && (m.typ == "" || m.point == "" && !strings.Contains(line, `\`)) {
			t.Errorf("%q: %+v", line, m)
		}
	})
}

// The folder of a test lies on something.
func TestDir(t *testing.T) {
	v, err := Dir(t.TempDir())
	if err != nil || v.State == "" || v.Says == "" {
		t.Errorf("%+v, %v", v, err)
	}
	if same, err := SameDisk(t.TempDir(), t.TempDir()); err != nil || !same {
		t.Error(same, err)
	}
}
