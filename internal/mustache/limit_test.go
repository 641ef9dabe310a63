package mustache_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pennypost/internal/mustache"
)

func wantLimit(t *testing.T, err error, want mustache.LimitError, text string) {
	t.Helper()
	var got *mustache.LimitError
	if !errors.As(err, &got) || *got != want {
		t.Errorf("got %v (%+v), want %+v", err, got, want)
		return
	}
	if got.Error() != text {
		t.Errorf("the text is %q, want %q", got.Error(), text)
	}
}

// Each bound holds exactly: what reaches it passes, one more does not.
func TestParseLimits(t *testing.T) {
	tests := []struct {
		options    mustache.Options
		ok, beyond string
		want       mustache.LimitError
		text       string
	}{
		{
			mustache.Options{MaxSize: 5},
			"{{a}}", "{{a}}.",
			mustache.LimitError{Limit: mustache.LimitSize, Max: 5},
			"The template is larger than 5 bytes. Please shorten it, for example by linking to images instead of embedding them.",
		},
		{
			mustache.Options{MaxTags: 2},
			"{{a}}{{!c}}x", "{{a}}\n{{!c}}{{b}}",
			mustache.LimitError{Limit: mustache.LimitTags, Max: 2, Line: 2, Position: 7},
			"The template has more than 2 tags. Please move what repeats into an 'each' block.",
		},
		{
			mustache.Options{MaxTags: 3},
			"{{a.b.c}}", "{{a.b.c.d}}",
			mustache.LimitError{Limit: mustache.LimitTags, Max: 3, Line: 1, Position: 1},
			"The template has more than 3 tags. Please move what repeats into an 'each' block.",
		},
		{
			mustache.Options{MaxDepth: 2},
			"{{#a}}{{#b}}{{/b}}{{/a}}", "{{#a}}{{#b}}{{#c}}",
			mustache.LimitError{Limit: mustache.LimitDepth, Max: 2, Line: 1, Position: 13},
			"The template nests blocks or paths deeper than 2 levels. Please close blocks earlier, or use a flatter model.",
		},
		{
			mustache.Options{MaxDepth: 2},
			"{{#each a}}{{.}}{{/each}}", "{{#each a}}{{b}}{{/each}}",
			mustache.LimitError{Limit: mustache.LimitDepth, Max: 2, Line: 1, Position: 12},
			"The template nests blocks or paths deeper than 2 levels. Please close blocks earlier, or use a flatter model.",
		},
		{
			mustache.Options{MaxDepth: 2},
			"{{a.b}}", "x{{a.b.c}}",
			mustache.LimitError{Limit: mustache.LimitDepth, Max: 2, Line: 1, Position: 2},
			"The template nests blocks or paths deeper than 2 levels. Please close blocks earlier, or use a flatter model.",
		},
	}
	for _, tt := range tests {
		if _, err := mustache.Parse(tt.ok, tt.options); err != nil {
			t.Errorf("%q with %+v: %v", tt.ok, tt.options, err)
		}
		_, err := mustache.Parse(tt.beyond, tt.options)
		wantLimit(t, err, tt.want, tt.text)
	}
}

func TestRenderLimits(t *testing.T) {
	const stepsText = "Rendering takes more than 7 steps. Please loop over fewer elements, or nest fewer 'each' blocks."
	const outputText = "The rendered content is larger than 8 bytes. Please shorten the template, or put less into the model."
	steps := mustache.LimitError{Limit: mustache.LimitSteps, Max: 7}
	output := mustache.LimitError{Limit: mustache.LimitOutput, Max: 8}
	tests := []struct {
		template, ok, beyond string
		want                 mustache.LimitError
		text                 string
	}{
		{"{{#each x}}a{{/each}}", `{"x":[1,2]}`, `{"x":[1,2,3]}`, steps, stepsText},
		{"{{#each x}}{{/each}}", `{"x":[1,2,3,4,5]}`, `{"x":[1,2,3,4,5,6]}`, steps, stepsText},
		{"{{^x}}{{/x}}", `{"x":1}`, `{"x":` + strings.Repeat("1", 64*6) + `}`, steps, stepsText},
		{"{{#a.b}}{{../../c.d}}{{/a.b}}", `{}`, `{"a":{"b":1}}`, steps, stepsText}, // 3, and 5 inside
		{"abc{{x}}", `{"x":"12345"}`, `{"x":"123456"}`, output, outputText},
		{"abc{{{x}}}", `{"x":"12345"}`, `{"x":"123456"}`, output, outputText},
		{"abc{{x}}", `{"x":"<1"}`, `{"x":"<12"}`, output, outputText},
	}
	for _, tt := range tests {
		tpl, err := mustache.Parse(tt.template, mustache.Options{MaxSteps: 7, MaxOutput: 8})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := tpl.Render(model(t, tt.ok), mustache.EscapeHTML); err != nil {
			t.Errorf("%q with %s: %q, %v", tt.template, tt.ok, out, err)
		}
		out, err := tpl.Render(model(t, tt.beyond), mustache.EscapeHTML)
		wantLimit(t, err, tt.want, tt.text)
		if out != "" {
			t.Errorf("%q with %s gives %q beside its error", tt.template, tt.beyond, out)
		}
	}
}

// The bounds of the wrapped template are those of the layout.
func TestLayoutLimits(t *testing.T) {
	layout, err := mustache.Parse("{{#each x}}{{{@content}}}{{/each}}", mustache.Options{MaxOutput: 3})
	if err != nil {
		t.Fatal(err)
	}
	wrapped := layout.Wrap(parse(t, "a"))
	if out, err := wrapped.Render(model(t, `{"x":[1,2,3]}`), mustache.EscapeHTML); err != nil || out != "aaa" {
		t.Errorf("three times: %q, %v", out, err)
	}
	var past *mustache.LimitError
	if out, err := wrapped.Render(model(t, `{"x":[1,2,3,4]}`), mustache.EscapeHTML); !errors.As(err, &past) {
		t.Errorf("four times: %q, %v; want a LimitError", out, err)
	}
}

// What a hostile author can write ends with a LimitError or a result, in a time
// that a slow machine under the race detector has too.
func TestHostileTemplates(t *testing.T) {
	hundred := strings.TrimSuffix(strings.Repeat("0,", 100), ",")
	long := strings.Repeat("k", 1<<20)
	tests := []struct {
		name, template, model string
		limit                 mustache.Limit
	}{
		{"10^5 sections", strings.Repeat("{{#a}}{{#b}}", 50_000), `{}`, mustache.LimitDepth},
		{"10^5 levels up and down", strings.Repeat("{{#../a}}{{#../b}}", 50_000), `{}`, mustache.LimitDepth},
		{"a path of 10^6 keys", "{{" + strings.Repeat("a.", 1_000_000) + "}}", `{}`, mustache.LimitDepth},
		{"10^6 tags", strings.Repeat("{{a}}", 1_000_000), `{}`, mustache.LimitTags},
		{"10^6 bad tags", strings.Repeat("{{ @}}", 800_000), `{}`, mustache.LimitTags},
		{"100 MB of text", strings.Repeat("x", 100<<20), `{}`, mustache.LimitSize},
		{
			"five nested loops over 100 items",
			strings.Repeat("{{#each ../../../../../../../../../../x}}", 5) + strings.Repeat("{{/each}}", 5),
			`{"x":[` + hundred + `]}`, mustache.LimitSteps,
		},
		{
			"10 KB a thousand times and again",
			"{{#each x}}{{#each ../../x}}{{../../../../s}}{{/each}}{{/each}}",
			`{"x":[` + hundred + `],"s":"` + strings.Repeat("<", 10_000) + `"}`, mustache.LimitOutput,
		},
		{
			"a name of 1 MB in a loop",
			"{{#each x}}{{#each ../../x}}{{" + long + "}}{{/each}}{{/each}}",
			`{"x":[` + hundred + `]}`, mustache.LimitSteps,
		},
		{
			"a number of 1 MB in a loop",
			"{{#each x}}{{#each ../../x}}{{#../../../../n}}{{/../../../../n}}{{/each}}{{/each}}",
			`{"x":[` + hundred + `],"n":0.` + strings.Repeat("0", 1<<20) + `}`, mustache.LimitSteps,
		},
		{
			"a million times up in a loop",
			"{{#each x}}{{" + strings.Repeat("../", 1_000_000) + "x}}{{/each}}",
			`{"x":[` + hundred + `]}`, mustache.LimitSteps,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := model(t, tt.model)
			start := time.Now()
			tpl, err := mustache.Parse(tt.template, mustache.Options{})
			if err == nil {
				_, err = tpl.Render(data, mustache.EscapeHTML)
			}
			var past *mustache.LimitError
			if !errors.As(err, &past) || past.Limit != tt.limit {
				t.Errorf("got %v, want limit %d", err, tt.limit)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// The suggested model of the largest template that is taken can be written as
// JSON and read again.
func TestLargestSuggestion(t *testing.T) {
	tpl := parse(t, strings.Repeat("{{#each a}}", 45)+"{{b.c.d.e.f.g.h.i.j.k}}"+strings.Repeat("{{/each}}", 45))
	got := mustache.Suggest(tpl.Wrap(tpl))
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	wantModel(t, "45 lists", got, string(text))
}
