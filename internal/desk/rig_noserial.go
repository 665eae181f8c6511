//go:build !linux

package desk

import "errors"

func newSerial(int) (rig, error) {
	return nil, errors.New("simulated serial readers need Linux")
}
