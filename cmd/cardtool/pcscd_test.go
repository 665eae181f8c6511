//go:build cgo && linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dianka/dianka/reader/pcsc/pcscdtest"
	"github.com/dianka/dianka/reader/vpcd/private"
)

func TestMain(m *testing.M) {
	private.Inside()
	testscript.Main(withReaders{m}, commands)
}

// withReaders runs the tests with a place for the private pcscd.
type withReaders struct{ m *testing.M }

func (b withReaders) Run() int { return pcscdtest.Run(b.m) }

// TestRealService runs the scripts of testdata/pcscd against a real pcscd with
// two virtual readers, one script after the other. `insert SLOT NAME` puts in
// the card of a simulated reader, `remove SLOT` takes it out.
func TestRealService(t *testing.T) {
	scripts, err := filepath.Glob("testdata/pcscd/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal(err, "no scripts")
	}
	d := pcscdtest.Start(t)
	for _, s := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(s), ".txt"), func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Files: []string{s}, RequireExplicitExec: true,
				Setup: func(env *testscript.Env) error {
					env.Setenv("PCSCLITE_CSOCK_NAME", os.Getenv("PCSCLITE_CSOCK_NAME"))
					for i := range pcscdtest.Readers { // where the driver of the virtual reader is heard
						env.Setenv(fmt.Sprintf("SLOT%d", i), fmt.Sprintf("unix:%s/slot%d", filepath.Dir(filepath.Dir(os.Getenv("PCSCLITE_CSOCK_NAME"))), i))
					}
					env.Setenv(aliasesEnv, filepath.Join(env.WorkDir, "aliases"))
					env.Defer(d.Clear)
					return nil
				},
				Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
					"insert": func(ts *testscript.TestScript, _ bool, args []string) {
						slot, err := strconv.Atoi(args[0])
						ts.Check(err)
						name, file, _ := strings.Cut(args[1], "=")
						for _, s := range simulated {
							if s.name == name {
								if file != "" {
									file = ts.MkAbs(file)
								}
								chip, err := s.chip(file)
								ts.Check(err)
								d.Insert(slot, chip)
								return
							}
						}
						ts.Fatalf("no simulated card %s", name)
					},
					"remove": func(ts *testscript.TestScript, _ bool, args []string) {
						slot, err := strconv.Atoi(args[0])
						ts.Check(err)
						d.Remove(slot)
					},
					"service": func(ts *testscript.TestScript, _ bool, args []string) {
						if args[0] == "stop" {
							d.Stop()
						} else {
							d.Run()
						}
					},
				},
			})
		})
	}
}
