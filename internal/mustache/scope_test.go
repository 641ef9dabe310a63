package mustache_test

import "testing"

// templates.md B5.
func TestScopeInSections(t *testing.T) {
	check(t, []example{
		{template: "{{#first}}Hi {{.}}{{/first}}{{^first}}Hi you{{/first}}", want: "Hi Al"},
		{template: "{{#first}}Hi {{.}}{{/first}}{{^first}}Hi you{{/first}}", want: "Hi you", model: `{}`},
		{template: "[{{#first}}{{first}}{{/first}}]", want: "[]"},
		{template: "{{#ok}}{{../first}}{{/ok}}", want: "Al"},
		{template: "{{^gone}}{{../first}}{{/gone}}", want: "Al"},
		{template: "[{{^gone}}{{first}}{{/gone}}]", want: "[]"},
		{template: "{{#no}}y{{^no}}n{{/no}}", want: "n"},
		{template: "{{#ok}}{{#ok}}x{{/ok}}", want: "x"},
		{template: "{{#cust.addr}}{{city}}{{/cust.addr}}", want: "Oslo"},
		{template: "{{#ok}}{{#../cust}}{{name}}{{/../cust}}{{/ok}}", want: "Zo&#235;"},
		{template: "{{#ok}}A{{^ok}}B{{#ok}}C{{/ok}}", want: "AC"},
		{template: "{{#}}{{first}}{{/}}", want: "Al"},
	})
	wantErrors(t, "{{#ok}}{{#ok}}x{{/ok}}{{/ok}}", "1:23 "+mismatched)
	wantErrors(t, "{{#cust.addr}}x{{/addr}}", "1:1 "+unclosed("cust.addr"), "1:16 "+mismatched)
}
