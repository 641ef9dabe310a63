package mustache

import (
	"strconv"
	"unicode/utf8"
)

// Escaping says how {{path}} writes a value. {{{path}}} and {{&path}} never
// escape.
type Escaping int

// The zero value is the safe one.
const (
	EscapeHTML Escaping = iota // HTML bodies
	EscapeNone                 // subjects and text bodies (contract B6)
)

// appendEscaped appends s for HTML: five ASCII characters by name or number,
// U+00A0 to U+00FF and what lies above U+FFFF by number (contract B6).
func appendEscaped(out []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		if plain(r, size) {
			i += size
			continue
		}
		out = append(out, s[done:i]...)
		out = appendReference(out, r)
		i += size
		done = i
	}
	return append(out, s[done:]...)
}

// plain tells whether a rune is written as it is. A byte that is not UTF-8 is
// not: a browser might read another character from it and its neighbours.
func plain(r rune, size int) bool {
	switch r {
	case '<', '>', '&', '"', '\'':
		return false
	case utf8.RuneError:
		return size > 1
	}
	return r < 0xA0 || r > 0xFF && r <= 0xFFFF
}

func appendReference(out []byte, r rune) []byte {
	switch r {
	case '<':
		return append(out, "&lt;"...)
	case '>':
		return append(out, "&gt;"...)
	case '&':
		return append(out, "&amp;"...)
	case '"':
		return append(out, "&quot;"...)
	case utf8.RuneError:
		return utf8.AppendRune(out, r)
	}
	out = append(out, "&#"...)
	out = strconv.AppendInt(out, int64(r), 10)
	return append(out, ';')
}
