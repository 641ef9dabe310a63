package mustache

import "strings"

// tag is one {{…}} or {{{…}}} of a template.
type tag struct {
	start, end int // byte offsets of the first brace and behind the last
	inner      string
	triple     bool
}

// scanner finds tags: two or three braces, one or more characters other than
// braces, and as many closing braces (B1). Where braces are in surplus those
// next to the content count, so "{{{{a}}" is "{{" and a tag.
type scanner struct {
	text string
	at   int
}

// next gives the next tag; false at the end of the text.
func (s *scanner) next() (tag, bool) {
	for {
		i := strings.Index(s.text[s.at:], "{{")
		if i < 0 {
			return tag{}, false
		}
		t, ok := s.candidate(s.at + i)
		s.at = t.end
		if ok {
			return t, true
		}
	}
}

// candidate reads the run of braces at i and what follows. When that is no tag,
// end is where to search on.
func (s *scanner) candidate(i int) (tag, bool) {
	content := i + 2
	for content < len(s.text) && s.text[content] == '{' {
		content++
	}
	length := strings.IndexAny(s.text[content:], "{}")
	if length < 0 {
		return tag{end: len(s.text)}, false
	}
	end := content + length
	if length == 0 {
		return tag{end: end}, false
	}
	closing := s.closing(end)
	if closing < 2 {
		return tag{end: end}, false
	}
	braces := min(content-i, closing)
	return tag{
		start: content - braces, end: end + braces,
		inner: s.text[content:end], triple: braces == 3,
	}, true
}

// closing counts the closing braces at i, three at most.
func (s *scanner) closing(i int) int {
	n := 0
	for n < 3 && i+n < len(s.text) && s.text[i+n] == '}' {
		n++
	}
	return n
}
