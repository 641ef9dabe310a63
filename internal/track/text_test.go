package track

import (
	"testing"

	"pennypost"
)

// contract/tracking.md §3: bare URLs are replaced in place.
func TestTextLinks(t *testing.T) {
	s, id := testSigner(), testID()
	for _, c := range []struct{ name, in, want string }{
		{"alone", "https://a.example/b", "t1⟨https://a.example/b⟩"},
		{"http, upper case", "HTTP://A.example", "t1⟨HTTP://A.example⟩"},
		{"in a sentence", "See https://a.example/b, or http://b.example!\r\nBye", "See t1⟨https://a.example/b⟩, or t2⟨http://b.example⟩!\r\nBye"},
		{"punctuation behind", "https://a.example/b. https://a.example/b... https://a.example/b?! https://a.example/b; https://a.example/b:", "t1⟨https://a.example/b⟩. t1⟨https://a.example/b⟩... t1⟨https://a.example/b⟩?! t1⟨https://a.example/b⟩; t1⟨https://a.example/b⟩:"},
		{"slash and query", "https://a.example/ https://a.example/?b=c&d=e#f", "t1⟨https://a.example/⟩ t2⟨https://a.example/?b=c&d=e#f⟩"},
		{"no entities in text", "https://a.example/?b&amp;c", "t1⟨https://a.example/?b&amp;c⟩"},
		{"angles", "<https://a.example/b> <URL:https://a.example/c>", "<t1⟨https://a.example/b⟩> <URL:t2⟨https://a.example/c⟩>"},
		{"brackets", "(https://a.example/b) [https://a.example/b] (see https://a.example/b).", "(t1⟨https://a.example/b⟩) [t1⟨https://a.example/b⟩] (see t1⟨https://a.example/b⟩)."},
		{"brackets in it", "https://a.example/b_(c) (https://a.example/b_(c))", "t1⟨https://a.example/b_(c)⟩ (t1⟨https://a.example/b_(c)⟩)"},
		{"Markdown", "[b](https://a.example/b), [https://a.example/b](https://a.example/b) **https://a.example/b** _https://a.example/b_ `https://a.example/b`", "[b](t1⟨https://a.example/b⟩), [t1⟨https://a.example/b⟩](t1⟨https://a.example/b⟩) **t1⟨https://a.example/b⟩** _t1⟨https://a.example/b⟩_ `t1⟨https://a.example/b⟩`"},
		{"Markdown reference", "[1]: https://a.example/b \"c\"", "[1]: t1⟨https://a.example/b⟩ \"c\""},
		{"quotes", `"https://a.example/b" 'https://a.example/b' 'https://a.example/b','https://a.example/c'`, `"t1⟨https://a.example/b⟩" 't1⟨https://a.example/b⟩' 't1⟨https://a.example/b⟩','t2⟨https://a.example/c⟩'`},
		{"underscore and dash are of the URL", "https://a.example/b_ https://a.example/b- https://a.example/b*", "t1⟨https://a.example/b_⟩ t2⟨https://a.example/b-⟩ t3⟨https://a.example/b*⟩"},
		{"typographic quotes", "“https://a.example/b” «https://a.example/b» ‘https://a.example/b’…", "“t1⟨https://a.example/b⟩” «t1⟨https://a.example/b⟩» ‘t1⟨https://a.example/b⟩’…"},
		{"Chinese", "请访问https://a.example/b，谢谢。（https://a.example/b）", "请访问t1⟨https://a.example/b⟩，谢谢。（t1⟨https://a.example/b⟩）"},
		{"any script", "https://bücher.example/ä?ö=ü#ß https://l·l.example/", "t1⟨https://bücher.example/ä?ö=ü#ß⟩ t2⟨https://l·l.example/⟩"},
		{"no-break space", "https://a.example/b\u00a0c https://a.example/b\u200bc", "t1⟨https://a.example/b⟩\u00a0c t1⟨https://a.example/b⟩\u200bc"},
		{"port, user, address", "http://a.example:8080/b https://u:p@a.example/ http://192.0.2.1/ http://[2001:db8::1]/b", "t1⟨http://a.example:8080/b⟩ t2⟨https://u:p@a.example/⟩ t3⟨http://192.0.2.1/⟩ t4⟨http://[2001:db8::1]/b⟩"},
		{"a URL in a query", "https://a.example/?u=https://b.example/", "t1⟨https://a.example/?u=https://b.example/⟩"},
		{"part of something longer", "git+https://a.example/ xhttps://a.example/ a.example/?u=https://b.example/ a_https://a.example", ""},
		{"other schemes", "ftp://a.example/ mailto:a@b.example http:a https:/a ://a www.a.example", ""},
		{"malformed", "https:// http://. https://) http://a..b/ https://a.example:x/ http://-/ https://a.example/\\b https://a|b", ""},
		{"badly encoded", "https://a.example/% https://a.example/100%! https://a.example/%zz https://a.example/\xff", ""},
		{"template leftovers", "https://{{host}}/ https://a.example/{{id}} https://a.example/{id} {{url}}", ""},
		{"where it ends is not clear", "https://a.example/b)c https://a.example/b]/c", ""},
		{"our own", "https://track.example.com/u/a/b https://TRACK.example.com/o/a/b.gif", ""},
		{"bytes stay", "\xff\x00 https://a.example/b\r\r\n\t\x00", "\xff\x00 t1⟨https://a.example/b⟩\r\r\n\t\x00"},
		{"placeholder beside", "https://a.example/?{{{ pm:unsubscribe_url }}} https://a.example/", "https://a.example/?UNSUB t1⟨https://a.example/⟩"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = c.in
			}
			got := s.Apply(id, Dress{Base: base, Links: pennypost.TrackTextOnly}, "", c.in)
			if shown := show(t, s, id, got.Text); shown != want {
				t.Errorf("got\n%s\nwant\n%s", shown, want)
			}
		})
	}
}

// contract/sending.md §14, in text.
func TestTextPlaceholders(t *testing.T) {
	s, id := testSigner(), testID()
	for _, c := range []struct{ in, want string }{
		{"To leave: {{{ pm:unsubscribe }}}.", "To leave: UNSUB."},
		{"Bye\n{{{pm:unsubscribe}}}\n", "Bye\nUnsubscribe: UNSUB\n"},
		{"Bye\r\n  {{{ pm:unsubscribe }}}\t\r\n", "Bye\r\n  Unsubscribe: UNSUB\t\r\n"},
		{"{{{ pm:unsubscribe }}}", "Unsubscribe: UNSUB"},
		{"{{{ pm:unsubscribe_url }}}", "UNSUB"},
		{`Bye {{{ pm:unsubscribe label="Leave us" }}}`, "Bye Leave us: UNSUB"},
		{"<{{{ pm:unsubscribe_url }}}>", "<UNSUB>"},
		{"{{{ pm:unsubscribe", "{{{ pm:unsubscribe"},
	} {
		got := s.Apply(id, Dress{Base: base}, "", c.in)
		if shown := show(t, s, id, got.Text); shown != c.want {
			t.Errorf("%q: got %q, want %q", c.in, shown, c.want)
		}
		if had := c.in != c.want; got.Unsubscribe != had || got.Personal != had {
			t.Errorf("%q: %+v", c.in, got)
		}
	}
}

func TestTextFooter(t *testing.T) {
	s, id := testSigner(), testID()
	for _, c := range []struct{ in, want string }{
		{"Hi", "Hi\n\nUnsubscribe: UNSUB\n"},
		{"Hi\n", "Hi\n\nUnsubscribe: UNSUB\n"},
		{"Hi\r\nthere\r\n", "Hi\r\nthere\r\n\r\nUnsubscribe: UNSUB\r\n"},
		{"Hi\r\nthere", "Hi\r\nthere\r\n\r\nUnsubscribe: UNSUB\r\n"},
	} {
		got := s.Apply(id, Dress{Base: base, Unsubscribe: true, Links: pennypost.TrackHTMLAndText}, "", c.in)
		if shown := show(t, s, id, got.Text); shown != c.want || !got.Unsubscribe || got.Links != 0 {
			t.Errorf("%q: got %q, want %q", c.in, shown, c.want)
		}
	}
}
