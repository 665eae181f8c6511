package desk

import (
	"context"
	"strings"

	profiles "github.com/dianka/dianka/firmware-profiles"
	"github.com/dianka/dianka/internal/terminalaudit"
	"github.com/dianka/dianka/utility/audit"
)

// audited requires that both audits pass: the utility's, which recomputes the
// ledger from raw records, and the terminal's, which recomputes its file.
// Nothing is served any more afterwards, so that both look at one moment.
func (r *running) audited() {
	r.Helper()
	r.halt()
	ctx := context.Background()
	u, err := audit.Run(ctx, r.Utility.Storage, r.Utility.Vault, profiles.Builtin())
	if err != nil {
		var b strings.Builder
		if u != nil {
			u.Write(&b)
		}
		r.Fatalf("the utility's audit: %v\n%s", err, b.String())
	}
	if _, err := terminalaudit.Run(ctx, r.Station.Store); err != nil {
		r.Fatalf("the terminal's audit: %v", err)
	}
}
