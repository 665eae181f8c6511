package kiosk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/dianka/dianka/money"
)

var errBody = errors.New("kiosk: not the JSON object that this call takes")

// decode reads one flat JSON object into the struct that v points to. Unlike
// encoding/json it refuses members that the struct does not have, members
// that come twice or in another case, null, numbers with a fraction or an
// exponent where an amount is meant, amounts of -0 or beyond money.MaxFen,
// text that is not UTF-8, and anything after the object. A field is required
// unless its tag says omitempty.
func decode(body []byte, v any) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: not UTF-8", errBody)
	}
	fields := make(map[string]reflect.Value)
	required := make(map[string]bool)
	members(reflect.ValueOf(v).Elem(), fields, required)
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("%w: no object", errBody)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", errBody, err)
		}
		name := t.(string) // the decoder lets nothing else stand here
		f, ok := fields[name]
		if !ok {
			return fmt.Errorf("%w: member %q is unknown or came twice", errBody, name)
		}
		delete(fields, name)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("%w: %w", errBody, err)
		}
		if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
			return fmt.Errorf("%w: member %q is null", errBody, name)
		}
		if err := json.Unmarshal(raw, f.Addr().Interface()); err != nil {
			return fmt.Errorf("%w: member %q: %w", errBody, name, err)
		}
		if a, is := f.Interface().(money.Fen); is && (a > money.MaxFen || a < -money.MaxFen || string(raw) == "-0") {
			return fmt.Errorf("%w: member %q: %w", errBody, name, money.ErrAmountRange)
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the object", errBody)
	}
	for name := range fields {
		if required[name] {
			return fmt.Errorf("%w: member %q is missing", errBody, name)
		}
	}
	return nil
}

// members lists the fields of a struct and of those embedded in it.
func members(rv reflect.Value, fields map[string]reflect.Value, required map[string]bool) {
	for i := range rv.NumField() {
		f := rv.Type().Field(i)
		if f.Anonymous {
			members(rv.Field(i), fields, required)
			continue
		}
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = rv.Field(i)
		required[name] = opts != "omitempty"
	}
}
