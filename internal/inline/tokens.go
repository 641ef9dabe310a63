package inline

import (
	"bytes"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

// token is a CSS token with its place in the text.
type token struct {
	tt         css.TokenType
	start, end int
}

// lex splits CSS into tokens that together are the text. cut says that a
// comment or string runs to the end.
func lex(text []byte) (toks []token, cut string) {
	if len(text) == 0 {
		return nil, ""
	}
	l := css.NewLexer(parse.NewInputBytes(bytes.Clone(text)))
	pos := 0
	for {
		tt, data := l.Next()
		if tt == css.ErrorToken {
			return toks, cut
		}
		toks = append(toks, token{tt, pos, pos + len(data)})
		pos += len(data)
		if pos < len(text) {
			continue
		}
		switch {
		case tt == css.CommentToken && (len(data) < 4 || !bytes.HasSuffix(data, []byte("*/"))):
			cut = "comment is not closed"
		case tt == css.BadStringToken, tt == css.StringToken && !closedString(data):
			cut = "string is not closed"
		}
	}
}

func closedString(s []byte) bool {
	if len(s) < 2 || s[len(s)-1] != s[0] {
		return false
	}
	slashes := 0
	for i := len(s) - 2; i > 0 && s[i] == '\\'; i-- {
		slashes++
	}
	return slashes%2 == 0
}

// brackets follows nesting as CSS Syntax §5.4.7 does: a closing bracket counts
// only if it closes the innermost open one.
type brackets []css.TokenType

func (b *brackets) see(tt css.TokenType) {
	switch {
	case tt == css.LeftBraceToken:
		*b = append(*b, css.RightBraceToken)
	case tt == css.LeftBracketToken:
		*b = append(*b, css.RightBracketToken)
	case tt == css.LeftParenthesisToken, tt == css.FunctionToken:
		*b = append(*b, css.RightParenthesisToken)
	case len(*b) > 0 && (*b)[len(*b)-1] == tt:
		*b = (*b)[:len(*b)-1]
	}
}

func isBlank(tt css.TokenType) bool {
	return tt == css.WhitespaceToken || tt == css.CommentToken
}

// trim takes white space and comments off both ends.
func trim(toks []token) []token {
	for len(toks) > 0 && isBlank(toks[0].tt) {
		toks = toks[1:]
	}
	for len(toks) > 0 && isBlank(toks[len(toks)-1].tt) {
		toks = toks[:len(toks)-1]
	}
	return toks
}

// split splits at a token outside brackets.
func split(toks []token, at css.TokenType) [][]token {
	var out [][]token
	var open brackets
	last := 0
	for i, t := range toks {
		if t.tt == at && len(open) == 0 {
			out = append(out, toks[last:i])
			last = i + 1
		}
		open.see(t.tt)
	}
	return append(out, toks[last:])
}
