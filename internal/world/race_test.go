//go:build race

package world

// A world is one goroutine and some writers that it waits for; under the race
// detector a few are enough.
func init() { few = 6 }
