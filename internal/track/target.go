package track

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// trackable tells whether a URL is one whose clicks are counted: http or https,
// with a host, well formed and well encoded (contract/tracking.md §3). Beyond
// RFC 3986 it may have letters of any script, as in RFC 3987, and "^" and "|",
// which browsers send as they are. Braces, which an unfilled template leaves
// behind, are none of these.
func trackable(target string) bool {
	rest, ok := cutScheme(target)
	if !ok || len(target) > MaxURL || !wellEncoded(target) {
		return false
	}
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	return u.Opaque == "" && soundHost(rest[:len(authority(rest))])
}

// cutScheme cuts "http://" or "https://" off in either case.
func cutScheme(s string) (rest string, ok bool) {
	for _, scheme := range []string{"https://", "http://"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			return s[len(scheme):], true
		}
	}
	return "", false
}

// authority is what stands before path, query and fragment.
func authority(rest string) string {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[:i]
	}
	return rest
}

// wellEncoded tells whether a URL is of characters that one may have, and each
// "%" of a code.
func wellEncoded(s string) bool {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c <= ' ' || c == 0x7f || strings.IndexByte("<>\"{}\\`", c) >= 0 {
				return false
			}
			if c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || unicode.IsControl(r) {
			return false
		}
		i += n
	}
	return true
}

// soundHost tells whether an authority has a host of labels, or an address.
func soundHost(authority string) bool {
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if strings.HasPrefix(host, "[") { // url.Parse has looked at it
		return true
	}
	host, port, _ := strings.Cut(host, ":")
	if len(port) > 5 {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.Trim(label, "-") == "" {
			return false
		}
	}
	for i := range len(host) {
		if c := host[i]; c < utf8.RuneSelf && !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
