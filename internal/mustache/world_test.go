package mustache_test

import (
	"encoding/json"
	"strings"
	"testing"

	"pennypost/internal/mustache"
)

// shop is the model of the contract's examples (templates.md, part B).
const shop = `{"shop":"Ann & Sons","first":"Al","n":0,"price":12.50,"ok":true,"no":false,"empty":"","nil":null,"o":{},
 "items":[{"t":"Cup","q":2},{"t":"Jug","q":0}],"tags":["a","<b>"],
 "cust":{"name":"Zoë","addr":{"city":"Oslo"},"pets":[{"t":"Rex"}]}}`

func model(tb testing.TB, text string) any {
	tb.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		tb.Fatalf("model %s: %v", text, err)
	}
	return v
}

func parse(tb testing.TB, text string) *mustache.Template {
	tb.Helper()
	tpl, err := mustache.Parse(text, mustache.Options{})
	if err != nil {
		tb.Fatalf("Parse(%q): %v", text, err)
	}
	return tpl
}

func render(tb testing.TB, text, data string) string {
	tb.Helper()
	out, err := parse(tb, text).Render(model(tb, data), mustache.EscapeHTML)
	if err != nil {
		tb.Fatalf("Render(%q): %v", text, err)
	}
	return out
}

// example is a template, and what it gives with a model: shop if none is named.
type example struct {
	template, want, model string
}

func check(t *testing.T, examples []example) {
	t.Helper()
	for _, e := range examples {
		data := e.model
		if data == "" {
			data = shop
		}
		if got := render(t, e.template, data); got != e.want {
			t.Errorf("%q gives %q, want %q", e.template, got, e.want)
		}
	}
}
