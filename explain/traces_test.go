package explain

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
)

func read(t testing.TB, name string) (Text, Conversation) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "traces", name))
	if err != nil {
		t.Fatal(err)
	}
	text, err := ParseText(string(b))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return text, Explainer{}.Conversation(text.Trace, text.Bare)
}

// TestTraces holds what happened in each recorded session: the sentences that
// must be told, and the money.
func TestTraces(t *testing.T) {
	for _, c := range []struct {
		file  string
		tells []string
		moves []string
	}{
		{"t02-fmcos-ep-load-purchase-2016.txt", []string{
			"WRITE KEY: add, type purchase, number 00",
			"INITIALIZE FOR LOAD of 81.92 yuan, the purse (EP), terminal 001122334455",
			"CREDIT FOR LOAD, dated 2016-12-16 10:58:00",
			"balance 81.92 yuan, off-line counter 0",
			"bytes not recorded: key id 00 with version 01 algorithm 03",
			"if this answers INITIALIZE FOR LOAD: balance 0.00 yuan, on-line counter 0, key version 01, algorithm 03",
		}, []string{
			"load of the purse (EP) of 81.92 yuan: done, balance 0.00 → 81.92 yuan",
			"purchase from the purse (EP) of 0.01 yuan: done, balance 81.92 → 81.91 yuan",
		}},
		{"t03-fm1208-ep-load-2017.txt", []string{"balance 0.26 yuan, on-line counter 23"}, []string{"load of the purse (EP) of 0.01 yuan: done, balance 0.26 → 0.27 yuan"}},
		{"t05-fmcos-personalise-2016.txt", []string{
			"ERASE everything in the current directory", "CREATE FILE 3F00: directory", "CREATE FILE 0018: cyclic records", "CREATE FILE 0002: purse",
			"CREATE FILE 0015: transparent, written with MAC", "WRITE KEY: add, type PIN, number 00",
			"selected: PBOC electronic deposit and purse, profile dianka-ep, public information still empty",
			"UPDATE BINARY, file 15 (public information; of a SAM its number), from byte 0: 30 bytes", "a challenge of 4 bytes",
		}, nil},
		{"t07-etc-get-transaction-prove-2021.txt", []string{
			"INITIALIZE FOR CAPP PURCHASE of 0.00 yuan", "off-line counter 40",
			"the card proves that it carried out a compound purchase from the purse (EP) which left the counter at 40",
		}, []string{"DEBIT FOR PURCHASE without its INITIALIZE, amount not in the trace: done"}},
		{"t09-capp-purchase-tac-with-psam-2017.txt", []string{
			"INIT FOR DESCRYPT (delivery key): derive a key, 2 levels, usage TAC, version 00",
			"DES CRYPT: the MAC over the fields of a TAC", "bytes not recorded: 4-byte TAC",
			"2017-02-14 15:40:00",
		}, nil},
		{"t10-fmcos-manual-examples.txt", []string{
			"selected: payment system environment", "a record of data objects", "card 00061998081700000030, valid 1998-08-15 to 1998-12-15",
			"EXTERNAL AUTHENTICATE with key 01", "INTERNAL AUTHENTICATE with key 03, MAC", "APPLICATION BLOCK, for ever", "APPLICATION UNBLOCK",
			"function not supported, or card or application blocked", "PIN UNBLOCK, PIN 01", "RELOAD PIN, PIN 00",
			"UPDATE RECORD, record 1 of file 01 (directory or ED purse): 12 bytes",
		}, nil},
		{"t11-purse-log-records.txt", []string{"purchase from the purse (EP) of 0.30 yuan at terminal 0000000046CB, counter 914; date and time are not given", "counter 910"}, nil},
		{"t13-fmcos-key-change-enc-mac.txt", []string{"WRITE KEY, enciphered: add key 02", "WRITE KEY, enciphered: replace key 01 of type 39"}, nil},
	} {
		_, conv := read(t, c.file)
		told := strings.Join(conv.Lines(true), "\n")
		for _, want := range c.tells {
			if !strings.Contains(told, want) {
				t.Errorf("%s does not tell %q:\n%s", c.file, want, told)
			}
		}
		var moves []string
		for _, m := range conv.Moves {
			moves = append(moves, m.String())
		}
		if fmt.Sprint(moves) != fmt.Sprint(c.moves) {
			t.Errorf("%s: moves %q", c.file, moves)
		}
		if strings.Contains(told, "not known here") || strings.Contains(told, "not recognised") || strings.Contains(told, "not understood") {
			t.Errorf("%s: something was not understood:\n%s", c.file, told)
		}
	}
	files, _ := filepath.Glob("testdata/traces/*.txt")
	if len(files) != 8 {
		t.Errorf("%d traces, this test knows 8", len(files))
	}
}

// TestNothingIsHidden holds that every byte of every trace is shown, but those
// of PINs and keys, which are not.
func TestNothingIsHidden(t *testing.T) {
	files, _ := filepath.Glob("testdata/traces/*.txt")
	secrets := 0
	for _, f := range files {
		text, conv := read(t, filepath.Base(f))
		told := strings.ReplaceAll(strings.Join(conv.Lines(true), "\n"), " ", "")
		for i, l := range text.Trace.Lines {
			b := l.Data
			if bare, ok := text.Bare[i+1]; ok {
				b = bare
			}
			red := apdu.RedactSecrets.Redact(l, nil)
			if l.Kind == apdu.LineCommand && red.Redacted != nil {
				secrets++
				c, err := apdu.ParseCommand(b)
				if err == nil && strings.Contains(told, fmt.Sprintf("%X", c.Data)) {
					t.Errorf("%s:%d: a secret is shown", f, i+1)
				}
				continue
			}
			if !strings.Contains(told, fmt.Sprintf("%X", b)) {
				t.Errorf("%s:%d: %X is not shown", f, i+1, b)
			}
		}
	}
	if secrets < 20 {
		t.Errorf("only %d secrets were seen", secrets)
	}
}

// vectorAPDUs gives every string of the vectors that is a command or a
// response by its name.
func vectorAPDUs(t *testing.T) map[string][]byte {
	t.Helper()
	b, err := os.ReadFile("testdata/purse-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Vectors []struct {
			ID              string
			Inputs, Outputs map[string]any
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, x := range v.Vectors {
		for _, m := range []map[string]any{x.Inputs, x.Outputs} {
			for k, s := range m {
				if !regexp.MustCompile(`apdu|response`).MatchString(k) {
					continue
				}
				if b, err := hex.DecodeString(s.(string)); err == nil {
					out[x.ID+"/"+k] = b
				}
			}
		}
	}
	return out
}

func TestVectors(t *testing.T) {
	tells := map[string]string{
		"c-psam-1level/init_sam_apdu": "INIT SAM FOR PURCHASE: purchase from the purse (EP) of 5.00 yuan, dated 2025-09-01 09:45:01",
		"c-reload-pin/apdu":           "RELOAD PIN, PIN 00", "c-pin-unblock/apdu": "PIN UNBLOCK", "c-card_block/apdu": "CARD BLOCK",
		"c-app_block_perm/apdu": "APPLICATION BLOCK, for ever", "c-app_unblock/apdu": "APPLICATION UNBLOCK",
		"c-load-ep/init_response":           "if this answers INITIALIZE FOR LOAD: balance 30.00 yuan, on-line counter 4",
		"fmcos-2016-purchase/init_response": "if this answers INITIALIZE FOR PURCHASE: balance 81.92 yuan, off-line counter 0",
	}
	all := vectorAPDUs(t)
	if len(all) < 12 {
		t.Fatalf("only %d", len(all))
	}
	for name, b := range all {
		n := Explainer{}.Guess(b)
		said := strings.Join(n.Lines(), "\n")
		if want, ok := tells[name]; ok && !strings.Contains(said, want) {
			t.Errorf("%s is said to be\n%s\nwithout %q", name, said, want)
		}
		delete(tells, name)
		if strings.HasSuffix(name, "apdu") && (n.What != "command" || strings.Contains(said, "wrong")) {
			t.Errorf("%s is said to be\n%s", name, said)
		}
	}
	if len(tells) > 0 {
		t.Errorf("not in the vectors: %v", tells)
	}
}
