package inline

import (
	"strings"

	"golang.org/x/net/html"
)

// element is an element that can get a style, with the rules that match it.
type element struct {
	node *html.Node
	hits []hit
}

// hit is a selector that matches an element.
//
// Each costs more than a comparison, since it takes memory until the end.
type hit struct {
	sel   *selector
	rule  *rule
	order int
}

const hitCost = 8

// matcher applies rules to the elements of a document.
type matcher struct {
	b        *budget
	doc      *document
	elements []*element
	index    map[string][]*element // by "*", name, ".class" and "#id"
	children map[*html.Node]int
	order    int
	used     []*rule
}

func newMatcher(b *budget, d *document) *matcher {
	m := &matcher{b: b, doc: d, index: make(map[string][]*element), children: make(map[*html.Node]int)}
	m.collect(d.root)
	return m
}

// collect lists the elements that can be seen: none of head or template, and
// no style elements in the body.
func (m *matcher) collect(parent *html.Node) {
	for n := range parent.ChildNodes() {
		m.children[parent]++
		if n.Type != html.ElementNode || n.Namespace == "" && unseen(n.Data) {
			continue
		}
		e := &element{node: n}
		m.elements = append(m.elements, e)
		m.put("*", e)
		m.put(strings.ToLower(n.Data), e)
		if id, ok := attr(n, "id"); ok {
			m.put("#"+id, e)
		}
		if class, ok := attr(n, "class"); ok {
			for c := range strings.FieldsSeq(class) {
				m.put("."+c, e)
			}
		}
		m.collect(n)
	}
}

func unseen(name string) bool {
	switch name {
	case "head", "template", "style", "link", "meta", "title":
		return true
	}
	return false
}

func (m *matcher) put(key string, e *element) {
	if l := m.index[key]; len(l) > 0 && l[len(l)-1] == e {
		return
	}
	m.index[key] = append(m.index[key], e)
}

// add matches the rules of a sheet.
func (m *matcher) add(s *sheet) error {
	for _, r := range s.rules {
		if r.verbatim || len(r.decls) == 0 {
			continue
		}
		m.used = append(m.used, r)
		for i := range r.inline {
			sel := &r.inline[i]
			m.order++
			for _, e := range m.index[sel.key] {
				got, err := m.match(sel, len(sel.compounds)-1, e.node)
				if err != nil {
					return err
				}
				if got == matches {
					m.b.spent += hitCost
					e.hits = append(e.hits, hit{sel, r, m.order})
				}
			}
		}
	}
	return m.b.alive()
}

// outcome says how far a failure reaches, so that no combinator is tried again
// where it must fail again: matching stays polynomial.
type outcome int

const (
	matches       outcome = iota
	failsHere             // another sibling or ancestor may do
	failsSiblings         // no sibling will
	failsEntirely         // no ancestor will
)

// match tests compounds 0..i of a selector with n as the subject of the last.
func (m *matcher) match(s *selector, i int, n *html.Node) (outcome, error) {
	c := &s.compounds[i]
	if err := m.b.spend(c.cost * m.cost(c, n)); err != nil {
		return failsEntirely, err
	}
	switch {
	case !c.sel.Match(n):
		return failsHere, nil
	case i == 0:
		return matches, nil
	}
	switch s.combs[i-1] {
	case '>':
		if p := parentOf(n); p != nil {
			return m.match(s, i-1, p)
		}
	case ' ':
		for p := parentOf(n); p != nil; p = parentOf(p) {
			got, err := m.match(s, i-1, p)
			if err != nil || got == matches || got == failsEntirely {
				return got, err
			}
		}
	default:
		for p := m.previous(n); p != nil; p = m.previous(p) {
			got, err := m.match(s, i-1, p)
			if err != nil || got != failsHere || s.combs[i-1] == '+' {
				return got, err
			}
		}
		return failsSiblings, nil
	}
	return failsEntirely, nil
}

// cost estimates what one comparison with n takes.
func (m *matcher) cost(c *compound, n *html.Node) int {
	size := 0
	for _, a := range n.Attr {
		size += len(a.Val)
	}
	cost := 1 + len(n.Attr)/4 + size/256
	if c.siblings && n.Parent != nil {
		cost += m.children[n.Parent]
	}
	return cost
}

func parentOf(n *html.Node) *html.Node {
	if p := n.Parent; p != nil && p.Type == html.ElementNode {
		return p
	}
	return nil
}

func (m *matcher) previous(n *html.Node) *html.Node {
	for p := n.PrevSibling; p != nil; p = p.PrevSibling {
		m.b.spent++
		if p.Type == html.ElementNode {
			return p
		}
	}
	return nil
}
