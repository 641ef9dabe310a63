package eml

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxDomainLen is the longest domain in octets that fits the DNS (RFC 1035 §2.3.4).
const maxDomainLen = 253

// CanonicalDomain returns s as lower-case A-labels. It wants two labels or more of
// letters, digits and inner hyphens (RFC 5321 §4.1.2), at most 63 octets each; the
// last not numeric, since that would be an IPv4 address. A-labels must be what
// their U-label encodes to (RFC 5891 §5.4). No trailing dot, no underscore. Errors
// are *AddressError.
func CanonicalDomain(s string) (string, error) {
	d, kind := canonicalDomain(s)
	if kind != 0 {
		return "", addressError(kind, s)
	}
	return d, nil
}

// canonicalDomain gives the domain or the kind of the error, 0 for none.
func canonicalDomain(s string) (string, AddressErrorKind) {
	switch {
	case len(s) > 4*maxDomainLen:
		return "", AddressBadDomain
	case !utf8.ValidString(s):
		return "", AddressNotUTF8
	}
	d := s
	if !isASCII(s) {
		// Mapping and bidi rules are those of UTS 46 for look-up.
		a, err := idna.Lookup.ToASCII(s)
		if err != nil {
			return "", AddressBadDomain
		}
		d = a
	}
	d = strings.ToLower(d)
	if len(d) > maxDomainLen {
		return "", AddressBadDomain
	}
	labels := 0
	last := ""
	for label := range strings.SplitSeq(d, ".") {
		if !isLabel(label) {
			return "", AddressBadDomain
		}
		labels++
		last = label
	}
	switch {
	case labels < 2:
		return "", AddressSingleLabel
	case strings.Trim(last, "0123456789") == "":
		return "", AddressBadDomain
	}
	return d, 0
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	if !strings.HasPrefix(s, "xn--") {
		return true
	}
	// An A-label that decodes to ASCII or to something else's U-label is a disguise.
	u, err := idna.Lookup.ToUnicode(s)
	if err != nil || isASCII(u) {
		return false
	}
	a, err := idna.Lookup.ToASCII(u)
	return err == nil && a == s
}
