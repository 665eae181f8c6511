package words

import (
	"testing"
	"testing/fstest"
)

func TestLoad(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	got, err := Load(fstest.MapFS{"w/zh-CN.yaml": file("a: {b: 充值}\nc.d: 好"), "w/en.yaml": file("a: {b: Top up}\nc.d: good")}, "w")
	if err != nil || got["en"]["a.b"] != "Top up" || got["zh-CN"]["c.d"] != "好" || len(got["en"]) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	for name, bad := range map[string]fstest.MapFS{
		"a language is missing": {"w/zh-CN.yaml": file("a: b")},
		"a number":              {"w/zh-CN.yaml": file("a: 1"), "w/en.yaml": file("a: one")},
		"a list":                {"w/zh-CN.yaml": file("a: one"), "w/en.yaml": file("a: [one]")},
		"nothing":               {"w/zh-CN.yaml": file("a:"), "w/en.yaml": file("a: b")},
		"twice":                 {"w/zh-CN.yaml": file("a: b\na: c"), "w/en.yaml": file("a: b")},
		"no YAML":               {"w/zh-CN.yaml": file("a: b"), "w/en.yaml": file("\ta")},
	} {
		if got, err := Load(bad, "w"); err == nil {
			t.Errorf("%s: read as %v", name, got)
		}
	}
}

func TestLanguage(t *testing.T) {
	for want, got := range map[string]string{"en": "en", "EN": "en", "zh-cn": "zh-CN", "": "zh-CN", "fr": "zh-CN"} {
		if l := Language(want); l != got {
			t.Errorf("%q gives %q", want, l)
		}
	}
}
