package track

import (
	"strings"
	"testing"

	"pennypost"
)

const wantFooter = `<p style="text-align:center;margin:1em 0 3em;"><a href="UNSUB" style="color:#A8AAAF;font-family:Helvetica,Arial,sans-serif;font-size:12px;">Unsubscribe</a></p>`

const wantPixel = `<img src="OPEN" width="1" height="1" border="0" alt="" />`

// htmlCase is an HTML body and what becomes of it; "" is what it was.
type htmlCase struct{ name, in, want string }

func runHTML(t *testing.T, d Dress, cases []htmlCase) {
	t.Helper()
	s, id := testSigner(), testID()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = c.in
			}
			got := s.Apply(id, d, c.in, "")
			if shown := show(t, s, id, got.HTML); shown != want {
				t.Errorf("got\n%s\nwant\n%s", shown, want)
			}
			if changed := want != c.in; got.Personal != changed || s.Has([]byte(got.HTML), id) != changed {
				t.Errorf("personal is %v", got.Personal)
			}
		})
	}
}

// contract/tracking.md §3: which links are rewritten.
func TestHTMLLinks(t *testing.T) {
	runHTML(t, Dress{Base: base, Links: pennypost.TrackHTMLOnly}, []htmlCase{
		{"double quotes", `<a href="https://a.example/">x</a>`, `<a href="h1⟨https://a.example/⟩">x</a>`},
		{"single quotes", `<a href='http://a.example/"b'>x</a>`, ``},
		{"single quotes, sound", `<a href='http://a.example/b'>x</a>`, `<a href='h1⟨http://a.example/b⟩'>x</a>`},
		{"no quotes", `<a href=http://a.example/b class=c>x</a>`, `<a href=h1⟨http://a.example/b⟩ class=c>x</a>`},
		{"no quotes at the end", `<a href=http://a.example/b>x</a>`, `<a href=h1⟨http://a.example/b⟩>x</a>`},
		{"no quotes, slash at the end", `<a href=http://a.example/>x</a>`, `<a href=h1⟨http://a.example/⟩>x</a>`},
		{"upper case", `<A CLASS=X HREF="HTTPS://A.example/B">x</A>`, `<A CLASS=X HREF="h1⟨HTTPS://A.example/B⟩">x</A>`},
		{"spaces", "<a\n  href =\t\" https://a.example/ \"  >x</a >", "<a\n  href =\t\"h1⟨https://a.example/⟩\"  >x</a >"},
		{"slashes", `<a/href="https://a.example/"/>`, `<a/href="h1⟨https://a.example/⟩"/>`},
		{"area", `<map><area shape=rect href="https://a.example/"></map>`, `<map><area shape=rect href="h1⟨https://a.example/⟩"></map>`},
		{"others keep theirs", `<link href="https://a.example/"><base href="https://a.example/"><img src="https://a.example/"><form action="https://a.example/"><abbr href="https://a.example/">`, ``},
		{"duplicates: the first counts", `<a href="https://a.example/" href="https://b.example/">`, `<a href="h1⟨https://a.example/⟩" href="https://b.example/">`},
		{"like href", `<a data-href="https://a.example/" xlink:href="https://a.example/" hrefs="https://a.example/">`, ``},
		{"a quote in a value before", `<a title='a"b' alt="c'd>" href="https://a.example/">`, `<a title='a"b' alt="c'd>" href="h1⟨https://a.example/⟩">`},
		{"entities are decoded", `<a href="https://a.example/?b=1&amp;c=2&#38;d=&#x33;">`, `<a href="h1⟨https://a.example/?b=1&c=2&d=3⟩">`},
		{"what is no entity in an attribute", `<a href="https://a.example/?b=1&copy=2&lt=3">`, `<a href="h1⟨https://a.example/?b=1&copy=2&lt=3⟩">`},
		{"entities hide the scheme", `<a href="&#104;ttps&colon;//a.example/">`, `<a href="h1⟨https://a.example/⟩">`},
		{"text that is a URL", `<a href="https://a.example/">https://a.example/</a>`, `<a href="h1⟨https://a.example/⟩">https://a.example/</a>`},
		{"letters of any script", `<a href="https://bücher.example/ä?ö#ü">`, `<a href="h1⟨https://bücher.example/ä?ö#ü⟩">`},
		{
			"same and others", `<a href="https://a.example/"><a href="https://b.example/"><a href="https://a.example/"><a href="https://a.example">`,
			`<a href="h1⟨https://a.example/⟩"><a href="h2⟨https://b.example/⟩"><a href="h1⟨https://a.example/⟩"><a href="h3⟨https://a.example⟩">`,
		},
		{"other schemes", `<a href="mailto:a@b.example"><a href="tel:+47"><a href="cid:x"><a href="#top"><a href="javascript:go('http://a')"><a href="ftp://a.example/"><a href="data:,x"><a href="sms:1">`, ``},
		{"relative", `<a href="/a"><a href="//a.example/"><a href="a.example"><a href=""><a href><a href=>`, ``},
		{"template leftovers", `<a href="{{url}}"><a href="https://{{host}}/"><a href="https://a.example/{{id}}"><a href="https://a.example/{id}"><a href="%%url%%"><a href="https://a.example/<%= x %>">`, ``},
		{"malformed", `<a href="https://"><a href="https:///a"><a href="https:/a.example"><a href="https:a.example"><a href="http:\\a.example"><a href="https://a b.example/"><a href="https://a.example/b c"><a href="https://a.example:x/"><a href="https://.example/"><a href="https://a..example/">`, ``},
		{"badly encoded", `<a href="https://a.example/%"><a href="https://a.example/%4"><a href="https://a.example/?b=100%&c"><a href="https://a.example/?%zz">` + "<a href=\"https://a.example/\xe4\">", ``},
		{"well encoded", `<a href="https://a.example/%E4%00?b=100%25">`, `<a href="h1⟨https://a.example/%E4%00?b=100%25⟩">`},
		{"line end in it", "<a href=\"https://a.example/\nb\">", ``},
		{"our own", `<a href="https://track.example.com/u/x/y"><a href="HTTPS://TRACK.example.com/c/h1/x"><a href="https://track.example.com/o/x">`, ``},
		{"of our host, but not ours", `<a href="https://track.example.com/help">`, `<a href="h1⟨https://track.example.com/help⟩">`},
		{"data-pm-no-track", `<a data-pm-no-track href="https://a.example/">x</a><a href="https://b.example/" DATA-PM-NO-TRACK="">`, ``},
		{"data-pm-no-track is that element's alone", `<a data-pm-no-track href="https://a.example/"><a href="https://a.example/">`, `<a data-pm-no-track href="https://a.example/"><a href="h1⟨https://a.example/⟩">`},
		{"data-pm-no-track elsewhere", `<p data-pm-no-track><a href="https://a.example/" data-pm-no-tracks>`, `<p data-pm-no-track><a href="h1⟨https://a.example/⟩" data-pm-no-tracks>`},
		{"comments", `<!-- <a href="https://a.example/"> --><!--[if mso]><a href="https://a.example/"><![endif]--><!a href="https://a.example/"><?a href="https://a.example/"?>`, ``},
		{
			"shown to all but Outlook", `<![if !mso]><a href="https://a.example/"><![endif]><!--[if !mso]><!--><a href="https://b.example/"><!--<![endif]-->`,
			`<![if !mso]><a href="h1⟨https://a.example/⟩"><![endif]><!--[if !mso]><!--><a href="h2⟨https://b.example/⟩"><!--<![endif]-->`,
		},
		{"raw text", `<style>/*<a href="https://a.example/">*/</style><script>"<a href='https://a.example/'>"</script><title><a href="https://a.example/"></title><textarea><a href="https://a.example/"></textarea><xmp><a href="https://a.example/"></xmp>`, ``},
		{"noscript, as scripts do not run", `<noscript><a href="https://a.example/"></noscript>`, `<noscript><a href="h1⟨https://a.example/⟩"></noscript>`},
		{"svg", `<svg><a href="https://a.example/" xlink:href="https://b.example/"></a></svg>`, `<svg><a href="h1⟨https://a.example/⟩" xlink:href="https://b.example/"></a></svg>`},
		{"CDATA in svg", `<svg><![CDATA[> <a href="https://a.example/">]]><a href="https://b.example/"></svg>`, `<svg><![CDATA[> <a href="https://a.example/">]]><a href="h1⟨https://b.example/⟩"></svg>`},
		{"not finished", `<p><a href="https://a.example/">x<a href="https://b.example/" `, `<p><a href="h1⟨https://a.example/⟩">x<a href="https://b.example/" `},
		{"NUL", "<a href=\"https://a.example/\x00\"><a\x00 href=\"https://a.example/\">", ``},
		{"line ends and bytes stay", "<P>\r\n\xff\x00&nbsp &copy\r<a href='https://a.example/'>\r\n", "<P>\r\n\xff\x00&nbsp &copy\r<a href='h1⟨https://a.example/⟩'>\r\n"},
	})
}

// contract/tracking.md §2: where the pixel goes.
func TestPixel(t *testing.T) {
	runHTML(t, Dress{Base: base, Opens: true}, []htmlCase{
		{"before the end of the body", "<html><body>x</body></html>\n", "<html><body>x" + wantPixel + "</body></html>\n"},
		{"upper case and spaces", "<BODY>x</BODY \n></HTML>", "<BODY>x" + wantPixel + "</BODY \n></HTML>"},
		{"no body", "x\n", "x\n" + wantPixel},
		{"the last body", "<body>a</body>b</body>c", "<body>a</body>b" + wantPixel + "</body>c"},
		{"not in comments", "<body>x</body><!-- </body> -->", "<body>x" + wantPixel + "</body><!-- </body> -->"},
		{"not in scripts", `<body>x</body><script>"</body>"</script>`, `<body>x` + wantPixel + `</body><script>"</body>"</script>`},
		{"not in attributes", `x<p title="</body>">y`, `x<p title="</body>">y` + wantPixel},
		{"other ends", "x</bodyx></html>", "x</bodyx></html>" + wantPixel},
		{"links stay without link tracking", `<a href="https://a.example/">`, `<a href="https://a.example/">` + wantPixel},
		{"not into a comment without end", "x<!-- y", "x" + wantPixel + "<!-- y"},
		{"not into a comment that looks ended", "x<!-- y >", "x" + wantPixel + "<!-- y >"},
		{"not into a script without end", "x<script> y", "x" + wantPixel + "<script> y"},
		{"not into a style without end", "x<style>", "x" + wantPixel + "<style>"},
		{"not into a tag without end", "x<a href=\"y>", "x" + wantPixel + "<a href=\"y>"},
		{"not behind an end tag without name", "x</", "x" + wantPixel + "</"},
		{"behind a lone angle", "x<", "x<" + wantPixel},
	})
	if got := testSigner().Apply(testID(), Dress{Base: base, Opens: true}, "", "text"); got != (Dressed{Text: "text"}) {
		t.Errorf("text alone: %+v", got)
	}
}

// contract/sending.md §14: the footer and its place.
func TestHTMLFooter(t *testing.T) {
	runHTML(t, Dress{Base: base, Unsubscribe: true}, []htmlCase{
		{"before the end of the body", "<body>x</body>", "<body>x" + wantFooter + "</body>"},
		{"no body", "x", "x" + wantFooter},
		{"a placeholder makes the link", "<body>{{{ pm:unsubscribe_url }}}</body>", "<body>UNSUB</body>"},
		{"a placeholder in an href too", `<a href="{{{pm:unsubscribe}}}">x</a>`, `<a href="UNSUB">x</a>`},
		{"not one that nobody sees", `<img alt="{{{pm:unsubscribe}}}"><!--[if mso]>{{{pm:unsubscribe_url}}}<![endif]-->`, `<img alt="UNSUB"><!--[if mso]>UNSUB<![endif]-->` + wantFooter},
		{"nor one in a comment or title", `<title>{{{pm:unsubscribe}}}</title><!-- {{{pm:unsubscribe}}} -->`, `<title>{{{pm:unsubscribe}}}</title><!-- {{{pm:unsubscribe}}} -->` + wantFooter},
	})
	runHTML(t, Dress{Base: base, Opens: true, Unsubscribe: true, Links: pennypost.TrackHTMLAndText}, []htmlCase{
		{"before the pixel; not a tracked link", "<body>x</body>", "<body>x" + wantFooter + wantPixel + "</body>"},
	})
}

func TestHTMLPlaceholders(t *testing.T) {
	runHTML(t, Dress{Base: base, Links: pennypost.TrackHTMLAndText}, []htmlCase{
		{"link", "a {{{ pm:unsubscribe }}} b", `a <a href="UNSUB">Unsubscribe</a> b`},
		{"without spaces", "{{{pm:unsubscribe}}}{{{pm:unsubscribe_url}}}", `<a href="UNSUB">Unsubscribe</a>UNSUB`},
		{"label", `{{{ pm:unsubscribe label="Leave &amp; go" }}}`, `<a href="UNSUB">Leave &amp; go</a>`},
		{"label as editors write it", `{{{&nbsp;pm:unsubscribe label=&quot;Leave&quot; }}}`, `<a href="UNSUB">Leave</a>`},
		{"label is no markup", `{{{ pm:unsubscribe label="a > b < c" }}}`, `<a href="UNSUB">a &gt; b &lt; c</a>`},
		{"empty label", `{{{ pm:unsubscribe label="" }}}`, `<a href="UNSUB">Unsubscribe</a>`},
		{"href", `<a class="x" href="{{{ pm:unsubscribe }}}" style="y">z</a>`, `<a class="x" href="UNSUB" style="y">z</a>`},
		{"href, bare", `<a href="{{{ pm:unsubscribe_url }}}">z</a>`, `<a href="UNSUB">z</a>`},
		{"href, single quotes and none", `<a href='{{{ pm:unsubscribe }}}'><a href={{{pm:unsubscribe}}}><a href={{{ pm:unsubscribe }}}>`, `<a href='UNSUB'><a href=UNSUB><a href=UNSUB>`},
		{"href with a label", `<a href="{{{ pm:unsubscribe label="x" }}}">z</a>`, `<a href="UNSUB">z</a>`},
		{"href with a query", `<a href="{{{ pm:unsubscribe }}}?lang=no">z</a>`, `<a href="UNSUB?lang=no">z</a>`},
		{"href with the editor's scheme", `<a href="http://{{{ pm:unsubscribe }}}">`, `<a href="UNSUB">`},
		{"not the scheme of others", `<a href="https://a.example/?u={{{ pm:unsubscribe }}}">`, `<a href="https://a.example/?u=UNSUB">`},
		{"other attributes", `<button data-url="{{{ pm:unsubscribe }}}">`, `<button data-url="UNSUB">`},
		{"Outlook's own", `<!--[if mso]><v:roundrect href="{{{ pm:unsubscribe }}}"><a href="https://a.example/">{{{ pm:unsubscribe }}}</a><![endif]-->`, `<!--[if mso]><v:roundrect href="UNSUB"><a href="https://a.example/"><a href="UNSUB">Unsubscribe</a></a><![endif]-->`},
		{"no comment ends early", `<!--[if mso]>{{{pm:unsubscribe_url}}}><a href={{{pm:unsubscribe}}}><![endif]-->`, `<!--[if mso]>UNSUB ><a href=UNSUB ><![endif]-->`},
		{"braces around", "{{{{ pm:unsubscribe_url }}}}", "{UNSUB}"},
		{"not ours", "{{ pm:unsubscribe }} {{{ pm:unsubscribed }}} {{{ pm:other }}} {{{ x pm:unsubscribe }}} { {{pm:unsubscribe}}} {{{ PM:UNSUBSCRIBE }}} {{{ pm:unsubscribe", ``},
		{"not in scripts", "<script>'{{{ pm:unsubscribe_url }}}'</script><style>{{{ pm:unsubscribe }}}</style>", ``},
		{"beside links", `<a href="https://a.example/">{{{ pm:unsubscribe }}}<a href="https://b.example/">`, `<a href="h1⟨https://a.example/⟩"><a href="UNSUB">Unsubscribe</a><a href="h2⟨https://b.example/⟩">`},
	})
}

// On every stream placeholders are replaced (contract/sending.md §14).
func TestPlaceholderAlone(t *testing.T) {
	s, id := testSigner(), testID()
	got := s.Apply(id, Dress{Base: base}, "{{{ pm:unsubscribe_url }}}", "{{{ pm:unsubscribe_url }}}")
	u := s.UnsubscribeURL(base, id)
	if want := (Dressed{HTML: u, Text: u, Personal: true, Unsubscribe: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTagScanner(t *testing.T) {
	const tag = `<a b = 'c' d=e/ f / =g h="i"j k=>`
	var got []string
	for i := len("<a"); i < len(tag); {
		key, value, next := nextAttr(tag, i)
		got = append(got, tag[key.start:key.end]+"⟨"+tag[value.start:value.end]+"⟩")
		i = next
	}
	if want := "b⟨c⟩ d⟨e/⟩ f⟨⟩ =g⟨⟩ h⟨i⟩ j⟨⟩ k⟨⟩ ⟨⟩"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, " "), want)
	}
}
