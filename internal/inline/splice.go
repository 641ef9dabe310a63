package inline

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// edit replaces a range of the source.
type edit struct {
	start, end int
	with       string
}

// splice applies edits, which do not overlap. Of those that begin at one place
// insertions come first, in the given order.
func splice(b *budget, src []byte, edits []edit) ([]byte, error) {
	if len(edits) == 0 {
		return src, nil
	}
	slices.SortStableFunc(edits, func(a, b edit) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	size := len(src)
	for _, e := range edits {
		size += len(e.with) - (e.end - e.start)
	}
	if err := b.check("output", size, b.limits.Output); err != nil {
		return nil, err
	}
	out := make([]byte, 0, size)
	last := 0
	for _, e := range edits {
		if e.start < last { // two readings of one range: the first stands
			continue
		}
		out = append(append(out, src[last:e.start]...), e.with...)
		last = e.end
	}
	return append(out, src[last:]...), nil
}

// setStyle is the edit that gives a tag a style attribute, if the tag reads
// back as an element with the style it is believed to have.
func (d *document) setStyle(t *tag, n *html.Node, style string) (edit, bool) {
	old, had := attr(n, "style")
	value := `="` + escape(style) + `"`
	keyEnd, end, found := findAttr(d.src[t.start:t.end], t.nameEnd-t.start, "style")
	if found != had {
		return edit{}, false
	}
	if !found {
		return edit{t.nameEnd, t.nameEnd, " style" + value}, true
	}
	if got, ok := readAttr(d.src[t.start+keyEnd : t.start+end]); !ok || got != old {
		return edit{}, false
	}
	return edit{t.start + keyEnd, t.start + end, value}, true
}

// findAttr finds an attribute in a tag: the end of its name and the end of the
// whole. It reads tags as the tokenizer does; the first of duplicates counts.
func findAttr(tag []byte, i int, key string) (keyEnd, end int, ok bool) {
	skip := func() {
		for i < len(tag) && isSpace(tag[i]) {
			i++
		}
	}
	for skip(); i < len(tag) && tag[i] != '>'; skip() {
		start := i
		for i < len(tag) && !isSpace(tag[i]) && tag[i] != '/' && tag[i] != '>' && (tag[i] != '=' || i == start) {
			i++
		}
		keyEnd, end = i, i
		name := asciiLower(tag[start:i])
		skip()
		if i < len(tag) && tag[i] == '/' {
			i++
		} else if i < len(tag) && tag[i] == '=' {
			i++
			skip()
			i = valueEnd(tag, i)
			end = i
		}
		if name == key {
			return keyEnd, end, true
		}
	}
	return 0, 0, false
}

func valueEnd(tag []byte, i int) int {
	if i < len(tag) && (tag[i] == '"' || tag[i] == '\'') {
		n := bytes.IndexByte(tag[i+1:], tag[i])
		if n < 0 {
			return len(tag)
		}
		return i + 1 + n + 1
	}
	for i < len(tag) && !isSpace(tag[i]) && tag[i] != '>' {
		i++
	}
	return i
}

// readAttr has the tokenizer read what follows an attribute's name.
func readAttr(rest []byte) (string, bool) {
	z := html.NewTokenizer(strings.NewReader("<a style" + string(rest) + ">"))
	if z.Next() != html.StartTagToken {
		return "", false
	}
	t := z.Token()
	if len(t.Attr) != 1 || t.Attr[0].Key != "style" {
		return "", false
	}
	return t.Attr[0].Val, true
}

func escape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "&", "&amp;"), `"`, "&quot;")
}

// cut removes an element. Text before and after it must not become a tag or a
// character reference by standing together, nor a doctype come first.
func (d *document) cut(t *tag) edit {
	if t.start < d.doctype {
		return edit{t.end, t.textEnd, ""}
	}
	before := d.src[max(0, t.start-64):t.start]
	if i := bytes.LastIndexAny(before, "<&"); i >= 0 && !bytes.ContainsAny(before[i:], ">; \t\r\n") {
		return edit{t.start, t.elemEnd, "<!---->"}
	}
	return edit{t.start, t.elemEnd, ""}
}

// removeScripts takes scripts out of the tree and the source.
func (d *document) removeScripts() []edit {
	var gone []*html.Node
	var edits []edit
	for i := range d.tags {
		t := &d.tags[i]
		for _, n := range t.nodes {
			if n.Data != "script" || n.Namespace != "" {
				continue
			}
			gone = append(gone, n)
			if e := d.cut(t); e.start < e.end {
				edits = append(edits, e)
			}
		}
	}
	for _, n := range gone {
		n.Parent.RemoveChild(n)
	}
	return edits
}
