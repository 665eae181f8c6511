//go:build linux && amd64

package realfault

func checkInside() {}
