package mustache_test

import (
	"regexp"
	"testing"

	"pennypost/internal/mustache"
)

// templates.md B1, first table.
func TestWhatIsATag(t *testing.T) {
	check(t, []example{
		{template: "{{ first }}", want: "Al"},
		{template: "{{{{first}}", want: "{{Al"},
		{template: "{{{first}}", want: "{Al"},
		{template: "{{first}}}", want: "Al}"},
		{template: "{{first}}}}", want: "Al}}"},
		{template: "{{}} {{ }}", want: "{{}} "},
		{template: "<!-- {{first}} -->", want: "<!-- Al -->"},
		{template: "{{\n first\t\n}}", want: "Al"},
		{template: "{first} {{first} first}} {{fi{rst}}", want: "{first} {{first} first}} {{fi{rst}}"},
		{template: "{{{first}}}}", want: "Al}"},
		{template: "{{{{first}}}}", want: "{Al}"},
		{template: "{{a{{first}}", want: "{{aAl"},
		{template: "{{", want: "{{"},
		{template: "{{first", want: "{{first"},
		{template: "", want: ""},
		{template: "plain", want: "plain"},
	})
}

// templates.md B1: the sign follows the braces directly, blanks may follow it.
func TestSigns(t *testing.T) {
	check(t, []example{
		{template: "{{# ok }}x{{/ ok }}", want: "x"},
		{template: "{{^ no }}x{{/\nno\n}}", want: "x"},
		{template: "{{#each  items }}x{{/each}}", want: "xx"},
		{template: "{{&shop}}|{{& shop}}|{{{shop}}}|{{{ shop }}}", want: "Ann & Sons|Ann & Sons|Ann & Sons|Ann & Sons"},
		{template: "{{shop}}", want: "Ann &amp; Sons"},
		{template: "a{{! no {braces} }}b", want: "a{{! no {braces} }}b"},
		{template: "a{{! gone }}b{{!gone,\ntoo: #each @}}c{{!}}d", want: "abcd"},
		{template: "{{##ok}}x{{//ok}}", want: "x"},
	})
	wantErrors(t, "{{ #ok}}", "1:1 "+badPath("#ok"))
	wantErrors(t, "{{ /ok}}", "1:1 "+badPath("/ok"))
	wantErrors(t, "{{ &ok}}", "1:1 "+badPath("&ok"))
	wantErrors(t, "{{ ! note}}", "1:1 "+badPath("! note"))
	wantErrors(t, "{{{!note}}}", "1:1 "+badPath("!note"))
}

// templates.md B1, second table: if and else share one closing tag.
func TestIfElse(t *testing.T) {
	check(t, []example{
		{template: "{{#ok}}A{{^ok}}B{{/ok}}", want: "A"},
		{template: "{{#no}}A{{^no}}B{{/no}}", want: "B"},
		{template: "{{^ok}}B{{#ok}}A{{/ok}}", want: "A"},
		{template: "{{^no}}B{{#no}}A{{/no}}", want: "B"},
		{template: "{{#each items}}{{t}}{{/each}}", want: "CupJug"},
	})
}

// templates.md B1 and sending.md §14: the placeholders of the sending side are
// left alone, and only in triple braces.
func TestUnsubscribePlaceholderIsText(t *testing.T) {
	for _, text := range []string{
		"{{{ pm:unsubscribe }}}", "{{{pm:unsubscribe}}}", "{{{ pm:unsubscribe_url }}}",
		`<a href="{{{ pm:unsubscribe }}}">bye</a>`, `{{{ pm:unsubscribe label="Leave us" }}}`,
	} {
		check(t, []example{{template: text, want: text}})
		if got := mustache.Suggest(parse(t, text)); len(got) != 0 {
			t.Errorf("%s suggests %v, want nothing", text, got)
		}
	}
	wantErrors(t, "{{ pm:unsubscribe }}", "1:1 "+badPath("pm:unsubscribe"))
	wantErrors(t, "{{{ pm:unsubscribed }}}", "1:1 "+badPath("pm:unsubscribed"))
	wantErrors(t, "{{{ pm:other }}}", "1:1 "+badPath("pm:other"))
}

// templates.md B1: what the scanner takes for tags is what the engine's regular
// expression takes.
func TestScannerAgreesWithExpression(t *testing.T) {
	for _, text := range allTexts("{}a", 9) {
		if got, want := render(t, text, `{}`), engineTag.ReplaceAllString(text, ""); got != want {
			t.Fatalf("%q renders as %q, the expression leaves %q", text, got, want)
		}
	}
}

var engineTag = regexp.MustCompile(`([{]{2}[^{}]+?[}]{2})|([{]{3}[^{}]+?[}]{3})`)
