package eml

import (
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// SanitizeFilename returns the name under which a receiver will see a file: RFC 2047
// words decoded, the last element of a path, without control and invisible characters
// (bidi overrides among them), without blanks around or dots behind, at most 255
// octets with the extension kept. Empty when nothing is left. Message.Append writes
// no other names.
func SanitizeFilename(name string) string { return cleanFilename(DecodeHeader(name)) }

// maxFilename is what common file systems hold, in octets.
const maxFilename = 255

// cleanFilename is SanitizeFilename without the decoding, so that it can be applied
// twice.
func cleanFilename(name string) string {
	if !isPrintable(name) {
		name = strings.Map(visible, strings.ToValidUTF8(name, "\uFFFD"))
	}
	if i := strings.LastIndexAny(name, "/\\\uFF0F\uFF3C"); i >= 0 {
		name = strings.ToValidUTF8(strings.TrimLeft(name[i:], "/\\\uFF0F\uFF3C"), "")
	}
	name = trimName(name)
	if len(name) > maxFilename {
		ext := ""
		if i := strings.LastIndexByte(name, '.'); i >= 0 && len(name)-i <= 20 {
			ext = name[i:]
		}
		name = trimName(strings.ToValidUTF8(name[:maxFilename-len(ext)], "")) + ext
	}
	return name
}

func visible(r rune) rune {
	if isControl(r) || unicode.Is(unicode.Cf, r) {
		return -1
	}
	return r
}

func trimName(s string) string {
	s = strings.TrimLeftFunc(s, unicode.IsSpace)
	return strings.TrimRightFunc(s, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
}

// ForbiddenExtension says whether a receiver may take the file for one of the
// extensions of contract/common.md §8. It looks at the name as it will be written and
// at what programs make of it: full-width letters, percent-encoding, an end at NUL,
// semicolon or colon, dots and blanks behind, and in any letter case.
func ForbiddenExtension(name string) bool {
	if forbidden(name) {
		return true
	}
	if decoded := DecodeHeader(name); decoded != name && forbidden(decoded) {
		return true
	}
	if !strings.Contains(name, "%") {
		return false
	}
	u, err := url.PathUnescape(name)
	return err == nil && forbidden(u)
}

func forbidden(name string) bool {
	name = norm.NFKC.String(strings.ToValidUTF8(name, ""))
	ends := func(r rune) bool { return strings.ContainsRune("\x00;:/\\\r\n\"", r) }
	for part := range strings.FieldsFuncSeq(name, ends) {
		part = strings.Map(visible, part)
		part = strings.TrimRightFunc(part, func(r rune) bool {
			return r == '.' || r == '\'' || r == '>' || unicode.IsSpace(r)
		})
		if i := strings.LastIndexByte(part, '.'); i >= 0 && isForbiddenExt(strings.ToLower(part[i+1:])) {
			return true
		}
	}
	return false
}

func isForbiddenExt(ext string) bool {
	switch ext {
	case "vbs", "exe", "bin", "bat", "chm", "com", "cpl", "crt", "hlp", "hta", "inf", "ins",
		"isp", "jse", "lnk", "mdb", "pcd", "pif", "reg", "scr", "sct", "shs", "vbe", "vba",
		"wsf", "wsh", "wsl", "msc", "msi", "msp", "mst":
		return true
	}
	return false
}
