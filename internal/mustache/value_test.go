package mustache_test

import (
	"encoding/json"
	"math"
	"testing"

	"pennypost/internal/mustache"
)

// templates.md B6, first table, and clients.md §9.
func TestOutputOfValues(t *testing.T) {
	for data, want := range map[string]string{
		`"text"`: "text",
		`""`:     "",
		`0`:      "0", `0.0`: "0", `-0`: "0", `-0.0`: "0", `0e3`: "0",
		`12.50`: "12.5", `1.50`: "1.5", `2.0`: "2", `-3.25`: "-3.25",
		`1e3`: "1000", `1E+3`: "1000", `1e21`: "1E+21", `1.5e-7`: "1.5E-07",
		`0.0001`: "0.0001", `0.00001`: "1E-05",
		`1e14`: "100000000000000", `1e15`: "1E+15",
		`0.1`: "0.1", `1e400`: "1e400", `1e-400`: "0",
		`1000000`: "1000000", `-5`: "-5",
		`9007199254740993`:       "9007199254740993", // no double holds it
		`18446744073709551615`:   "18446744073709551615",
		`-9223372036854775808`:   "-9223372036854775808",
		`123456789012345678901`:  "123456789012345678901",
		`true`:                   "True",
		`false`:                  "False",
		`null`:                   "",
		`{}`:                     "",
		`{"a":1}`:                "",
		`[]`:                     "",
		`[1,2]`:                  "",
		`"2026-01-01T00:00:00Z"`: "2026-01-01T00:00:00Z",
	} {
		check(t, []example{
			{template: "[{{x}}]", want: "[" + want + "]", model: `{"x":` + data + `}`},
			{template: "[{{{x}}}]", want: "[" + want + "]", model: `{"x":` + data + `}`},
		})
	}
	check(t, []example{{template: "[{{x}}]", want: "[]", model: `{}`}, {template: "{{.}}", want: "a", model: `"a"`}})
}

func TestOutputOfGoNumbers(t *testing.T) {
	tpl := parse(t, "{{x}}")
	for value, want := range map[any]string{
		12.5: "12.5", float64(3): "3", 0.0: "0", 1e21: "1E+21",
		math.Inf(1): "", math.Inf(-1): "", json.Number("7"): "7",
	} {
		got, err := tpl.Render(map[string]any{"x": value}, mustache.EscapeHTML)
		if err != nil || got != want {
			t.Errorf("%v prints %q, %v; want %q", value, got, err, want)
		}
	}
}

// templates.md B6: HTML encoding.
func TestEscaping(t *testing.T) {
	for value, want := range map[string]string{
		`<a href="x">'&'</a>`: "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;",
		"ë":                   "&#235;",
		"\u009f\u00a0ÿĀ":      "\u009f&#160;&#255;Ā",
		"😀":                   "&#128512;",
		"日本 żółw €":           "日本 ż&#243;łw €",
		"a\x00b\r\n\t":        "a\x00b\r\n\t",
		"\uffff\U00010000":    "\uffff&#65536;",
		"\ufffd":              "\ufffd",
		"bad \xff\xc3":        "bad \ufffd\ufffd",
		"&amp;":               "&amp;amp;",
	} {
		tpl := parse(t, "{{x}}|{{{x}}}|{{&x}}")
		data := map[string]any{"x": value}
		if got, err := tpl.Render(data, mustache.EscapeHTML); err != nil || got != want+"|"+value+"|"+value {
			t.Errorf("%q in HTML: %q, %v; want %q and twice itself", value, got, err, want)
		}
		if got, err := tpl.Render(data, mustache.EscapeNone); err != nil || got != value+"|"+value+"|"+value {
			t.Errorf("%q in text: %q, %v; want three times itself", value, got, err)
		}
	}
}

// templates.md B6: model values are never parsed as template; text of the
// template is never escaped; no tag removes line breaks around it.
func TestOutputIsNotTouched(t *testing.T) {
	check(t, []example{
		{template: "{{x}} {{{x}}}", want: "{{y}} {{y}}", model: `{"x":"{{y}}","y":"no"}`},
		{template: "é & <b>\U0001F600", want: "é & <b>\U0001F600"},
		{template: "{{#ok}}a{{/ok}}\n{{#no}}b{{/no}}\nc", want: "a\n\nc"},
		{template: "  {{! c }}\r\n{{#ok}}\r\n x\r\n{{/ok}}\n", want: "  \r\n\r\n x\r\n\n"},
	})
}
