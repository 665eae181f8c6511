package main

import "github.com/dianka/dianka/money"

// yuan is an amount as a flag, "50.05".
type yuan money.Fen

func (y *yuan) String() string { return money.Fen(*y).String() }
func (y *yuan) Type() string   { return "yuan" }
func (y *yuan) Set(s string) error {
	f, err := money.ParseYuan(s)
	*y = yuan(f)
	return err
}
