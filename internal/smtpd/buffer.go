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
	smallMost   = 64 << 10  // octets of a message that is small
)

// budget is a number of octets that may still be taken.
type budget struct {
	atomic.Int64
	small int64 // of these, not for large messages
}

// set makes it a budget of n octets.
func (b *budget) set(n int64) {
	b.Store(n)
	b.small = n / 8
}

func (b *budget) take(n int64, large bool) bool {
	least := int64(0)
	if large {
		least = b.small
	}
	if b.Add(-n) >= least {
		return true
	}
	b.Add(n)
	return false
}

// memory is what all messages on their way in may take, and their buffers.
// Strangers together get a quarter of it and one address half, so that slow
// large messages of some leave room for those of others; but always enough for
// one message.
//
// A message grows as it comes, since who announces a size need not send it. When
// many large ones have taken all there is, each would wait for the others: one
// at a time may then go beyond, so that it comes to an end and gives back what
// it has. The rest wait without reading, which makes their senders wait.
type memory struct {
	all, strangers budget
	perAddress     int64
	pool           sync.Pool
	beyond         chan struct{} // one token
}

func (m *memory) init(lim *Limits) {
	m.all.set(lim.Memory)
	m.strangers.set(max(lim.Memory/4, lim.Size))
	m.perAddress = max(lim.Memory/2, lim.Size)
	m.beyond = make(chan struct{}, 1)
}

// budgets are those that one message is charged to.
type budgets [3]*budget

func (m *memory) budgets(p *place, authenticated bool) budgets {
	if authenticated {
		return budgets{&m.all, &p.memory}
	}
	return budgets{&m.all, &p.memory, &m.strangers}
}

func (bs *budgets) take(n int64, large bool) bool {
	for i, b := range bs {
		if b != nil && !b.take(n, large) {
			for _, taken := range bs[:i] {
				taken.Add(n)
			}
			return false
		}
	}
	return true
}

func (bs *budgets) give(n int64) {
	for _, b := range bs {
		if b != nil {
			b.Add(n)
		}
	}
}

// room tells whether a message of n octets would fit now.
func (bs *budgets) room(n int64) bool {
	for _, b := range bs {
		if b != nil && b.Load() < n {
			return false
		}
	}
	return true
}

// buffer collects the octets of one message within the limits of the message
// and of memory. What does not fit is counted and thrown away.
type buffer struct {
	pool  *sync.Pool
	from  budgets
	b     []byte
	limit int64
	seen  int64 // octets that came
	taken int64 // octets of from
	short bool  // there was no memory

	wait   func(try func() bool) bool // until try succeeds; nil: it does not
	beyond chan struct{}              // of memory
	last   bool                       // it has the token
}

func (m *memory) buffer(from budgets, limit int64) *buffer {
	b := &buffer{pool: &m.pool, from: from, limit: limit, beyond: m.beyond}
	if !b.take(firstBuffer) {
		b.short = true
		return b
	}
	p, ok := m.pool.Get().(*[]byte)
	if !ok {
		b.b = make([]byte, 0, firstBuffer)
		return b
	}
	b.b = (*p)[:0]
	if extra := int64(cap(b.b)) - firstBuffer; extra > 0 && !b.take(extra) {
		b.b = b.b[:0:firstBuffer]
	}
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
	size := 2 * cap(b.b)
	if most := int(b.limit); size > most {
		size = most
	}
	size = max(size, need)
	more := int64(size - cap(b.b))
	if !b.take(more) && (b.wait == nil || !b.wait(func() bool { return b.take(more) || b.goBeyond() })) {
		return false
	}
	n := make([]byte, len(b.b), size)
	copy(n, b.b)
	b.b = n
	return true
}

// take charges octets, unless the buffer need not ask any more.
func (b *buffer) take(n int64) bool {
	if b.last {
		return true
	}
	if !b.from.take(n, b.taken+n > smallMost) {
		return false
	}
	b.taken += n
	return true
}

// goBeyond tries to become the one that need not ask.
func (b *buffer) goBeyond() bool {
	select {
	case b.beyond <- struct{}{}:
		b.last = true
	default:
	}
	return b.last
}

// octets are what was kept.
func (b *buffer) octets() []byte {
	if b == nil {
		return nil
	}
	return b.b
}

func (b *buffer) tooLarge() bool { return b.seen > b.limit }
func (b *buffer) tooMuch() bool  { return b.seen > overshoot*b.limit }

// free gives the memory back; the octets must not be used any more. What comes
// later is only counted.
func (b *buffer) free() {
	if b == nil || b.b == nil {
		return
	}
	b.from.give(b.taken)
	b.taken = 0
	if b.last {
		<-b.beyond
		b.last = false
	}
	if cap(b.b) <= keepBuffer {
		p := b.b[:0]
		b.pool.Put(&p)
	}
	b.b, b.short = nil, true
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
