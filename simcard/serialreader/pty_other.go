//go:build !linux

package serialreader

import "errors"

// PTY needs Linux.
func (t *Twin) PTY() (device string, err error) {
	return "", errors.New("simulated serial readers need Linux")
}
