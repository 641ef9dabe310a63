package inline

import (
	"errors"
	"strings"
	"testing"
)

// What stays of a style element (contract/templates.md part C).
func TestSheet(t *testing.T) {
	const p = `<p class=c>x</p>`
	for _, e := range []struct{ name, css, left string }{
		{"media, font-face, import", `@import url("http://127.0.0.1/x.css");@media (max-width:9px){.c{a:1}}@font-face{font-family:"X";src:url(x)}`, ""},
		{"rules between go", `@import "x"; .d{a:1} @media print { .c { a: 1 } }
  .d { b : 2 }
`, `@import "x"; @media print { .c { a: 1 } }
`},
		{"pseudo-class becomes important", "a:hover{color:red;b:c!important}", "a:hover {color:red !important;b:c!important}"},
		{"root", ":root { color-scheme: dark }", ":root { color-scheme: dark !important }"},
		{"already important", "a:hover{color:red ! IMPORTANT}", "a:hover{color:red ! IMPORTANT}"},
		{"only the client's selectors stay", "h1,a:hover,h2,b::before{x:1}", "a:hover,b::before {x:1 !important}"},
		{"old pseudo-elements", "p:first-letter{x:1}", "p:first-letter {x:1 !important}"},
		{"inside not", "p:not(:hover){x:1}", "p:not(:hover) {x:1 !important}"},
		{"selector not understood", "p:not(a b){x:1}p>>b{x:1}[a!=b]{x:1}[a#=b]{x:1}a|p{x:1}", ""},
		{"one such voids its rule", "h1,,h2{x:1}", ""},
		{"nested rules", "h1{x:1;&:hover{y:2}}", ""},
		{"nearly an end tag", "a:hover{x:</style;y:1}b:hover</style{x:1}", ""},
		{"vendor rules", "@-ms-viewport{width:device-width}@charset \"x\";", ""},
		{"open at the end", "@media all{a{b:c}", ""},
		{"comments beside what stays", "/* a */ h1{x:1} /* b */ a:hover{x:1!important}", "/* a */ /* b */ a:hover{x:1!important}"},
	} {
		t.Run(e.name, func(t *testing.T) {
			left := e.left
			if left == "" {
				left = e.css
			}
			want := page(left, p)
			if got := inlined(t, page(e.css, p), Options{}); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestSheetVanishes(t *testing.T) {
	for _, css := range []string{" ", "/* c */", "<!-- -->", "h1{x:1}", "#foo", "h1{}", "h1{x}", "h1{color red;:b;x:;y:a!;$z:1}", "}"} {
		src := strings.Replace(page("", "x"), "</head>", "<style type='text/css' media=Screen>"+css+"</style></head>", 1)
		if got, want := inlined(t, src, Options{}), page("", "x"); got != want {
			t.Errorf("%q left\n%s", css, got)
		}
	}
}

func TestOtherSheetsStay(t *testing.T) {
	for _, src := range []string{
		`<style media=print>p{x:1}</style><p>`, `<style type="text/less">p{x:1}</style><p>`,
		`<svg><style>p{x:1}</style></svg><p>`, `<link rel=stylesheet href="http://127.0.0.1/"><p>`,
		`<!--[if mso]><style>p{x:1}</style><![endif]--><p>`, `<textarea><style>p{x:1}</style></textarea><p>`,
		`<title><style>p{x:1}</style></title><p>`,
	} {
		if got := inlined(t, src, Options{}); got != src {
			t.Errorf("%s became %s", src, got)
		}
	}
}

func TestDeclarations(t *testing.T) {
	for _, e := range []struct{ name, css, want string }{
		{"rgb", "a:rgb(255, 0,16)", "a: #FF0010;"},
		{"rgba, opaque", "a:RGBA(1,2,3,1.0) solid", "a: #010203 solid;"},
		{"rgba, translucent", "a:rgba(1,2,3,.5)", "a: rgba(1,2,3,.5);"},
		{"transparent", "background-color:transparent", "background-color: transparent;"},
		{"new rgb", "a:rgb(0 0 300 / 100%);b:rgb(50% 0% 0%);c:rgb(0 0 0/50%)", "a: #0000FF; b: #800000; c: rgb(0 0 0/50%);"},
		{"no colour", "a:rgb(1,2);b:rgb(var(--x));c:rgb(1,2,3", "a: rgb(1,2); b: rgb(var(--x));"},
		{"many or odd numbers", "a:rgb(1,2,3 4);b:rgba(1,2,3,4,5);c:rgba(1,2,3,100%)", "a: rgb(1,2,3 4); b: rgba(1,2,3,4,5); c: #010203;"},
		{"in a gradient", "a:linear-gradient(rgb(1,1,1),red)", "a: linear-gradient(#010101,red);"},
		{"double quotes", `font-family:"A B",'C'`, `font-family: &quot;A B&quot;,'C';`},
		{"url", `background:url(http://x/?a=1&b=2)  no-repeat`, `background: url(http://x/?a=1&amp;b=2) no-repeat;`},
		{"entities are no entities in style", `content:"&lt;"`, `content: &quot;&amp;lt;&quot;;`},
		{"comments and lines", "a:/*x*/b\r\n\t c/*y*/;/*z*/d:e", "a: b c; d: e;"},
		{"word-break", "word-break:break-word", "word-break: break-word;"},
		{"outlook", "mso-line-height-rule:exactly;mso-table-lspace:0pt;_height:1px", "mso-line-height-rule: exactly; mso-table-lspace: 0pt; _height: 1px;"},
		{"filter", "filter:progid:DX.M.gradient(startColorstr='#1',endColorstr='#2')", "filter: progid:DX.M.gradient(startColorstr='#1',endColorstr='#2');"},
		{"invalid ones are skipped", "*zoom:1;a:1;b;c:;d:'x\n;e:2;f:3}", "a: 1; e: 2; f: 3;"},
		{"custom property", "--My-x: {a};b:var(--My-x)", ""},
		{"semicolons in strings and urls", "a:';';b:url(a;b);c:x(;)", "a: ';'; b: url(a;b); c: x(;);"},
		{"backslash at the end", "a:1;b:c\\\n;d:2", "a: 1; d: 2;"},
	} {
		t.Run(e.name, func(t *testing.T) {
			want := page("", `<p style="`+e.want+`">`)
			if e.want == "" { // braces look like a nested rule
				want = page("p{"+e.css+"}", `<p>`)
			}
			if got := inlined(t, page("p{"+e.css+"}", `<p>`), Options{}); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestSyntaxError(t *testing.T) {
	for _, css := range []string{"p{x:1} /* never closed", "p{content:'x"} {
		_, err := Inline(t.Context(), []byte("<p>"+style(css)), Options{})
		var se *SyntaxError
		if !errors.As(err, &se) || se.Offset != len("<p><style>") || se.Error() == "" {
			t.Errorf("%q: %v", css, err)
		}
	}
}
