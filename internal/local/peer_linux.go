package local

import (
	"fmt"
	"io/fs"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// allowed asks the kernel who is at the other end: owner, root, or a member
// of the group; -1 is no group.
func allowed(c *net.UnixConn, owner, group int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { peer, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if cerr != nil {
		return cerr
	}
	if mayAsk(int(peer.Uid), int(peer.Gid), owner, group, groupsOf) {
		return nil
	}
	return fmt.Errorf("%w: user %d", ErrPeer, peer.Uid)
}

func mayAsk(uid, gid, owner, group int, groups func(uid int) []string) bool {
	return uid == 0 || uid == owner || group >= 0 && (gid == group || slices.Contains(groups(uid), strconv.Itoa(group)))
}

func groupsOf(uid int) []string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return nil
	}
	list, _ := u.GroupIds()
	return list
}

func ownerOf(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }
