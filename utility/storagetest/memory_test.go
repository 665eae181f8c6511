package storagetest_test

import (
	"testing"

	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/storagetest"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Open {
		m := storagetest.NewMemory()
		return func(*testing.T) storage.Storage { return m }
	})
}
