package kiosk

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// Whatever decode takes, encoding/json takes as well with the same result;
// and decode never panics.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"card":"31010000000000004821","account":"0100000017","amount":5000}`,
		`{"card":"31010000000000004821","account":"0100000017","again":"0100000017","amount":-1}`,
		`{"card":"1","card":"1","account":"0100000017","amount":1}`,
		`{"amount":1e3}`, `{"amount":{"a":[1,2,{"b":null}]}}`, `[]`, `{`, ``, `{"amount":1}}`, "{\"\xff\":1}", `{"card":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want redeemBody
		if decode(b, &got) != nil {
			return
		}
		if !utf8.Valid(b) {
			t.Fatalf("took %q, which is not UTF-8", b)
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("took %q, encoding/json says %v", b, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read %+v from %q, encoding/json reads %+v", got, b, want)
		}
	})
}
