package eml

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// decodeTransfer undoes a content transfer encoding (RFC 2045 §6); known is false when
// there is no such one. It never fails: like all mail programs it makes the best of
// damaged input.
func decodeTransfer(encoding string, body []byte) (content []byte, known bool) {
	encoding, _, _ = strings.Cut(strings.Trim(encoding, " \t"), " ")
	encoding, _, _ = strings.Cut(encoding, ";")
	switch strings.ToLower(encoding) {
	case "", "7bit", "8bit", "binary":
		return body, true
	case "quoted-printable":
		return decodeQP(body), true
	case "base64":
		return appendDecodedBase64(make([]byte, 0, len(body)/4*3), body), true
	}
	return body, false
}

// decodeQP decodes quoted-printable; what is no escape stays as it is.
func decodeQP(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		line, rest := b, []byte(nil)
		eol := ""
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, rest, eol = b[:i], b[i+1:], "\n"
			if i > 0 && line[i-1] == '\r' {
				line, eol = line[:i-1], "\r\n"
			}
		}
		// RFC 2045 §6.7 (3): white space at the end of a line was added on the way.
		line = bytes.TrimRight(line, " \t")
		soft := len(line) > 0 && line[len(line)-1] == '='
		if soft {
			line = line[:len(line)-1]
		}
		out = appendQPDecoded(out, line)
		if !soft {
			out = append(out, eol...)
		}
		b = rest
	}
	return out
}

func appendQPDecoded(dst, line []byte) []byte {
	for len(line) > 0 {
		i := bytes.IndexByte(line, '=')
		if i < 0 {
			return append(dst, line...)
		}
		dst = append(dst, line[:i]...)
		if i+2 < len(line) && unhex(line[i+1]) >= 0 && unhex(line[i+2]) >= 0 {
			dst = append(dst, unhexPair(line[i+1], line[i+2]))
			line = line[i+3:]
			continue
		}
		dst = append(dst, '=')
		line = line[i+1:]
	}
	return dst
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func unhexPair(a, b byte) byte {
	return byte(unhex(a)<<4 | unhex(b)) //nolint:gosec // two hex digits fit an octet
}

// appendDecodedBase64 decodes what is of the alphabet and skips all else (RFC 2045
// §6.8), padding in the middle included, where some programs join two encodings.
func appendDecodedBase64(dst, s []byte) []byte {
	// Nearly all is as it should be, and the library is several times quicker.
	if out, err := base64.StdEncoding.AppendDecode(dst, s); err == nil {
		return out
	}
	clean := make([]byte, 0, len(s))
	flush := func() {
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1] // six bits are no octet
		}
		out, err := base64.RawStdEncoding.AppendDecode(dst, clean)
		if err == nil { // always, after the filter
			dst = out
		}
		clean = clean[:0]
	}
	for _, c := range s {
		switch {
		case isAlnum(c) || c == '+' || c == '/':
			clean = append(clean, c)
		case c == '=' && len(clean)%4 != 0:
			flush()
		}
	}
	flush()
	return dst
}
