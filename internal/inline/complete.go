package inline

import (
	"strings"

	"golang.org/x/net/html"
)

// completion is the tags that a source leaves out. A nil one adds nothing.
type completion struct {
	html, body *html.Node // elements that get their tag from us
	style      map[*html.Node]string

	htmlAt, headAt, bodyAt, bodyEnd, htmlEnd int // -1: the source has it
}

// complete finds the places for html, head and body tags. The result must
// parse to the same tree and be complete, else nothing is added.
func complete(b *budget, d *document) (*completion, error) {
	c := missing(d)
	if c == nil {
		return c, nil
	}
	out, err := splice(b, d.src, c.edits())
	if err != nil {
		return nil, err
	}
	whole, err := read(b, out)
	if err != nil {
		return nil, err
	}
	if missing(whole) != nil || outline(whole.root) != outline(d.root) {
		c = nil
	}
	return c, nil
}

// missing is nil if no tag is missing, or if they cannot be added.
func missing(d *document) *completion {
	c := &completion{style: make(map[*html.Node]string), htmlAt: -1, headAt: -1, bodyAt: -1, bodyEnd: -1, htmlEnd: -1}
	var head *html.Node
	for n := range d.root.ChildNodes() {
		if n.Type == html.ElementNode {
			c.html = n
		}
	}
	if c.html == nil {
		return nil
	}
	for n := range c.html.ChildNodes() {
		switch n.Data {
		case "head":
			head = n
		case "body":
			c.body = n
		}
	}
	if head == nil || c.body == nil { // a frameset
		return nil
	}
	if !c.place(d, head) {
		return nil
	}
	if c.htmlAt < 0 && c.headAt < 0 && c.bodyAt < 0 && c.bodyEnd < 0 && c.htmlEnd < 0 {
		return nil
	}
	return c
}

// place is false if a tag that is there stands behind what it should contain.
func (c *completion) place(d *document, head *html.Node) bool {
	ends := map[string]int{}
	afterHTML := d.prolog
	for _, t := range d.tags {
		if t.endTag {
			ends[t.name] = t.start
		}
	}
	if num, ok := d.tagOf[c.html]; ok {
		if d.tags[num].start != d.prolog {
			return false
		}
		afterHTML = d.tags[num].end
		c.html = nil
	} else {
		c.htmlAt = d.prolog
	}
	bodyAt := d.bodyStart(head)
	if num, ok := d.tagOf[c.body]; ok {
		if d.tags[num].start != bodyAt {
			return false
		}
		c.body = nil
	} else {
		c.bodyAt = bodyAt
	}
	if _, ok := d.tagOf[head]; !ok {
		c.headAt = afterHTML
		if c.bodyAt < 0 { // </head> is written there
			c.bodyAt = bodyAt
		}
	}
	htmlEnd, closed := ends["html"]
	if !closed {
		htmlEnd = len(d.src)
		c.htmlEnd = htmlEnd
	}
	if _, ok := ends["body"]; !ok {
		c.bodyEnd = htmlEnd
	}
	return true
}

// bodyStart is the place of the first thing that is not in head.
func (d *document) bodyStart(head *html.Node) int {
	at := len(d.src)
	open := 0 // end of the head element being passed
	for i := range d.tags {
		t := &d.tags[i]
		switch {
		case t.start < open || t.name == "html" && !t.endTag || t.name == "head":
		case len(t.nodes) > 0 && inside(t.nodes[0], head):
			open = max(t.elemEnd, t.end)
		case t.endTag && t.name != "br" && t.name != "body" && t.name != "html": // ignored before body
		default:
			at = min(at, t.start)
		}
		if at < len(d.src) {
			break
		}
	}
	for _, x := range d.texts {
		if x.start < at {
			return x.start
		}
	}
	return at
}

func inside(n, ancestor *html.Node) bool {
	for ; n != nil; n = n.Parent {
		if n == ancestor {
			return true
		}
	}
	return false
}

// take gives an added element its style.
func (c *completion) take(n *html.Node, style string) bool {
	if c == nil || n == nil || n != c.html && n != c.body {
		return false
	}
	c.style[n] = style
	return true
}

func (c *completion) edits() []edit {
	if c == nil {
		return nil
	}
	open := func(name string, n *html.Node) string {
		if s, ok := c.style[n]; ok {
			return "<" + name + ` style="` + escape(s) + `">`
		}
		return "<" + name + ">"
	}
	var out []edit
	add := func(at int, s string) {
		if at >= 0 && s != "" {
			out = append(out, edit{at, at, s})
		}
	}
	if c.html != nil {
		add(c.htmlAt, open("html", c.html))
	}
	add(c.headAt, "<head>")
	body := ""
	if c.headAt >= 0 {
		body = "</head>"
	}
	if c.body != nil {
		body += open("body", c.body)
	}
	add(c.bodyAt, body)
	add(c.bodyEnd, "</body>")
	add(c.htmlEnd, "</html>")
	return out
}

// outline writes a tree as text, to compare it with another: elements with
// their attributes, and text without white space.
func outline(root *html.Node) string {
	var out strings.Builder
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			out.WriteString(strings.Join(strings.Fields(n.Data), ""))
		}
		if n.Type == html.CommentNode {
			out.WriteString("\x00!" + n.Data + "\x00>")
		}
		if n.Type == html.ElementNode {
			out.WriteString("\x00<" + n.Namespace + ":" + n.Data)
			for _, a := range n.Attr {
				out.WriteString("\x00" + a.Namespace + ":" + a.Key + "=" + a.Val)
			}
			out.WriteByte('>')
		}
		for c := range n.ChildNodes() {
			walk(c)
		}
		if n.Type == html.ElementNode {
			out.WriteString("\x00>")
		}
	}
	walk(root)
	return out.String()
}
