//go:build !cgo && !windows

package pcsc

import "errors"

func realDriver() (driver, error) {
	return nil, errors.New("this program was built without PC/SC (CGO_ENABLED=0)")
}
