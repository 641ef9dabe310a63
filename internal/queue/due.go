package queue

import (
	"container/heap"
	"time"
)

// maxDue bounds the heap of due times; what does not fit is found by the scan.
const maxDue = 50_000

// dueStep is what due times are rounded up to, so that jobs of one dest that
// are due together make one entry.
const dueStep = 100 * time.Millisecond

// An alarm is a time at which a dest has a job due, or a group has rested.
type alarm struct {
	at    time.Time
	dest  string    // "": it is for a group
	group groupName // not the group itself, which may be forgotten before
}

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) } // heap hands back what add pushed
func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return x
}

type dueKey struct {
	at   int64
	dest string
}

// A dueHeap is a bounded heap of alarms.
type dueHeap struct {
	max  int
	list alarms
	seen map[dueKey]struct{}
}

func newDueHeap(limit int) dueHeap { return dueHeap{max: limit, seen: make(map[dueKey]struct{})} }

// add notes that a dest has a job due at a time. When the heap is full it is
// left out.
func (h *dueHeap) add(dest string, at time.Time) {
	at = at.Add(dueStep - 1).Truncate(dueStep)
	key := dueKey{at.UnixNano(), dest}
	if _, ok := h.seen[key]; ok || len(h.list) >= h.max {
		return
	}
	h.seen[key] = struct{}{}
	heap.Push(&h.list, alarm{at: at, dest: dest})
}

// addGroup notes when a group has rested.
func (h *dueHeap) addGroup(g *group, at time.Time) { heap.Push(&h.list, alarm{at: at, group: g.name}) }

// pop gives an alarm that is due.
func (h *dueHeap) pop(now time.Time) (alarm, bool) {
	if len(h.list) == 0 || h.list[0].at.After(now) {
		return alarm{}, false
	}
	a := heap.Pop(&h.list).(alarm) // see Push
	if a.dest != "" {
		delete(h.seen, dueKey{a.at.UnixNano(), a.dest})
	}
	return a, true
}

// next is when the earliest alarm is due; false when there is none.
func (h *dueHeap) next() (time.Time, bool) {
	if len(h.list) == 0 {
		return time.Time{}, false
	}
	return h.list[0].at, true
}
