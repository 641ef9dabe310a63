package queue

import "time"

// maxLonger is how much longer a rest may become for the sake of the pace. Beyond
// that more begin in a second: nobody's sites wait for hours because somebody
// else has a million dead ones.
const maxLonger = 15 * time.Minute

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

// slot gives the first time from at on that has room, and takes it; or one that
// is maxLonger after at, when all before it are full.
func (p *pace) slot(at time.Time) time.Time {
	first := at.Unix()
	last := first + int64(maxLonger/time.Second)
	free := first
	for p.taken[free] >= p.most && free < last {
		free = min(p.after(free), last)
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
