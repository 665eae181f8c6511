//go:build !unix

package line

import "os"

const noTerminal = 0

// guard has nothing to do where the system opens a device once only.
type guard struct{}

func guardSerial(string) (*guard, error) { return &guard{}, nil }
func (*guard) seal()                     {}
func (*guard) Close() error              { return nil }
func (*guard) SetRTS(bool) error         { return ErrNoModem }
func (*guard) SetDTR(bool) error         { return ErrNoModem }
func lock(*os.File) error                { return nil }
func busy(err error) error               { return err }
