package inline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// apply returns the edits that give the matched elements their styles.
func (m *matcher) apply(added *completion) ([]edit, error) {
	styles := make(map[*html.Node]string)
	cache := make(map[string]string)
	size := 0
	for _, e := range m.elements {
		if len(e.hits) == 0 {
			continue
		}
		style, err := m.style(e, cache)
		if err != nil {
			return nil, err
		}
		size += len(style)
		if err := m.b.check("output", size, m.b.limits.Output); err != nil {
			return nil, err
		}
		styles[e.node] = style
	}
	var out []edit
	for _, e := range m.elements {
		style, ok := styles[e.node]
		if !ok || added.take(e.node, style) {
			continue
		}
		num, numbered := m.doc.tagOf[e.node]
		if !numbered || !sameForAll(m.doc.tags[num].nodes, styles) {
			e.stayInSheet()
			continue
		}
		t := &m.doc.tags[num]
		if t.nodes[0] != e.node { // done with the first
			continue
		}
		if old, had := attr(e.node, "style"); had && old == style {
			continue
		}
		ed, ok := m.doc.setStyle(t, e.node, style)
		if !ok {
			e.stayInSheet()
			continue
		}
		out = append(out, ed)
	}
	return out, nil
}

// stayInSheet keeps the rules that the element cannot carry itself.
func (e *element) stayInSheet() {
	for _, h := range e.hits {
		h.rule.keep = true
	}
}

// sameForAll says that all elements made by one tag get one style.
func sameForAll(nodes []*html.Node, styles map[*html.Node]string) bool {
	for _, n := range nodes[1:] {
		a, okA := styles[n]
		b, okB := styles[nodes[0]]
		if a != b || okA != okB {
			return false
		}
	}
	return true
}

// style computes an element's style attribute.
func (m *matcher) style(e *element, cache map[string]string) (string, error) {
	slices.SortFunc(e.hits, func(a, b hit) int {
		if a.sel.spec != b.sel.spec {
			if a.sel.spec.Less(b.sel.spec) {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.order, b.order)
	})
	old, _ := attr(e.node, "style")
	var key strings.Builder
	for _, h := range e.hits {
		key.WriteString(strconv.Itoa(h.order))
		key.WriteByte(' ')
	}
	key.WriteString(old)
	if err := m.b.spend(1 + len(e.hits) + key.Len()/64); err != nil {
		return "", err
	}
	if s, ok := cache[key.String()]; ok {
		return s, nil
	}
	toks, _ := lex([]byte(old))
	var l list
	for _, d := range parseDecls([]byte(old), toks, true) {
		l = append(l, entry{decl: d})
	}
	for _, important := range []bool{false, true} {
		for _, h := range e.hits {
			for _, d := range h.rule.decls {
				if d.important != important {
					continue
				}
				if err := m.b.spend(1 + len(l)); err != nil {
					return "", err
				}
				l = l.set(entry{d, h.order})
			}
		}
	}
	s := l.String()
	cache[key.String()] = s
	return s, nil
}

// list is a style under construction, weakest declaration first.
type list []entry

// entry is a declaration with the order number of its rule, 0 for the style
// attribute.
type entry struct {
	decl

	from int
}

func (l list) String() string {
	var out strings.Builder
	for i, e := range l {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(e.String())
	}
	return out.String()
}

// set adds a declaration stronger than all of its importance before it.
func (l list) set(e entry) list {
	place, fallback := -1, false
	for i, o := range l {
		if o.name != e.name {
			continue
		}
		if o.important && !e.important {
			return l
		}
		fallback = fallback || o.from == e.from && o.important == e.important
		if place < 0 {
			place = i
		}
	}
	if place < 0 || fallback {
		return append(l, e)
	}
	inPlace := true
	for _, o := range l[place+1:] {
		if o.name != e.name && related(o.name, e.name) {
			inPlace = false
		}
	}
	out := l[:place]
	rest := l[place+1:]
	if inPlace {
		out = append(out, e)
	}
	for _, o := range rest {
		if o.name != e.name {
			out = append(out, o)
		}
	}
	if !inPlace {
		out = append(out, e)
	}
	return out
}

// related says that two properties may set the same thing, so that the order
// of their declarations matters.
func related(a, b string) bool {
	return group(a) == group(b) || group(a) == "" || group(b) == ""
}

// group is the first word of a property's name, "" for properties that set
// those of other names.
func group(name string) string {
	name = strings.TrimLeft(name, "-")
	switch {
	case name == "all", name == "", strings.HasPrefix(name, "webkit-"), strings.HasPrefix(name, "moz-"), strings.HasPrefix(name, "ms-"):
		return ""
	case name == "line-height":
		return "font"
	}
	word, _, _ := strings.Cut(name, "-")
	switch word {
	case "top", "right", "bottom", "left":
		return "inset"
	case "place", "align", "justify":
		return "place"
	case "row", "gap", "column", "columns":
		return "grid"
	case "page":
		return "break"
	}
	return word
}
