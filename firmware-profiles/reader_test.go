package profiles

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestBuiltinReaders(t *testing.T) {
	s := Builtin()
	for _, r := range s.Readers {
		if len(r.Known)+len(r.NotKnown) == 0 {
			t.Errorf("%s: nothing is said of what is known", r.Name)
		}
	}
	twin, _ := s.Reader("gempc-twin")
	if l := twin.Serial; l == nil || l.Framing != "gempc" || l.Baud[0] != 115200 || l.StopBits != 2 || !l.Echo || l.RTS != "low" || twin.Level != LevelTPDU || string(twin.Escapes["firmware"]) != "\x02" {
		t.Errorf("%+v %+v", twin, l)
	}
	phoenix, _ := s.Reader("phoenix")
	if l := phoenix.Serial; l == nil || l.Parity != "even" || l.Baud[0] != 9600 || len(phoenix.ResetLines) != 4 || phoenix.DelayMS != 100 {
		t.Errorf("%+v", phoenix)
	}
}

// What a reader says of itself decides before what it is called.
func TestMatchReader(t *testing.T) {
	s := Builtin()
	for id, want := range map[ReaderID]string{
		{Name: "Virtual PCD 00 00", USB: "08e6:3478", Firmware: "GemTwRC2"}: "gempc-twin firmware",
		{Name: "Virtual PCD 00 00", USB: "08e6:3478"}:                       "gempc-pinpad usb",
		{Name: "virtual pcd 00 00"}:                                         "vpcd name",
		{Name: "something else"}:                                            "ccid default",
		{}:                                                                  "ccid default",
	} {
		if r, by, ok := s.MatchReader(id); !ok || r.Name+" "+by != want {
			t.Errorf("%+v: %s %s", id, r.Name, by)
		}
	}
	if _, _, ok := (&Set{}).MatchReader(ReaderID{Name: "x"}); ok {
		t.Error("of no profiles one matches")
	}
}

// What is wrong in a reader profile is told with its line.
func TestReaderMistakes(t *testing.T) {
	b, err := fs.ReadFile(builtin, "readers/gempc-twin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for _, c := range []struct{ old, new, says string }{
		{"name: gempc-twin", "name: other", `:1: name: it is "other"`},
		{"level: tpdu", "level: byte", `level: it is "byte"`},
		{"max_apdu: 261", "max_apdu: 4", "4 bytes are no command"},
		{"max_apdu: 261", "max_apdu: 99999", "0 to 65545 are possible"},
		{`["T=0", "T=1"]`, `["T=2"]`, `protocols[0]: it is "T=2"`},
		{`"5V"`, `"12V"`, `voltages[0]`},
		{"slots: 1", "slots: 99", "slots: 99"},
		{"answer: 3000", "answer: -1", "timings_ms.answer: -1"},
		{"answer: 3000", "anser: 3000", `unknown field "anser"`},
		{"framing: gempc", "framing: x", `serial.framing`},
		{"baud: [115200, 9600]", "baud: [14400]", "serial.baud[0]: 14400"},
		{"baud: [115200, 9600]", "baud: []", "serial.baud"},
		{"parity: none", "parity: mark", "serial.parity"},
		{"stop_bits: 2", "stop_bits: 3", "serial.stop_bits"},
		{"data_bits: 8", "data_bits: 5", "serial.data_bits"},
		{"rts: low", "rts: off", "serial.rts"},
		{`firmware: "02"`, `dance: "02"`, `"dance" is not one of`},
		{`firmware: "02"`, `firmware: ""`, "0 bytes"},
		{`usb: ["08E6:3437"]`, `usb: ["8E6:3437"]`, "match.usb[0]"},
		{`firmware: ["GemTwRC", "GemTwin"]`, `firmware: [""]`, "would fit every reader"},
	} {
		if !strings.Contains(good, c.old) {
			t.Fatalf("%q is not in the profile", c.old)
		}
		_, err := Load(fstest.MapFS{"readers/gempc-twin.yaml": {Data: []byte(strings.Replace(good, c.old, c.new, 1))}})
		var at *Error
		if !errors.As(err, &at) || at.Line == 0 || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.new, err)
		}
	}
}
