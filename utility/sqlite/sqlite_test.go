package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dianka/dianka/utility/sqlite"
	"github.com/dianka/dianka/utility/storage"
	"github.com/dianka/dianka/utility/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		path := filepath.Join(t.TempDir(), "a #1 utility?.db")
		return func(t *testing.T) storage.Storage {
			t.Helper()
			db, err := sqlite.Open(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			return db
		}
	})
}

// TestDurability: the modes that make a commit survive a power cut.
func TestDurability(t *testing.T) {
	path := filepath.Join(t.TempDir(), "u.db")
	db, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	mode, synchronous := db.Modes()
	if mode != "wal" || synchronous != 2 {
		t.Errorf("journal %s, synchronous %d; want wal and 2 (FULL)", mode, synchronous)
	}
}

func TestUnknownSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "u.db")
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	raw.Close()
	if _, err := sqlite.Open(context.Background(), path); !errors.Is(err, storage.ErrSchema) {
		t.Errorf("a file of another version: %v", err)
	}
}

// TestVersion3: a file that knew of no debits that empty a card keeps what it
// has, and finds them among what is doubted.
func TestVersion3(t *testing.T) {
	path := filepath.Join(t.TempDir(), "u.db")
	db, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`DROP INDEX item_doubted;
		CREATE INDEX item_doubted ON item (terminal, epoch, seq) WHERE state IN (3, 4, 5, 6) AND flags & 10 = 2 AND kind < 4;
		UPDATE cursor SET line = 7; PRAGMA user_version = 3;`); err != nil {
		t.Fatal(err)
	}
	if db, err = sqlite.Open(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	db.Close()
	var index string
	var version, line int
	for q, v := range map[string]any{
		"SELECT sql FROM sqlite_schema WHERE name = 'item_doubted'": &index,
		"PRAGMA user_version":     &version,
		"SELECT line FROM cursor": &line,
	} {
		if err := raw.QueryRow(q).Scan(v); err != nil {
			t.Fatal(q, err)
		}
	}
	if version != 4 || line != 7 || !strings.Contains(index, "kind NOT IN (4, 5)") {
		t.Errorf("version %d, cursor %d, index %s", version, line, index)
	}
}

// TestKept: the database itself refuses to change what was recorded.
func TestKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "u.db")
	db, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec("INSERT INTO posting VALUES (x'08', 1, 0, 0, 0, 1, 5)"); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"UPDATE posting SET amount = 6", "DELETE FROM posting"} {
		if _, err := raw.Exec(q); err == nil {
			t.Errorf("%s was done", q)
		}
	}
}
