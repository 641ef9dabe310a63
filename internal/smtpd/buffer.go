package smtpd

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
)

// errTooMuch: so far over the limit that the end is not waited for.
var errTooMuch = errors.New("message is far over the size limit")

const (
	firstBuffer = 16 << 10
	keepBuffer  = 256 << 10 // larger ones are left to the collector
	overshoot   = 4         // times the limit that is read and thrown away
)

// memory is what all messages in flight may take, and their buffers.
type memory struct {
	free atomic.Int64
	pool sync.Pool
}

func (m *memory) take(n int64) bool {
	if m.free.Add(-n) >= 0 {
		return true
	}
	m.free.Add(n)
	return false
}

// buffer collects the octets of one message within the limits of the message
// and of the memory for all. What does not fit is counted and thrown away.
type buffer struct {
	mem   *memory
	b     []byte
	limit int64
	seen  int64 // octets that came
	short bool  // the memory for all was used up
}

func (m *memory) buffer(limit int64) *buffer {
	b := &buffer{mem: m, limit: limit}
	if !m.take(firstBuffer) {
		b.short = true
		return b
	}
	if p, ok := m.pool.Get().(*[]byte); ok {
		b.b = (*p)[:0]
		if extra := int64(cap(b.b)) - firstBuffer; extra > 0 && !m.take(extra) {
			b.b = b.b[:0:firstBuffer]
		}
		return b
	}
	b.b = make([]byte, 0, firstBuffer)
	return b
}

func (b *buffer) add(p []byte) {
	b.seen += int64(len(p))
	if b.short || b.tooLarge() {
		return
	}
	if need := len(b.b) + len(p); need > cap(b.b) && !b.grow(need) {
		b.short = true
		return
	}
	b.b = append(b.b, p...)
}

func (b *buffer) grow(need int) bool {
	size := max(2*cap(b.b), need)
	if !b.mem.take(int64(size - cap(b.b))) {
		return false
	}
	n := make([]byte, len(b.b), size)
	copy(n, b.b)
	b.b = n
	return true
}

func (b *buffer) tooLarge() bool { return b.seen > b.limit }
func (b *buffer) tooMuch() bool  { return b.seen > overshoot*b.limit }

// free gives the memory back; the octets must not be used any more.
func (b *buffer) free() {
	if b == nil || b.b == nil {
		return
	}
	b.mem.free.Add(int64(cap(b.b)))
	if cap(b.b) <= keepBuffer {
		p := b.b[:0]
		b.mem.pool.Put(&p)
	}
	b.b = nil
}

// verdict says what is wrong with a whole message, "" for nothing. After AUTH a
// bare LF is allowed: submit writes CRLF.
func (b *buffer) verdict(lim *Limits, authenticated bool) reply {
	if b.tooLarge() {
		return replyTooLarge
	}
	if b.short {
		return replyNoMemory
	}
	crlf := bytes.Count(b.b, []byte("\r\n"))
	bad := bytes.IndexByte(b.b, 0) >= 0 || bytes.Count(b.b, []byte("\r")) != crlf
	switch {
	case bad && authenticated:
		return replyBareData
	case bad || !authenticated && bytes.Count(b.b, []byte("\n")) != crlf:
		return replyBareAny
	case !headerFits(b.b, lim.HeaderSize, lim.HeaderLines):
		return replyHeaderSize
	}
	return ""
}

// headerFits looks for the empty line that ends the header block.
func headerFits(b []byte, size, lines int) bool {
	n := 0
	for at := 0; at < len(b); n++ {
		if n > lines || at > size {
			return false
		}
		i := bytes.IndexByte(b[at:], '\n')
		if i == 0 || i == 1 && b[at] == '\r' {
			return true
		}
		if i < 0 {
			return len(b) <= size
		}
		at += i + 1
	}
	return n <= lines && len(b) <= size
}
