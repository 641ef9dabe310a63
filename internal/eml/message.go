package eml

import (
	"errors"
	"io"
	"strings"
)

// Field is one header field. Made as a literal, Value is text as a person reads it.
type Field struct {
	Name  string
	Value string
	form  fieldForm
}

// fieldForm says how Value becomes the wire form.
type fieldForm int

const (
	formText    fieldForm = iota // encode when needed
	formRaw                      // encoded already: fold only
	formAddress                  // encoded already, may hold RFC 6532 addresses
)

// RawField returns a field whose value is in wire form already: Message-ID,
// References, List-Unsubscribe, a header that the client encoded itself. A value
// with 8-bit bytes, or with a word too long for a line, is decoded and encoded anew.
func RawField(name, value string) Field { return Field{Name: name, Value: value, form: formRaw} }

// Text returns the value as a person reads it.
func (f Field) Text() string {
	if f.form == formText {
		return f.Value
	}
	return DecodeHeader(f.Value)
}

// FieldError says why a header field was refused.
type FieldError struct {
	Name   string
	Reason string
}

func (e *FieldError) Error() string {
	return "header field " + quote(printable(e.Name)) + ": " + e.Reason
}

// maxFieldName keeps the name and the first word of the value on one line.
const maxFieldName = 255

// Check returns a *FieldError when the name is no field name (RFC 5322 §3.6.8) or the
// value has CR, LF or NUL.
func (f Field) Check() error {
	switch {
	case !isFieldName(f.Name):
		return &FieldError{Name: f.Name[:min(len(f.Name), maxFieldName)], Reason: "not a field name"}
	case strings.ContainsAny(f.Value, "\r\n\x00"):
		return &FieldError{Name: f.Name, Reason: "line end or NUL in value"}
	}
	return nil
}

func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= maxFieldName
}

// Message is what can be written.
type Message struct {
	// Header is written in this order, before the fields of MIME. MIME-Version and
	// Content-* in it are left out, since they describe the tree, not the message.
	Header []Field
	// Root is the content; nil is an empty text.
	Root *Part
	// Boundary makes boundaries differ between messages, so that one inside another
	// needs no second look. Letters and digits count, 40 at most. Empty works.
	Boundary string
	// Whole is a run of letters, digits, "-" and "_" that is found again in what was
	// written: no line of a text is broken within it. Up to 70 octets; empty is none.
	Whole string
}

// ErrNot7Bit says that a signed or encrypted part cannot be sent without changing
// it, which would break it: 8-bit bytes, bare line ends, NUL or lines over 998 octets.
var ErrNot7Bit = errors.New("signed or encrypted part is not 7 bit with lines of at most 998 octets")

// NeedsUTF8 says that the message holds an address that only SMTPUTF8 can carry.
func (m *Message) NeedsUTF8() bool {
	for _, f := range m.Header {
		if f.form == formAddress && !isASCII(f.Value) {
			return true
		}
	}
	return false
}

// Append appends the message to dst. Errors are *FieldError and ErrNot7Bit.
func (m *Message) Append(dst []byte) ([]byte, error) {
	root := m.Root
	if root == nil {
		root = &Part{Type: "text/plain"}
	}
	w := newWriter(m.Boundary, root)
	w.whole = []byte(m.Whole)
	w.out = grow(dst, w.estimate(m))
	for _, f := range m.Header {
		if err := f.Check(); err != nil {
			return dst, err
		}
		if !isMIMEField(f.Name) {
			w.out = f.appendTo(w.out)
		}
	}
	w.out = append(w.out, "MIME-Version: 1.0\r\n"...)
	if err := w.part(root); err != nil {
		return dst, err
	}
	if n := len(w.out); w.out[n-1] != '\n' {
		w.out = append(w.out, "\r\n"...) // RFC 5321 §2.3.8: lines end with CRLF, the last one too
	}
	return w.out, nil
}

// WriteTo writes the message, in one piece. Errors as Append, and those of dst.
func (m *Message) WriteTo(dst io.Writer) (int64, error) {
	b, err := m.Append(nil)
	if err != nil {
		return 0, err
	}
	n, err := dst.Write(b)
	return int64(n), err
}

func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	out := make([]byte, len(b), len(b)+n)
	copy(out, b)
	return out
}

func isMIMEField(name string) bool {
	return strings.EqualFold(name, "MIME-Version") ||
		len(name) >= 8 && strings.EqualFold(name[:8], "Content-")
}

// RFC 5322 §2.1.1.
const (
	foldAt  = 78
	maxLine = 998
)

func (f Field) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, f.Name...)
	dst = append(dst, ": "...)
	v := strings.Trim(f.Value, " \t")
	col := len(dst) - start
	switch f.form {
	case formText:
		if !isPlainText(v) || !foldable(v) {
			v = words(v, col)
		}
	case formRaw:
		if !isPlainText(strings.ReplaceAll(v, "=?", "")) || !foldable(v) {
			v = words(DecodeHeader(v), col)
		}
	case formAddress:
		if !foldable(v) || hasControl(v) {
			v = words(v, col)
		}
	}
	return append(appendFolded(dst, v, col), "\r\n"...)
}

// isPlainText: printable ASCII and tabs that a reader does not take for RFC 2047.
func isPlainText(v string) bool {
	for i := range len(v) {
		if (v[i] < ' ' && v[i] != '\t') || v[i] > '~' {
			return false
		}
	}
	return !strings.Contains(v, "=?")
}

// foldable says whether no stretch between two folding places is too long.
func foldable(v string) bool {
	if len(v) < maxLine-maxFieldName-2 {
		return true
	}
	for v != "" {
		n := pieceLen(v)
		if n > maxLine-maxFieldName-2 {
			return false
		}
		v = v[n:]
	}
	return true
}

// pieceLen is the length of the white space and the word after it at the start of v.
func pieceLen(v string) int {
	i := 0
	for i < len(v) && (v[i] == ' ' || v[i] == '\t') {
		i++
	}
	for i < len(v) && v[i] != ' ' && v[i] != '\t' {
		i++
	}
	return i
}

// appendFolded appends v, which begins at column col, with a CRLF before the white
// space where the line would grow over 78 (RFC 5322 §2.2.3). All white space stays.
func appendFolded(dst []byte, v string, col int) []byte {
	if col+len(v) <= foldAt {
		return append(dst, v...)
	}
	for first := true; v != ""; first = false {
		n := pieceLen(v)
		switch {
		case !first && col+n > foldAt:
			dst = append(dst, "\r\n"...)
			col = 0
		case first && col+n > foldAt && strings.HasPrefix(v, wordStart):
			// The blank after the colon is there already.
			dst = append(dst[:len(dst)-1], "\r\n "...)
			col = 1
		}
		dst = append(dst, v[:n]...)
		col += n
		v = v[n:]
	}
	return dst
}
