package main

import (
	"os"
	"strings"
	"testing"
)

// TestList requires that every bug can still be put in, and that the document
// lists them as they are.
func TestList(t *testing.T) {
	doc, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), markdown()) {
		t.Error("docs/reliability.md does not hold the list: go run ./internal/mutants -table")
	}
	t.Chdir("../..")
	seen := map[string]bool{}
	for _, m := range mutants {
		if seen[m.name] {
			t.Errorf("%s stands there twice", m.name)
		}
		seen[m.name] = true
		if _, _, err := m.alter(); err != nil {
			t.Error(err)
		}
	}
}
