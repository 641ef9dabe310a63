package inline

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func FuzzInline(f *testing.F) {
	for _, css := range []string{"p{x:1}", "*{a:1}b:hover{c:d}", "@media x{a{b:c}}p,i{x:rgb(1,2,3)!important}", "#i>.c~b[x='1']{y:2}/**/", "<!-- p{x:\\;} -->", "p{x:1;y:(}"} {
		for _, body := range []string{
			"<p id=i class='c d' style='a:b'>x<b x=1></b>", "<table><tr><p>x<td><b><i>y</b></i>z</table>", "<svg><title><a x=\"</title><p>\"><style>p{x:1}</style>",
			"<!--[if mso]><p><![endif]--><![if !mso]><p><![endif]>", "a&am<script></script>p;<p style=\"a:&quot;\" style=b>", "<b><b><b><b>1<p>2</b>3<body x><html y>",
			"<noscript><p></noscript><select><option><p>", "<script></script><!DOCTYPE a><p><table>", "<math><mi><p><annotation-xml encoding=text/html><p>",
		} {
			f.Add(style(css)+body, true)
			f.Add("<!DOCTYPE html><html><head>"+style(css)+"</head><body>"+body, false)
		}
	}
	for _, src := range []string{ // once wrong
		"<stYle>", "</A><sCript>", "x<svg><title><A", "<stYle>x:0{A:0</stYle", "<style>p{a:0</style><!0", "<b><b><b><b>1<p>2</b>3<body x><html y>",
	} {
		f.Add(src, true)
	}
	f.Fuzz(func(t *testing.T, src string, document bool) {
		o := Options{Document: document, Limits: Limits{HTML: 1 << 16, CSS: 1 << 14, Work: 200_000, Output: 1 << 17}}
		in := []byte(src)
		out, err := Inline(t.Context(), in, o)
		if string(in) != src {
			t.Fatal("the input was changed")
		}
		if err != nil {
			var le *LimitError
			var se *SyntaxError
			if out != nil || !errors.As(err, &le) && !errors.As(err, &se) {
				t.Fatalf("%v with %q", err, out)
			}
			return
		}
		if len(out) > 1<<17 {
			t.Fatalf("%d bytes", len(out))
		}
		if a, b := skeleton(t, in), skeleton(t, out); a != b {
			t.Fatalf("source\n%q\nresult\n%q\ntree\n%q\nnow\n%q", in, out, a, b)
		}
		again, err := Inline(t.Context(), out, o)
		var le *LimitError
		if err == nil && !bytes.Equal(again, out) || err != nil && !errors.As(err, &le) {
			t.Fatalf("source\n%q\nresult\n%q\nagain\n%q\n%v", in, out, again, err)
		}
	})
}

// skeleton is the outline of a tree without what Inline may change.
func skeleton(t *testing.T, src []byte) string {
	t.Helper()
	root, err := html.ParseWithOptions(bytes.NewReader(src), html.ParseOptionEnableScripting(false))
	if err != nil {
		t.Fatal(err)
	}
	var gone []*html.Node
	var comments strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.CommentNode { // without the style before it, one may come to stand before <html>
			gone = append(gone, n)
			comments.WriteString(n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		if n.Namespace == "" && (n.Data == "script" || n.Data == "style") {
			gone = append(gone, n)
		}
		attrs := n.Attr
		n.Attr = nil
		for _, a := range attrs {
			if a.Key != "style" {
				n.Attr = append(n.Attr, a)
			}
		}
	}
	for _, n := range gone {
		n.Parent.RemoveChild(n)
	}
	return outline(root) + comments.String()
}

func BenchmarkInline(b *testing.B) {
	css := "body{margin:0}td{padding:0;font:12px Arial}.btn{background:rgb(1,2,3)}a:hover{color:red}@media (max-width:9px){td{width:100%}}" +
		strings.Repeat(".unused .a>b{x:1}h1.none{y:2}", 50)
	row := `<!--[if mso]><table><tr><td><![endif]--><tr><td class="c" width=1 style="color:blue">Some text here &amp; there</td><td><a class='btn' href="https://x.example/?a=1">Go</a></td></tr>`
	src := []byte(page(css, "<table><tbody>"+strings.Repeat(row, 100)+"</table>"))
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Inline(b.Context(), src, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
