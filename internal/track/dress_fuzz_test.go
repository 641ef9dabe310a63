package track

import (
	"strings"
	"testing"

	"golang.org/x/net/html"

	"pennypost"
)

// maxAdded bounds what one body gains beyond MaxGrowth: footer, pixel and the
// first placeholder.
const maxAdded = 1000

// FuzzApply checks against the document that went in: whatever is not a link is
// there as it was, and every link that we made leads to what was written.
func FuzzApply(f *testing.F) {
	for _, c := range []struct{ html, text string }{
		{`<p><a href="https://a.example/?b&amp;c">x</a></body>`, "https://a.example/?b&c (https://b.example)"},
		{`<a href='http://a/b' data-pm-no-track><area href=http://c/>`, "<http://a/b> [x](http://c/)."},
		{`{{{ pm:unsubscribe }}}<a href="{{{pm:unsubscribe_url}}}">`, `{{{ pm:unsubscribe label="x" }}}`},
		{"<!--[if mso]>{{{pm:unsubscribe}}}<![endif]--><script></body>", "“http://a”"},
		{`<svg><![CDATA[ <a href="http://a">]]></svg><title><a href="http://a">`, "http://a/'b'"},
		{`<a b="c" href = "http://a"href=x/><noscript><A HREF='http://a`, "http://a_ _http://a_"},
		{"<textarea></body></textarea></body ><!-- ", "http://ä/%41"},
	} {
		for n := range 16 {
			f.Add(c.html, c.text, uint8(n))
		}
	}
	f.Fuzz(checkApply)
}

func checkApply(t *testing.T, page, letter string, how uint8) {
	s, id := testSigner(), testID()
	d := Dress{Base: base, Opens: how&1 != 0, Unsubscribe: how&2 != 0}
	d.Links = []pennypost.TrackLinks{pennypost.TrackNone, pennypost.TrackHTMLOnly, pennypost.TrackTextOnly, pennypost.TrackHTMLAndText}[how>>2&3]
	got := s.Apply(id, d, page, letter)
	if again := s.Apply(id, d, page, letter); again != got {
		t.Fatal("twice is not the same")
	}
	if len(got.HTML) > len(page)+MaxGrowth+maxAdded || len(got.Text) > len(letter)+MaxGrowth+maxAdded {
		t.Fatal("too large")
	}
	if page == "" && got.HTML != "" || letter == "" && got.Text != "" {
		t.Fatal("a body was made up")
	}
	if has := s.Has([]byte(got.HTML+"\x00"+got.Text), id); has != got.Personal {
		t.Fatalf("personal is %v", got.Personal)
	}
	if got.Personal == (got.HTML == page && got.Text == letter) {
		t.Fatalf("personal is %v, the bodies tell otherwise", got.Personal)
	}
	if d.Unsubscribe && page+letter != "" && (!got.Unsubscribe || !strings.Contains(got.HTML+got.Text, s.UnsubscribeURL(base, id))) {
		t.Fatal("no unsubscribe link")
	}
	a := &applying{signer: s, id: id, base: base, unsubscribeURL: s.UnsubscribeURL(base, id)}
	footer := d.Unsubscribe && !a.readHTML(page).unsubscribes && !a.readText(letter).unsubscribes
	dressedPage, dressedLetter := got.HTML, got.Text
	if tail := a.htmlTail(footer, d.Opens); page != "" && tail != "" {
		dressedPage = without(t, dressedPage, tail)
		seen(t, got.HTML, d.Opens, s.OpenURL(base, id))
	}
	if footer && letter != "" {
		dressedLetter = without(t, dressedLetter, a.textTail(letter))
	}
	u := undo{s: s, id: id, numbers: make(map[int]string)}
	u.html(t, page, dressedPage)
	u.text(t, letter, dressedLetter)
	if len(u.numbers) != got.Links {
		t.Fatalf("%d links, %d said", len(u.numbers), got.Links)
	}
	for no := range got.Links {
		if _, ok := u.numbers[no+1]; !ok {
			t.Fatalf("no link %d", no+1)
		}
	}
	d.Opens, d.Unsubscribe = false, false
	if again := s.Apply(id, d, got.HTML, got.Text); !hasPlaceholder(page+letter) && len(page+letter) < MaxGrowth/100 && (again.HTML != got.HTML || again.Text != got.Text || again.Links != 0) {
		t.Fatalf("dressed once\n%q\n%q\ndressed again\n%q\n%q", got.HTML, got.Text, again.HTML, again.Text)
	}
}

// without takes the tail out of where it was put in.
func without(t *testing.T, s, tail string) string {
	t.Helper()
	if strings.Count(s, tail) != 1 {
		t.Fatalf("%d tails in %q", strings.Count(s, tail), s)
	}
	return strings.Replace(s, tail, "", 1)
}

// seen checks that the pixel is markup.
func seen(t *testing.T, src string, pixel bool, u string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(src))
	foreign := 0
	for {
		z.AllowCDATA(foreign > 0)
		switch z.Next() {
		case html.ErrorToken:
			if pixel {
				t.Fatalf("no pixel in %q", src)
			}
			return
		case html.StartTagToken:
			switch tok := z.Token(); tok.Data {
			case "noscript":
				z.NextIsNotRawText()
			case "svg", "math":
				foreign++
			}
		case html.EndTagToken:
			if tok := z.Token(); tok.Data == "svg" || tok.Data == "math" {
				foreign = max(0, foreign-1)
			}
		case html.SelfClosingTagToken:
			if tok := z.Token(); tok.Data == "img" && len(tok.Attr) > 0 && tok.Attr[0].Val == u {
				return
			}
		case html.TextToken, html.CommentToken, html.DoctypeToken:
		}
	}
}

// undo walks through a body as it was and as it is now.
type undo struct {
	s       *Signer
	id      pennypost.MessageID
	numbers map[int]string
}

func (u *undo) html(t *testing.T, was, is string) {
	t.Helper()
	u.walk(t, was, is, InHTML, func(target, was, is string) int {
		end := strings.IndexAny(was, is[:1])
		if strings.Contains(" \t\r\n\f>", is[:1]) {
			end = strings.IndexAny(was, " \t\r\n\f>")
		}
		if end < 0 {
			t.Fatalf("%q has no end", was)
		}
		if value := decoded(t, was[:end], is[0]); strings.Trim(value, " \t\r\n\f") != target {
			t.Fatalf("%q became %q", was[:end], target)
		}
		return end
	})
}

func (u *undo) text(t *testing.T, was, is string) {
	t.Helper()
	u.walk(t, was, is, InText, func(target, was, _ string) int {
		if !strings.HasPrefix(was, target) {
			t.Fatalf("%q became %q", was, target)
		}
		return len(target)
	})
}

// walk compares octet by octet; where a link of ours or a placeholder's URL
// stands it goes on behind what was there.
func (u *undo) walk(t *testing.T, was, is string, location byte, link func(target, was, is string) int) {
	t.Helper()
	unsubscribe := u.s.UnsubscribeURL(base, u.id)
	for is != "" {
		if rest, ok := strings.CutPrefix(is, base+"/c/"+string(location)); ok && !strings.HasPrefix(was, base+"/c/"+string(location)) {
			n := strings.IndexFunc(rest, func(r rune) bool { return r >= 0x80 || !isAlnum(byte(r)) && !strings.ContainsRune("-._~%/", r) })
			if n < 0 {
				n = len(rest)
			}
			n = len(strings.TrimRight(rest[:n], "-._~/"))
			l, ok := u.s.ReadLink("/c/" + string(location) + rest[:n])
			if !ok || l.ID != u.id || l.Recipient != Copy || l.Location != location {
				t.Fatalf("not ours: %q", rest[:n])
			}
			if before, ok := u.numbers[l.No]; ok && before != l.Target {
				t.Fatalf("number %d is %q and %q", l.No, before, l.Target)
			}
			u.numbers[l.No] = l.Target
			was, is = was[link(l.Target, was, rest[n:]):], rest[n:]
			continue
		}
		if strings.HasPrefix(was, "{{{") || hasSchemeAndPlaceholder(was) {
			if rest, p, ok := pastPlaceholder(was, is, unsubscribe, location); ok {
				was, is = was[p:], rest
				continue
			}
		}
		if was == "" || was[0] != is[0] {
			t.Fatalf("%q became %q", was, is)
		}
		was, is = was[1:], is[1:]
	}
	if was != "" {
		t.Fatalf("%q is gone", was)
	}
}

func hasSchemeAndPlaceholder(s string) bool {
	s, _ = cutScheme(strings.TrimLeft(s, " \t\r\n\f"))
	return strings.HasPrefix(s, "{{{")
}

func pastPlaceholder(was, is, u string, location byte) (rest string, end int, ok bool) {
	p, ok := nextPlaceholder(was, 0)
	if !ok {
		return "", 0, false
	}
	label := p.label
	if label == "" {
		label = "Unsubscribe"
	}
	forms := []string{u + " ", u, label + ": " + u}
	if location == InHTML {
		if rest, ok := cutScheme(strings.TrimLeft(was[:p.start], " \t\r\n\f")); p.start > 0 && (!ok || rest != "") {
			return "", 0, false
		}
		whole := `<a href="` + u + `">` + strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(label) + `</a>`
		forms = []string{whole + " ", whole, u + " ", u}
	} else if p.start > 0 {
		return "", 0, false
	}
	for _, form := range forms {
		if rest, ok := strings.CutPrefix(is, form); ok {
			if strings.HasSuffix(form, " ") && (p.end >= len(was) || !strings.ContainsRune(">!-", rune(was[p.end]))) {
				continue
			}
			return rest, p.end, true
		}
	}
	return "", 0, false
}

// decoded has the tokenizer decode the value of an attribute.
func decoded(t *testing.T, value string, quote byte) string {
	t.Helper()
	if !strings.Contains(value, "&") {
		return value
	}
	q := string(quote)
	if quote != '"' && quote != '\'' {
		q = ""
	}
	z := html.NewTokenizer(strings.NewReader("<a x=" + q + value + q + ">"))
	z.Next()
	if tok := z.Token(); len(tok.Attr) == 1 {
		return tok.Attr[0].Val
	}
	t.Fatalf("%q is no value", value)
	return ""
}

// FuzzTags compares our reading of a start tag with the tokenizer's.
func FuzzTags(f *testing.F) {
	for _, src := range []string{`<a href="b">`, `<A b='c"' HREF=d/ e>`, `<a/href=b/c =d href="e`, "<a href\t=\n'b'>", `<a href=&amp;>`, "<a hr\x00ef=x href=y>"} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		z := html.NewTokenizer(strings.NewReader(src))
		pos := 0
		for {
			tt := z.Next()
			if tt == html.ErrorToken {
				return
			}
			raw := src[pos : pos+len(z.Raw())]
			pos += len(raw)
			if tt != html.StartTagToken && tt != html.SelfClosingTagToken {
				continue
			}
			tok := z.Token()
			if name := tagName(raw, 1); name != tok.Data && !strings.Contains(raw, "\x00") {
				t.Fatalf("%q is %q", name, tok.Data)
			}
			want, found := "", false
			for _, a := range tok.Attr {
				if a.Key == "href" {
					want, found = a.Val, true
				}
			}
			value, ok := findHref(raw)
			if ok != found {
				t.Fatalf("href in %q: %v, want %v", raw, ok, found)
			}
			got := raw[value.start:value.end]
			if !ok || strings.ContainsAny(got, "\x00\r") {
				continue
			}
			if got != want && !strings.Contains(got, "&") {
				t.Fatalf("href of %q: %q, want %q", raw, got, want)
			}
		}
	})
}
