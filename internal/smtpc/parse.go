package smtpc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// Limits of one reply. RFC 5321 §4.5.3.1.5 allows lines of 512 octets; we take
// longer ones, up to all of the reply.
const (
	maxReply = 64 << 10
	maxLines = 512
)

// rawReply is the reply that was read last. Its memory is used again, so that
// the replies that decide nothing cost none.
type rawReply struct {
	code  int
	text  []byte // the lines without their codes, each ended by LF
	lines int
}

// each gives the lines. An LF cannot be part of one.
func (r *rawReply) each() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := r.text; len(rest) > 0; {
			i := bytes.IndexByte(rest, '\n')
			if !yield(rest[:i]) {
				return
			}
			rest = rest[i+1:]
		}
	}
}

// read takes one reply (RFC 5321 §4.2.1). The error is a *ProtocolError, or
// the reader's; an end within the reply is io.ErrUnexpectedEOF.
func (r *rawReply) read(in *bufio.Reader) error {
	r.code, r.lines = 0, 0
	if r.text = r.text[:0]; cap(r.text) > maxKept {
		r.text = nil
	}
	for size := 0; ; {
		start := len(r.text)
		n, err := r.line(in, maxReply-size)
		if err != nil {
			if errors.Is(err, io.EOF) && size+n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		size += n
		last, err := r.take(start)
		if err != nil {
			return err
		}
		if r.lines++; last {
			return nil
		}
		if r.lines == maxLines {
			return &ProtocolError{"reply of more than 512 lines"}
		}
	}
}

// line appends a line to the text as it was sent, and gives its length.
func (r *rawReply) line(in *bufio.Reader, limit int) (int, error) {
	for n := 0; ; {
		part, err := in.ReadSlice('\n')
		if n += len(part); n > limit {
			return n, &ProtocolError{"reply of more than 64 KiB"}
		}
		r.text = append(r.text, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}

// take makes text of the line that starts at an offset, and tells whether it
// is the reply's last.
//
// RFC 5321 §4.2.1: three digits, then SP, or "-" when more lines follow; a
// text need not follow. RFC 5321 §2.3.8 ends lines with CRLF alone; to take a
// bare LF as well is our choice: it cannot be mistaken for anything else.
func (r *rawReply) take(start int) (last bool, err error) {
	line := r.text[start : len(r.text)-1]
	line = bytes.TrimSuffix(line, []byte{'\r'})
	code := codeOf(line)
	if code == 0 {
		return false, &ProtocolError{"not a reply: " + escape(line, 80)}
	}
	if r.lines > 0 && code != r.code {
		return false, &ProtocolError{"reply with more than one code: " + escape(line, 80)}
	}
	r.code = code
	last = len(line) == 3 || line[3] == ' '
	text := line[min(4, len(line)):]
	r.text = append(r.text[:start], text...)
	r.text = append(r.text, '\n')
	return last, nil
}

// codeOf gives the code that a line starts with, or 0. The first digit is 2 to
// 5: SMTP has no 1yz replies (RFC 5321 §4.2.1).
func codeOf(line []byte) int {
	if len(line) < 3 || (len(line) > 3 && line[3] != ' ' && line[3] != '-') || line[0] < '2' || line[0] > '5' {
		return 0
	}
	code := 0
	for _, d := range line[:3] {
		if d < '0' || d > '9' {
			return 0
		}
		code = code*10 + int(d-'0')
	}
	return code
}
