package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/serial"
)

type readerTestJSON struct {
	Line     string   `json:"line"`
	Name     string   `json:"name"`
	Baud     int      `json:"baud"`
	Firmware string   `json:"firmware"`
	Models   []string `json:"models"`
	Sure     bool     `json:"sure"`
	Echo     bool     `json:"echo"`
	Answer   float64  `json:"answer_ms"`
	Commands int      `json:"commands"`
	Damaged  int      `json:"damaged"`
	State    string   `json:"state"`
	ATR      string   `json:"atr,omitempty"`
}

func newReaderTestCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "test PORT",
		Short: "Find out which card reader is on a serial line, and how good the line is",
		Long: "Asks a serial line at each speed that readers of the GemPC Twin family have, and\n" +
			"tells which model answers, by its own word where it gives one; how fast; how many\n" +
			"of some commands came damaged; what is in its first slot; and the name by which\n" +
			"the configuration and --reader take it. A line that pcscd is configured to own is\n" +
			"left alone. Readers of the Phoenix kind are not looked for.",
		Example: "  cardtool reader test /dev/serial/by-id/usb-Prolific_USB-Serial-if00-port0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := t.serialService()
			f, err := s.Probe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			slot, err := s.Slot(f.Address())
			if err != nil {
				return err
			}
			defer slot.Close()
			ev := reader.Event{}
			for ev = range slot.Events(cmd.Context()) {
				if ev.State != reader.StateUnknown {
					break
				}
			}
			out := readerTestJSON{Line: f.Device, Name: "serial:" + f.Address(), Baud: f.Baud, Firmware: f.Firmware, Models: f.Models, Sure: f.Sure, Echo: f.Echo,
				Answer: float64(f.Took.Microseconds()) / 1000, Commands: f.Rounds, Damaged: f.Damaged, State: states[ev.State]}
			if len(ev.ATR) > 0 {
				out.ATR = fmt.Sprintf("%X", ev.ATR)
			}
			if t.json {
				return t.emit(cmd, out)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "name\t%s\n", out.Name)
			sure := "the reader says so itself"
			if !f.Sure {
				sure = "one of the family, but which is a guess: " + strings.Join(f.Models, ", ")
			}
			fmt.Fprintf(w, "model\t%s (%s)\n", f.Models[0], sure)
			fmt.Fprintf(w, "firmware\t%s\n", orNone(f.Firmware))
			fmt.Fprintf(w, "speed\t%d baud, answers in %v\n", f.Baud, f.Took.Round(100*time.Microsecond))
			verdict := "the line is good"
			if f.Damaged > 0 {
				verdict = "check the cable and its plugs, and keep it away from mains cables"
			}
			fmt.Fprintf(w, "line\t%d of %d commands came damaged: %s\n", f.Damaged, f.Rounds, verdict)
			fmt.Fprintf(w, "state\t%s\n", strings.TrimSpace(out.State+" "+out.ATR))
			return w.Flush()
		},
	}
}

func orNone(s string) string {
	if s == "" {
		return "it gives none"
	}
	return s
}

// serialService opens readers on serial lines, bytes as they are.
func (t *tool) serialService() *serial.Service {
	if t.serial == nil {
		t.serial = serial.New(serial.Options{Raw: true, ReaderConf: serialConf()})
		t.close = append(t.close, t.serial.Close)
	}
	return t.serial
}

func (t *tool) serialSlot(rest string) (reader.Slot, error) { return t.serialService().Slot(rest) }
