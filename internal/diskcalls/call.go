// Package diskcalls watches what a running program asks of the files in some
// folders, call by call, and makes one of the calls fail: the program is
// killed at it, or told that the disk could not do it. It works on any binary,
// with ptrace(2). strace's injection counts by thread, and a Go program
// changes threads at will; here one count covers the program, so that every
// call can be had by its number.
//
// The watching is done by another run of the test binary itself, so TestMain
// must call Inside first of all. It may import the standard library and
// golang.org/x/sys, and is imported by tests only.
package diskcalls

import "syscall"

// Call is one system call that changes a file, or an HTTP answer that the
// program gave meanwhile.
type Call struct {
	Name     string        // of the system call; Answer for an answer
	Path     string        // absolute
	To       string        // the new name of rename and link
	Offset   int64         // of a write, bytes
	Data     []byte        // of a write, as much as was written; of an answer, the whole
	Size     int64         // of ftruncate and fallocate, bytes
	Trunc    bool          // of open: the file was emptied
	Began    int           // how many calls had ended when this one began
	Errno    syscall.Errno // 0 when it was done
	Injected bool          // the failure, or the kill, is of our making
}

// Answer is the Name of a Call that is an HTTP answer. It is not counted.
const Answer = "answer"
