package inline

import (
	"strings"

	"github.com/andybalholm/cascadia"
	"github.com/tdewolff/parse/v2/css"
)

// selector is a complex selector: compounds with combinators between them.
// combs[i] stands between compounds i and i+1: ' ', '>', '+' or '~'.
type selector struct {
	text      string
	compounds []compound
	combs     []byte
	spec      cascadia.Specificity
	key       string // "#id", ".class", "name" or "*": what its subject must have
}

// compound is a compound selector; cascadia compiles it. Combinators are
// matched here: cascadia's matching of them takes time exponential in their
// number and cannot be stopped.
type compound struct {
	sel      cascadia.Sel
	cost     int  // tokens
	siblings bool // looks at all siblings (:nth-child)
}

type kind int

const (
	unknown kind = iota // does not parse
	judged              // the tree decides
	dynamic             // a client decides
)

func parseSelector(text []byte, toks []token) (selector, kind) {
	var s selector
	if len(toks) == 0 {
		return s, unknown
	}
	s.text = string(text[toks[0].start:toks[len(toks)-1].end])
	k := judged
	for i, t := range toks {
		if t.tt == css.ColonToken && i+1 < len(toks) && !static(text, toks[i+1]) {
			k = dynamic
		}
		if t.tt == css.LeftBraceToken || t.tt == css.BadStringToken || t.tt == css.AtKeywordToken || t.tt == css.CommentToken {
			return s, unknown
		}
	}
	if k == dynamic {
		return s, k
	}
	for len(toks) > 0 {
		n := compoundEnd(text, toks)
		if n == 0 || !s.add(text, toks[:n]) {
			return s, unknown
		}
		var comb byte
		if comb, toks = combinator(text, toks[n:]); comb != 0 {
			s.combs = append(s.combs, comb)
		}
	}
	if len(s.combs) != len(s.compounds)-1 {
		return s, unknown
	}
	return s, judged
}

// static says that a pseudo-class depends on the document alone.
func static(text []byte, t token) bool {
	switch strings.ToLower(string(text[t.start:t.end])) {
	case "first-child", "last-child", "only-child", "first-of-type", "last-of-type", "only-of-type", "empty",
		"nth-child(", "nth-last-child(", "nth-of-type(", "nth-last-of-type(", "not(":
		return true
	}
	return false
}

func isCombinator(text []byte, t token) bool {
	c := text[t.start]
	return t.end-t.start == 1 && t.tt == css.DelimToken && (c == '>' || c == '+' || c == '~')
}

func compoundEnd(text []byte, toks []token) int {
	var open brackets
	for i, t := range toks {
		if len(open) == 0 && (t.tt == css.WhitespaceToken || isCombinator(text, t)) {
			return i
		}
		open.see(t.tt)
	}
	return len(toks)
}

func combinator(text []byte, toks []token) (byte, []token) {
	var c byte
	for len(toks) > 0 {
		switch {
		case toks[0].tt == css.WhitespaceToken:
			if c == 0 {
				c = ' '
			}
		case isCombinator(text, toks[0]) && (c == 0 || c == ' '):
			c = text[toks[0].start]
		default:
			return c, toks
		}
		toks = toks[1:]
	}
	return c, toks
}

// add compiles the next compound, which becomes the subject.
func (s *selector) add(text []byte, toks []token) bool {
	c := compound{cost: len(toks)}
	key := "*"
	var open brackets
	var not []bool // for each open bracket: is it :not( ?
	for i, t := range toks {
		str := string(text[t.start:t.end])
		inBrackets := len(open) > 0 && open[len(open)-1] == css.RightBracketToken
		if inBrackets && (t.tt == css.HashToken || t.tt == css.DelimToken && str != "=") {
			return false // cascadia's own [a!=b] and [a#=b]
		}
		if len(not) > 0 && not[len(not)-1] && (isCombinator(text, t) || inner(toks, i)) {
			return false // a combinator inside :not()
		}
		if len(open) == 0 && !strings.Contains(str, `\`) {
			switch {
			case t.tt == css.HashToken:
				key = str
			case t.tt == css.IdentToken && i > 0 && text[toks[i-1].start] == '.' && key[0] != '#':
				key = "." + str
			case t.tt == css.IdentToken && i == 0:
				key = strings.ToLower(str)
			}
		}
		low := strings.ToLower(str)
		c.siblings = c.siblings || t.tt == css.FunctionToken && low != "not(" || strings.HasSuffix(low, "-child") || strings.HasSuffix(low, "-of-type")
		before := len(open)
		open.see(t.tt)
		switch {
		case len(open) > before:
			not = append(not, low == "not(")
		case len(open) < before:
			not = not[:len(not)-1]
		}
	}
	sel, err := cascadia.Parse(string(text[toks[0].start:toks[len(toks)-1].end]))
	if err != nil {
		return false
	}
	c.sel = sel
	s.key = key
	s.spec = s.spec.Add(sel.Specificity())
	s.compounds = append(s.compounds, c)
	return true
}

// inner says that white space token i stands between two simple selectors.
func inner(toks []token, i int) bool {
	if toks[i].tt != css.WhitespaceToken || i == 0 || i+1 == len(toks) {
		return false
	}
	before, after := toks[i-1].tt, toks[i+1].tt
	return before != css.FunctionToken && before != css.CommaToken && after != css.CommaToken && after != css.RightParenthesisToken
}
