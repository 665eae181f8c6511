package store

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dianka/dianka/journal"
)

// killedEnv makes the test binary the writer that TestKill kills.
const killedEnv = "DIANKA_STORE_KILLED"

func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		appendForEver(path)
	}
	code := m.Run()
	if longDir != "" {
		os.RemoveAll(longDir)
	}
	os.Exit(code)
}

// appendForEver tops up from several goroutines and
// prints the number and the bytes of each entry once it is durable.
func appendForEver(path string) {
	s, err := Open(path, Options{})
	if err != nil {
		fmt.Println("!", err)
		os.Exit(1)
	}
	var out sync.Mutex
	durable := func(es []journal.Entry, err error) journal.Ref {
		if err != nil {
			fmt.Println("!", err)
			os.Exit(1)
		}
		out.Lock()
		defer out.Unlock()
		for _, e := range es {
			fmt.Printf("%d %x\n", e.Name.Seq, e.Bytes())
		}
		return es[0].Name.Ref()
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				ref := durable(s.Append(ctx, Draft{clerk, journal.Ref{}, topUp(rand.Uint64(), byte(rand.Int()), 100)}))
				durable(s.Append(ctx, Draft{clerk, ref, &journal.LoadAuthorised{}}, Draft{clerk, ref, loaded(journal.Done)}))
			}
		}()
	}
	wg.Wait()
}

// A writer killed with SIGKILL at any moment: whatever it said was durable is
// there, byte for byte, and the file is sound.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := Create(path, identity, Options{}); err != nil {
		t.Fatal(err)
	}
	acked := map[uint64]string{}
	unacked := 0
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		left := 1 + rand.IntN(120)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "!") {
				t.Fatal(lines.Text())
			}
			var seq uint64
			var entry string
			if n, _ := fmt.Sscanf(lines.Text(), "%d %s", &seq, &entry); n != 2 {
				t.Fatalf("%q", lines.Text())
			}
			acked[seq] = entry
			if left--; left == 0 {
				cmd.Process.Kill() // go on reading: what was said before the kill counts
			}
		}
		cmd.Process.Kill()
		cmd.Wait()

		s, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		r := sound(t, s)
		for seq, want := range acked {
			e, err := s.Entry(journal.Ref{Epoch: 1, Seq: seq})
			if got := hex.EncodeToString(e.Bytes()); err != nil || got != want {
				t.Errorf("round %d: entry %d was durable: %v", round, seq, err)
			}
		}
		unacked += int(r.Entries) - len(acked)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(acked) == 0 {
		t.Error("nothing was written")
	}
	t.Logf("%d entries acknowledged, %d more present", len(acked), unacked)
}
