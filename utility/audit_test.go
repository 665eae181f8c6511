package utility_test

import (
	"bytes"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/utility/audit"
	"github.com/dianka/dianka/utility/sqlite"
	"github.com/dianka/dianka/utility/storage"
	. "github.com/dianka/dianka/utility/utilitytest"
)

var itemQuery = storage.ItemQuery{}

// TestAuditSees is the negative control of the audit: whoever changes the
// file by a fen or a byte is found out.
func TestAuditSees(t *testing.T) {
	const unlock = "DROP TRIGGER posting_keep; DROP TRIGGER posting_stay; DROP TRIGGER log_keep; DROP TRIGGER log_stay;"
	for name, change := range map[string]string{
		"nothing":                   "",
		"a posting by a fen":        "UPDATE posting SET amount = amount + 1 WHERE account = (SELECT min(account) FROM posting);",
		"a posting gone":            "DELETE FROM posting WHERE n = 1 AND account = (SELECT account FROM posting WHERE n = 1 LIMIT 1);",
		"a balance by a fen":        "UPDATE balance SET amount = amount + 1 WHERE account = (SELECT min(account) FROM balance);",
		"a fen between customers":   "UPDATE posting SET amount = amount - 1 WHERE account = x'01000000003b9aca01' AND line = (SELECT max(line) FROM posting) AND n = (SELECT min(n) FROM posting WHERE account = x'01000000003b9aca01'); UPDATE balance SET amount = amount - 1 WHERE account = x'01000000003b9aca01'; INSERT INTO posting SELECT x'01000000003b9aca02', line, 9999, terminal, epoch, seq, 1 FROM posting WHERE account = x'01000000003b9aca01' ORDER BY n LIMIT 1; UPDATE balance SET amount = amount + 1 WHERE account = x'01000000003b9aca02';",
		"a byte of an entry":        "UPDATE log SET body = CAST(substr(body, 1, 200) || x'00' || substr(body, 202) AS BLOB) WHERE kind = 1;",
		"a byte of head office":     "UPDATE log SET body = CAST(substr(body, 1, length(body) - 1) || x'5A' AS BLOB) WHERE kind = 21;",
		"the time of a line":        "UPDATE log SET at = at + 1 WHERE kind = 1;",
		"a line gone":               "DELETE FROM log WHERE kind = 22 AND id = (SELECT max(id) FROM log WHERE kind = 22);",
		"the last line gone":        "DELETE FROM log WHERE id = (SELECT max(id) FROM log);",
		"a quarantine forgotten":    "DELETE FROM held WHERE seq = (SELECT min(seq) FROM held);",
		"a quarantine invented":     "INSERT INTO held VALUES (53876070875137, 1, 1, 'bad_tac', 5);",
		"an unknown made done":      "UPDATE item SET state = 2 WHERE state = 1;",
		"an item gone":              "DELETE FROM item WHERE seq = (SELECT min(seq) FROM item);",
		"an amount of an item":      "UPDATE item SET amount = amount + 1 WHERE seq = (SELECT min(seq) FROM item);",
		"lines that are not posted": "UPDATE cursor SET line = line - 1;",
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(t)
			x := w.Terminal(1)
			busy(w, x, 10000, 12)
			w.Sync(x)
			w.TopUp(x, NewCard(10100), 50_00)
			w.Sync(x)
			w.Audit()
			raw, err := sql.Open("sqlite", "file:"+w.Path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Exec(unlock + change); err != nil {
				t.Fatal(err)
			}
			raw.Close()
			w.Store.Close()
			w.Store = openRaw(t, w.Path)
			report, err := audit.Run(ctx, w.Store, w.Vault, profiles.Builtin())
			var text bytes.Buffer
			if report != nil {
				report.Write(&text)
			}
			if clean := name == "nothing"; clean != (err == nil) || clean != strings.Contains(text.String(), "verdict: clean") {
				t.Errorf("%v\n%s", err, text.String())
			}
			if err != nil && !errors.Is(err, audit.ErrDifference) {
				t.Error(err)
			}
		})
	}
}

func openRaw(t *testing.T, path string) storage.Storage {
	t.Helper()
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
