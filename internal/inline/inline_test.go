package inline

import (
	"testing"
)

// inlined runs Inline twice: the second time must change nothing.
func inlined(t *testing.T, src string, o Options) string {
	t.Helper()
	out, err := Inline(t.Context(), []byte(src), o)
	if err != nil {
		t.Fatalf("Inline(%q): %v", src, err)
	}
	again, err := Inline(t.Context(), out, o)
	if err != nil {
		t.Fatalf("Inline(%q), the second time: %v", out, err)
	}
	if string(again) != string(out) {
		t.Errorf("not idempotent:\n%s\nbecame\n%s", out, again)
	}
	return string(out)
}

type example struct{ name, src, want string }

func check(t *testing.T, o Options, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			if got := inlined(t, e.src, o); got != e.want {
				t.Errorf("source\n%s\ngave\n%s\nwant\n%s", e.src, got, e.want)
			}
		})
	}
}

// page puts CSS and a body into a complete document.
func page(css, body string) string {
	return "<!DOCTYPE html><html><head>" + style(css) + "</head><body>" + body + "</body></html>"
}

func style(css string) string {
	if css == "" {
		return ""
	}
	return "<style>" + css + "</style>"
}

func TestCascade(t *testing.T) {
	for _, e := range []struct{ name, css, body, left, want string }{
		{
			"element, class, id", "#i{a:3}.c{a:2}p{a:1}", `<p class=c id=i>x</p><p class="c">y</p>`, "",
			`<p style="a: 3;" class=c id=i>x</p><p style="a: 2;" class="c">y</p>`,
		},
		{"order at equal specificity", ".a{x:1}.b{x:2}", `<p class="b a">`, "", `<p style="x: 2;" class="b a">`},
		{"order over blocks", "p{x:1}</style><style>p{x:2}", `<p>`, "", `<p style="x: 2;">`},
		{"rules overwrite the style attribute", "p{color:red}", `<p style="color:blue;margin:0">`, "", `<p style="color: red; margin: 0;">`},
		{"important keeps and wins", "p{x:1!important}#i{x:2}", `<p id=i>`, "", `<p style="x: 1 !important;" id=i>`},
		{"important in the attribute beats a rule", "p{x:1;y:2}", `<p style="x:0 !important">`, "", `<p style="x: 0 !important; y: 2;">`},
		{"important rule beats important attribute", "p{x:1 ! important}", `<p style="x:0!IMPORTANT">`, "", `<p style="x: 1 !important;">`},
		{"important ones by specificity", "#i{x:1!important}p{x:2!important}", `<p id=i>`, "", `<p style="x: 1 !important;" id=i>`},
		{
			"a shorthand goes behind what it overrides", ".c{padding:0}p{padding:1px;padding-top:5px}", `<p class=c>`, "",
			`<p style="padding-top: 5px; padding: 0;" class=c>`,
		},
		{
			"a longhand goes behind its shorthand", ".c{padding-top:0}p{padding-top:5px;padding:1px}", `<p class=c>`, "",
			`<p style="padding: 1px; padding-top: 0;" class=c>`,
		},
		{"font sets line-height", ".c{font:1px a}p{font:2px b;line-height:3}", `<p class=c>`, "", `<p style="line-height: 3; font: 1px a;" class=c>`},
		{"all undoes all", ".c{all:unset}p{all:inherit;x:1}", `<p class=c>`, "", `<p style="x: 1; all: unset;" class=c>`},
		{"inset sets top", ".c{inset:0}p{inset:1px;top:2px}", `<p class=c>`, "", `<p style="top: 2px; inset: 0;" class=c>`},
		{"gap sets row-gap", ".c{gap:0}p{gap:1px;row-gap:2px}", `<p class=c>`, "", `<p style="row-gap: 2px; gap: 0;" class=c>`},
		{"place sets align", ".c{place-items:x}p{place-items:y;align-items:z}", `<p class=c>`, "", `<p style="align-items: z; place-items: x;" class=c>`},
		{"break and page-break", ".c{break-after:x}p{break-after:y;page-break-after:z}", `<p class=c>`, "", `<p style="page-break-after: z; break-after: x;" class=c>`},
		{"vendor names", ".c{-webkit-x:1;y:1}p{y:2;-webkit-x:2;-webkit-y:2}", `<p class=c>`, "", `<p style="-webkit-y: 2; -webkit-x: 1; y: 1;" class=c>`},
		{"one rule by two selectors", "p,.c{w:1;w:2}", `<p class=c>`, "", `<p style="w: 1; w: 2;" class=c>`},
		{"unrelated ones keep their place", ".c{x:2}p{x:1;y:1}", `<p class=c>`, "", `<p style="x: 2; y: 1;" class=c>`},
		{"fallbacks stay", "p{width:1px;width:calc(1px + 2px)}", `<p>`, "", `<p style="width: 1px; width: calc(1px + 2px);">`},
		{"fallbacks of the attribute stay", "p{x:1}", `<p style="w:1;w:2">`, "", `<p style="w: 1; w: 2; x: 1;">`},
		{"list of selectors", "h1, p.c ,td{x:1}", `<h1>a</h1><p class=c>b</p><p>c</p>`, "", `<h1 style="x: 1;">a</h1><p style="x: 1;" class=c>b</p><p>c</p>`},
		{
			"combinators", "div>p{a:1}div p{b:1}i+b{c:1}i~b{d:1}", `<div><p>1</p><span><p>2</p></span></div><i></i>t<b></b><b></b>`, "",
			`<div><p style="a: 1; b: 1;">1</p><span><p style="b: 1;">2</p></span></div><i></i>t<b style="c: 1; d: 1;"></b><b style="d: 1;"></b>`,
		},
		{
			"a descendant found higher up", "div.a>div p{x:1}", `<div class=a><div><div><p></p></div></div></div>`, "",
			`<div class=a><div><div><p style="x: 1;"></p></div></div></div>`,
		},
		{
			"attributes", `[href^="http"]{a:1}a[target=_blank]{b:1}input[type='text' i]{c:1}`, `<a href="http://x" target=_blank>l</a><input type=TEXT>`, "",
			`<a style="a: 1; b: 1;" href="http://x" target=_blank>l</a><input style="c: 1;" type=TEXT>`,
		},
		{
			"structural pseudo-classes", "td:first-child{a:1}td:nth-child(2n + 1){b:1}td:not(:last-child){c:1}td:not(.x, .y){d:1}",
			`<table><tbody><tr><td>1<td class=x>2<td>3</table>`, "",
			`<table><tbody><tr><td style="a: 1; b: 1; c: 1; d: 1;">1<td style="c: 1;" class=x>2<td style="b: 1; d: 1;">3</table>`,
		},
		{"head gets none", "*{x:1}", `<p>`, "", `<p style="x: 1;">`},
		{"no match, no block", ".ExternalClass{x:1}", `<p>`, "", `<p>`},
		{"escaped class", `.sm\:w{x:1}`, `<p class="sm:w">`, "", `<p style="x: 1;" class="sm:w">`},
		{"case of names", "P.Cc{COLOR:Red}", `<P CLASS=Cc></P><p class=cc></p>`, "", `<P style="color: Red;" CLASS=Cc></P><p class=cc></p>`},
	} {
		t.Run(e.name, func(t *testing.T) {
			want := page(e.left, e.want)
			if e.name == "head gets none" { // but html and body do
				want = `<!DOCTYPE html><html style="x: 1;"><head></head><body style="x: 1;">` + e.want + "</body></html>"
			}
			if got := inlined(t, page(e.css, e.body), Options{}); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
