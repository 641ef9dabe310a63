package inline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// tag is a tag of the source. For raw text elements (style, script) it knows
// where the text and the element end.
type tag struct {
	name             string
	start, nameEnd   int
	end              int
	textEnd, elemEnd int
	endTag           bool
	plain            bool // not numbered: see formatting
	nodes            []*html.Node
}

// text is a piece of text which is more than white space.
type text struct{ start, end int }

// document is a source with its tags and its tree.
type document struct {
	src     []byte
	tags    []tag
	texts   []text
	prolog  int // first byte that is no doctype, comment or white space
	doctype int // end of the last doctype
	open    int // number of the raw text element without an end tag, or -1
	root    *html.Node
	tagOf   map[*html.Node]int
}

// read tokenizes the source, then parses it with its tags numbered.
func read(b *budget, src []byte) (*document, error) {
	d := &document{src: src, prolog: -1, open: -1, tagOf: make(map[*html.Node]int)}
	if err := d.tokenize(b); err != nil {
		return nil, err
	}
	if err := d.plain(b); err != nil {
		return nil, err
	}
	mark := d.unusedName()
	root, err := parseTree(b, d.numbered(mark))
	if err != nil {
		return nil, err
	}
	d.root = root
	d.claim(root, mark)
	return d, nil
}

func (d *document) tokenize(b *budget) error {
	z := html.NewTokenizer(bytes.NewReader(d.src))
	pos, raw := 0, -1 // raw: the open raw text element
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := b.alive(); err != nil {
				return err
			}
		}
		tt := z.Next()
		if tt == html.ErrorToken {
			break
		}
		start, end := pos, pos+len(z.Raw())
		pos = end
		if raw >= 0 && tt == html.TextToken {
			d.tags[raw].textEnd, d.tags[raw].elemEnd = end, end
			continue
		}
		if raw >= 0 {
			if tt == html.EndTagToken {
				d.tags[raw].elemEnd = end
			}
			raw = -1
		}
		switch tt {
		case html.ErrorToken:
		case html.DoctypeToken:
			d.doctype = end
		case html.CommentToken:
		case html.TextToken:
			if len(bytes.TrimLeft(d.src[start:end], " \t\r\n\f")) > 0 {
				d.begin(start)
				d.texts = append(d.texts, text{start, end})
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			d.begin(start)
			t := d.newTag(start, end, tt == html.EndTagToken)
			d.tags = append(d.tags, t)
			if len(d.tags) > b.limits.Tags {
				return &LimitError{What: "tags", Limit: b.limits.Tags}
			}
			if t.endTag {
				continue
			}
			if t.name == "noscript" { // mail clients run no scripts
				z.NextIsNotRawText()
			}
			if t.name == "style" || t.name == "script" || t.name == "title" {
				raw = len(d.tags) - 1
			}
		}
	}
	if raw >= 0 { // it runs to the end
		d.tags[raw].textEnd, d.tags[raw].elemEnd = len(d.src), len(d.src)
		d.open = raw
	}
	d.begin(len(d.src))
	return nil
}

func (d *document) begin(at int) {
	if d.prolog < 0 {
		d.prolog = at
	}
}

func (d *document) newTag(start, end int, endTag bool) tag {
	i := start + 1
	if endTag {
		i++
	}
	n := i
	for n < end && !isSpace(d.src[n]) && d.src[n] != '/' && d.src[n] != '>' {
		n++
	}
	return tag{
		name: asciiLower(d.src[i:n]), start: start, nameEnd: n, end: end,
		textEnd: end, elemEnd: end, endTag: endTag,
	}
}

// plain finds the formatting elements whose start tags nest more than three
// deep, and leaves all of their name without a number. HTML keeps but three
// elements of equal attributes in its list of active formatting elements; the
// numbers would make them unequal. Counting errs towards too many.
func (d *document) plain(b *budget) error {
	var open []string // formatting elements, and "" for what hides them
	count, deep := map[string]int{}, map[string]bool{}
	for i := range d.tags {
		t := &d.tags[i]
		switch {
		case formatting(t.name) && !t.endTag:
			open = append(open, t.name)
			if count[t.name]++; count[t.name] > 3 {
				deep[t.name] = true
			}
		case formatting(t.name):
			j := len(open) - 1
			for j >= 0 && open[j] != "" && open[j] != t.name {
				j--
			}
			if err := b.spend(len(open) - j); err != nil {
				return err
			}
			if j >= 0 && open[j] != "" {
				open = append(open[:j], open[j+1:]...)
				count[t.name]--
			}
		case hides(t.name) && !t.endTag:
			open = append(open, "")
		case hides(t.name):
			j := len(open) - 1
			for j >= 0 && open[j] != "" {
				j--
			}
			if err := b.spend(len(open) - j); err != nil {
				return err
			}
			if j >= 0 {
				open = append(open[:j], open[j+1:]...)
			}
		}
	}
	for i := range d.tags {
		d.tags[i].plain = deep[d.tags[i].name]
	}
	return nil
}

// formatting names the active formatting elements of HTML that can nest.
func formatting(name string) bool {
	switch name {
	case "b", "big", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u":
		return true
	}
	return false
}

// hides names the elements inside which those outside cannot be closed.
func hides(name string) bool {
	switch name {
	case "td", "th", "caption", "applet", "marquee", "object", "template":
		return true
	}
	return false
}

// unusedName is an attribute name that does not occur in the source.
func (d *document) unusedName() string {
	const stem = "data-tag"
	const digits = 8 // more numbers than a source has room for names
	low := bytes.ToLower(d.src)
	taken := make(map[string]bool)
	for rest := low; ; {
		_, after, found := bytes.Cut(rest, []byte(stem))
		if !found {
			break
		}
		taken[string(after[:min(digits, len(after))])] = true
		rest = after
	}
	if len(taken) == 0 {
		return stem
	}
	for n := 0; ; n++ {
		if number := fmt.Sprintf("%0*d", digits, n); !taken[number] {
			return stem + number
		}
	}
}

func (d *document) numbered(mark string) []byte {
	out := make([]byte, 0, len(d.src)+len(d.tags)*(len(mark)+8))
	last := 0
	for i, t := range d.tags {
		if t.endTag || t.plain {
			continue
		}
		out = append(out, d.src[last:t.nameEnd]...)
		out = append(out, ' ')
		out = append(out, mark...)
		out = append(out, '=')
		out = strconv.AppendInt(out, int64(i), 10)
		out = append(out, ' ')
		last = t.nameEnd
	}
	return append(out, d.src[last:]...)
}

// parseTree parses as a client does that runs no scripts. The reader hands out
// little at a time and asks the context, which ends slow parses too.
func parseTree(b *budget, src []byte) (*html.Node, error) {
	r := &source{rest: src, alive: b.alive}
	root, err := html.ParseWithOptions(r, html.ParseOptionEnableScripting(false))
	switch {
	case err == nil:
		return root, nil
	case r.err != nil:
		return nil, r.err
	case errors.Is(err, html.ErrBufferExceeded):
		return nil, err
	}
	// All else that stops the parser is the depth of its stack.
	return nil, &LimitError{What: "elements", Limit: 512}
}

type source struct {
	rest  []byte
	alive func() error
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.alive(); s.err != nil {
		return 0, s.err
	}
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(len(s.rest), 4096)])
	s.rest = s.rest[n:]
	return n, nil
}

// claim takes the numbers off the tree again.
func (d *document) claim(root *html.Node, mark string) {
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for i, a := range n.Attr {
			if a.Key != mark || a.Namespace != "" {
				continue
			}
			n.Attr = append(n.Attr[:i:i], n.Attr[i+1:]...)
			num, err := strconv.Atoi(a.Val)
			if err == nil && num < len(d.tags) && strings.EqualFold(d.tags[num].name, n.Data) {
				d.tagOf[n] = num
				d.tags[num].nodes = append(d.tags[num].nodes, n)
			}
			break
		}
	}
}

// openEnd is the end tag that the last element lacks if it is one we remove.
func (d *document) openEnd() string {
	if d.open < 0 || d.tags[d.open].name == "title" {
		return ""
	}
	for _, n := range d.tags[d.open].nodes {
		if n.Namespace == "" {
			return "</" + d.tags[d.open].name + ">"
		}
	}
	return ""
}

func attr(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key && a.Namespace == "" {
			return a.Val, true
		}
	}
	return "", false
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'
}

func asciiLower(s []byte) string {
	low := make([]byte, len(s))
	for i, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	return string(low)
}
