package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dianka/dianka/apdu"
	"github.com/dianka/dianka/internal/cli"
	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/purse"
	"github.com/dianka/dianka/reader"
	"github.com/dianka/dianka/script"
)

// TestClasses holds the class of each kind of fault; above all, that what may
// have happened is never called a loss or a refusal, and what was read is
// never called unknown.
func TestClasses(t *testing.T) {
	gone := &reader.Error{Op: "transmit", Kind: reader.ErrRemoved, Executed: true}
	before := &reader.Error{Op: "transmit", Kind: reader.ErrRemoved}
	credit, update, read := []byte{0x80, 0x52, 0, 0}, []byte{0x00, 0xD6, 0x95, 0}, []byte{0x00, 0xB0, 0x95, 0}
	for _, c := range []struct {
		err  error
		want class
	}{
		{sent(credit, gone), classUnknown},
		{sent(update, gone), classUnknown},
		{sent(credit, apdu.ErrResponseShort), classUnknown},
		{sent(read, gone), classLost},
		{sent(credit, before), classLost},
		{fmt.Errorf("load: %w", &purse.ExecuteError{Cause: gone, Executed: true}), classUnknown},
		{&purse.ExecuteError{SW: apdu.SWMACInvalid, Cause: apdu.SWMACInvalid}, classRefused},
		{apdu.SWSecurityNotSatisfied, classRefused},
		{&purse.TriesError{Left: 2}, classRefused},
		{purse.ErrNoPurse, classRefused},
		{purse.ErrNotPSAM, classRefused},
		{&reader.Error{Op: "open", Kind: reader.ErrLost}, classNoReader},
		{&reader.Error{Op: "transmit", Kind: reader.ErrLost}, classLost},
		{&reader.Error{Op: "open", Kind: reader.ErrAmbiguous}, classNoReader},
		{&reader.Error{Op: "open", Kind: reader.ErrNoCard}, classNoCard},
		{&reader.Error{Op: "open", Kind: reader.ErrMute}, classLost},
		{&reader.Error{Op: "open", Kind: reader.ErrBusy}, classInUse},
		{&reader.Error{Op: "transmit", Kind: reader.ErrDeadline}, classLost},
		{&script.Failure{}, classDifference},
		{&script.SyntaxError{Err: script.ErrScript}, classUsage},
		{fmt.Errorf("x: %w", cli.ErrUsage), classUsage},
		{config.ErrFile, classConfig},
		{context.Canceled, classInterrupt},
		{&reader.Error{Op: "transmit", Kind: reader.ErrDeadline, Cause: context.Canceled}, classInterrupt},
		{sent(credit, &reader.Error{Op: "transmit", Kind: reader.ErrDeadline, Cause: context.Canceled, Executed: true}), classUnknown},
		{errors.Join(errors.New("could not write"), sent(credit, gone)), classUnknown},
		{errors.Join(fmt.Errorf("x: %w", cli.ErrUsage), apdu.SWFileNotFound), classRefused},
		{errors.Join(&cli.Error{Err: errors.New("x"), Code: classDifference.Exit}, gone), classLost},
		{errors.Join(context.Canceled, errors.New("something")), classInterrupt},
		{errors.New("something"), classFailed},
	} {
		if got, _ := classify(c.err); got != c.want {
			t.Errorf("%v: %s, not %s", c.err, got.Name, c.want.Name)
		}
	}
	if u := (&unknownOutcome{gone, []byte{0x00, 0x20, 0, 0, 3, 0x12, 0x34, 0x59}}); strings.Contains(u.Error(), "1234") || !strings.Contains(u.Error(), "0020000003******") {
		t.Errorf("%v", u)
	}
	if len(gravity) != len(classes) {
		t.Errorf("the gravity of %d classes of %d is known", len(gravity), len(classes))
	}
	seen := map[int]bool{}
	for _, c := range classes {
		if seen[c.Exit] || c.Exit == 0 {
			t.Errorf("exit code %d twice", c.Exit)
		}
		seen[c.Exit] = true
	}
}

func TestMatch(t *testing.T) {
	names := []string{"pcsc:Gemalto PC Twin 00", "pcsc:Virtual PCD 00 00", "pcsc:Virtual PCD 00 01"}
	for want, name := range map[string]string{"1": names[0], "3": names[2], "twin": names[0], "00 01": names[2], "01": names[2], "Virtual PCD 00 00": names[1], "4": "", "virtual": "", "": "", "acs": ""} {
		got, err := match(want, names)
		if got != name || (err == nil) != (name != "") {
			t.Errorf("%q is %q, %v", want, got, err)
		}
		if k, hint := classify(err); err != nil && (k != classNoReader || hint == "") {
			t.Errorf("%q: %v %q", want, k, hint)
		}
	}
}
