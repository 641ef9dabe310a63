package shed

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrNoMemory says that the memory for messages is used up. It is a local fault
// that passes.
var ErrNoMemory = errors.New("too many messages at once")

// Memory is a number of octets that may be held at once, by all who take from
// it. Who waits is served in order, so that large takers do not wait for ever. A
// nil Memory has no end.
type Memory struct {
	size    int64
	small   int64 // the most that a small taker takes; 0: there are none
	kept    int64 // for small takers
	changed func(short bool)

	mu      sync.Mutex
	free    int64
	short   bool // somebody was refused, and less than half is free since
	refused int64
	waiters list.List // of *waiter, in order
}

type waiter struct {
	n    int64
	have chan struct{} // closed: it has them
}

// NewMemory makes a memory of so many octets. changed may be nil; it is told when
// somebody is refused, and when half is free again. It must not use the memory.
func NewMemory(size int64, changed func(short bool)) *Memory {
	if changed == nil {
		changed = func(bool) {}
	}
	return &Memory{size: size, free: size, changed: changed}
}

// FavourSmall lets small takers pass large ones that wait, and keeps a part for
// them: who sends little does not wait for those who send much. It is for the
// maker, before anybody takes, and gives m.
func (m *Memory) FavourSmall() *Memory {
	m.small, m.kept = m.size/smallShare, m.size/keptShare
	return m
}

// A taker is small up to a 128th of the memory. An eighth is for small ones.
const (
	smallShare = 128
	keptShare  = 8
)

// room tells whether so many octets may be taken now. m.mu is held.
func (m *Memory) room(n int64) bool {
	if n <= m.small {
		return n <= m.free
	}
	return n <= m.free-m.kept
}

// Take takes octets, and waits for them at most that long; it gives how many it
// took, since more than a large taker may have is all of that. The error is
// ErrNoMemory or that of the context.
func (m *Memory) Take(ctx context.Context, n int64, within time.Duration) (taken int64, err error) {
	if m == nil {
		return 0, nil
	}
	n = max(0, min(n, m.size-m.kept))
	w := &waiter{n: n}
	m.mu.Lock()
	if m.room(n) && (m.waiters.Len() == 0 || n <= m.small) {
		m.free -= n
		m.mu.Unlock()
		return n, nil
	}
	w.have = make(chan struct{})
	place := m.waiters.PushBack(w)
	m.mu.Unlock()

	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-w.have:
		return n, nil
	case <-late.C:
		err = ErrNoMemory
	case <-ctx.Done():
		err = ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-w.have: // just now
		return n, nil
	default:
	}
	m.waiters.Remove(place)
	m.serve() // it may have been in the way of smaller ones
	m.refused++
	if !m.short {
		m.short = true
		m.changed(true)
	}
	return 0, err
}

// Give gives octets back.
func (m *Memory) Give(n int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += n
	m.serve()
	if m.short && 2*m.free >= m.size {
		m.short = false
		m.changed(false)
	}
}

// serve gives what is free to those who wait: to large ones in their order, to
// small ones past them. m.mu is held.
func (m *Memory) serve() {
	blocked := false // a large one is at the head, and has no room
	for e := m.waiters.Front(); e != nil; {
		w, next := e.Value.(*waiter), e.Next()
		large := w.n > m.small
		switch {
		case large && blocked:
		case m.room(w.n):
			m.free -= w.n
			m.waiters.Remove(e)
			close(w.have)
		default:
			blocked = blocked || large
		}
		e = next
	}
}

// Held is how many octets are taken.
func (m *Memory) Held() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size - m.free
}

// Refused is how often somebody waited in vain.
func (m *Memory) Refused() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

// Short tells whether somebody was refused and less than half is free since.
func (m *Memory) Short() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.short
}
