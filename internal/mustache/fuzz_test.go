package mustache_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pennypost/internal/mustache"
)

var tight = mustache.Options{MaxSize: 4096, MaxTags: 200, MaxDepth: 20, MaxSteps: 5000, MaxOutput: 8192}

func templates() []string {
	return []string{
		"", "plain", "{{first}}", "{{{first}}}", "{{& first }}", "{{! note }}", "{{{ @content }}}", "{{{ pm:unsubscribe }}}",
		"{{#ok}}a{{^ok}}b{{/ok}}", "{{#each items}}{{t}} {{../../shop}}{{/each}}", "{{#cust.addr}}{{../name}}{{/cust.addr}}",
		"{{#if ok}}a{{/if}}", "{{#each}}{{/each }}", "{{#a}}{{#b}}{{/a}}", "x\n{{a-b}}\r\n{{/each}}", "{{{{first}}}}}", "{{ }}{{.}}{{../a../b}}",
		"{{#n}}{{.}}{{/n}}{{^gone}}{{../price}}{{/gone}}", "{{#each x}}{{#each ../../x}}{{.}}{{/each}}{{/each}}",
	}
}

// Any text gives a template or errors in the order of their places, all of them
// on a brace.
func FuzzParse(f *testing.F) {
	for _, text := range templates() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := mustache.Parse(text, tight)
		var errs mustache.SyntaxErrors
		if errors.As(err, &errs) {
			checkPlaces(t, text, errs)
			return
		}
		if err != nil {
			wantKnown(t, err)
			return
		}
		suggested := mustache.Suggest(tpl)
		if _, err := json.Marshal(suggested); err != nil {
			t.Errorf("the suggested model of %q: %v", text, err)
		}
		if out, err := tpl.Render(suggested, mustache.EscapeNone); err == nil && !strings.Contains(text, "{{") && out != text {
			t.Errorf("%q without a tag gives %q", text, out)
		}
	})
}

func checkPlaces(t *testing.T, text string, errs mustache.SyntaxErrors) {
	t.Helper()
	lines := strings.Split(text, "\n")
	line, position := 0, 0
	for _, e := range errs {
		if e.Line < line || e.Line == line && e.Position < position {
			t.Errorf("%q: %v comes after %d:%d", text, e, line, position)
		}
		line, position = e.Line, e.Position
		if line > len(lines) || !startsTag(lines[line-1], position) {
			t.Errorf("%q: no tag begins at %d:%d", text, line, position)
		}
	}
}

func startsTag(line string, position int) bool {
	at := 1
	for i, r := range line {
		if at == position {
			return strings.HasPrefix(line[i:], "{{")
		}
		at += utf16.RuneLen(r)
	}
	return false
}

// A rendering stays within its bounds, ends the same way each time, and leaves
// valid UTF-8 valid. In HTML no value brings a tag along.
func FuzzRender(f *testing.F) {
	for _, text := range templates() {
		f.Add(text, "<{{{@content}}}>", shop)
		f.Add(text, "{{#cust}}{{{@content}}}{{/cust}}", `{"x":[1,2,[3]],"first":"<😀é","n":1e400}`)
	}
	f.Fuzz(func(t *testing.T, text, layout, data string) {
		tpl, err := mustache.Parse(text, tight)
		around, err2 := mustache.Parse(layout, tight)
		var m any
		d := json.NewDecoder(strings.NewReader(data))
		d.UseNumber()
		if err != nil || err2 != nil || d.Decode(&m) != nil {
			return
		}
		for _, tt := range []*mustache.Template{tpl, around.Wrap(tpl)} {
			out := checkRender(t, tt, m, mustache.EscapeNone)
			if utf8.ValidString(text+layout+data) && !utf8.ValidString(out) {
				t.Errorf("%q gives invalid UTF-8: %q", text, out)
			}
			checkRender(t, tt, m, mustache.EscapeHTML)
		}
		if out := checkRender(t, tpl, m, mustache.EscapeHTML); !strings.ContainsAny(text, "<>\"'") && !strings.Contains(text, "{{&") && !strings.Contains(text, "{{{") && strings.ContainsAny(out, "<>\"'") {
			t.Errorf("%q with %s: markup in %q", text, data, out)
		}
	})
}

func checkRender(t *testing.T, tpl *mustache.Template, m any, e mustache.Escaping) string {
	t.Helper()
	out, err := tpl.Render(m, e)
	again, err2 := tpl.Render(m, e)
	if out != again || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
		t.Errorf("two renderings: %q, %v and %q, %v", out, err, again, err2)
	}
	if err != nil {
		wantKnown(t, err)
	}
	if len(out) > tight.MaxOutput {
		t.Errorf("%d bytes of output", len(out))
	}
	return out
}

func wantKnown(t *testing.T, err error) {
	t.Helper()
	var past *mustache.LimitError
	var wrong *mustache.ModelError
	if !errors.As(err, &past) && !errors.As(err, &wrong) {
		t.Errorf("an error of type %T: %v", err, err)
	}
}
