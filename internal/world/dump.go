package world

import (
	"fmt"
	"os"

	"github.com/dianka/dianka/journal"
)

// dump adds to the trace, when it is asked for, everything that the journals
// and the utility hold.
func (w *world) dump() {
	if os.Getenv("DIANKA_WORLD_DUMP") == "" || w.utility == nil {
		return
	}
	for _, s := range w.stations {
		if s.st == nil {
			continue
		}
		for _, ep := range s.st.Epochs() {
			for seq := uint64(1); seq <= ep.Head.Seq; seq++ {
				e, err := s.st.Entry(journal.Ref{Epoch: ep.Head.Epoch, Seq: seq})
				if err != nil {
					w.trace = append(w.trace, err.Error())
					break
				}
				w.trace = append(w.trace, fmt.Sprintf("%s ref %d-%d %T %+v", e.Name, e.Ref.Epoch, e.Ref.Seq, e.Body, e.Body))
			}
		}
	}
	for _, it := range w.items() {
		w.trace = append(w.trace, fmt.Sprintf("item %+v", it))
	}
	for _, m := range w.moves {
		w.trace = append(w.trace, fmt.Sprintf("move at %d: %s load %v counter %d %s as %s", m.at, m.chip.name, m.load, m.counter, m.amount, m.tx.Name))
	}
}
