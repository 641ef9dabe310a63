package mustache_test

import (
	"errors"
	"testing"

	"pennypost/internal/mustache"
)

// templates.md B3.
func TestLoops(t *testing.T) {
	check(t, []example{
		{template: "{{#each items}}{{t}}x{{q}};{{/each}}", want: "Cupx2;Jugx0;"},
		{template: "{{#each items}}{{../../shop}},{{/each}}", want: "Ann &amp; Sons,Ann &amp; Sons,"},
		{template: "{{#each items}}[{{../shop}}]{{/each}}", want: "[][]"},
		{template: "{{#each cust.pets}}{{../../name}}{{/each}}", want: "Zo&#235;"},
		{template: "{{#each gone}}x{{/each}}", want: ""},
		{template: "{{#items}}({{t}}){{/items}}", want: "()"},
		{template: "{{#items}}{{#each .}}{{t}},{{/each}}{{/items}}", want: "Cup,Jug,"},
		{template: "{{#each a}}{{#a}}x{{/a}}{{/each}}", want: "x", model: `{"a":[{"a":1},{}]}`},
		{template: "{{#each rows}}{{#each .}}{{.}}{{/each}};{{/each}}", want: "12;3;", model: `{"rows":[[1,2],[3]]}`},
		{template: "{{#each xs}}{{#each ys}}{{../../../../z}}{{.}} {{/each}}{{/each}}", want: "z1 z2 ", model: `{"z":"z","xs":[{"ys":[1]},{"ys":[2]}]}`},
		{template: "{{#each xs}}<{{.}}>{{/each}}", want: "<><False><0><a>", model: `{"xs":[null,false,0,"a"]}`},
	})
	for _, falsy := range []string{`null`, `false`, `""`, `0.0`, `[]`, `{}`} {
		check(t, []example{{template: "{{#each x}}y{{/each}}", want: "", model: `{"x":` + falsy + `}`}})
	}
}

// templates.md B3 and B8: a loop over what is no list fails, at rendering.
func TestLoopOverNoList(t *testing.T) {
	for _, data := range []string{`"a"`, `1`, `0`, `1.5`, `true`, `{"a":1}`} {
		out, err := parse(t, "a\n {{#each cust.x}}y{{/each}}").Render(model(t, `{"cust":{"x":`+data+`}}`), mustache.EscapeHTML)
		var wrong *mustache.ModelError
		if !errors.As(err, &wrong) {
			t.Errorf("a loop over %s gives %q, %v; want a ModelError", data, out, err)
			continue
		}
		want := mustache.ModelError{Path: "cust.x", Line: 2, Position: 2}
		if *wrong != want {
			t.Errorf("a loop over %s gives %+v, want %+v", data, *wrong, want)
		}
		text := "'cust.x' is used like an array by the template, but is a scalar value or object in your model."
		if wrong.Error() != text || out != "" {
			t.Errorf("a loop over %s gives %q and %q, want only %q", data, out, wrong.Error(), text)
		}
	}
}

func wantModelError(t *testing.T, err error, want mustache.ModelError) {
	t.Helper()
	var got *mustache.ModelError
	if !errors.As(err, &got) || *got != want {
		t.Errorf("got %v (%+v), want %+v", err, got, want)
	}
}
