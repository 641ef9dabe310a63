package mx

import "strings"

// normal gives a name in lower case without the final dot.
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// valid tells whether a normal name is one that we ask for: labels of letters,
// digits, hyphens and underscores (RFC 1123 §2.1; names such as _domainkey).
// An IP address is none: no top-level domain is all digits.
func valid(name string) bool {
	if len(name) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}
