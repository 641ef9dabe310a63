package smtpc

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxKept bounds, in octets, what a Reply keeps of a text.
const maxKept = 4096

// Reply is a reply (RFC 5321 §4.2) that decides what becomes of a message or
// a connection. As an error it is a refusal.
type Reply struct { //nolint:errname // as an error it is what the peer said
	Code int
	// Enhanced is the enhanced status code (RFC 2034) that the text starts
	// with, or "".
	Enhanced string
	// Lines are the texts after the code, escaped: printable characters alone.
	// They start with Enhanced. Of a long reply the start is kept.
	Lines []string
	// Phase is what it answers to.
	Phase string
	// Local: the peer said nothing of the kind. It is ours, in place of what it
	// would have had to say, and nothing was sent.
	Local bool
}

// Error gives the whole reply on one line, such as "550 5.1.1 no such user".
func (r *Reply) Error() string { return strconv.Itoa(r.Code) + " " + r.Text() }

// Text gives the lines as one, without the basic code.
func (r *Reply) Text() string {
	if len(r.Lines) == 1 {
		return r.Lines[0]
	}
	return strings.Join(r.Lines, " ")
}

// Positive tells whether the reply says yes.
func (r *Reply) Positive() bool { return r.Code/100 == 2 }

func local(code int, enhanced, text string) *Reply {
	return &Reply{Code: code, Enhanced: enhanced, Lines: []string{enhanced + " " + text}, Phase: PhaseMail, Local: true}
}

// reply makes what is kept of the reply that was read last.
func (r *rawReply) reply(phase string) *Reply {
	out := &Reply{Code: r.code, Enhanced: enhanced(r.text), Phase: phase, Lines: make([]string, 0, r.lines)}
	left := maxKept
	for line := range r.each() {
		text := escape(line, left)
		out.Lines = append(out.Lines, text)
		if left -= len(text) + 1; left <= 0 {
			break
		}
	}
	return out
}

// enhanced reads the enhanced status code at the start of a text
// (RFC 2034 §4), whose class need not be that of the basic code.
func enhanced(text []byte) string {
	if len(text) < 5 || text[1] != '.' || (text[0] != '2' && text[0] != '4' && text[0] != '5') {
		return ""
	}
	subject := digits(text[2:])
	if subject == 0 || len(text) <= 2+subject || text[2+subject] != '.' {
		return ""
	}
	detail := digits(text[3+subject:])
	end := 3 + subject + detail
	if detail == 0 || (end < len(text) && text[end] != ' ' && text[end] != '\n') {
		return ""
	}
	return string(text[:end])
}

// digits counts the digits at the start of a text: up to three, else 0.
func digits(b []byte) int {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	if n > 3 {
		return 0
	}
	return n
}

// escape gives a text of the peer as it may be stored and shown: printable
// characters as they are, other octets as \xNN, other characters as \u{N}. It
// stops, with an ellipsis, after about limit octets.
func escape(b []byte, limit int) string {
	if len(b) <= limit && plain(b) {
		return string(b)
	}
	return string(appendEscaped(make([]byte, 0, min(len(b), limit)+16), b, limit))
}

func appendEscaped(dst, b []byte, limit int) []byte {
	if len(b) <= limit && plain(b) {
		return append(dst, b...)
	}
	end := len(dst) + limit
	for len(b) > 0 {
		if len(dst) >= end {
			return append(dst, "…"...)
		}
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1, r < 0x20, r == 0x7f:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'x', hex[b[0]>>4], hex[b[0]&15])
		case !unicode.IsPrint(r): // C1 controls, direction overrides, odd blanks
			dst = append(dst, `\u{`...)
			dst = append(strconv.AppendUint(dst, uint64(r), 16), '}')
		default:
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return dst
}

// plain tells whether a text is printable ASCII alone.
func plain(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}
