package inline

import (
	"bytes"
	"strings"

	"github.com/tdewolff/parse/v2/css"
)

// decl is a declaration. One without a name is a piece of a style attribute
// that we cannot read; its value is kept as it was.
type decl struct {
	name      string
	value     string
	important bool
	end       int // where !important can be written
}

func (d decl) String() string {
	s := d.value + ";"
	if d.name != "" {
		s = d.name + ": " + d.value
		if d.important {
			s += " !important"
		}
		s += ";"
	}
	return s
}

// parseDecls reads the declarations in tokens of text. Invalid ones are
// skipped, or, with keep, kept as pieces without a name if they do no harm to
// those after them.
func parseDecls(text []byte, toks []token, keep bool) []decl {
	var out []decl
	for _, piece := range split(toks, css.SemicolonToken) {
		piece = trim(piece)
		if len(piece) == 0 || !sound(text, piece) {
			continue
		}
		d, ok := parseDecl(text, piece, keep)
		if !ok {
			if !keep {
				continue
			}
			d = decl{value: string(text[piece[0].start:piece[len(piece)-1].end])}
		}
		out = append(out, d)
	}
	return out
}

// sound says that a piece ends where it seems to end, also after a semicolon
// is put behind it.
func sound(text []byte, piece []token) bool {
	var open brackets
	for _, t := range piece {
		s := text[t.start:t.end]
		switch {
		case t.tt == css.BadStringToken, t.tt == css.BadURLToken, t.tt == css.StringToken && !closedString(s),
			t.tt == css.DelimToken && (s[0] == '\\' || s[0] == 0),
			t.tt == css.CommentToken && !bytes.HasSuffix(s, []byte("*/")),
			t.tt == css.URLToken && s[len(s)-1] != ')',
			t.tt == css.RightBraceToken && (len(open) == 0 || open[len(open)-1] != css.RightBraceToken),
			bytes.IndexByte(s, 0) >= 0:
			return false
		}
		open.see(t.tt)
	}
	last := piece[len(piece)-1]
	return len(open) == 0 && text[last.end-1] != '\\'
}

func parseDecl(text []byte, piece []token, verbatim bool) (decl, bool) {
	first := piece[0]
	custom := first.tt == css.CustomPropertyNameToken
	if first.tt != css.IdentToken && !custom {
		return decl{}, false
	}
	d := decl{name: string(text[first.start:first.end]), end: piece[len(piece)-1].end}
	if !custom {
		d.name = strings.ToLower(d.name)
	}
	rest := trim(piece[1:])
	if len(rest) == 0 || rest[0].tt != css.ColonToken {
		return decl{}, false
	}
	rest = trim(rest[1:])
	rest, d.important = cutImportant(text, rest)
	if len(rest) == 0 {
		return decl{}, false
	}
	var open brackets
	for _, t := range rest {
		if len(open) == 0 && !custom && (t.tt == css.LeftBraceToken || t.tt == css.AtKeywordToken ||
			t.tt == css.DelimToken && text[t.start] == '!') {
			return decl{}, false
		}
		open.see(t.tt)
	}
	d.value = value(text, rest, verbatim || custom)
	return d, true
}

func cutImportant(text []byte, toks []token) ([]token, bool) {
	n := len(toks)
	if n == 0 || toks[n-1].tt != css.IdentToken || !strings.EqualFold(string(text[toks[n-1].start:toks[n-1].end]), "important") {
		return toks, false
	}
	head := trim(toks[:n-1])
	if n = len(head); n == 0 || head[n-1].tt != css.DelimToken || text[head[n-1].start] != '!' {
		return toks, false
	}
	return trim(head[:n-1]), true
}

// value writes tokens on one line, opaque rgb() colours as hex ones: old
// clients know no other.
func value(text []byte, toks []token, verbatim bool) string {
	var out strings.Builder
	for i := 0; i < len(toks); i++ {
		t := toks[i]
		if isBlank(t.tt) {
			for i+1 < len(toks) && isBlank(toks[i+1].tt) {
				i++
			}
			out.WriteByte(' ')
			continue
		}
		if t.tt == css.FunctionToken && !verbatim {
			if hex, n := hexColour(text, toks[i:]); n > 0 {
				out.WriteString(hex)
				i += n - 1
				continue
			}
		}
		s := string(text[t.start:t.end])
		if strings.Contains(s, "\r") { // an attribute's line ends are LF
			s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
		}
		out.WriteString(s)
	}
	return out.String()
}
