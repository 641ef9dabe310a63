package track

import (
	"strings"
	"unicode"
)

// placeholderStem is what every placeholder begins with inside its braces.
const placeholderStem = "pm:unsubscribe"

// maxPlaceholder is how many octets may stand between the braces.
const maxPlaceholder = 512

// hasPlaceholder tells whether a body may have one. Braces are rare, so that
// they are found out about faster than the stem.
func hasPlaceholder(body string) bool {
	return strings.Contains(body, "{{{") && strings.Contains(body, placeholderStem)
}

// placeholder is one of {{{ pm:unsubscribe }}}, {{{ pm:unsubscribe label="…" }}}
// and {{{ pm:unsubscribe_url }}} (contract/sending.md §14).
type placeholder struct {
	start, end int
	url        bool   // the bare URL
	label      string // as written; "" if there is none
}

// nextPlaceholder finds the first placeholder at or after from.
func nextPlaceholder(s string, from int) (placeholder, bool) {
	for {
		i := strings.Index(s[from:], "{{{")
		if i < 0 {
			return placeholder{}, false
		}
		start := from + i
		inner := s[start+3 : min(len(s), start+3+maxPlaceholder)]
		n := strings.IndexAny(inner, "{}")
		if n >= 0 && strings.HasPrefix(s[start+3+n:], "}}}") {
			if p, ok := readPlaceholder(inner[:n]); ok {
				p.start, p.end = start, start+3+n+3
				return p, true
			}
		}
		from = start + 1
	}
}

// readPlaceholder reads what stands between the braces, in the forms that
// package mustache lets through. Editors of HTML write its spaces as &nbsp; and
// its quotes as &quot;.
func readPlaceholder(inner string) (placeholder, bool) {
	var p placeholder
	rest, ok := strings.CutPrefix(trimBlank(inner), placeholderStem)
	if !ok {
		return p, false
	}
	switch after := trimBlank(rest); {
	case rest == "":
		return p, true
	case rest == "_url":
		p.url = true
		return p, true
	case after == rest: // another word
		return p, false
	default:
		p.label = readLabel(after)
		return p, true
	}
}

// readLabel reads label="…". What is not that is no label.
func readLabel(s string) string {
	s, ok := strings.CutPrefix(s, "label")
	if !ok {
		return ""
	}
	if s, ok = strings.CutPrefix(trimBlank(s), "="); !ok {
		return ""
	}
	s = trimBlank(s)
	for _, q := range []string{`"`, `'`, "&quot;", "&#34;", "&#39;"} {
		rest, opened := strings.CutPrefix(s, q)
		label, _, closed := strings.Cut(rest, q)
		if opened && closed {
			return trimBlank(label)
		}
	}
	return ""
}

func trimBlank(s string) string {
	for {
		t := strings.TrimFunc(s, unicode.IsSpace)
		t = strings.TrimSuffix(strings.TrimPrefix(t, "&nbsp;"), "&nbsp;")
		if t == s {
			return s
		}
		s = t
	}
}
