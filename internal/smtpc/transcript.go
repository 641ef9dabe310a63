package smtpc

import (
	"bytes"
	"strconv"
)

// transcript keeps a conversation for people: a line for each command and
// reply line, never the message, at most max octets.
type transcript struct {
	buf []byte
	max int
	cut bool
}

func (t *transcript) reset() { t.buf, t.cut = t.buf[:0], false }

// line adds one line, of which limit octets are kept, and gives its length.
func (t *transcript) line(prefix string, text []byte, limit int) int {
	const slack = 32 // the longest escape, the ellipsis, the LF, "[cut]"
	start := len(t.buf)
	room := t.max - start - len(prefix) - slack
	if t.cut || room <= 0 {
		if !t.cut && t.max > 0 {
			t.buf = append(t.buf, "[cut]\n"...)
		}
		t.cut = true
		return 0
	}
	t.buf = append(t.buf, prefix...)
	t.buf = append(appendEscaped(t.buf, text, min(limit, room)), '\n')
	return len(t.buf) - start
}

// commands adds a group of commands as written, each ended by CRLF.
func (t *transcript) commands(group []byte) {
	for len(group) > 0 {
		i := bytes.IndexByte(group, '\r')
		t.line("C: ", group[:i], t.max/8)
		group = group[i+2:]
	}
}

// message says that a message went out.
func (t *transcript) message(octets int64) {
	var b [40]byte
	text := strconv.AppendInt(b[:0], octets, 10)
	t.line("C: ", append(text, " octets of message"...), len(b))
}

// reply adds a reply. One alone takes an eighth of the room at most, so that
// the last replies, which decide, find theirs.
func (t *transcript) reply(r *rawReply) {
	left, n := t.max/8, 0
	for line := range r.each() {
		if n++; left <= 0 {
			t.line("S: ", []byte("[more lines]"), 16)
			return
		}
		var b [8]byte
		prefix := strconv.AppendInt(append(b[:0], "S: "...), int64(r.code), 10)
		if n < r.lines {
			prefix = append(prefix, '-')
		} else {
			prefix = append(prefix, ' ')
		}
		left -= t.line(string(prefix), line, left)
	}
}
