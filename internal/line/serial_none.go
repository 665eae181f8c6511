//go:build !linux && !windows && !cgo

package line

import "errors"

func openSerial(Serial) (Line, error) {
	return Line{}, errors.New("this build has no serial lines")
}
