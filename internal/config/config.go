// Package config reads a daemon's one YAML file: strictly, with errors that
// give line and reason, with overrides from the environment, and with a
// reference of every key made from the struct that holds them.
//
// A field is described by its tags: yaml names the key, doc says in one
// sentence what it is for. It may import the standard library and the YAML
// library only.
package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Errors of reading a configuration.
var (
	ErrFile = errors.New("the configuration file is not right")
	ErrEnv  = errors.New("an environment variable is not right")
)

// Load fills cfg, a pointer to a struct that holds the defaults, from the
// file and then from environment variables named PREFIX_KEY_SUBKEY. An empty
// path reads no file. Unknown and doubled keys are errors.
func Load(path, prefix string, cfg any) error {
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFile, err)
		}
		if err := Parse(b, cfg); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return override(prefix, reflect.ValueOf(cfg).Elem(), os.LookupEnv)
}

// Parse is Load for bytes, without the environment.
func Parse(b []byte, cfg any) error {
	b = bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")) // a byte order mark, as some editors write it
	err := yaml.UnmarshalWithOptions(b, cfg, yaml.Strict())
	if err == nil || errors.Is(err, io.EOF) {
		return nil // an empty file leaves the defaults
	}
	// Line, column and reason, but never the text: it may hold a secret.
	return fmt.Errorf("%w: %s", ErrFile, strings.TrimSpace(yaml.FormatError(err, false, false)))
}

// Text reads one value of a file into a type that checks its text, so that
// the error names the line. Such a type calls it from its UnmarshalYAML; its
// UnmarshalText alone serves environment variables.
func Text(n ast.Node, into encoding.TextUnmarshaler) error {
	var s string
	err := yaml.NodeToValue(n, &s)
	if err == nil {
		err = into.UnmarshalText([]byte(s))
	}
	if err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	return nil
}

func override(prefix string, v reflect.Value, env func(string) (string, bool)) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, ok := keyOf(f)
		if !ok {
			continue
		}
		name := prefix + "_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
		if nested(f.Type) {
			if err := override(name, v.Field(i), env); err != nil {
				return err
			}
			continue
		}
		s, ok := env(name)
		if !ok {
			continue
		}
		if err := set(v.Field(i), s); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrEnv, name, err)
		}
	}
	return nil
}

func nested(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func keyOf(f reflect.StructField) (string, bool) {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key, key != "" && key != "-"
}

func set(v reflect.Value, s string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(s)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		v.SetBool(b)
		return err
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		v.SetInt(n)
		return err
	default:
		return errors.New("this key can only be set in the file")
	}
	return nil
}

// Reference writes every key of cfg with its default and what it is for, as
// an annotated YAML file.
func Reference(w io.Writer, prefix string, cfg any) {
	reference(w, prefix, "", reflect.ValueOf(cfg).Elem())
}

func reference(w io.Writer, prefix, indent string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, ok := keyOf(f)
		if !ok {
			continue
		}
		name := prefix + "_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
		fmt.Fprintf(w, "%s# %s\n", indent, f.Tag.Get("doc"))
		switch {
		case nested(f.Type):
			fmt.Fprintf(w, "%s%s:\n", indent, key)
			reference(w, name, indent+"  ", v.Field(i))
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			fmt.Fprintf(w, "%s%s: []\n%s# each item:\n", indent, key, indent)
			item := reflect.New(f.Type.Elem()).Elem()
			for j := range item.NumField() {
				g := item.Type().Field(j)
				if k, ok := keyOf(g); ok {
					fmt.Fprintf(w, "%s#   %s: %s\n", indent, k, g.Tag.Get("doc"))
				}
			}
		default:
			fmt.Fprintf(w, "%s# environment: %s\n%s%s: %s\n", indent, name, indent, key, value(v.Field(i)))
		}
	}
}

func value(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err == nil && !v.IsZero() {
			return string(b)
		}
		return `""`
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		return "[]"
	}
	return fmt.Sprint(v.Interface())
}
