package track

import (
	"bytes"
	"strings"

	"golang.org/x/net/html"
)

// span is a range of a tag.
type span struct{ start, end int }

// tagName is the name of a tag, which starts at i, in lower case.
func tagName(raw string, i int) string {
	n := i
	for n < len(raw) && !isSpace(raw[n]) && raw[n] != '/' && raw[n] != '>' {
		n++
	}
	return asciiLower(raw[i:n])
}

// asciiLower leaves all but A to Z as it is, as HTML does with names.
func asciiLower(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// findHref finds the value of a start tag's href attribute, without quotes. Of
// duplicates the first counts (HTML §13.2.5.33).
func findHref(raw string) (value span, ok bool) {
	i := 1
	for i < len(raw) && !isSpace(raw[i]) && raw[i] != '/' && raw[i] != '>' {
		i++
	}
	for i < len(raw) {
		var key span
		key, value, i = nextAttr(raw, i)
		if strings.EqualFold(raw[key.start:key.end], "href") {
			return value, true
		}
	}
	return span{}, false
}

// nextAttr reads the attribute at or after i, as the tokenizer does, and says
// where to go on. At the end of the tag the key is empty.
func nextAttr(raw string, i int) (key, value span, next int) {
	i = skipSpace(raw, i)
	if i >= len(raw) || raw[i] == '>' {
		return span{i, i}, span{i, i}, len(raw)
	}
	key.start = i
	for i < len(raw) && !isSpace(raw[i]) && raw[i] != '/' && raw[i] != '>' && (raw[i] != '=' || i == key.start) {
		i++
	}
	key.end = i
	value = span{i, i}
	if i = skipSpace(raw, i); i >= len(raw) {
		return key, value, i
	}
	if raw[i] == '/' {
		return key, value, i + 1
	}
	if raw[i] != '=' {
		return key, value, i
	}
	if i = skipSpace(raw, i+1); i >= len(raw) || raw[i] == '>' {
		return key, span{i, i}, i
	}
	if q := raw[i]; q == '"' || q == '\'' {
		n := strings.IndexByte(raw[i+1:], q)
		if n < 0 {
			return key, span{i + 1, len(raw)}, len(raw)
		}
		return key, span{i + 1, i + 1 + n}, i + 1 + n + 1
	}
	value.start = i
	for i < len(raw) && !isSpace(raw[i]) && raw[i] != '>' {
		i++
	}
	value.end = i
	return key, value, i
}

// readLinkTag has the tokenizer decode the current tag's href
// (contract/tracking.md §3: decoded before rewriting) and tells whether the tag
// asks not to be tracked.
func readLinkTag(z *html.Tokenizer) (href string, untracked, ok bool) {
	for more := true; more; {
		var key, val []byte
		key, val, more = z.TagAttr()
		switch {
		case bytes.Equal(key, []byte("href")):
			href, ok = string(val), true
		case bytes.Equal(key, []byte("data-pm-no-track")):
			untracked = true
		}
	}
	return href, untracked, ok
}

func skipSpace(raw string, i int) int {
	for i < len(raw) && isSpace(raw[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'
}
