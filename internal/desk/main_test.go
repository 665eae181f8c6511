//go:build linux

package desk

import (
	"os"
	"testing"

	"github.com/dianka/dianka/reader/vpcd/private"
)

// pcscDir is where the pcscd of this test binary lives, preparedDir the desk
// that many tests start from.
var pcscDir, preparedDir string

func TestMain(m *testing.M) {
	private.Inside()
	dir, err := os.MkdirTemp("", "desk")
	if err != nil {
		panic(err)
	}
	pcscDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	if preparedDir != "" {
		os.RemoveAll(preparedDir)
	}
	os.Exit(code)
}
