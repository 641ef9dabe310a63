package inline

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"pgregory.net/rapid"
)

// The style attribute in all the ways it is written.
func TestStyleAttribute(t *testing.T) {
	for _, e := range []struct{ src, want string }{
		{`<p style='a:1;font:"X"'>`, `<p style="a: 1; font: &quot;X&quot;; x: 1;">`},
		{`<p style=a:1>`, `<p style="a: 1; x: 1;">`},
		{`<p STYLE = "a:1"class=c>`, `<p STYLE="a: 1; x: 1;"class=c>`},
		{`<p style>`, `<p style="x: 1;">`},
		{`<p style=>`, `<p style="x: 1;">`},
		{`<p style="">`, `<p style="x: 1;">`},
		{`<p style="a:1" style="a:2">`, `<p style="a: 1; x: 1;" style="a:2">`},
		{`<p style="a:&quot;&amp;&eacute;&quot;">`, `<p style="a: &quot;&amp;é&quot;; x: 1;">`},
		{`<p style="a:url(?b&copy=1)">`, `<p style="a: url(?b&amp;copy=1); x: 1;">`},
		{`<p data-style="q" title='style="z"'>`, `<p style="x: 1;" data-style="q" title='style="z"'>`},
		{"<p\n\tclass=c\n>", "<p style=\"x: 1;\"\n\tclass=c\n>"},
		{`<p/>`, `<p style="x: 1;"/>`},
		{`<p a= b=c/d / e="f>g">`, `<p style="x: 1;" a= b=c/d / e="f>g">`},
		{`<p =style=1>`, `<p style="x: 1;" =style=1>`},
		{`<p style="{{mess}} ; *zoom:1;b:2">`, `<p style="{{mess}}; *zoom:1; b: 2; x: 1;">`},
		{`<p style="b:2; /* open">`, `<p style="b: 2; x: 1;">`},
		{`<p style="word-break: break-word;x:0">`, `<p style="word-break: break-word; x: 1;">`},
		{`<p style="color:rgb(1,2,3)">`, `<p style="color: rgb(1,2,3); x: 1;">`},
		{`<P Class="A&amp;B" data-tag=1>`, `<P style="x: 1;" Class="A&amp;B" data-tag=1>`},
	} {
		if got, want := inlined(t, page("p{x:1}", e.src), Options{}), page("", e.want); got != want {
			t.Errorf("%s\ngave %s\nwant %s", e.src, got, want)
		}
	}
}

func TestScripts(t *testing.T) {
	for _, e := range []struct{ src, want string }{
		{`<p>a<script src=x></script>b<SCRIPT>if (a<b) "</p>"</SCRIPT >c`, `<p>abc`},
		{`a&am<script></script>p;`, `a&am<!---->p;`},
		{`a &<script></script>lt;<b>`, `a &<!---->lt;<b>`},
		{`<script>never closed <p>`, ``},
		{`<script></script><!DOCTYPE html><p>`, `<script></script><!DOCTYPE html><p>`},
		{`<!--<script></script>--><p>`, `<!--<script></script>--><p>`},
		{`<i></i><script></script><b></b>` + style("i+b{x:1}"), `<i></i><b style="x: 1;"></b>`},
	} {
		if got := inlined(t, e.src, Options{}); got != e.want {
			t.Errorf("%s\ngave %s\nwant %s", e.src, got, e.want)
		}
	}
}

// Elements that are not where their tags are, or have none.
func TestMisplaced(t *testing.T) {
	check(t, Options{}, []example{
		{"no body tag", style("body,p{x:1}") + "<p>", `<style>@media all{body,p{x:1}}</style><p style="x: 1;">`},
		{"no tbody tag", page("tbody{x:1}", "<table><tr><td>1</table>"), page("@media all{tbody{x:1}}", "<table><tr><td>1</table>")},
		{"foster parenting", page("p{x:1}", "<table><tr><p>1<td>2</table>"), page("", `<table><tr><p style="x: 1;">1<td>2</table>`)},
		{"clones alike", page("b{x:1}", "<p><b>1<p>2</b>3"), page("", `<p><b style="x: 1;">1<p>2</b>3`)},
		{"clones that differ", page("#a b{x:1}", "<p id=a><b>1<p>2</b>3"), page("@media all{#a b{x:1}}", "<p id=a><b>1<p>2</b>3")},
		{"two bodies", page("body{x:1}", "<body class=c>y"), strings.Replace(page("", "<body class=c>y"), "<body>", `<body style="x: 1;">`, 1)},
		{"second body has the style", page("body{x:1}", "<body style='y:2'>"), page("@media all{body{x:1}}", "<body style='y:2'>")},
		{"deep formatting", page("b,i{x:1}", "<b><b><b><b>1</b></b></b></b><i>2</i>"), page("@media all{b,i{x:1}}", `<b><b><b><b>1</b></b></b></b><i style="x: 1;">2</i>`)},
		{"formatting one after another", page("b{x:1}", strings.Repeat("<b>1</b>", 9)), page("", strings.Repeat(`<b style="x: 1;">1</b>`, 9))},
		{"cdata", page("p,b{x:1}", `<svg><![CDATA[<p>]]></svg><b>`), page("", `<svg><![CDATA[<p>]]></svg><b style="x: 1;">`)},
		{"svg title", page("p,b{x:1}", `<svg><title><a x="</title><p>"></a></title></svg><b>`), page("", `<svg><title><a x="</title><p>"></a></title></svg><b style="x: 1;">`)},
		{"noscript", page("p{x:1}", `<noscript><p>1</noscript>`), page("", `<noscript><p style="x: 1;">1</noscript>`)},
		{"unclosed tag at the end", page("p{x:1}", "<p>1") + `<p class="`, page("", `<p style="x: 1;">1`) + `<p class="`},
	})
}

// A typical mail: the parts that old clients need stay as they are.
func TestMail(t *testing.T) {
	const src = `<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:v="urn:schemas-microsoft-com:vml">
<HEAD><meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<!--[if mso]><style>.outlook { width: 600px }</style><xml><o:OfficeDocumentSettings/></xml><![endif]-->
<style type="text/css">
  body { margin: 0; font-family: "Helvetica Neue", Arial }
  .btn { background: rgb(34, 98, 245); color: #fff }
  .btn:hover { background: red }
  @media only screen and (max-width: 600px) { .col { width: 100% !important } }
  table td.col { width: 300px }
</style>
</HEAD>
<BODY bgcolor=#eeeeee>
<!--[if (gte mso 9)|(IE)]><table width="600"><tr><td><![endif]-->
<![if !mso]><table width='100%' cellpadding=0><tbody><tr><td class="col" align=center>Caf&eacute; &nbsp;&copy 2020</td></tr></tbody></table><![endif]>
<!--[if !mso]><!--><a class='btn' href="https://x.example/?a=1&b=2">Go &raquo;</a><!--<![endif]-->
<!--[if mso]><v:roundrect style="width:200px" arcsize="8%"></v:roundrect><![endif]-->
<v:rect class="btn" style="width:1px"/>
</BODY>
</html>
`
	want := strings.NewReplacer(
		"\n  body { margin: 0; font-family: \"Helvetica Neue\", Arial }\n  .btn { background: rgb(34, 98, 245); color: #fff }", "",
		".btn:hover { background: red }", ".btn:hover { background: red !important }",
		"\n  table td.col { width: 300px }", "",
		"<BODY", `<BODY style="margin: 0; font-family: &quot;Helvetica Neue&quot;, Arial;"`,
		"<td class", `<td style="width: 300px;" class`,
		"<a class", `<a style="background: #2262F5; color: #fff;" class`,
		`"width:1px"`, `"width: 1px; background: #2262F5; color: #fff;"`,
	).Replace(src)
	check(t, Options{}, []example{{"mail", src, want}, {"without style", "<!--[if mso]> <p> <![endif]--><P\tX=&amp>", "<!--[if mso]> <p> <![endif]--><P\tX=&amp>"}})
}

// Where the source has no style attributes, taking ours away gives it back.
func TestUntouchedBytes(t *testing.T) {
	pieces := []string{
		"<p>", "</p>", "<P CLASS='a b'>", "<table\n>", "<tr><td width=1>", "</table>", "<b>", "</b>", "<i id=i>", "<br/>", "<img src=a/b />",
		"<!--[if mso]><p><![endif]-->", "<![if !mso]>", "<![endif]>", "<!-- x -->", "text", " \r\n", "&amp;&nbsp", "&", "<", "é", "\xff", "<svg><path d=''/></svg>",
		"<v:rect fill=\"t\">", "<a href=\"?a&b\">", "</a>", "</div>", "<div class=a>", "<noscript>", "</noscript>", "<select><option>", "<title>", "</title>", "<font>",
	}
	rules := []string{"p{x:1}", ".a{y:2 !important}", "* b,i{z:3}", "td:first-child{w:4}", "div>.b{v:5}", "#i~b{u:6}", "a:hover{t:7}", "body{s:8}", "h9{r:9}"}
	rapid.Check(t, func(t *rapid.T) {
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 30).Draw(t, "pieces"), "")
		css := strings.Join(rapid.SliceOfN(rapid.SampledFrom(rules), 0, 6).Draw(t, "rules"), " ")
		head := "<!doctype html><html><head><title>t</title>"
		out, err := Inline(t.Context(), []byte(head+style(css)+"</head><body>"+body), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := unstyled(out), head+"</head><body>"+body; got != want {
			t.Fatalf("got\n%q\nwant\n%q", got, want)
		}
	})
}

// unstyled removes the first style element and all style attributes of the
// form we insert.
func unstyled(out []byte) string {
	if a := bytes.Index(out, []byte("<style>")); a >= 0 {
		b := bytes.Index(out, []byte("</style>"))
		out = append(bytes.Clone(out[:a]), out[b+len("</style>"):]...)
	}
	var s strings.Builder
	z := html.NewTokenizer(bytes.NewReader(out))
	pos := 0
	for z.Next() != html.ErrorToken {
		raw := string(z.Raw())
		pos += len(raw)
		if strings.HasPrefix(raw, "<noscript") {
			z.NextIsNotRawText()
		}
		if i := strings.Index(raw, ` style="`); i > 0 && raw[0] == '<' && raw[1] != '!' {
			j := i + len(` style="`)
			raw = raw[:i] + raw[j+strings.IndexByte(raw[j:], '"')+1:]
		}
		s.WriteString(raw)
	}
	return s.String() + string(out[pos:])
}
