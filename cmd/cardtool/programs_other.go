//go:build !linux

package main

// program is a process that has PC/SC open.
type program struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// pcscPrograms cannot be told here.
func pcscPrograms() []program { return []program{} }
