package mustache_test

import (
	"testing"

	"pennypost/internal/mustache"
)

// templates.md B4, B9: what {{#x}} runs for; {{^x}} is the exact opposite.
func TestTruth(t *testing.T) {
	for data, want := range map[string]string{
		`{}`:          "no",
		`{"x":null}`:  "no",
		`{"x":false}`: "no",
		`{"x":""}`:    "no",
		`{"x":[]}`:    "no",
		`{"x":{}}`:    "no",
		`{"x":0.0}`:   "no",
		`{"x":0e5}`:   "no",
		`{"x":-0.0}`:  "no",

		`{"x":0}`:       "yes",
		`{"x":-0}`:      "yes",
		`{"x":true}`:    "yes",
		`{"x":1}`:       "yes",
		`{"x":-1}`:      "yes",
		`{"x":0.1}`:     "yes",
		`{"x":1e400}`:   "yes",
		`{"x":" "}`:     "yes",
		`{"x":"0"}`:     "yes",
		`{"x":"false"}`: "yes",
		`{"x":[0]}`:     "yes",
		`{"x":[null]}`:  "yes",
		`{"x":{"a":0}}`: "yes",
	} {
		check(t, []example{
			{template: "{{#x}}yes{{/x}}{{^x}}no{{/x}}", want: want, model: data},
			{template: "{{^x}}no{{#x}}yes{{/x}}", want: want, model: data},
		})
	}
}

// A float64 is a number with a fraction: zero is false.
func TestTruthOfFloat64(t *testing.T) {
	tpl := parse(t, "{{#x}}yes{{^x}}no{{/x}}")
	for value, want := range map[float64]string{0: "no", 1: "yes"} {
		got, err := tpl.Render(map[string]any{"x": value}, mustache.EscapeHTML)
		if err != nil || got != want {
			t.Errorf("float64 %v: %q, %v; want %q", value, got, err, want)
		}
	}
}
