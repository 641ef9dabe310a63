package mustache_test

import (
	"testing"

	"pennypost/internal/mustache"
)

// templates.md A3: the placeholder is replaced, nothing is added; the content
// has the scope of the placeholder.
func TestLayout(t *testing.T) {
	tests := []struct{ layout, content, want string }{
		{"<p>{{{ @content }}}</p>", "Hi {{first}}", "<p>Hi Al</p>"},
		{"<p>{{{@content}}}</p>", "{{shop}}", "<p>Ann &amp; Sons</p>"},
		{"a{{{\n@content\n}}}b", "\n x \n", "a\n x \nb"},
		{"{{#cust}}{{{ @content }}}{{/cust}}", "{{name}} {{../first}}", "Zo&#235; Al"},
		{"{{#each items}}{{{ @content }}};{{/each}}", "{{t}} of {{../../shop}}", "Cup of Ann &amp; Sons;Jug of Ann &amp; Sons;"},
		{"{{#no}}{{{ @content }}}{{/no}}", "x", ""},
		{"{{first}} {{{ @content }}} {{first}}", "", "Al  Al"},
		{"[{{{ @content }}}]", "{{{ @content }}}", "[{{{ @content }}}]"}, // one level only
	}
	for _, tt := range tests {
		got, err := parse(t, tt.layout).Wrap(parse(t, tt.content)).Render(model(t, shop), mustache.EscapeHTML)
		if err != nil || got != tt.want {
			t.Errorf("%q around %q gives %q, %v; want %q", tt.layout, tt.content, got, err, tt.want)
		}
	}
}

func TestLayoutIsNotChangedByWrap(t *testing.T) {
	layout := parse(t, "<{{{ @content }}}>")
	layout.Wrap(parse(t, "x"))
	if got, err := layout.Render(nil, mustache.EscapeHTML); err != nil || got != "<{{{ @content }}}>" {
		t.Errorf("without content: %q, %v; want the placeholder as it stands", got, err)
	}
	self := layout.Wrap(layout)
	if got, err := self.Render(nil, mustache.EscapeHTML); err != nil || got != "<<{{{ @content }}}>>" {
		t.Errorf("a layout around itself: %q, %v", got, err)
	}
}

// templates.md A3: how often the placeholder occurs, for the API to judge.
func TestPlaceholders(t *testing.T) {
	for text, want := range map[string]int{
		"plain {{content}}":                         0,
		"{{{ @content }}}":                          1,
		"{{{@content}}}{{#a}}{{{@content }}}{{/a}}": 2,
	} {
		if got := parse(t, text).Placeholders(); got != want {
			t.Errorf("%q has %d placeholders, want %d", text, got, want)
		}
	}
	wantErrors(t, "{{ @content }}", "1:1 "+badPath("@content"))
	wantErrors(t, "{{& @content }}", "1:1 "+badPath("@content"))
	wantErrors(t, "{{{ @Content }}}", "1:1 "+badPath("@Content"))
}

// Errors in content are reported at their place in the content.
func TestLayoutErrorPlaces(t *testing.T) {
	layout := parse(t, "\n\n<p>{{{ @content }}}{{#each first}}{{/each}}")
	_, err := layout.Wrap(parse(t, "a{{#each cust}}{{/each}}")).Render(model(t, shop), mustache.EscapeHTML)
	wantModelError(t, err, mustache.ModelError{Path: "cust", Line: 1, Position: 2})
	_, err = layout.Wrap(parse(t, "a")).Render(model(t, shop), mustache.EscapeHTML)
	wantModelError(t, err, mustache.ModelError{Path: "first", Line: 3, Position: 20})
}
