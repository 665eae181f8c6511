//go:build !linux || !cgo

package desk

import (
	"context"
	"errors"
)

func newPCSC(context.Context, string) (rig, error) {
	return nil, errors.New("this program was built without PC/SC; use the simulated reader, or build with cgo on Linux")
}
