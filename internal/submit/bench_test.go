package submit

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
	"pennypost/internal/track"
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

// linkedSample is sample with ten links in each body.
func linkedSample() (text, html string) {
	text, html = sample()
	for i := range 10 {
		u := fmt.Sprintf("https://bluekettle.example/orders/%d?utm_source=mail", i)
		text = strings.Replace(text, "one kettle, blue", u, 1)
		html = strings.Replace(html, "one kettle, blue", `<a href="`+u+`">one kettle</a>`, 1)
	}
	return text, html
}

// rawSample is the same as SMTP brings it.
func rawSample() []byte { return rawOf(sample()) }

func rawOf(text, html string) []byte {
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
		Dress: track.NewSigner([]byte("key")), TrackBase: trackBase,
	}}
}

// BenchmarkRender is an HTTP submission from its fields to its rendered form.
func BenchmarkRender(b *testing.B) { benchRender(b, false) }

// BenchmarkRenderTracked is the same with a pixel, ten tracked links in each body
// and unsubscribe links.
func BenchmarkRenderTracked(b *testing.B) { benchRender(b, true) }

func benchRender(b *testing.B, tracked bool) {
	b.Helper()
	d := benchDoor()
	text, html := sample()
	if tracked {
		text, html = linkedSample()
		d.seen.put(wearer{1, pennypost.StreamOutbound, "bluekettle.example"}, settings{opens: true, links: pennypost.TrackHTMLAndText, unsubscribe: true})
	}
	s := &Submission{
		From: "Blue Kettle <orders@bluekettle.example>", To: `"Doe, Jane" <jane@example.com>`, Subject: "Order 7781 is on its way",
		TextBody: text, HTMLBody: html, Tag: "order-shipped", Metadata: []Pair{{"order", "7781"}},
		Headers: []eml.Field{{Name: "X-Shop", Value: "eu-1"}},
	}
	c := pennypost.Caller{Kind: pennypost.CallerAPI, AccountID: 1, ServerID: 1}
	b.ReportAllocs()
	b.SetBytes(int64(len(text) + len(html)))
	for b.Loop() {
		if _, err := d.enter(b.Context(), c, s, nil); err != nil {
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
			err = d.dress(b.Context(), dr, d.expected(dr), nil)
		}
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
func BenchmarkAcceptRaw(b *testing.B) { benchAcceptRaw(b, rawSample(), false) }

// BenchmarkAcceptRawTracked is the same with a pixel and ten tracked links in each
// body.
func BenchmarkAcceptRawTracked(b *testing.B) { benchAcceptRaw(b, rawOf(linkedSample()), true) }

func benchAcceptRaw(b *testing.B, data []byte, tracked bool) {
	b.Helper()
	f := dressing(b)
	f.door.conf.Queue = nil
	if tracked {
		f.server.TrackOpens, f.server.TrackLinks = true, pennypost.TrackHTMLAndText
		f.update(b, func(tx *store.Tx) error { return tx.SetServer(b.Context(), &f.server) })
	}
	r := &Raw{Data: data, Recipients: []eml.Mailbox{{Local: "jane", Domain: "example.com"}}, TLS: true}
	r.Data = bytes.Replace(r.Data, []byte("@bluekettle.example"), []byte("@acme.example"), 1)
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
	model, tpl := orderTemplate(b, f)
	for name, s := range map[string]Submission{
		"plain":    {Subject: "Order 7781 is on its way", TextBody: text, HTMLBody: html},
		"template": {Template: &Template{ID: tpl, Model: model}},
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

// orderTemplate makes a template with a layout and CSS, and gives its number and
// a model with which it says about what sample does, and has a link a line.
func orderTemplate(b *testing.B, f *fixture) (model []byte, id pennypost.TemplateID) {
	b.Helper()
	layout := f.addTemplate(b, &pennypost.Template{
		Alias: "wrap", Type: pennypost.TemplateLayout, TextBody: "{{{ @content }}}",
		HTMLBody: "<html><head><style>td { color: #333 } .price { font-weight: bold } a:hover { color: red }</style></head><body>\r\n{{{ @content }}}</body></html>\r\n",
	})
	tpl := f.addTemplate(b, &pennypost.Template{
		Alias: "order", Subject: "Order {{order}} is on its way", Layout: layout.ID,
		TextBody: "{{#each lines}}Line {{n}} of the order: {{what}}.\r\n{{/each}}",
		HTMLBody: "<table>{{#each lines}}<tr><td>Line {{n}}</td><td><a href=\"https://kettle.example/{{n}}?order=7781\">{{what}}</a></td></tr>\r\n{{/each}}</table>",
	})
	var text strings.Builder
	text.WriteString(`{"order": 7781, "lines": [{"n": 0, "what": "one kettle, blue, with a lid and a whistle"}`)
	for i := 1; i < 22; i++ {
		fmt.Fprintf(&text, `, {"n": %d, "what": "one kettle, blue, with a lid and a whistle"}`, i)
	}
	text.WriteString("]}")
	return []byte(text.String()), tpl.ID
}

// BenchmarkSend is the whole way of a message, from the submission until the
// receiver has it, signed, both ends in this process: as it is, and from a
// template with a layout, CSS in the elements, a pixel and tracked links.
func BenchmarkSend(b *testing.B) {
	text, html := sample()
	no := pennypost.TrackNone
	m := newMailing(b)
	model, tpl := orderTemplate(b, m.fixture)
	plain := Submission{Subject: "Order 7781 is on its way", TextBody: text, HTMLBody: html, TrackLinks: string(no)}
	whole := Submission{Template: &Template{ID: tpl, Model: model}, TrackLinks: "HtmlAndText", TrackOpens: new(bool)}
	*whole.TrackOpens = true
	for _, bm := range []struct {
		name string
		s    Submission
	}{{"plain", plain}, {"whole", whole}} {
		bm.s.From, bm.s.To = "Blue Kettle <orders@acme.example>", "Jane Doe <jane@one.test>"
		b.Run(bm.name, func(b *testing.B) {
			before := m.net.Box().Total()
			began := processorTime(b)
			b.SetParallelism(10)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := m.door.Accept(b.Context(), m.api, &bm.s); err != nil {
						b.Error(err)
						return
					}
				}
			})
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			if _, err := m.net.Box().Wait(ctx, before+b.N); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/op")
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
		if _, err := f.door.enter(b.Context(), f.api, s, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
