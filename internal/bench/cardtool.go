//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dianka/dianka/money"
	"github.com/dianka/dianka/reader/vpcd"
	"github.com/dianka/dianka/reader/vpcd/private"
	"github.com/dianka/dianka/simcard"
)

// benchCommand is sent again and again: SELECT of the MF.
const benchCommand = "00A40000023F00"

// contender is a program that sends commands to a card.
type contender struct {
	name  string
	needs string // Debian package
	args  func(n int) []string
}

// cardtoolSpeed runs cardtool beside its peers on one pcscd with one virtual
// card, whole processes from exec to exit, in turn, so that all of them meet
// the same machine.
func cardtoolSpeed(ctx context.Context, dir string) error {
	title("cardtool beside its peers: whole processes, one pcscd, one virtual card, median of %d runs", runs)
	short, err := os.MkdirTemp("", "dianka-") // a socket's path may not be long
	if err != nil {
		return err
	}
	defer os.RemoveAll(short)
	service, err := private.Start(ctx, short)
	if errors.Is(err, private.ErrMissing) {
		line("not measured", err.Error(), "")
		return nil
	}
	if err != nil {
		return err
	}
	defer service.Stop()
	card := simcard.New(simcard.Options{})
	if err := simcard.Personalise(card, simcard.TestCard(money.CardNumber{0, 0, 0x33, 0x10, 0x08, 0x88, 0, 0, 0, 0x17})); err != nil {
		return err
	}
	session, err := vpcd.Dial(ctx, service.Slots[0], card)
	if err != nil {
		return err
	}
	defer session.Close()
	for _, p := range []string{"./cmd/cardtool", "./internal/bench/bareloop"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", p).CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w: %s", p, err, out)
		}
	}
	tool, script := filepath.Join(dir, "cardtool"), func(n int) string { return filepath.Join(dir, fmt.Sprintf("%d.apdu", n)) }
	for _, n := range counts {
		if err := os.WriteFile(script(n), []byte(strings.Repeat(benchCommand+"\n", n)), 0o600); err != nil {
			return err
		}
	}
	reader := private.Readers[0]
	contenders := []contender{
		{"cardtool apdu", "", func(n int) []string {
			return append([]string{tool, "apdu", "--reader", reader}, repeat(n)...)
		}},
		{"cardtool run", "", func(n int) []string { return []string{tool, "run", "--reader", reader, script(n)} }},
		{"bare ebfe/scard loop", "", func(n int) []string {
			return []string{filepath.Join(dir, "bareloop"), reader, benchCommand, fmt.Sprint(n)}
		}},
		{"opensc-tool -s", "opensc", func(n int) []string {
			args := []string{"opensc-tool", "-r", "0"}
			for range n {
				args = append(args, "-s", benchCommand)
			}
			return args
		}},
		{"scriptor", "pcsc-tools", func(n int) []string { return []string{"scriptor", "-r", reader, script(n)} }},
	}
	// Until pcscd has seen the card.
	for end := time.Now().Add(10 * time.Second); ; {
		_, err := once(ctx, contenders[2].args(1))
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return err
		}
	}
	took := map[string]map[int]times{}
	for i := range contenders {
		c := &contenders[i]
		if c.needs != "" {
			if _, err := exec.LookPath(c.args(1)[0]); err != nil {
				line(c.name, "not measured", "not installed (Debian: "+c.needs+")")
				c.args = nil
				continue
			}
		}
		took[c.name] = map[int]times{}
	}
	for range runs {
		for _, n := range counts {
			for _, c := range contenders {
				if c.args == nil {
					continue
				}
				d, err := once(ctx, c.args(n))
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				took[c.name][n] = append(took[c.name][n], d)
			}
		}
	}
	for _, n := range counts {
		for _, c := range contenders {
			t := took[c.name][n]
			if t == nil {
				continue
			}
			beside := ""
			if strings.HasPrefix(c.name, "cardtool") {
				beside = against(took, c.name, n)
			}
			line(fmt.Sprintf("%d × %s", n, c.name), ms(t.at(0.5)), beside)
		}
	}
	return nil
}

const runs = 21

var counts = []int{1, 10, 200}

func repeat(n int) []string {
	return strings.Fields(strings.Repeat(benchCommand+" ", n))
}

// against says how cardtool stands to those that were measured with it.
func against(took map[string]map[int]times, name string, n int) string {
	own := took[name][n].at(0.5)
	faster, peers := true, 0
	for _, p := range []string{"opensc-tool -s", "scriptor"} {
		if t := took[p][n]; t != nil {
			peers++
			faster = faster && own < t.at(0.5)
		}
	}
	var said []string
	if peers > 0 {
		said = append(said, goal(faster, "faster than its peers"))
	}
	if n == 200 {
		bare := took["bare ebfe/scard loop"][n].at(0.5)
		said = append(said, goal(float64(own) <= 1.1*float64(bare), fmt.Sprintf("within 10 %% of bare (%+.0f %%)", 100*(float64(own)/float64(bare)-1))))
	}
	return strings.Join(said, "; ")
}

// once runs a program and times it whole.
func once(ctx context.Context, args []string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err == nil && bytes.Count(out.Bytes(), []byte("90 00"))+bytes.Count(out.Bytes(), []byte("9000")) == 0 && !bytes.Contains(out.Bytes(), []byte("SW1=0x90")) {
		err = errors.New("it did not reach the card")
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %.300s", err, out.Bytes())
	}
	return took, nil
}
