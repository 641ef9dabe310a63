package mustache_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"pennypost/internal/mustache"
)

func wantModel(t *testing.T, what string, got map[string]any, want string) {
	t.Helper()
	if w := model(t, want); !reflect.DeepEqual(any(got), w) {
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s: %s, want %s", what, text, want)
	}
}

// templates.md B7 and the cases of the engine's own suite that it is drawn from.
func TestSuggest(t *testing.T) {
	for text, want := range map[string]string{
		"{{name}}":                  `{"name":"name_Value"}`,
		"{{{name}}}{{& b}}":         `{"name":"name_Value","b":"b_Value"}`,
		"{{#p}}{{name}}{{/p}}":      `{"p":{"name":"name_Value"}}`,
		"{{^gone}}x{{/gone}}":       `{"gone":{}}`,
		"{{#p}}x{{/p}}":             `{"p":{}}`,
		"{{x}}{{#x}}y{{/x}}":        `{"x":{}}`,
		"{{#x}}{{.}}{{/x}}":         `{"x":{}}`,
		"{{#x}}a{{^x}}b{{c}}{{/x}}": `{"x":{"c":"c_Value"}}`,

		"{{#each xs}}{{a}}{{b.c}}{{/each}}":          `{"xs":[{"a":"a_Value","b":{"c":"c_Value"}}]}`,
		"{{#each xs}}{{.}}{{/each}}":                 `{"xs":["xs_1","xs_2","xs_3"]}`,
		"{{#each xs}}{{/each}}":                      `{"xs":["xs_1","xs_2","xs_3"]}`,
		"{{#each a.xs}}x{{/each}}":                   `{"a":{"xs":["xs_1","xs_2","xs_3"]}}`,
		"{{#xs}}x{{/xs}}{{#each xs}}{{a}}{{/each}}":  `{"xs":[{"a":"a_Value"}]}`,
		"{{#each xs}}{{../../top}}{{/each}}":         `{"xs":["xs_1","xs_2","xs_3"],"top":"top_Value"}`,
		"{{#each cust.pets}}{{../name}}{{/each}}":    `{"cust":{"name":"name_Value","pets":["pets_1","pets_2","pets_3"]}}`,
		"{{#each cust.pets}}{{../../name}}{{/each}}": `{"name":"name_Value","cust":{"pets":["pets_1","pets_2","pets_3"]}}`,

		"{{a.b}}{{a.c}}":     `{"a":{"b":"b_Value","c":"c_Value"}}`,
		"{{a.b.c}}{{../d}}":  `{"a":{"b":{"c":"c_Value"}},"d":"d_Value"}`,
		"{{a}}{{a.b}}":       `{"a":"a_Value"}`,
		"no tags":            `{}`,
		"":                   `{}`,
		"{{.}}{{! a }}{{ }}": `{}`,
		"{{A}}{{a}}":         `{"A":"A_Value","a":"a_Value"}`,

		"{{#Person}}{{Name}}{{#each ../Person.FavoriteColors}}{{.}}{{/each}}{{/Person}}":  `{"Person":{"Name":"Name_Value","FavoriteColors":["FavoriteColors_1","FavoriteColors_2","FavoriteColors_3"]}}`,
		"{{#each E}}{{p.n}}{{#each f}}{{hue}}{{/each}}{{#each w}}{{.}}{{/each}}{{/each}}": `{"E":[{"p":{"n":"n_Value"},"f":[{"hue":"hue_Value"}],"w":["w_1","w_2","w_3"]}]}`,
	} {
		wantModel(t, text, mustache.Suggest(parse(t, text)), want)
	}
}

// templates.md B7: all parts feed one model.
func TestSuggestFromAllParts(t *testing.T) {
	got := mustache.Suggest(parse(t, "{{subject}}{{both}}"), nil, parse(t, "{{#both}}{{inner}}{{/both}}"))
	wantModel(t, "two parts", got, `{"subject":"subject_Value","both":{"inner":"inner_Value"}}`)

	layout := parse(t, "{{title}}{{#cust}}{{{@content}}}{{/cust}}")
	got = mustache.Suggest(layout.Wrap(parse(t, "{{name}} {{../top}}")))
	wantModel(t, "layout", got, `{"title":"title_Value","top":"top_Value","cust":{"name":"name_Value"}}`)

	wantModel(t, "no part", mustache.Suggest(), `{}`)
}

// templates.md A4: the test model is laid over the suggested one.
func TestMerge(t *testing.T) {
	tests := []struct{ suggested, test, want string }{
		{`{"Ann":"Ann_Value"}`, `{}`, `{"Ann":"Ann_Value"}`},
		{`{"a":"a_Value","b":"b_Value"}`, `{"a":"x"}`, `{"a":"x","b":"b_Value"}`},
		{`{"a":{"b":{"c":"c_Value","d":"d_Value"}}}`, `{"a":{"b":{"c":1}}}`, `{"a":{"b":{"c":1,"d":"d_Value"}}}`},
		{`{"xs":["xs_1","xs_2","xs_3"]}`, `{"xs":["one"]}`, `{"xs":["one"]}`},
		{`{"xs":["xs_1","xs_2","xs_3"]}`, `{"xs":[]}`, `{"xs":[]}`},
		{`{"a":{"b":"b_Value"}}`, `{"a":"text"}`, `{"a":"text"}`},
		{`{"a":"a_Value"}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"a":"a_Value"}`, `{"a":null}`, `{"a":null}`},
		{`{"p":{}}`, `{"p":false,"more":1}`, `{"p":false,"more":1}`},
		{`{"A":"A_Value"}`, `{"a":1}`, `{"A":"A_Value","a":1}`},
	}
	for _, tt := range tests {
		suggested, ok := model(t, tt.suggested).(map[string]any)
		test, also := model(t, tt.test).(map[string]any)
		if !ok || !also {
			t.Fatalf("%+v: not objects", tt)
		}
		wantModel(t, tt.test+" over "+tt.suggested, mustache.Merge(suggested, test), tt.want)
		wantModel(t, "suggested afterwards", suggested, tt.suggested)
		wantModel(t, "test model afterwards", test, tt.test)
	}
}

// templates.md A4: the example of the validate call.
func TestValidateExample(t *testing.T) {
	tpl := parse(t, "Hi {{Ann}}")
	got, err := tpl.Render(mustache.Suggest(tpl), mustache.EscapeHTML)
	if err != nil || got != "Hi Ann_Value" {
		t.Errorf("got %q, %v; want %q", got, err, "Hi Ann_Value")
	}
}
