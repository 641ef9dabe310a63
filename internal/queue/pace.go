package queue

import "time"

// A pace spreads the probes of groups that have failed: however many there are,
// so many begin in a second, and the rests of the others become longer. A
// hundred thousand dead sites must not cost those that live more than a few
// dozen do.
type pace struct {
	most  int             // in a second
	taken map[int64]int   // by second
	skip  map[int64]int64 // from a full second to a later one before which all are full
}

func newPace(most int) pace {
	return pace{most: most, taken: make(map[int64]int), skip: make(map[int64]int64)}
}

// slot gives the first time from at on that has room, and takes it.
func (p *pace) slot(at time.Time) time.Time {
	first := at.Unix()
	free := first
	for p.taken[free] >= p.most {
		free = p.after(free)
	}
	for s := first; s < free; {
		next := p.after(s)
		p.skip[s] = free
		s = next
	}
	p.taken[free]++
	if free == first {
		return at
	}
	return time.Unix(free, int64(at.Nanosecond()))
}

func (p *pace) after(s int64) int64 { return max(s+1, p.skip[s]) }

// forget drops the seconds before a time.
func (p *pace) forget(now time.Time) {
	for s := range p.taken {
		if s < now.Unix() {
			delete(p.taken, s)
		}
	}
	for s := range p.skip {
		if s < now.Unix() {
			delete(p.skip, s)
		}
	}
}
