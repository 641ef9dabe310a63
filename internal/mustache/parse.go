package mustache

import (
	"cmp"
	"slices"
	"strings"
)

// Parse reads a template. The error is [SyntaxErrors] or a [*LimitError].
func Parse(text string, o Options) (*Template, error) {
	o = o.withDefaults()
	if len(text) > o.MaxSize {
		return nil, &LimitError{Limit: LimitSize, Max: o.MaxSize}
	}
	p := &parser{text: text, options: o, open: []block{{}}}
	if err := p.run(); err != nil {
		return nil, err
	}
	if len(p.mistakes) > 0 {
		return nil, p.report()
	}
	return &Template{text: text, nodes: p.open[0].nodes, options: o, placeholders: p.placeholders}, nil
}

type parser struct {
	text         string
	options      Options
	open         []block // the root and the open blocks
	mistakes     []mistake
	tags         int // so far; a path of n keys counts n times
	placeholders int
}

// block is a block whose closing tag has not been seen; nodes collects its body.
type block struct {
	node  node
	name  string // path, which the closing tag repeats
	each  bool
	at    int // of the first opener: an {{^a}} inside {{#a}} keeps it
	depth int // levels below the root
	nodes []node
}

func (p *parser) run() error {
	s := scanner{text: p.text}
	end := 0
	for t, ok := s.next(); ok; t, ok = s.next() {
		p.addText(end, t.start)
		if err := p.tag(t); err != nil {
			return err
		}
		if p.tags++; p.tags > p.options.MaxTags {
			return p.limit(LimitTags, p.options.MaxTags, t.start)
		}
		end = t.end
	}
	p.addText(end, len(p.text))
	for _, b := range p.open[1:] {
		p.mistake(b.at, textUnclosed, b.name)
	}
	return nil
}

func (p *parser) tag(t tag) error {
	switch v, arg := t.read(); v {
	case verbValue:
		return p.value(kindValue, t.start, arg)
	case verbRaw:
		return p.value(kindRaw, t.start, arg)
	case verbOpen:
		return p.section(kindSection, t.start, arg)
	case verbOpenInverted:
		return p.section(kindInverted, t.start, arg)
	case verbOpenEach:
		return p.each(t.start, arg)
	case verbClose:
		p.close(t.start, arg)
	case verbCloseEach:
		p.closeEach(t.start, arg)
	case verbComment:
	case verbPlaceholder:
		p.placeholders++
		p.add(node{kind: kindPlaceholder, at: t.start, text: p.text[t.start:t.end]})
	case verbUnsubscribe:
		p.addText(t.start, t.end)
	}
	return nil
}

func (p *parser) value(k kind, at int, name string) error {
	n := p.node(k, at, name)
	if p.top().depth+len(n.path.keys) > p.options.MaxDepth {
		return p.limit(LimitDepth, p.options.MaxDepth, at)
	}
	p.add(n)
	return nil
}

// section opens a block. With the path of the innermost block it closes that
// one first and takes its place (B5).
func (p *parser) section(k kind, at int, name string) error {
	n := p.node(k, at, name)
	first := at
	if b := p.top(); len(p.open) > 1 && !b.each && b.name == name {
		first = b.at
		p.pop()
	}
	return p.push(block{node: n, name: name, at: first}, max(1, len(n.path.keys)))
}

// each opens a loop. Only "#each " with a path behind it is well formed, but
// the block is open in any case, so that its closing tag is no second mistake.
func (p *parser) each(at int, rest string) error {
	name := strings.TrimSpace(rest)
	if !strings.HasPrefix(rest, " ") || name == "" {
		p.mistake(at, textEachPath, "")
		return p.push(block{node: node{at: at}, name: "each" + strings.TrimRight(rest, " "), each: true, at: at}, 1)
	}
	n := p.node(kindEach, at, name)
	return p.push(block{node: n, name: name, each: true, at: at}, len(n.path.keys)+1)
}

func (p *parser) close(at int, name string) {
	b := p.top()
	if len(p.open) == 1 || b.each || b.name != name {
		p.mistake(at, textMismatched, "")
		return
	}
	if !validPath(name) {
		p.mistake(at, textPath, name)
	}
	p.pop()
}

func (p *parser) closeEach(at int, rest string) {
	switch {
	case rest != "":
		p.mistake(at, textEachClose, "")
	case !p.top().each:
		p.mistake(at, textEachStray, "")
	default:
		p.pop()
	}
}

func (p *parser) node(k kind, at int, name string) node {
	to, ok := parsePath(name)
	if !ok {
		p.mistake(at, textPath, name)
	}
	p.tags += max(0, len(to.keys)-1)
	return node{kind: k, at: at, text: name, path: to}
}

func (p *parser) addText(from, to int) {
	if from < to {
		p.add(node{kind: kindText, at: from, text: p.text[from:to]})
	}
}

func (p *parser) add(n node) {
	p.top().nodes = append(p.top().nodes, n)
}

func (p *parser) top() *block {
	return &p.open[len(p.open)-1]
}

func (p *parser) push(b block, levels int) error {
	b.depth = p.top().depth + levels
	if b.depth > p.options.MaxDepth {
		return p.limit(LimitDepth, p.options.MaxDepth, b.node.at)
	}
	p.open = append(p.open, b)
	return nil
}

func (p *parser) pop() {
	b := p.top()
	n := b.node
	n.body = b.nodes
	p.open = p.open[:len(p.open)-1]
	p.add(n)
}

func (p *parser) mistake(at int, text, path string) {
	p.mistakes = append(p.mistakes, mistake{at: at, text: text, path: path})
}

func (p *parser) limit(l Limit, most, at int) error {
	line, position := newCursor(p.text).locate(at)
	return &LimitError{Limit: l, Max: most, Line: line, Position: position}
}

// report orders the mistakes by their place. At one place a bad path comes
// before the block that it leaves open, since the sort is stable (B8).
func (p *parser) report() SyntaxErrors {
	slices.SortStableFunc(p.mistakes, func(a, b mistake) int { return cmp.Compare(a.at, b.at) })
	shown := p.mistakes[:min(len(p.mistakes), maxErrors)]
	errs := make(SyntaxErrors, len(shown))
	c := newCursor(p.text)
	for i, m := range shown {
		line, position := c.locate(m.at)
		errs[i] = &SyntaxError{Message: m.message(), Line: line, Position: position}
	}
	return errs
}
