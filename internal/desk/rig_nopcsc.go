//go:build !linux || !cgo

package desk

import (
	"context"
	"errors"
	"time"
)

func newPCSC(context.Context, string, time.Duration) (rig, error) {
	return nil, errors.New("this program was built without PC/SC; use the simulated reader, or build with cgo on Linux")
}
