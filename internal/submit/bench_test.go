package submit

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/eml"
)

// sample is about 4 KiB of text and HTML, as an application sends it.
func sample() (text, html string) {
	var t, h strings.Builder
	h.WriteString("<html><body>\r\n")
	for i := range 22 {
		fmt.Fprintf(&t, "Line %d of the order: one kettle, blue, with a lid and a whistle.\r\n", i)
		fmt.Fprintf(&h, "<tr><td style=\"color:#333\">Line %d</td><td>one kettle, blue, with a lid</td></tr>\r\n", i)
	}
	h.WriteString("</body></html>\r\n")
	return t.String(), h.String()
}

// rawSample is the same as SMTP brings it.
func rawSample() []byte {
	text, html := sample()
	m := eml.Message{
		Header: []eml.Field{
			{Name: "Date", Value: "Sat, 04 Jul 2026 11:05:57 +0200"},
			eml.AddressField("From", eml.Mailbox{Name: "Blue Kettle", Local: "orders", Domain: "bluekettle.example"}),
			eml.AddressField("To", eml.Mailbox{Name: "Jane Doe", Local: "jane", Domain: "example.com"}),
			{Name: "Subject", Value: "Order 7781 is on its way"},
			eml.RawField("Message-ID", "<7781.1@bluekettle.example>"),
			{Name: "X-PM-Tag", Value: "order-shipped"},
			{Name: "X-Bench-Id", Value: "0123456789"},
		},
		Root: eml.Alternative(text, html),
	}
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

func benchDoor() *Door {
	return &Door{conf: Config{
		Hostname: "mail.penny.example", BounceDomain: "pm.mail.penny.example", MessageIDDomain: "mail.penny.example",
		Complaints: "abuse@pm.mail.penny.example", Now: time.Now, Rand: bytes.NewReader(bytes.Repeat([]byte{7}, 1<<26)),
	}}
}

// BenchmarkRender is an HTTP submission from its fields to its rendered form.
func BenchmarkRender(b *testing.B) {
	d := benchDoor()
	text, html := sample()
	s := &Submission{
		From: "Blue Kettle <orders@bluekettle.example>", To: `"Doe, Jane" <jane@example.com>`, Subject: "Order 7781 is on its way",
		TextBody: text, HTMLBody: html, Tag: "order-shipped", Metadata: []Pair{{"order", "7781"}},
		Headers: []eml.Field{{Name: "X-Shop", Value: "eu-1"}},
	}
	c := pennypost.Caller{Kind: pennypost.CallerAPI, AccountID: 1, ServerID: 1}
	b.ReportAllocs()
	b.SetBytes(int64(len(text) + len(html)))
	for b.Loop() {
		if _, err := d.enter(b.Context(), c, s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse is a message from SMTP from its octets to its rendered form.
func BenchmarkParse(b *testing.B) {
	d := benchDoor()
	r := &Raw{Data: rawSample(), Recipients: []eml.Mailbox{{Local: "jane", Domain: "example.com"}}, TLS: true}
	c := pennypost.Caller{Kind: pennypost.CallerSMTP, AccountID: 1, ServerID: 1}
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Data)))
	for b.Loop() {
		dr, err := d.draftRaw(c, r)
		if err == nil {
			err = d.render(dr)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAcceptRaw is the whole way of a message from SMTP to stable storage,
// for twenty sessions at once.
func BenchmarkAcceptRaw(b *testing.B) {
	f := setup(b)
	f.door.conf.Queue = nil
	r := &Raw{Data: rawSample(), Recipients: []eml.Mailbox{{Local: "jane", Domain: "example.com"}}, TLS: true}
	r.Data = bytes.Replace(r.Data, []byte("bluekettle.example"), []byte("acme.example"), 1)
	b.SetParallelism(10)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.door.AcceptRaw(b.Context(), f.smtp, r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkAccept is the whole way of an HTTP submission to stable storage, for
// twenty callers at once: as it is, and from a template with a layout, the CSS
// of which goes into the elements. Both send about the same octets.
func BenchmarkAccept(b *testing.B) {
	text, html := sample()
	f := setup(b)
	f.door.conf.Queue = nil
	layout := f.addTemplate(b, &pennypost.Template{
		Alias: "wrap", Type: pennypost.TemplateLayout, TextBody: "{{{ @content }}}",
		HTMLBody: "<html><head><style>td { color: #333 } .price { font-weight: bold } a:hover { color: red }</style></head><body>\r\n{{{ @content }}}</body></html>\r\n",
	})
	tpl := f.addTemplate(b, &pennypost.Template{
		Alias: "order", Subject: "Order {{order}} is on its way", Layout: layout.ID,
		TextBody: "{{#each lines}}Line {{n}} of the order: {{what}}.\r\n{{/each}}",
		HTMLBody: "<table>{{#each lines}}<tr><td>Line {{n}}</td><td>{{what}}</td></tr>\r\n{{/each}}</table>",
	})
	var model strings.Builder
	model.WriteString(`{"order": 7781, "lines": [{"n": 0, "what": "one kettle, blue, with a lid and a whistle"}`)
	for i := 1; i < 22; i++ {
		fmt.Fprintf(&model, `, {"n": %d, "what": "one kettle, blue, with a lid and a whistle"}`, i)
	}
	model.WriteString("]}")
	for name, s := range map[string]Submission{
		"plain":    {Subject: "Order 7781 is on its way", TextBody: text, HTMLBody: html},
		"template": {Template: &Template{ID: tpl.ID, Model: []byte(model.String())}},
	} {
		s.From, s.To = "Blue Kettle <orders@acme.example>", "Jane Doe <jane@example.com>"
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(10)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := f.door.Accept(b.Context(), f.api, &s); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkTemplate is a templated submission from its model to its rendered
// form, the CSS in its elements, beside BenchmarkRender.
func BenchmarkTemplate(b *testing.B) {
	f := setup(b)
	tpl := f.addTemplate(b, &pennypost.Template{
		Alias: "order", Subject: "Order {{order}}", TextBody: "{{#each lines}}Line {{.}}\r\n{{/each}}",
		HTMLBody: "<style>td{color:#333}</style><table>{{#each lines}}<tr><td>Line {{.}}</td></tr>\r\n{{/each}}</table>",
	})
	lines := strings.TrimSuffix(strings.Repeat(`"one kettle, blue, with a lid and a whistle",`, 44), ",")
	s := templated(&Template{ID: tpl.ID, Model: []byte(`{"order": 7781, "lines": [` + lines + `]}`)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.door.enter(b.Context(), f.api, s); err != nil {
			b.Fatal(err)
		}
	}
}
