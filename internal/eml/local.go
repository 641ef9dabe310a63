package eml

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// isLocal says whether s is a local part of our mailbox syntax: the characters of
// contract/sending.md §3 or non-ASCII (RFC 6531 §3.3). Of the latter only what can
// be seen, and nothing that becomes an @ or the like when a receiver normalises.
func isLocal(s string) bool {
	if s == "" {
		return false
	}
	ascii := true
	for _, r := range s {
		if r < utf8.RuneSelf {
			if !isLocalByte(byte(r)) { //nolint:gosec // G115: below 128
				return false
			}
			continue
		}
		ascii = false
		if r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return false
		}
	}
	if ascii || len(s) > maxAddrLen {
		return true // the length is refused by the caller
	}
	for _, c := range []byte(norm.NFKC.String(s)) {
		if c < utf8.RuneSelf && !isLocalByte(c) {
			return false
		}
	}
	return true
}

func isLocalByte(c byte) bool {
	return isAlnum(c) || strings.IndexByte(".!#$%&'*+/=^_{}|~-`", c) >= 0
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isAtext: RFC 5322 §3.2.3, RFC 6532 §3.2.
func isAtext(c byte) bool {
	return isAlnum(c) || c >= utf8.RuneSelf || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isDotAtom(s string) bool {
	atom := false // the last character was atext
	for i := range len(s) {
		switch {
		case isAtext(s[i]):
			atom = true
		case s[i] == '.' && atom:
			atom = false
		default:
			return false
		}
	}
	return atom
}

// isPhrase says whether s is atoms with single blanks between them.
func isPhrase(s string) bool {
	atom := false
	for i := range len(s) {
		switch {
		case isAtext(s[i]):
			atom = true
		case s[i] == ' ' && atom:
			atom = false
		default:
			return false
		}
	}
	return atom
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isPrintable says whether s is ASCII without control characters.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func hasControl(s string) bool { return strings.IndexFunc(s, isControl) >= 0 }

// isControl also covers the line and paragraph separators, which some programs
// take for line ends.
func isControl(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// printable puts a blank in the place of every control character.
func printable(s string) string {
	if isPrintable(s) || !hasControl(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}

// isQuoted says whether s is one quoted string.
func isQuoted(s string) bool {
	if s == "" || s[0] != '"' {
		return false
	}
	n, closed := quotedEnd(s)
	return closed && n == len(s)
}

// quote returns s as a quoted string (RFC 5322 §3.2.4).
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// quotedEnd returns the length of the quoted string at the start of s; len(s) and
// false when it does not end.
func quotedEnd(s string) (n int, closed bool) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return len(s), false
}

// unquote returns the content of a quoted string.
func unquote(s string) string {
	s = strings.TrimSuffix(s[1:], `"`)
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// decodePhrase reads a display name: quoted strings and words, RFC 2047 decoded.
// Encoded words inside quotes are decoded too, against RFC 2047 §5, as receivers
// do. ok is false for what only a structure can have there: <, > or an open quote.
func decodePhrase(s string) (name string, ok bool) {
	s = strings.Trim(s, " \t")
	if !strings.ContainsAny(s, `"<>=`) {
		return s, true
	}
	var b strings.Builder
	for s != "" {
		q := strings.IndexByte(s, '"')
		if q < 0 {
			q = len(s)
		}
		if strings.ContainsAny(s[:q], "<>") {
			return "", false
		}
		b.WriteString(DecodeHeader(s[:q]))
		if q == len(s) {
			break
		}
		n, closed := quotedEnd(s[q:])
		if !closed {
			return "", false
		}
		end := q + n
		b.WriteString(DecodeHeader(unquote(s[q:end])))
		s = s[end:]
	}
	return strings.Trim(b.String(), " \t"), true
}
