//go:build linux && cgo

// Command bareloop is what cardtool's speed is held against: a program that
// connects to the card in a reader, sends one command a number of times
// through the PC/SC library, prints each exchange, and does nothing else.
//
//	bareloop READER HEX COUNT
//
// The bench builds and runs it. It may import the PC/SC library, which no
// other package but reader/pcsc does.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"

	"github.com/ebfe/scard"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bareloop:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 4 {
		return fmt.Errorf("usage: bareloop READER HEX COUNT")
	}
	command, err := hex.DecodeString(os.Args[2])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	ctx, err := scard.EstablishContext()
	if err != nil {
		return err
	}
	defer ctx.Release()
	card, err := ctx.Connect(os.Args[1], scard.ShareShared, scard.ProtocolAny)
	if err != nil {
		return err
	}
	defer card.Disconnect(scard.LeaveCard)
	out := bufio.NewWriter(os.Stdout)
	for range n {
		r, err := card.Transmit(command)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "> %X\n< %X\n", command, r)
	}
	return out.Flush()
}
