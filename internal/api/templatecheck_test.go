package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// part is a valid part of the answer.
func part(rendered string) any {
	return map[string]any{"ContentIsValid": true, "ValidationErrors": []any{}, "RenderedContent": rendered}
}

// mistake is one of a part; a line of 0 is unknown.
func mistake(message string, line, position int) any {
	m := map[string]any{"Message": message, "Line": nil, "CharacterPosition": nil}
	if line > 0 {
		m["Line"], m["CharacterPosition"] = json.Number(itoa(line)), json.Number(itoa(position))
	}
	return m
}

func badPart(mistakes ...any) any {
	return map[string]any{"ContentIsValid": false, "ValidationErrors": mistakes, "RenderedContent": nil}
}

// contract/templates.md A4, clients.md 8.8.
func TestValidateTemplate(t *testing.T) {
	r, c := newShop(t)
	r.layout(t, c.server, "wrap")
	r.template(t, c.server, `"Name": "L", "Alias": "html-only", "TemplateType": "Layout", "Subject": null, "TextBody": null, "HtmlBody": "{{shop}}|{{{@content}}}|"`)
	const eachText = "The 'each' block being opened requires a model path to be specified in the form '{#each <name>}'."
	const badPath = "The path 'first name' is not valid. Please see documentation for examples of valid paths."
	model := func(text string) any {
		var v any
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		name, body          string
		subject, html, text any
		suggested           string // "": null, and not valid
	}{
		{
			"all parts", `{"Subject": "Hi {{Ann}}", "HtmlBody": "Hi {{Ann}}", "TextBody": null}`,
			part("Hi Ann_Value"), part("<html><head></head><body>Hi Ann_Value</body></html>"), nil, `{"Ann": "Ann_Value"}`,
		},
		{"no tags", `{"TextBody": "plain", "TestRenderModel": null}`, nil, nil, part("plain"), `{}`},
		{
			"all parts feed one model", `{"Subject": "{{a}}", "HtmlBody": "{{#each b}}{{.}},{{/each}}", "TextBody": "{{#each c}}{{d}}{{/each}}", "InlineCssForHtmlTestRender": false}`,
			part("a_Value"), part("b_1,b_2,b_3,"), part("d_Value"), `{"a": "a_Value", "b": ["b_1", "b_2", "b_3"], "c": [{"d": "d_Value"}]}`,
		},
		{
			"test model wins", `{"TextBody": "{{a.b}} {{a.c}} {{n}}", "TestRenderModel": {"a": {"b": "B", "x": 1.50}, "n": 0}}`,
			nil, nil, part("B c_Value 0"), `{"a": {"b": "B", "c": "c_Value", "x": 1.50}, "n": 0}`,
		},
		{"an empty list is a model", `{"TextBody": "{{a}}", "TestRenderModel": []}`, nil, nil, part("a_Value"), `{"a": "a_Value"}`},
		{
			"CSS", `{"HtmlBody": "<style>p{color:red}</style><p>x</p>"}`,
			nil, part(`<html><head></head><body><p style="color: red;">x</p></body></html>`), nil, `{}`,
		},
		{
			"CSS stays", `{"HtmlBody": "<style>p{color:red}</style><p>x</p>", "InlineCssForHtmlTestRender": false}`,
			nil, part(`<style>p{color:red}</style><p>x</p>`), nil, `{}`,
		},
		{
			"escaped in HTML alone", `{"Subject": "{{x}}", "HtmlBody": "{{x}}", "TextBody": "{{x}}", "TestRenderModel": {"x": "<ü>"}, "InlineCssForHtmlTestRender": false}`,
			part("<ü>"), part("&lt;&#252;&gt;"), part("<ü>"), `{"x": "<ü>"}`,
		},
		{
			"within a layout", `{"Subject": "{{s}}", "HtmlBody": "{{h}}", "TextBody": "{{t}}", "LayoutTemplate": "wrap", "InlineCssForHtmlTestRender": false}`,
			part("s_Value"), part("<html><body>[h_Value]</body></html>"), part("[t_Value]"), `{"s": "s_Value", "h": "h_Value", "t": "t_Value"}`,
		},
		{
			"a layout of one body", `{"HtmlBody": "{{h}}", "TextBody": "{{t}}", "LayoutTemplate": "html-only", "InlineCssForHtmlTestRender": false}`,
			nil, part("shop_Value|h_Value|"), part("t_Value"), `{"shop": "shop_Value", "h": "h_Value", "t": "t_Value"}`,
		},
		{"a layout itself", `{"TextBody": "{{a}} {{{ @content }}}", "TemplateType": "Layout", "Subject": ""}`, part(""), nil, part("a_Value {{{ @content }}}"), `{"a": "a_Value"}`},
		{
			"unsubscribe stays", `{"TextBody": "{{{ pm:unsubscribe }}}", "HtmlBody": "<a href=\"{{{pm:unsubscribe_url}}}\">x</a>", "InlineCssForHtmlTestRender": false}`,
			nil, part(`<a href="{{{pm:unsubscribe_url}}}">x</a>`), part("{{{ pm:unsubscribe }}}"), `{}`,
		},
		{"fields that are not the call's", `{"Name": "x", "Alias": "y", "TextBody": "x"}`, nil, nil, part("x"), `{}`},

		{"bad text", `{"Subject": "{{#each}}", "TextBody": "{{ok}}"}`, badPart(mistake(eachText, 1, 1), mistake("A scope block to the following path was opened but not closed: 'each', please close it using the appropriate syntax.", 1, 1)), nil, part("ok_Value"), ""},
		{"as the client's check", `{"HtmlBody": "{{#each}}{{/each}}"}`, nil, badPart(mistake(eachText, 1, 1)), nil, ""},
		{
			"two mistakes", `{"TextBody": "a\n{{first name}}{{/x}}"}`, nil, nil,
			badPart(mistake(badPath, 2, 1), mistake("It appears that open and closing elements are mismatched.", 2, 15)), "",
		},
		{
			"a model that does not go", `{"TextBody": "{{#each a}}x{{/each}}", "Subject": "{{b}}", "TestRenderModel": {"a": 5}}`, part("b_Value"), nil,
			badPart(mistake("'a' is used like an array by the template, but is a scalar value or object in your model.", 1, 1)), "",
		},
		{
			"placeholder in a template", `{"TextBody": "{{{ @content }}}"}`, nil, nil,
			badPart(mistake("The layout content placeholder must not be present in a non-layout template.", 0, 0)), "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, c.server, post, "/templates/validate", tt.body).ok()
			o := object{"AllContentIsValid": tt.suggested != "", "Subject": tt.subject, "HtmlBody": tt.html, "TextBody": tt.text, "SuggestedTemplateModel": nil}
			if tt.suggested != "" {
				o["SuggestedTemplateModel"] = model(tt.suggested)
			}
			want(t, tt.body, got, o)
		})
	}
	got := r.call(t, c.server, post, "/templates/validate", `{"TextBody": "x", "TemplateType": "Layout"}`).ok()
	if text := jsonText(t, got["TextBody"]); got["AllContentIsValid"] != false || !strings.Contains(text, "The layout content placeholder must be present") {
		t.Errorf("a layout without a placeholder: %v", got)
	}
	got = r.call(t, c.server, post, "/templates/validate", `{"HtmlBody": "<style>/* never ends"}`).ok()
	if text := jsonText(t, got["HtmlBody"]); got["AllContentIsValid"] != false || !strings.Contains(text, "CSS") {
		t.Errorf("a stylesheet that cannot be read: %v", got)
	}
	for body, code := range map[string]int{
		``: 1120, `{}`: 1120, `{"HtmlBody": ""}`: 1120, `{"TextBody": "x", "TemplateType": "Fancy"}`: 1122, `{"TextBody": "x", "TestRenderModel": 5}`: 403,
		`{"TextBody": "x", "LayoutTemplate": "nobody"}`: 1101, `{"TextBody": "x", "TemplateType": "Layout", "Subject": "x"}`: 1123,
		`{"TextBody": "x", "TemplateType": "Layout", "LayoutTemplate": "wrap"}`: 1123,
	} {
		r.call(t, c.server, post, "/templates/validate", body).refusedWith(422, code, "")
	}
}
