package mustache_test

import (
	"strings"
	"testing"

	"pennypost/internal/mustache"
)

// receipt is a template of the size that shops send: 7 KB, 50 lines.
var receipt = strings.Repeat("<p style=\"margin:0 0 1em\">Hello {{cust.name}}, this is {{shop}} in {{cust.addr.city}}.</p>\n", 40) +
	"<table>{{#each items}}<tr><td>{{t}}</td><td>{{q}}</td><td>{{../../price}}</td></tr>\n{{/each}}</table>{{#ok}}Paid{{^ok}}Due{{/ok}}"

func BenchmarkParse(b *testing.B) {
	b.SetBytes(int64(len(receipt)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mustache.Parse(receipt, mustache.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	tpl, data := parse(b, receipt), model(b, shop)
	b.SetBytes(int64(len(receipt)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.Render(data, mustache.EscapeHTML); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStepLimit is what a rendering costs at most that prints nothing.
func BenchmarkStepLimit(b *testing.B) {
	loops := strings.Repeat("{{#each ../../../../../../x}}", 4)
	tpl := parse(b, loops+"{{a.b}}{{^gone}}{{.}}{{/gone}}"+strings.Repeat("{{/each}}", 4))
	data := model(b, `{"x":[`+strings.TrimSuffix(strings.Repeat(`{"a":{"b":""}},`, 100), ",")+`]}`)
	for b.Loop() {
		if _, err := tpl.Render(data, mustache.EscapeHTML); err == nil {
			b.Fatal("no limit was met")
		}
	}
}
