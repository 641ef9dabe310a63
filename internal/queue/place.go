package queue

import (
	"time"

	"pennypost"
)

// A Place is room for one task that is about to be stored.
type Place struct {
	q    *Queue
	dest *dest
	who  holder
	kept int64
	done bool
}

// A holder is a tenant at a dest.
type holder struct {
	dest   *dest
	tenant pennypost.ServerID
}

// Reserve asks for room for one task of a dest, whose payload keeps that many
// octets. Nil: there is none, or its group rests; the job is then stored free,
// and Wake called after the commit. A place ends with Offer or Cancel.
func (q *Queue) Reserve(dest string, bytes int) *Place { return q.ReserveFor(dest, 0, bytes) }

// ReserveFor is Reserve for a tenant: none gets more of a dest's room than it
// leaves to the others.
func (q *Queue) ReserveFor(dest string, tenant pennypost.ServerID, bytes int) *Place {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == stopping || q.tasks >= q.c.Memory {
		return nil
	}
	d := q.dest(dest)
	left := q.destShare() - d.held
	who := holder{d, tenant}
	has := q.placing[who]
	if g := q.groupOf(d); g != nil {
		left = min(left, q.space(g))
		has += g.lane.waitingOf(tenant)
		if g.fails > 0 {
			return nil
		}
	}
	if left <= 0 || tenant != 0 && has > left {
		return nil
	}
	p := &Place{q: q, dest: d, who: who}
	q.placing[who]++
	// Payloads of one dest get at most half of what is free.
	if b := int64(bytes); d.bytes+b <= (q.c.Bytes-q.bytes)/2 {
		p.kept = b
		q.bytes += b
		d.bytes += b
	}
	q.tasks++
	q.placed++
	d.held++
	return p
}

// Offer puts a task into its place. Its job is stored, leased by this session.
func (p *Place) Offer(t Task) {
	q := p.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	t.q, t.dest, t.kept = q, p.dest, p.kept
	if t.kept == 0 && t.Bytes > 0 {
		t.Payload = nil
	}
	q.met.offered.Add(1)
	q.route(&t)
	p.settle()
}

// Cancel gives the place up. After Offer it does nothing.
func (p *Place) Cancel() {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	p.q.release(p.dest, p.kept)
	p.settle()
}

func (p *Place) settle() {
	q := p.q
	if q.placing[p.who]--; q.placing[p.who] == 0 {
		delete(q.placing, p.who)
	}
	q.placed--
	if q.phase == stopping && q.placed == 0 {
		close(q.settled)
	}
}

// Wake tells that a free job of a dest was stored, or became due.
func (q *Queue) Wake(dest string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == stopping {
		return
	}
	d := q.dest(dest)
	d.more = true
	q.wanted(d)
}

// WakeAt tells that a free job of a dest is due at a time.
func (q *Queue) WakeAt(dest string, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due.add(dest, at)
	q.nudge()
}
