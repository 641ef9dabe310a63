package eml

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxHeaderMailboxes bounds one address field of a submitted message.
const maxHeaderMailboxes = 2000

// ParseHeaderMailboxes reads the value of From, To, Cc, Reply-To or Sender (RFC 5322
// §3.4): encoded words, quoted names, comments and groups, whose members count as
// listed. A comment after a bare address is its name, as before RFC 822. Every
// address must pass the rule of ParsePath. Of the obsolete forms only white space
// and empty list items are accepted, no source routes. On an error, which is the
// first and an *AddressError, the mailboxes that could be read are returned too.
func ParseHeaderMailboxes(v string) ([]Mailbox, error) {
	if !utf8.ValidString(v) {
		v, _ = toUTF8("windows-1252", []byte(v))
	}
	r := addrReader{s: v}
	r.read()
	return r.list, r.err
}

// addrReader goes over the value once.
type addrReader struct {
	s       string
	raw     strings.Builder // phrase or addr-spec of the present item, comments left out
	angle   string
	comment string
	isAngle bool
	list    []Mailbox
	err     error
}

func (r *addrReader) fail(k AddressErrorKind, value string) {
	if r.err == nil {
		r.err = addressError(k, value)
	}
}

func (r *addrReader) read() {
	group := false
	for i := 0; i < len(r.s); {
		switch c := r.s[i]; c {
		case '(':
			i += r.readComment(r.s[i:])
		case '"':
			n, _ := quotedEnd(r.s[i:])
			r.raw.WriteString(r.s[i : i+n])
			i += n
		case '<':
			i += r.readAngle(r.s[i:])
		case ',':
			r.endItem()
			i++
		case ':':
			if group || r.isAngle {
				r.fail(AddressInvalid, r.raw.String())
			}
			group = true
			r.reset()
			i++
		case ';':
			r.endItem()
			if !group {
				r.fail(AddressInvalid, ";")
			}
			group = false
			i++
		case '\r', '\n', '\t':
			r.raw.WriteByte(' ')
			i++
		default:
			r.raw.WriteByte(c)
			i++
		}
	}
	r.endItem()
}

// readComment skips nested comments (RFC 5322 §3.2.2) and keeps the text of the last.
func (r *addrReader) readComment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				r.comment = s[1:i]
				return i + 1
			}
		}
	}
	r.fail(AddressInvalid, s)
	return len(s)
}

func (r *addrReader) readAngle(s string) int {
	if r.isAngle {
		r.fail(AddressInvalid, s)
	}
	r.isAngle = true
	var b strings.Builder
	for i := 1; i < len(s); {
		switch s[i] {
		case '>':
			r.angle = b.String()
			return i + 1
		case '(':
			i += r.readComment(s[i:])
		case '"':
			n, _ := quotedEnd(s[i:])
			b.WriteString(s[i : i+n])
			i += n
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	r.fail(AddressInvalid, s)
	return len(s)
}

func (r *addrReader) reset() {
	r.raw.Reset()
	r.angle, r.comment, r.isAngle = "", "", false
}

func (r *addrReader) endItem() {
	defer r.reset()
	raw := strings.Trim(r.raw.String(), " ")
	if raw == "" && !r.isAngle {
		return // an empty item of an obsolete list (RFC 5322 §4.4)
	}
	if len(r.list) >= maxHeaderMailboxes {
		r.fail(AddressTooMany, strconv.Itoa(maxHeaderMailboxes))
		return
	}
	addr, name, ok := raw, "", true
	switch {
	case r.isAngle:
		addr = strings.Trim(r.angle, " \t\r\n")
		name, ok = decodePhrase(raw)
	case r.comment != "":
		name, ok = decodePhrase(strings.ReplaceAll(r.comment, `"`, ""))
	}
	if !ok || len(name) > maxNameLen || hasControl(addr) {
		r.fail(AddressInvalid, raw)
		return
	}
	m, err := checkAddr(addr, true)
	if err != nil {
		if r.err == nil {
			r.err = err
		}
		return
	}
	m.Name = strings.Trim(printable(name), " ")
	r.list = append(r.list, m)
}

// AddressField returns a field of mailboxes: From, To, Cc, Reply-To, Sender.
func AddressField(name string, list ...Mailbox) Field {
	var b strings.Builder
	for i, m := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.Header())
	}
	return Field{Name: name, Value: b.String(), form: formAddress}
}
