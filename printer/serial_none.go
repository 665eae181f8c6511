//go:build !linux && !windows && !cgo

package printer

import "errors"

func openSerial(string, int) (Line, error) {
	return Line{}, errors.New("printer: this build has no serial lines")
}
