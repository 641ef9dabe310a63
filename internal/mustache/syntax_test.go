package mustache_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pennypost/internal/mustache"
)

// The texts of templates.md B8.
const (
	eachPath   = "The 'each' block being opened requires a model path to be specified in the form '{#each <name>}'."
	eachClose  = "The syntax to close the 'each' block should be: '{/each}'."
	eachStray  = "An 'each' block is being closed, but no corresponding opening element ('{#each <name>}') was detected."
	mismatched = "It appears that open and closing elements are mismatched."
)

func badPath(path string) string {
	return "The path '" + path + "' is not valid. Please see documentation for examples of valid paths."
}

func unclosed(path string) string {
	return "A scope block to the following path was opened but not closed: '" + path + "', please close it using the appropriate syntax."
}

// wantErrors wants errors as "line:position message", in this order.
func wantErrors(t *testing.T, text string, want ...string) {
	t.Helper()
	tpl, err := mustache.Parse(text, mustache.Options{})
	var errs mustache.SyntaxErrors
	if !errors.As(err, &errs) || tpl != nil {
		t.Errorf("Parse(%q): %v, %v; want no template and errors %q", text, tpl, err, want)
		return
	}
	var got []string
	for _, e := range errs {
		got = append(got, fmt.Sprintf("%d:%d %s", e.Line, e.Position, e.Message))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse(%q)\n got %q\nwant %q", text, got, want)
	}
}

// templates.md B8, second table.
func TestErrorPlaces(t *testing.T) {
	wantErrors(t, "{{#if ok}}a{{/if}}",
		"1:1 "+badPath("if ok"), "1:1 "+unclosed("if ok"), "1:12 "+mismatched)
	wantErrors(t, "{{{#if ok}}}a{{{/if}}}",
		"1:1 "+badPath("#if ok"), "1:14 "+badPath("/if"))
	wantErrors(t, "{{#a}}\nq{{/b}}",
		"1:1 "+unclosed("a"), "2:2 "+mismatched)
	wantErrors(t, "{{#ok}}{{#ok}}x{{/ok}}{{/ok}}",
		"1:23 "+mismatched)
	wantErrors(t, "x{{#co.line}}\nas{{ab-cd@}}\n{{/each}}",
		"1:2 "+unclosed("co.line"), "2:3 "+badPath("ab-cd@"), "3:1 "+eachStray)
}

// templates.md B8, first table, and A4's example.
func TestErrorTexts(t *testing.T) {
	wantErrors(t, "{{first name}}", "1:1 "+badPath("first name"))
	wantErrors(t, "{{#each}}x{{/each}}", "1:1 "+eachPath)
	wantErrors(t, "{{#each }}x{{/each}}", "1:1 "+eachPath)
	wantErrors(t, "{{#eachs}}x{{/each}}", "1:1 "+eachPath)
	wantErrors(t, "{{#each\nxs}}x{{/each}}", "1:1 "+eachPath)
	wantErrors(t, "{{#each xs}}{{/each }}", "1:1 "+unclosed("xs"), "1:13 "+eachClose)
	wantErrors(t, "{{#each xs}}{{/eachs}}{{/each}}", "1:13 "+eachClose)
	wantErrors(t, "{{/each}}", "1:1 "+eachStray)
	wantErrors(t, "{{#a}}{{/each}}{{/a}}", "1:7 "+eachStray)
	wantErrors(t, "{{/a}}", "1:1 "+mismatched)
	wantErrors(t, "{{#each xs}}{{/xs}}{{/each}}", "1:13 "+mismatched)
	wantErrors(t, "{{#each xs}}{{/ each}}{{/each}}", "1:13 "+mismatched)
	wantErrors(t, "{{#each items}}", "1:1 "+unclosed("items"))
	wantErrors(t, "{{#each a b}}{{/each}}", "1:1 "+badPath("a b"))
	wantErrors(t, "{{^items}}", "1:1 "+unclosed("items"))
	wantErrors(t, "{{#a}}{{^a}}", "1:1 "+unclosed("a"))
	wantErrors(t, "{{#a}}{{#b}}{{/a}}{{/b}}", "1:1 "+unclosed("a"), "1:13 "+mismatched)
	wantErrors(t, "{{#first name}}x{{/first name}}", "1:1 "+badPath("first name"), "1:17 "+badPath("first name"))
	wantErrors(t, "{{#a b}}x{{^a b}}y{{/a b}}", "1:1 "+badPath("a b"), "1:10 "+badPath("a b"), "1:19 "+badPath("a b"))
}

// templates.md B9: Handlebars is refused.
func TestHandlebarsIsRefused(t *testing.T) {
	wantErrors(t, "{{#if ok}}a{{else}}b{{/if}}",
		"1:1 "+badPath("if ok"), "1:1 "+unclosed("if ok"), "1:21 "+mismatched)
	wantErrors(t, "{{@index}}", "1:1 "+badPath("@index"))
	wantErrors(t, "{{> partial}}", "1:1 "+badPath("> partial"))
	wantErrors(t, "{{=<% %>=}}", "1:1 "+badPath("=<% %>="))
	check(t, []example{{template: "[{{this}}{{this.first}}{{else}}]", want: "[]"}}) // ordinary names
}

// templates.md B8: only "\n" ends a line; "\r" is a character. UTF-16 units are
// counted, so one beyond U+FFFF counts twice.
func TestPositions(t *testing.T) {
	wantErrors(t, "\r\n\r{{a b}}", "2:2 "+badPath("a b"))
	wantErrors(t, "\n\n{{a b}}", "3:1 "+badPath("a b"))
	wantErrors(t, "é日{{a b}}😀{{c d}}", "1:3 "+badPath("a b"), "1:12 "+badPath("c d"))
	wantErrors(t, "{{{{a b}}", "1:3 "+badPath("a b"))
	wantErrors(t, "{{\n#a}}\n{{a b}}", "1:1 "+badPath("#a"), "3:1 "+badPath("a b"))
}

// What is reported has bounds, whatever the template is like.
func TestErrorsAreBounded(t *testing.T) {
	_, err := mustache.Parse(strings.Repeat("{{a b}}", 5000), mustache.Options{})
	var errs mustache.SyntaxErrors
	if !errors.As(err, &errs) || len(errs) != 100 || errs[99].Position != 99*7+1 {
		t.Errorf("5,000 bad paths give %d errors, want the first 100", len(errs))
	}
	_, err = mustache.Parse("{{"+strings.Repeat("é ", 100_000)+"}}", mustache.Options{})
	if !errors.As(err, &errs) || len(errs[0].Message) > 300 || !strings.HasPrefix(errs[0].Message, "The path 'é é é") {
		t.Errorf("a path of 300 KB gives a text of %d bytes, want less than 300", len(err.Error()))
	}
	if got := (mustache.SyntaxErrors{{Message: "a", Line: 1, Position: 2}, {Message: "b", Line: 3, Position: 4}}).Error(); got != "1:2: a\n3:4: b" {
		t.Errorf("the errors print as %q", got)
	}
}
