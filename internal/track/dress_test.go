package track

import (
	"strings"
	"testing"
	"time"

	"pennypost"
)

const base = "https://track.example.com"

func testID() pennypost.MessageID {
	return pennypost.MessageID{0x01, 0x98, 0, 1, 2, 0x70, 3, 4, 0x85, 6, 7, 8, 9, 10, 11, 12}
}

func testSigner() *Signer { return NewSigner([]byte("0123456789abcdef0123456789abcdef")) }

// show replaces our URLs by their meaning, so that a want can be read: OPEN,
// UNSUB, and h1<target> for a link.
func show(t *testing.T, s *Signer, id pennypost.MessageID, body string) string {
	t.Helper()
	body = strings.ReplaceAll(body, s.OpenURL(base, id), "OPEN")
	body = strings.ReplaceAll(body, s.UnsubscribeURL(base, id), "UNSUB")
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(body, base+"/c/")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return r >= 0x80 || !isAlnum(byte(r)) && !strings.ContainsRune("-._~%/", r) })
		if n < 0 {
			n = len(rest)
		}
		n = len(strings.TrimRight(rest[:n], "-._~/"))
		l, ok := s.ReadLink("/c/" + rest[:n])
		if !ok || l.ID != id || l.Recipient != Copy {
			t.Fatalf("no link of the copy: %q", rest[:n])
		}
		out.WriteString(string(l.Location) + string(rune('0'+l.No)) + "⟨" + l.Target + "⟩")
		body = rest[n:]
	}
}

func TestApply(t *testing.T) {
	s, id := testSigner(), testID()
	got := s.Apply(id, Dress{Base: base, Opens: true, Links: pennypost.TrackHTMLAndText, Unsubscribe: true},
		`<html><body><p>Hi <a href="https://shop.example/p?id=9&amp;x=1">there</a></BODY></html>`,
		"Hi (https://shop.example/p?id=9&x=1), see https://b.example/.\r\n")
	wantHTML := `<html><body><p>Hi <a href="h1⟨https://shop.example/p?id=9&x=1⟩">there</a>` +
		`<p style="text-align:center;margin:1em 0 3em;"><a href="UNSUB" style="color:#A8AAAF;font-family:Helvetica,Arial,sans-serif;font-size:12px;">Unsubscribe</a></p>` +
		`<img src="OPEN" width="1" height="1" border="0" alt="" /></BODY></html>`
	if h := show(t, s, id, got.HTML); h != wantHTML {
		t.Errorf("HTML\n%s\nwant\n%s", h, wantHTML)
	}
	wantText := "Hi (t1⟨https://shop.example/p?id=9&x=1⟩), see t2⟨https://b.example/⟩.\r\n\r\nUnsubscribe: UNSUB\r\n"
	if x := show(t, s, id, got.Text); x != wantText {
		t.Errorf("text\n%q\nwant\n%q", x, wantText)
	}
	if got.Links != 2 || !got.Personal || !got.Unsubscribe {
		t.Errorf("got %d links, personal %v, unsubscribe %v", got.Links, got.Personal, got.Unsubscribe)
	}
}

// contract/tracking.md §3: data-pm-no-track keeps the same URL in the text out too.
func TestNoTrackInText(t *testing.T) {
	s, id := testSigner(), testID()
	const page = `<a data-pm-no-track href="https://a.example/?b&amp;c">x</a>`
	for _, links := range []pennypost.TrackLinks{pennypost.TrackHTMLAndText, pennypost.TrackTextOnly} {
		got := s.Apply(id, Dress{Base: base, Links: links}, page, "https://a.example/?b&c https://b.example/")
		if got.HTML != page {
			t.Errorf("%s: HTML is %s", links, got.HTML)
		}
		if text := show(t, s, id, got.Text); text != "https://a.example/?b&c t1⟨https://b.example/⟩" {
			t.Errorf("%s: text is %s", links, text)
		}
	}
}

// contract/tracking.md §1: which bodies.
func TestLinksOfBodies(t *testing.T) {
	s, id := testSigner(), testID()
	const page, text = `<a href="https://a.example/">`, "https://a.example/"
	const trackedPage, trackedText = `<a href="h1⟨https://a.example/⟩">`, "t1⟨https://a.example/⟩"
	for _, c := range []struct {
		links              pennypost.TrackLinks
		wantHTML, wantText string
		want               int
	}{
		{"", page, text, 0},
		{pennypost.TrackNone, page, text, 0},
		{pennypost.TrackHTMLOnly, trackedPage, text, 1},
		{pennypost.TrackTextOnly, page, trackedText, 1},
		{pennypost.TrackHTMLAndText, trackedPage, trackedText, 1}, // one unique link
	} {
		got := s.Apply(id, Dress{Base: base, Links: c.links}, page, text)
		if h, x := show(t, s, id, got.HTML), show(t, s, id, got.Text); h != c.wantHTML || x != c.wantText || got.Links != c.want {
			t.Errorf("%q: %d links, %s, %s", c.links, got.Links, h, x)
		}
	}
}

// One placeholder is enough: then neither body gets a footer.
func TestFooterOfBodies(t *testing.T) {
	s, id := testSigner(), testID()
	d := Dress{Base: base, Unsubscribe: true}
	for _, c := range []struct{ html, text, wantHTML, wantText string }{
		{"a", "b", "a" + wantFooter, "b\n\nUnsubscribe: UNSUB\n"},
		{"a{{{pm:unsubscribe_url}}}", "b", "aUNSUB", "b"},
		{"a", "b {{{pm:unsubscribe}}}", "a", "b UNSUB"},
		{"a", "", "a" + wantFooter, ""},
		{"", "b", "", "b\n\nUnsubscribe: UNSUB\n"},
		{"", "", "", ""},
	} {
		got := s.Apply(id, d, c.html, c.text)
		if h, x := show(t, s, id, got.HTML), show(t, s, id, got.Text); h != c.wantHTML || x != c.wantText {
			t.Errorf("%q, %q become %q, %q", c.html, c.text, h, x)
		}
		if want := c.html+c.text != ""; got.Unsubscribe != want || got.Personal != want {
			t.Errorf("%q, %q: %+v", c.html, c.text, got)
		}
	}
}

// What has nothing to be dressed is not copied even.
func TestNothingToDo(t *testing.T) {
	s, id := testSigner(), testID()
	page, text := "<body><a href='mailto:a@b.example'>x</a></body>", "ftp://a.example/"
	for _, d := range []Dress{
		{},
		{Base: base},
		{Base: base, Links: pennypost.TrackHTMLAndText},
		{Opens: true, Unsubscribe: true, Links: pennypost.TrackHTMLAndText}, // no base
	} {
		if got := s.Apply(id, d, page, text); got != (Dressed{HTML: page, Text: text}) {
			t.Errorf("%+v: %+v", d, got)
		}
	}
	allocs := testing.AllocsPerRun(100, func() { s.Apply(id, Dress{Base: base}, page, text) })
	if allocs > 1 {
		t.Errorf("%v allocations for nothing", allocs)
	}
}

func TestBaseWithSlash(t *testing.T) {
	s, id := testSigner(), testID()
	if got := s.Apply(id, Dress{Base: base + "/"}, "{{{pm:unsubscribe_url}}}", ""); got.HTML != s.UnsubscribeURL(base, id) {
		t.Error(got.HTML)
	}
}

// MaxURL: a longer one would be cut off by some programs.
func TestLongURLs(t *testing.T) {
	s, id := testSigner(), testID()
	d := Dress{Base: base, Links: pennypost.TrackHTMLAndText}
	own := len(s.LinkURL(base, id, InHTML, 1, "https://a.example/x")) - len("x")
	longest := "https://a.example/" + strings.Repeat("x", MaxURL-own)
	got := s.Apply(id, d, `<a href="`+longest+`">`, longest)
	if want := `<a href="h1⟨` + longest + `⟩">`; show(t, s, id, got.HTML) != want || got.Text == longest {
		t.Errorf("the longest is not tracked: %s", got.HTML)
	}
	page := `<a href="` + longest + `x">`
	if got := s.Apply(id, d, page, longest+"x"); got.HTML != page || got.Text != longest+"x" || got.Links != 0 {
		t.Errorf("a longer one is tracked: %+v", got)
	}
}

// MaxGrowth: the rest is left alone, but footer and pixel come.
func TestGrowth(t *testing.T) {
	s, id := testSigner(), testID()
	d := Dress{Base: base, Links: pennypost.TrackHTMLAndText, Opens: true, Unsubscribe: true}
	const n = 200_000
	page, text := strings.Repeat("<a href=http://a>", n), strings.Repeat("http://a ", n)
	got := s.Apply(id, d, page, text)
	if len(got.HTML) > len(page)+MaxGrowth+maxAdded || len(got.Text) > len(text)+MaxGrowth+maxAdded {
		t.Errorf("%d and %d octets became %d and %d", len(page), len(text), len(got.HTML), len(got.Text))
	}
	if !strings.HasSuffix(show(t, s, id, got.HTML), "<a href=http://a>"+wantFooter+wantPixel) {
		t.Error("no footer and pixel")
	}
	if c := strings.Count(got.HTML, "/c/h1/"); c < 7000 || got.Links != 1 {
		t.Errorf("%d links, %d unique", c, got.Links)
	}
	holders := strings.Repeat("{{{pm:unsubscribe_url}}}", n)
	if got := s.Apply(id, d, holders, ""); len(got.HTML) > len(holders)+MaxGrowth+maxAdded || !got.Unsubscribe {
		t.Errorf("%d octets became %d", len(holders), len(got.HTML))
	}
}

// The time must grow with the size alone, whatever is in it.
func TestLinear(t *testing.T) {
	s, id := testSigner(), testID()
	d := Dress{Base: base, Links: pennypost.TrackHTMLAndText, Opens: true, Unsubscribe: true}
	const size = 1 << 18
	for _, unit := range []string{
		"<a href=http://a>", "<a ", "<", "</", "<!--", "<![CDATA[", "<svg><![CDATA[", "<a href='", "a=", "a a=b ", "{{{", "{{{ pm:unsubscribe ", "{", "<!--[if{{{pm:unsubscribe}}}",
		"<!--[if{{{pm:unsubscribe}}}-->", "://", "http://", "http://a)", "http://a]", "http://(", "http://a'", "http://a.", ")", "http://a){{{pm:unsubscribe}}}", "http:// ", "\xff", "&amp;", "<a href='&amp;&copy'>", "<svg>", "<script>",
	} {
		body := strings.Repeat(unit, size/len(unit))
		for _, b := range []string{body, "http://a" + body, "<a href=" + body} {
			start := time.Now()
			s.Apply(id, d, b, b)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("%.20q: %v", b, took)
			}
		}
	}
}

func BenchmarkApply(b *testing.B) {
	s, id := testSigner(), testID()
	row := `<tr><td style="padding:0 12px;font-family:Arial,sans-serif;font-size:14px;color:#333333;line-height:20px;">%</td></tr>` + "\n"
	var page strings.Builder
	page.WriteString("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><style>td{margin:0}</style></head><body><table>\n")
	for n := range 30 {
		cell := "Some words that a person reads."
		if n%3 == 0 {
			cell = `<a href="https://shop.example/orders/` + string(rune('a'+n)) + `?utm_source=mail&amp;n=1">Order</a>`
		}
		page.WriteString(strings.Replace(row, "%", cell, 1))
	}
	page.WriteString("</table></body></html>\n")
	text := strings.Repeat("Some words that a person reads.\r\n", 20) + "https://shop.example/orders/a?utm_source=mail&n=1\r\n"
	for _, c := range []struct {
		name string
		d    Dress
	}{
		{"nothing", Dress{Base: base}},
		{"opens", Dress{Base: base, Opens: true}},
		{"all", Dress{Base: base, Opens: true, Links: pennypost.TrackHTMLAndText, Unsubscribe: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(page.Len() + len(text)))
			b.ReportAllocs()
			for b.Loop() {
				s.Apply(id, c.d, page.String(), text)
			}
		})
	}
}

func BenchmarkPersonal(b *testing.B) {
	s, id := testSigner(), testID()
	content := []byte(strings.Repeat(strings.Repeat("x", 400)+s.LinkURL(base, id, InHTML, 1, "https://a.example/"), 10))
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		s.Personal(content, id, 1)
	}
}
