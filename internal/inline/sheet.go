package inline

import (
	"strings"

	"github.com/tdewolff/parse/v2/css"
	"golang.org/x/net/html"
)

// sheet is a style element whose rules we inline.
type sheet struct {
	tag   *tag
	node  *html.Node
	css   []byte
	rules []*rule
	fixed bool // has at-rules, which stay
}

// rule is a style rule of a sheet; offsets are in its text.
type rule struct {
	start, end         int
	bodyStart, bodyEnd int
	inline             []selector
	dynamic            []string // selectors for the client to judge
	verbatim           bool     // not understood: stays as it is
	keep               bool     // matched what could not be written
	decls              []decl
}

// sheets reads the style elements that are CSS for the screen.
func (d *document) sheets(b *budget) ([]*sheet, error) {
	var out []*sheet
	size, selectors := 0, 0
	for i := range d.tags {
		t := &d.tags[i]
		if t.name != "style" || t.endTag || len(t.nodes) != 1 || !forScreen(t.nodes[0]) {
			continue
		}
		s := &sheet{tag: t, node: t.nodes[0], css: d.src[t.end:t.textEnd]}
		size += len(s.css)
		if err := b.check("css", size, b.limits.CSS); err != nil {
			return nil, err
		}
		if err := s.parse(b); err != nil {
			return nil, err
		}
		for _, r := range s.rules {
			selectors += len(r.inline) + len(r.dynamic)
		}
		if err := b.check("selectors", selectors, b.limits.Selectors); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func forScreen(n *html.Node) bool {
	if n.Namespace != "" {
		return false
	}
	if typ, ok := attr(n, "type"); ok && !strings.EqualFold(strings.TrimSpace(typ), "text/css") && typ != "" {
		return false
	}
	media, _ := attr(n, "media")
	if strings.TrimSpace(media) == "" {
		return true
	}
	for m := range strings.SplitSeq(strings.ToLower(media), ",") {
		if m = strings.TrimSpace(m); m == "all" || m == "screen" {
			return true
		}
	}
	return false
}

// parse finds the rules (CSS Syntax §5.4.1).
func (s *sheet) parse(b *budget) error {
	toks, cut := lex(s.css)
	if cut != "" {
		return &SyntaxError{Offset: s.tag.end, Reason: cut}
	}
	for i := 0; i < len(toks); {
		tt := toks[i].tt
		if isBlank(tt) || tt == css.CDOToken || tt == css.CDCToken {
			i++
			continue
		}
		body, end, err := block(b, toks[i:], tt == css.AtKeywordToken)
		if err != nil {
			return err
		}
		switch {
		case tt == css.AtKeywordToken:
			s.fixed = true
		case body < 0: // a selector without a block: it goes
			s.rules = append(s.rules, &rule{start: toks[i].start, end: toks[len(toks)-1].end})
		default:
			s.rules = append(s.rules, s.rule(toks[i:i+body], toks[i+body:i+end]))
		}
		i += end
	}
	return nil
}

// block finds the end of the rule at the head of tokens, and where its block
// begins (-1 if it has none).
func block(b *budget, toks []token, at bool) (body, end int, err error) {
	body = -1
	var open brackets
	for i, t := range toks {
		if at && t.tt == css.SemicolonToken && len(open) == 0 {
			return -1, i + 1, nil
		}
		if t.tt == css.LeftBraceToken && len(open) == 0 {
			body = i
		}
		open.see(t.tt)
		if len(open) > b.limits.Depth {
			return 0, 0, &LimitError{What: "depth", Limit: b.limits.Depth}
		}
		if body >= 0 && len(open) == 0 {
			return body, i + 1, nil
		}
	}
	return body, len(toks), nil
}

func (s *sheet) rule(prelude, body []token) *rule {
	r := &rule{start: prelude0(prelude, body), end: body[len(body)-1].end, bodyStart: body[0].end}
	inner := body[1:]
	r.bodyEnd = r.end
	if n := len(inner); n > 0 && inner[n-1].tt == css.RightBraceToken {
		r.bodyEnd = inner[n-1].start
		inner = inner[:n-1]
	}
	for _, t := range inner {
		r.verbatim = r.verbatim || t.tt == css.LeftBraceToken // nested rules
	}
	// What looks like an end tag must not become one by a blank behind it.
	if r.verbatim = r.verbatim || containsFold(s.css[r.start:r.end], "</style"); r.verbatim {
		return r
	}
	r.decls = parseDecls(s.css, inner, false)
	for _, part := range split(prelude, css.CommaToken) {
		sel, kind := parseSelector(s.css, trim(part))
		switch kind {
		case judged:
			r.inline = append(r.inline, sel)
		case dynamic:
			r.dynamic = append(r.dynamic, sel.text)
		case unknown: // to a client, too, it would make the whole rule void
			r.verbatim = true
		}
	}
	return r
}

func prelude0(prelude, body []token) int {
	if len(prelude) > 0 {
		return prelude[0].start
	}
	return body[0].start
}

func (r *rule) stays() bool { return r.verbatim || r.keep || len(r.dynamic) > 0 }

// stays says that something is left in the sheet.
func (s *sheet) stays() bool {
	if s.fixed {
		return true
	}
	for _, r := range s.rules {
		if r.stays() {
			return true
		}
	}
	return false
}

// detach takes the sheets that go out of the tree, so that what they were
// between are siblings already.
func (d *document) detach(sheets []*sheet) {
	for _, s := range sheets {
		if !s.stays() && s.node.Parent != nil {
			s.node.Parent.RemoveChild(s.node)
		}
	}
}

// edits are what turns the sheet into what is left of it.
func (s *sheet) edits(d *document) []edit {
	if !s.stays() {
		if e := d.cut(s.tag); e.start < e.end {
			return []edit{e}
		}
		return nil
	}
	var out []edit
	for _, r := range s.rules {
		if with, change := s.rest(r); change {
			start := r.start
			if with == "" { // with the white space before it
				for start > 0 && isSpace(s.css[start-1]) {
					start--
				}
			}
			out = append(out, edit{s.tag.end + start, s.tag.end + r.end, with})
		}
	}
	return out
}

// rest is what stays of a rule.
func (s *sheet) rest(r *rule) (string, bool) {
	if r.verbatim {
		return "", false
	}
	body := string(s.css[r.bodyStart:r.bodyEnd])
	var out []string
	if r.keep {
		var sels []string
		for _, sel := range r.inline {
			sels = append(sels, sel.text)
		}
		out = append(out, "@media all{"+strings.Join(sels, ",")+"{"+body+"}}")
	}
	if len(r.dynamic) > 0 {
		important, same := s.important(r)
		if same && len(r.inline) == 0 {
			return "", false
		}
		out = append(out, strings.Join(r.dynamic, ",")+" {"+important+"}")
	}
	return strings.Join(out, " "), true
}

// important is a rule's body with all declarations important.
func (s *sheet) important(r *rule) (string, bool) {
	var out strings.Builder
	last, same := r.bodyStart, true
	for _, d := range r.decls {
		if d.important {
			continue
		}
		same = false
		out.Write(s.css[last:d.end])
		out.WriteString(" !important")
		last = d.end
	}
	out.Write(s.css[last:r.bodyEnd])
	return out.String(), same
}
