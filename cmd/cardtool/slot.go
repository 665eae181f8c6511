package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/reader/pcsc"
)

// readerFlag adds --reader.
func readerFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "reader", "pcsc:", "the reader, pcsc:<name> or any part of the name that fits one only; pcsc: when there is but one")
}

// withCard opens the card in a reader, for which it waits a moment, and lets
// f speak to it.
func withCard(ctx context.Context, name string, f func(context.Context, reader.Card) error) error {
	service, err := pcsc.New(pcsc.Options{})
	if err != nil {
		return err
	}
	defer service.Close()
	slot, err := reader.Backends{"pcsc": service.Slot}.Open(name)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for ev := range slot.Events(wait) {
		if ev.State == reader.StateCard || ev.State == reader.StateMute {
			break
		}
	}
	card, err := slot.Open(ctx)
	if err != nil {
		return err
	}
	defer card.Close()
	return f(ctx, card)
}
