package eml

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxParams bounds the parameters of one field, RFC 2231 pieces included.
const maxParams = 500

// isToken: RFC 2045 §5.1.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`()<>@,;:\"/[]?=`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

func isMediaType(s string) bool {
	major, minor, ok := strings.Cut(s, "/")
	return ok && len(s) <= 127 && isToken(major) && isToken(minor)
}

// parseMediaType reads a Content-Type, or what an API client gave as one. typ is empty
// when it is none.
func parseMediaType(v string) (typ string, params []Param) {
	head, rest, _ := strings.Cut(v, ";")
	head, _, _ = strings.Cut(head, "(")
	typ = strings.ToLower(strings.Trim(head, " \t\r\n"))
	if !isMediaType(typ) {
		typ = ""
	}
	return typ, parseParams(rest)
}

// parseParams reads `a=b; c="d"` (RFC 2045 §5.1) as receivers do: unquoted values may
// have blanks, a backslash is one unless it precedes a quote or backslash. RFC 2231 is
// undone; its form wins over the plain one, and the first of two over the second.
func parseParams(s string) []Param {
	var plain []Param
	var pieces []piece
	for n := 0; n < maxParams && s != ""; n++ {
		var name, value string
		name, value, s = nextParam(s)
		switch {
		case name == "":
		case strings.Contains(name, "*"):
			if p, ok := newPiece(name, value); ok {
				pieces = append(pieces, p)
			}
		default:
			plain = append(plain, Param{name, DecodeHeader(value)})
		}
	}
	list := append(joinPieces(pieces), plain...)
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(p Param) bool {
		dup := seen[p.Name]
		seen[p.Name] = true
		return dup
	})
}

func nextParam(s string) (name, value, rest string) {
	i := strings.IndexAny(s, ";=")
	switch {
	case i < 0:
		return "", "", ""
	case s[i] == ';':
		return "", "", s[i+1:]
	}
	name = strings.ToLower(strings.Trim(s[:i], " \t\r\n"))
	if c := strings.LastIndexByte(name, ')'); c >= 0 { // (comment) name
		name = strings.Trim(name[c+1:], " \t")
	}
	s = strings.TrimLeft(s[i+1:], " \t\r\n")
	if s == "" || s[0] != '"' {
		value, rest, _ = strings.Cut(s, ";")
		return name, strings.Trim(value, " \t\r\n"), rest
	}
	var b strings.Builder
	for i = 1; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') {
			i++
		}
		b.WriteByte(s[i])
	}
	_, rest, _ = strings.Cut(s[min(i+1, len(s)):], ";")
	return name, b.String(), rest
}

// piece is one name*, name*N or name*N* of RFC 2231.
type piece struct {
	name    string
	n       int
	encoded bool
	value   string
}

func newPiece(name, value string) (piece, bool) {
	base, num, _ := strings.Cut(name, "*")
	p := piece{name: base, value: value}
	if num == "" {
		p.encoded = true
		return p, base != ""
	}
	num, p.encoded = strings.CutSuffix(num, "*")
	n, err := strconv.Atoi(num)
	if err != nil || n < 0 || n >= maxParams {
		return piece{}, false
	}
	p.n = n
	return p, base != ""
}

// joinPieces puts pieces in order, up to the first gap.
func joinPieces(pieces []piece) []Param {
	slices.SortStableFunc(pieces, func(a, b piece) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return a.n - b.n
	})
	var list []Param
	for len(pieces) > 0 {
		same := 1
		for same < len(pieces) && pieces[same].name == pieces[0].name {
			same++
		}
		if pieces[0].n == 0 {
			list = append(list, Param{pieces[0].name, joinValue(pieces[:same])})
		}
		pieces = pieces[same:]
	}
	return list
}

func joinValue(pieces []piece) string {
	charset := "utf-8"
	if p := pieces[0]; p.encoded {
		if parts := strings.SplitN(p.value, "'", 3); len(parts) == 3 {
			pieces[0].value = parts[2]
			charset = orUTF8(parts[0])
		}
	}
	var b []byte
	next := 0
	for _, p := range pieces {
		if p.n != next {
			if p.n < next {
				continue // a second one of that number
			}
			break
		}
		next++
		b = append(b, percentDecoded(p)...)
	}
	s, _ := toUTF8(charset, b)
	return printable(s)
}

func percentDecoded(p piece) string {
	if !p.encoded {
		return p.value
	}
	if s, err := url.PathUnescape(p.value); err == nil {
		return s
	}
	return p.value
}

func param(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// maxParamValue bounds a parameter that is written again.
const maxParamValue = 500

// setParams keeps the parameters that are written again.
func (p *Part) setParams(params []Param) {
	for _, q := range params {
		switch {
		case q.Name == "charset":
			if isToken(q.Value) && len(q.Value) <= 40 {
				p.Charset = q.Value
			}
		case !isOurParam(q.Name) && isToken(q.Name) && len(q.Name) <= 40 && len(q.Value) <= maxParamValue:
			p.Params = append(p.Params, q)
		}
	}
}
