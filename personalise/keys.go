package personalise

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/dianka/dianka/internal/config"
	"github.com/dianka/dianka/suite"
)

// ParseKeys reads a file of test keys: a YAML mapping of names to keys of 32
// or 16 hex digits and to PINs of 4 to 12 digits. It fails with config.ErrFile
// and the line; no error shows what stands there.
func ParseKeys(b []byte) (*suite.Ring, error) {
	no := func(line int, text string) (*suite.Ring, error) {
		return nil, fmt.Errorf("%w: line %d: %s", config.ErrFile, line, text)
	}
	if len(b) > MaxDescription {
		return no(1, "the file is too long")
	}
	tree, err := parser.ParseBytes(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")), 0)
	if err != nil {
		line := 1
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil && y.GetToken().Position != nil {
			line = y.GetToken().Position.Line
		}
		return no(line, "this is no YAML")
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return no(1, "lines of `name: key` are wanted")
	}
	var pairs []*ast.MappingValueNode
	switch n := tree.Docs[0].Body.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = append(pairs, n)
	default:
		return no(1, "lines of `name: key` are wanted")
	}
	keys := map[string][]byte{}
	for _, p := range pairs {
		line := p.GetToken().Position.Line
		name, err := scalar(p.Key.(ast.Node))
		if err != nil || !keyName.MatchString(name) {
			return no(line, "a name is small letters, digits and hyphens")
		}
		if _, ok := keys[name]; ok {
			return no(line, "this name stands here twice")
		}
		text, err := scalar(p.Value)
		if err != nil {
			return no(line, "behind a name stands one key")
		}
		v, ok := keyOf(text)
		if !ok {
			return no(line, "a key is 32 or 16 hexadecimal digits, a PIN 4 to 12 decimal ones")
		}
		keys[name] = v
	}
	return suite.TestRing(keys), nil
}

// keyOf tells a key from a PIN by its length; a PIN is filled with F to whole
// bytes (purse.md section 1, setting 14).
func keyOf(s string) ([]byte, bool) {
	if n := len(s); n >= 4 && n <= 12 && strings.Trim(s, "0123456789") == "" {
		if n%2 != 0 {
			s += "F"
		}
	} else if n != 16 && n != 32 {
		return nil, false
	}
	b, err := hex.DecodeString(s)
	return b, err == nil
}
