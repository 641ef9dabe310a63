package dkim

import (
	"bytes"
	"errors"
	"hash"
)

// Limits on what is read from outside, the same as those of the message parser.
const (
	maxHeaderBytes = 256 << 10
	maxFields      = 2000
)

// ErrMessage says that the header of a message is too large or, when signing,
// that it is none: a line without a colon, a bare CR or LF, no From.
var ErrMessage = errors.New("message cannot be signed or verified")

// A field is one header field: raw is all of it without the last CRLF, name
// the part before the colon without white space.
type field struct {
	raw, name, value []byte
}

// split cuts a message at its first empty line. Lines end in CRLF alone; all
// else is content (RFC 5322 §2.1, RFC 5321 §2.3.8). A message without an empty
// line has no body.
func split(message []byte) (fields []field, body []byte, err error) {
	rest := message
	for len(rest) > 0 {
		if bytes.HasPrefix(rest, []byte("\r\n")) {
			return fields, rest[2:], nil
		}
		raw := rest[:fieldEnd(rest)]
		rest = bytes.TrimPrefix(rest[len(raw):], []byte("\r\n"))
		if len(fields) == maxFields || len(message)-len(rest) > maxHeaderBytes {
			return nil, nil, ErrMessage
		}
		fields = append(fields, newField(raw))
	}
	return fields, nil, nil
}

// fieldEnd gives the length of the field that b starts with, its folded lines
// included and its last CRLF not.
func fieldEnd(b []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return len(b)
		}
		from += i + 1
		if from < 2 || b[from-2] != '\r' {
			continue
		}
		if from == len(b) || !isWSP(b[from]) {
			return from - 2
		}
	}
}

// newField finds name and value. A line without a colon has no name, so that
// no h= tag can mean it.
func newField(raw []byte) field {
	name, value, ok := bytes.Cut(raw, []byte{':'})
	if !ok {
		return field{raw: raw}
	}
	return field{raw: raw, name: bytes.TrimRight(name, " \t"), value: value}
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }

// appendRelaxed writes a field in relaxed form without its CRLF
// (RFC 6376 §3.4.2).
func appendRelaxed(dst []byte, name, value []byte) []byte {
	dst = appendLower(dst, name)
	dst = append(dst, ':')
	start, blank := len(dst), false
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '\r' && i+1 < len(value) && value[i+1] == '\n' {
			i++
			continue
		}
		if isWSP(c) {
			blank = true
			continue
		}
		if blank && len(dst) > start {
			dst = append(dst, ' ')
		}
		blank = false
		dst = append(dst, c)
	}
	return dst
}

func appendLower(dst, src []byte) []byte {
	for _, c := range src {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// hashSimpleBody hashes a body in simple form: empty lines at the end become
// one CRLF, and so does an empty body (RFC 6376 §3.4.3).
func hashSimpleBody(h hash.Hash, body []byte) {
	for bytes.HasSuffix(body, []byte("\r\n")) {
		body = body[:len(body)-2]
	}
	h.Write(body)
	h.Write([]byte("\r\n"))
}

// hashRelaxedBody hashes a body in relaxed form (RFC 6376 §3.4.4): runs of
// white space become one blank, none stays at the end of a line, no empty
// lines stay at the end, and an empty body stays empty.
//
// Stretches of lines that are in that form already, which is most of any mail,
// go to the hash as they are.
func hashRelaxedBody(h hash.Hash, body []byte) {
	body = trimBody(body)
	if len(body) == 0 {
		return
	}
	var scratch [1024]byte
	clean := 0 // body[clean:at] is in relaxed form and not hashed yet
	for at := 0; at < len(body); {
		end, next, ends := len(body), len(body), true
		if i := bytes.IndexByte(body[at:], '\n'); i >= 0 {
			next = at + i + 1
			end, ends = next, false // a bare LF is content and ends no line
			if i > 0 && body[next-2] == '\r' {
				end, ends = next-2, true
			}
		}
		if line := body[at:end]; !isRelaxed(line, ends) {
			h.Write(body[clean:at])
			hashRelaxedLine(h, line, ends, scratch[:0])
			clean = end
		}
		at = next
	}
	h.Write(body[clean:])
	h.Write([]byte("\r\n"))
}

// trimBody cuts off what the relaxed form ignores at the end of a body.
func trimBody(body []byte) []byte {
	for {
		n := len(body)
		body = bytes.TrimRight(body, " \t")
		body = bytes.TrimSuffix(body, []byte("\r\n"))
		if len(body) == n {
			return body
		}
	}
}

func isRelaxed(line []byte, ends bool) bool {
	if len(line) == 0 {
		return true
	}
	if ends && line[len(line)-1] == ' ' {
		return false
	}
	return bytes.IndexByte(line, '\t') < 0 && !bytes.Contains(line, []byte("  "))
}

func hashRelaxedLine(h hash.Hash, line []byte, ends bool, buf []byte) {
	if ends {
		line = bytes.TrimRight(line, " \t")
	}
	for i, c := range line {
		if isWSP(c) {
			if i > 0 && isWSP(line[i-1]) {
				continue
			}
			c = ' '
		}
		if len(buf) == cap(buf) {
			h.Write(buf)
			buf = buf[:0]
		}
		buf = append(buf, c)
	}
	h.Write(buf)
}
