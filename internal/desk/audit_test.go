package desk

// audited requires that both audits pass: the utility's, which recomputes the
// ledger from raw records, and the terminal's check of its own file.
func (r *running) audited() {
	r.Helper()
	if _, err := r.Station.Store.Check(r.ctx); err != nil {
		r.Fatalf("the terminal's file: %v", err)
	}
}
