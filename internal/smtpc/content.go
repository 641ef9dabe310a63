package smtpc

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// maxLine is the length of a line of text without its CRLF
// (RFC 5321 §4.5.3.1.6, RFC 5322 §2.1.1).
const maxLine = 998

// facts are what looking through a message shows.
type facts struct {
	size     int64
	dots     bool // a line starts with a dot
	eightBit bool
}

// inspect looks through the parts of a message, which lines may cross. The
// error wraps [ErrContent].
func inspect(parts [][]byte) (facts, error) {
	var s scanner
	for _, p := range parts {
		if bytes.IndexByte(p, 0) >= 0 {
			return s.facts, fmt.Errorf("%w: NUL", ErrContent)
		}
		s.size += int64(len(p))
		s.eightBit = s.eightBit || eightBit(p)
		if err := s.part(p); err != nil {
			return s.facts, err
		}
	}
	// An empty message is none: every one of ours has header fields.
	if s.line != 0 || s.cr || s.size == 0 {
		return s.facts, fmt.Errorf("%w: it does not end in CRLF", ErrContent)
	}
	return s.facts, nil
}

// scanner knows where in a line it is.
type scanner struct {
	facts
	line int  // octets of the present line so far, without the CR
	cr   bool // the latest octet was a CR
}

func (s *scanner) part(p []byte) error {
	for len(p) > 0 {
		if s.line == 0 && !s.cr && p[0] == '.' {
			s.dots = true
		}
		lf := bytes.IndexByte(p, '\n')
		text := p
		if lf >= 0 {
			text = p[:lf]
		}
		if err := s.text(text); err != nil {
			return err
		}
		if lf < 0 {
			return nil
		}
		if !s.cr {
			return fmt.Errorf("%w: bare LF", ErrContent)
		}
		s.line, s.cr = 0, false
		p = p[lf+1:]
	}
	return nil
}

// text takes octets of one line; only the last of them may be a CR.
func (s *scanner) text(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	cr := bytes.IndexByte(text, '\r')
	if s.cr || (cr >= 0 && cr != len(text)-1) {
		return fmt.Errorf("%w: bare CR", ErrContent)
	}
	s.line += len(text)
	if s.cr = cr >= 0; s.cr {
		s.line--
	}
	if s.line > maxLine {
		return fmt.Errorf("%w: a line of more than %d octets", ErrContent, maxLine)
	}
	return nil
}

func eightBit(p []byte) bool {
	const high = 0x8080808080808080
	for ; len(p) >= 8; p = p[8:] {
		if binary.LittleEndian.Uint64(p)&high != 0 {
			return true
		}
	}
	for _, b := range p {
		if b >= 0x80 {
			return true
		}
	}
	return false
}

// text gives out a message in chunks, its dots stuffed.
type text struct {
	now  []byte // what is left of the part at hand
	rest [][]byte
	dots bool // some line starts with a dot
	mid  bool // within a line
}

// next appends the next octets to a buffer until that has about limit octets,
// and tells whether they were the last.
func (t *text) next(out []byte, limit int) ([]byte, bool) {
	for {
		for len(t.now) == 0 {
			if len(t.rest) == 0 {
				return out, true
			}
			t.now, t.rest = t.rest[0], t.rest[1:]
		}
		if len(out) >= limit {
			return out, false
		}
		n := min(len(t.now), limit-len(out))
		if t.dots {
			// RFC 5321 §4.5.2: a line that starts with a dot gets another one.
			if !t.mid && t.now[0] == '.' {
				out = append(out, '.')
			}
			if lf := bytes.IndexByte(t.now[:n], '\n'); lf >= 0 {
				n = lf + 1
			}
			t.mid = t.now[n-1] != '\n'
		}
		out = append(out, t.now[:n]...)
		t.now = t.now[n:]
	}
}
