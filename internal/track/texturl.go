package track

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// bareURL is a URL in text, and where to look for the next.
type bareURL struct{ start, end, next int }

// nextURL finds the first http or https URL in s[from:limit] of which it is
// clear where it begins and ends. What is not clear is left alone: a link cut
// short leads nowhere.
func nextURL(s string, from, limit int) (bareURL, bool) {
	for from < limit {
		i := strings.Index(s[from:limit], "://")
		if i < 0 {
			break
		}
		host := from + i + len("://")
		start := schemeStart(s, from, from+i)
		if start < 0 {
			from = host
			continue
		}
		end, next, ok := urlEnd(s, start, host, limit)
		if ok {
			return bareURL{start, end, next}, true
		}
		from = next
	}
	return bareURL{}, false
}

// schemeStart is where the scheme begins that ends at colon, if it is http or
// https and nothing before it makes it part of something longer, such as
// "git+https" or "example.com/?u=https".
func schemeStart(s string, from, colon int) int {
	for _, scheme := range []string{"https", "http"} {
		start := colon - len(scheme)
		if start < from || !strings.EqualFold(s[start:colon], scheme) {
			continue
		}
		if start == 0 {
			return start
		}
		c := s[start-1]
		if isAlnum(c) || strings.IndexByte("+-.=/&?%#@~$", c) >= 0 {
			return -1
		}
		if c == '_' && start >= 2 && isAlnum(s[start-2]) {
			return -1
		}
		return start
	}
	return -1
}

// urlEnd finds the end of a URL, and that of the run of characters which it is
// in. It is not ok if the end is not clear.
func urlEnd(s string, start, host, limit int) (end, next int, ok bool) {
	var before byte
	if start > 0 {
		before = s[start-1]
	}
	i := host
	round, square := 0, 0
scan:
	for i < limit {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:limit])
			if endsURL(r) {
				break
			}
			i += n
			continue
		}
		switch {
		case c <= ' ' || strings.IndexByte("<>\"`\x7f", c) >= 0, c == '\'' && before == '\'':
			break scan
		case c == '(':
			round++
		case c == '[':
			square++
		case c == ')':
			round--
		case c == ']':
			square--
		}
		if round < 0 || square < 0 {
			if !closes(s, i, limit) {
				return 0, runEnd(s, i, limit), false
			}
			break
		}
		i++
	}
	if strings.ContainsAny(s[host:i], `{}\^|`) || i == limit && limit < len(s) { // a placeholder follows
		return 0, i, false
	}
	end = i
	for end > host {
		c := s[end-1]
		if strings.IndexByte(".,;:!?'([", c) < 0 && (c != before || c != '*' && c != '_') {
			break
		}
		end--
	}
	return end, i, end > host
}

// closes tells whether a bracket that nothing in the URL opened ends it:
// punctuation may follow, then nothing, or another bracket as in Markdown.
func closes(s string, i, limit int) bool {
	for i < limit && strings.IndexByte(`)].,;:!?'"*_`, s[i]) >= 0 {
		i++
	}
	return i == limit || s[i] <= ' ' || s[i] >= utf8.RuneSelf || strings.IndexByte("([{<>`", s[i]) >= 0
}

// runEnd is the next white space.
func runEnd(s string, i, limit int) int {
	for i < limit && s[i] > ' ' {
		i++
	}
	return i
}

// endsURL tells whether a character above ASCII is no part of a URL: white
// space, punctuation, what cannot be seen. RFC 5892 A.3 to A.7 has the
// punctuation that host names may hold.
func endsURL(r rune) bool {
	switch r {
	case '\u00b7', '\u0375', '\u05f3', '\u05f4', '\u30fb':
		return false
	}
	return unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}
