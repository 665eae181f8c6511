package config

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/ast"
)

type even int

func (e *even) UnmarshalText(b []byte) error {
	n, err := strconv.Atoi(string(b))
	*e = even(n)
	if err == nil && n%2 != 0 {
		err = errors.New("not even")
	}
	return err
}

func (e *even) UnmarshalYAML(n ast.Node) error { return Text(n, e) }

type sample struct {
	Even   even          `yaml:"even" doc:"an even number"`
	Listen string        `yaml:"listen" doc:"address to listen on"`
	Wait   time.Duration `yaml:"wait" doc:"how long to wait"`
	Test   bool          `yaml:"test_keys" doc:"test keys"`
	Link   struct {
		URL string `yaml:"url" doc:"where the utility is"`
	} `yaml:"link" doc:"the link"`
	Staff []struct {
		ID int `yaml:"id" doc:"number"`
	} `yaml:"staff" doc:"people"`
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"unknown key", "listen: a\nlisen: b\n", "[2:1]"},
		{"doubled key", "listen: a\nlisten: b\n", "[2:1]"},
		{"wrong kind", "listen: a\nstaff: 3\n", "[2:8]"},
		{"wrong text", "listen: a\neven: 3\n", "[2:7] not even"},
		{"not yaml", "listen: [\n", "[1:9]"},
		{"byte order mark", "\ufefflisten: a\n", ""},
		{"byte order mark before a wrong key", "\ufefflisen: a\n", "[1:1]"},
		{"good", "listen: a\nlink:\n  url: u\n", ""},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s sample
			err := Parse([]byte(c.in), &s)
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (!errors.Is(err, ErrFile) || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("error %v does not point to %q", err, c.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("X_LINK_URL", "https://u")
	t.Setenv("X_WAIT", "3s")
	t.Setenv("X_TEST_KEYS", "true")
	var s sample
	if err := Load("", "X", &s); err != nil {
		t.Fatal(err)
	}
	if s.Link.URL != "https://u" || s.Wait != 3*time.Second || !s.Test {
		t.Fatalf("%+v", s)
	}
	t.Setenv("X_WAIT", "soon")
	if err := Load("", "X", &s); !errors.Is(err, ErrEnv) || !strings.Contains(err.Error(), "X_WAIT") {
		t.Fatalf("error %v does not name the variable", err)
	}
}

func TestReferenceIsAValidFile(t *testing.T) {
	s := sample{Listen: "127.0.0.1:1", Wait: time.Second}
	var b bytes.Buffer
	Reference(&b, "X", &s)
	var back sample
	if err := Parse(b.Bytes(), &back); err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if back.Listen != s.Listen || back.Wait != s.Wait {
		t.Fatalf("%+v", back)
	}
	for _, key := range []string{"listen", "X_LINK_URL", "#   id: number"} {
		if !strings.Contains(b.String(), key) {
			t.Errorf("%q is missing in\n%s", key, b.String())
		}
	}
}
