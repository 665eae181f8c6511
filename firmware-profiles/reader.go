package profiles

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/dianka/dianka/apdu"
)

// Level is what a reader takes from the host (readers.md section 5.4).
type Level string

// Levels.
const (
	LevelCharacter Level = "character" // single bytes: the host runs the protocol
	LevelTPDU      Level = "tpdu"      // the host deals with 61xx and 6Cxx, PPS and T=1 blocks
	LevelShortAPDU Level = "short-apdu"
	LevelAPDU      Level = "apdu" // with extended length
)

// Reader is the profile of one kind of reader. What is zero is not known, or
// does not apply.
type Reader struct {
	Name        string
	Description string

	Names    []string // parts of the name that PC/SC or the configuration gives it
	USB      []string // vendor and product, "08E6:3437"
	Firmware []string // beginnings of the firmware string
	Any      bool     // for readers that no other profile is for

	Level      Level
	MaxAPDU    int      // longest command in bytes
	Protocols  []string // "T=0", "T=1"
	Voltages   []string // in the order in which they are tried: "5V", "3V", "1.8V"
	Slots      int      // 0: not known
	ClockKHz   int      // of the card
	PINPad     bool
	DelayMS    int // to wait after power on before the first command, in ms
	AnswerMS   int // how long an answer is waited for at least, in ms
	PowerUpMS  int // how long an answer to reset is waited for at most, in ms
	PollMS     int // how often it is asked whether a card is in, 0 when it tells by itself
	Serial     *Serial
	Escapes    map[string][]byte // by what they do: "firmware", "notify", "led-on", "led-off", "buzzer"
	ResetLines []string          // of a serial reader: "rts", "dtr" or "-rts", "-dtr" when the level is turned round
	Facts
}

// Serial is how a serial reader's line is set.
type Serial struct {
	Framing  string // "gempc" (readers.md section 5.2) or "phoenix" (5.6)
	Baud     []int  // speeds to try, in this order
	DataBits int
	Parity   string // "none", "even", "odd"
	StopBits int
	Echo     bool   // sends every frame or byte back
	RTS      string // level at open: "low", "high", "" for as it is
}

// ReaderID is what is known of a reader that is there; "" is not known.
type ReaderID struct {
	Name     string
	USB      string // "08E6:3437"
	Firmware string
}

// How a profile was found to be for a reader.
const (
	ByFirmware = "firmware"
	ByUSB      = "usb"
	ByName     = "name"
	ByDefault  = "default"
)

// MatchReader gives the profile for a reader, and by what it was found: the
// firmware string tells most, then the USB id, then the name; then the profile
// for any.
func (s *Set) MatchReader(id ReaderID) (r Reader, by string, ok bool) {
	same := func(a string) func(string) bool {
		return func(b string) bool { return strings.EqualFold(a, b) }
	}
	for _, try := range []struct {
		by string
		is func(Reader) bool
	}{
		{ByFirmware, func(r Reader) bool {
			return id.Firmware != "" && slices.ContainsFunc(r.Firmware, func(f string) bool { return strings.HasPrefix(id.Firmware, f) })
		}},
		{ByUSB, func(r Reader) bool { return id.USB != "" && slices.ContainsFunc(r.USB, same(id.USB)) }},
		{ByName, func(r Reader) bool {
			return id.Name != "" && slices.ContainsFunc(r.Names, func(n string) bool { return strings.Contains(strings.ToLower(id.Name), strings.ToLower(n)) })
		}},
		{ByDefault, func(r Reader) bool { return r.Any }},
	} {
		if r, ok = find(s.Readers, try.is); ok {
			return r, try.by, true
		}
	}
	return Reader{}, "", false
}

// Reader gives the reader profile of that name.
func (s *Set) Reader(name string) (Reader, bool) {
	return find(s.Readers, func(r Reader) bool { return r.Name == name })
}

// readerFile is a reader profile as written.
type readerFile struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Match       struct {
		Names    []string `yaml:"names"`
		USB      []string `yaml:"usb"`
		Firmware []string `yaml:"firmware"`
		Any      bool     `yaml:"any"`
	} `yaml:"match"`
	Level     Level               `yaml:"level"`
	MaxAPDU   whole               `yaml:"max_apdu"`
	Protocols []string            `yaml:"protocols"`
	Voltages  []string            `yaml:"voltages"`
	Slots     whole               `yaml:"slots"`
	ClockKHz  whole               `yaml:"clock_khz"`
	PINPad    bool                `yaml:"pin_pad"`
	Timings   timingsFile         `yaml:"timings_ms"`
	Serial    *serialFile         `yaml:"serial"`
	Escapes   map[string]hexBytes `yaml:"escapes"`
	Reset     []string            `yaml:"reset_lines"`
	Known     []string            `yaml:"known"`
	NotKnown  []string            `yaml:"not_known"`
}

type timingsFile struct {
	Delay   whole `yaml:"delay_after_power_on"`
	Answer  whole `yaml:"answer"`
	PowerUp whole `yaml:"power_up"`
	Poll    whole `yaml:"poll"`
}

type serialFile struct {
	Framing  string  `yaml:"framing"`
	Baud     []whole `yaml:"baud"`
	DataBits whole   `yaml:"data_bits"`
	Parity   string  `yaml:"parity"`
	StopBits whole   `yaml:"stop_bits"`
	Echo     bool    `yaml:"echo"`
	RTS      string  `yaml:"rts"`
}

// Bounds of reader profiles.
const (
	maxTiming = 120_000 // ms
	maxSlots  = 16
)

// escapes are the names that an escape command may have.
var escapes = []string{"firmware", "notify", "led-on", "led-off", "buzzer", "mode"}

// speeds are those that a serial library takes (readers.md section 0, item 10).
var speeds = []whole{1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400}

func (f *readerFile) check(file string) (list []problem) {
	bad := func(path, format string, args ...any) {
		list = append(list, problem{path, fmt.Sprintf(format, args...)})
	}
	each := func(path string, have []string, of ...string) {
		for i, v := range have {
			if !slices.Contains(of, v) {
				bad(fmt.Sprintf("%s[%d]", path, i), "it is %q and must be one of %s", v, strings.Join(of, ", "))
			}
		}
	}
	one := func(path, v string, of ...string) {
		if !slices.Contains(of, v) {
			bad(path, "it is %q and must be one of %s", v, strings.Join(of, ", "))
		}
	}
	within := func(path string, v, most whole) {
		if v < 0 || v > most {
			bad(path, "%d, 0 to %d are possible", v, most)
		}
	}
	checkName(bad, file, f.Name, f.Description)
	m := f.Match
	if len(m.Names)+len(m.USB)+len(m.Firmware) == 0 && !m.Any {
		bad("$.match", "neither names, usb, firmware nor any")
	}
	for i, n := range append(slices.Clone(m.Names), m.Firmware...) {
		if strings.TrimSpace(n) == "" {
			bad("$.match", "entry %d is empty and would fit every reader", i+1)
		}
	}
	for i, u := range m.USB {
		if b, err := hex.DecodeString(strings.Replace(u, ":", "", 1)); err != nil || len(b) != 4 || len(u) != 9 || u[4] != ':' {
			bad(fmt.Sprintf("$.match.usb[%d]", i), "%q, a USB id is four hex digits, a colon and four", u)
		}
	}
	if f.Level != "" {
		one("$.level", string(f.Level), string(LevelCharacter), string(LevelTPDU), string(LevelShortAPDU), string(LevelAPDU))
	}
	within("$.max_apdu", f.MaxAPDU, apdu.MaxExtendedNe+9)
	if f.MaxAPDU != 0 && f.MaxAPDU < 5 {
		bad("$.max_apdu", "%d bytes are no command", f.MaxAPDU)
	}
	each("$.protocols", f.Protocols, "T=0", "T=1")
	each("$.voltages", f.Voltages, "5V", "3V", "1.8V")
	within("$.slots", f.Slots, maxSlots)
	within("$.clock_khz", f.ClockKHz, 20_000)
	for _, t := range []struct {
		path string
		v    whole
	}{{"delay_after_power_on", f.Timings.Delay}, {"answer", f.Timings.Answer}, {"power_up", f.Timings.PowerUp}, {"poll", f.Timings.Poll}} {
		within("$.timings_ms."+t.path, t.v, maxTiming)
	}
	for name, b := range f.Escapes {
		if !slices.Contains(escapes, name) {
			bad("$.escapes", "%q is not one of %s", name, strings.Join(escapes, ", "))
		}
		if len(b) == 0 || len(b) > 261 {
			bad("$.escapes."+name, "%d bytes, an escape has 1 to 261", len(b))
		}
	}
	each("$.reset_lines", f.Reset, "rts", "dtr", "-rts", "-dtr")
	if s := f.Serial; s != nil {
		one("$.serial.framing", s.Framing, "gempc", "phoenix")
		if len(s.Baud) == 0 {
			bad("$.serial.baud", "it is missing")
		}
		for i, b := range s.Baud {
			if !slices.Contains(speeds, b) {
				bad(fmt.Sprintf("$.serial.baud[%d]", i), "%d is no speed that a serial line is set to", b)
			}
		}
		if s.DataBits != 7 && s.DataBits != 8 {
			bad("$.serial.data_bits", "%d, a line has 7 or 8", s.DataBits)
		}
		one("$.serial.parity", s.Parity, "none", "even", "odd")
		if s.StopBits != 1 && s.StopBits != 2 {
			bad("$.serial.stop_bits", "%d, a line has 1 or 2", s.StopBits)
		}
		if s.RTS != "" {
			one("$.serial.rts", s.RTS, "low", "high")
		}
	} else if len(f.Reset) > 0 {
		bad("$.reset_lines", "only a serial reader has them")
	}
	return list
}

func (f *readerFile) reader() Reader {
	r := Reader{
		Name: f.Name, Description: f.Description,
		Names: f.Match.Names, USB: f.Match.USB, Firmware: f.Match.Firmware, Any: f.Match.Any,
		Level: f.Level, MaxAPDU: int(f.MaxAPDU), Protocols: f.Protocols, Voltages: f.Voltages, Slots: int(f.Slots), ClockKHz: int(f.ClockKHz), PINPad: f.PINPad,
		DelayMS: int(f.Timings.Delay), AnswerMS: int(f.Timings.Answer), PowerUpMS: int(f.Timings.PowerUp), PollMS: int(f.Timings.Poll),
		ResetLines: f.Reset, Facts: Facts{f.Known, f.NotKnown},
	}
	if len(f.Escapes) > 0 {
		r.Escapes = map[string][]byte{}
	}
	for name, b := range f.Escapes {
		r.Escapes[name] = b
	}
	if s := f.Serial; s != nil {
		r.Serial = &Serial{Framing: s.Framing, DataBits: int(s.DataBits), Parity: s.Parity, StopBits: int(s.StopBits), Echo: s.Echo, RTS: s.RTS}
		for _, b := range s.Baud {
			r.Serial.Baud = append(r.Serial.Baud, int(b))
		}
	}
	return r
}
