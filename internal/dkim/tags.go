package dkim

import (
	"errors"
	"strings"
)

// ErrTags says that a text is no tag list (RFC 6376 §3.2).
var ErrTags = errors.New("malformed tag list")

// maxTags is the number of tags that a list may have; the RFCs know 15.
const maxTags = 64

// parseTags reads a tag list. Values lose the white space around them and
// keep that within. A name given twice makes the whole list invalid.
func parseTags(s string) (map[string]string, error) {
	tags := make(map[string]string)
	for s != "" {
		var spec string
		spec, s, _ = strings.Cut(s, ";")
		name, value, ok := strings.Cut(spec, "=")
		name = strings.Trim(name, " \t\r\n")
		if !ok {
			// The list may end in ";" (RFC 6376 §3.2).
			if name == "" && s == "" {
				break
			}
			return nil, ErrTags
		}
		value = strings.Trim(value, " \t\r\n")
		if _, twice := tags[name]; twice || len(tags) == maxTags || !validTagName(name) || !validTagValue(value) {
			return nil, ErrTags
		}
		tags[name] = value
	}
	return tags, nil
}

func validTagName(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || (name[i] != '_' && (name[i] < '0' || name[i] > '9'))) {
			return false
		}
	}
	return name != ""
}

// validTagValue takes VALCHAR and white space, and any octet over 127, which
// is UTF-8 in internationalised mail (RFC 8616).
func validTagValue(value string) bool {
	for i := range len(value) {
		c := value[i]
		if (c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f {
			return false
		}
	}
	return true
}

// noSpace takes the white space out of a value.
func noSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
}

// listHas tells whether a colon-separated list has one of the names.
func listHas(list string, names ...string) bool {
	for item := range strings.SplitSeq(noSpace(list), ":") {
		for _, name := range names {
			if strings.EqualFold(item, name) {
				return true
			}
		}
	}
	return false
}
