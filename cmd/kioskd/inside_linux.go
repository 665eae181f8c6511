//go:build linux && cgo

package main

import "github.com/dianka/dianka/reader/vpcd/private"

// insideNamespace is where the private PC/SC service of --reader pcsc begins,
// in a run of this program that it started itself.
func insideNamespace() { private.Inside() }
