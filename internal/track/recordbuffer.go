package track

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"pennypost"
)

// hit is an open or a click as it came, before anything is looked up.
type hit struct {
	id       pennypost.MessageID
	n        int
	link     int // 0: it is an open
	location pennypost.ClickLocation
	target   string
	at       time.Time
	addr     netip.Addr
	agent    string
	prefetch bool
	burst    int // different links of the copy that the address followed at about the same time
}

// octets is about what a hit costs to keep.
func (h *hit) octets() int { return 320 + len(h.target) + len(h.agent) }

// copyFrom is a recipient's copy as one address reads it.
type copyFrom struct {
	id   pennypost.MessageID
	n    int
	addr netip.Addr
}

func (h *hit) copyFrom() copyFrom { return copyFrom{h.id, h.n, h.addr} }

// mark is a click, for finding bursts.
type mark struct {
	at   time.Time
	link int
	from copyFrom
}

// maxMarks bounds the clicks that are compared with each other. Who makes more
// of them in a second is not looked at any closer.
const maxMarks = 64

// buffer holds hits in memory, in the order in which they came, within a bound.
type buffer struct {
	most int

	mu    sync.Mutex
	list  []hit
	used  int // octets of the list and of what was taken and is not done
	marks []mark
	by    map[copyFrom][]mark
}

func newBuffer(most int) *buffer { return &buffer{most: most, by: make(map[copyFrom][]mark)} }

func (b *buffer) held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// add keeps a hit, unless the buffer is full.
func (b *buffer) add(h hit) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := h.octets()
	if b.used+size > b.most {
		return false
	}
	b.used += size
	b.list = append(b.list, h)
	if h.link > 0 && len(b.by[h.copyFrom()]) < maxMarks {
		m := mark{h.at, h.link, h.copyFrom()}
		b.marks = append(b.marks, m)
		b.by[m.from] = append(b.by[m.from], m)
	}
	return true
}

// take gives the hits that came before a time, and how many links each click's
// address followed within a while of it. They count as held until done.
func (b *buffer) take(before time.Time, within time.Duration) []hit {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.list) && b.list[n].at.Before(before) {
		n++
	}
	taken := b.list[:n:n]
	b.list = b.list[n:]
	if len(b.list) == 0 {
		b.list = nil
	}
	for i := range taken {
		if taken[i].link > 0 {
			taken[i].burst = linksNear(b.by[taken[i].copyFrom()], taken[i].at, within)
		}
	}
	b.forget(before.Add(-within))
	return taken
}

// done frees the room of hits.
func (b *buffer) done(hits []hit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range hits {
		b.used -= hits[i].octets()
	}
}

// linksNear counts the different links, up to burstLinks, of the clicks in some
// stretch of time that a click lies in.
func linksNear(marks []mark, at time.Time, within time.Duration) int {
	most := 0
	for first := range marks {
		begin := marks[first].at
		if begin.After(at) {
			break
		}
		if at.Sub(begin) > within {
			continue
		}
		links := make([]int, 0, burstLinks)
		for _, m := range marks[first:] {
			if m.at.Sub(begin) > within || len(links) == burstLinks {
				break
			}
			if !slices.Contains(links, m.link) {
				links = append(links, m.link)
			}
		}
		most = max(most, len(links))
	}
	return most
}

// forget lets go of clicks of before a time.
func (b *buffer) forget(before time.Time) {
	n := 0
	for n < len(b.marks) && b.marks[n].at.Before(before) {
		from := b.marks[n].from
		if rest := b.by[from][1:]; len(rest) > 0 {
			b.by[from] = rest
		} else {
			delete(b.by, from)
		}
		n++
	}
	if b.marks = b.marks[n:]; len(b.marks) == 0 {
		b.marks = nil
	}
}
