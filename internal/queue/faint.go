package queue

import "time"

// maxFaint bounds what is remembered of groups of which nothing is in memory any
// more: a hundred octets each.
const maxFaint = 200_000

// faint is what is left of a group that failed, or worked: how often it failed
// in a row, and until when it rests, or when it worked last.
type faint struct {
	fails  int
	worked bool
	until  int64 // microseconds since 1970
}

// fade forgets a group but for how it fared. q.mu is held.
func (q *Queue) fade(g *group) {
	g.gone = true
	for _, d := range g.parked {
		d.parked = false
	}
	g.parked = nil
	g.lane.groups--
	delete(q.groups, g.name)
	if (g.fails > 0 || g.worked) && len(q.faint) < maxFaint {
		until := g.restTo
		if g.lastGood.After(until) {
			until = g.lastGood
		}
		q.faint[g.name] = faint{g.fails, g.worked, until.UnixMicro()}
	}
}

// thin sweeps earlier than is due when groups come in crowds, as when thousands
// of sites turn out to be dead. q.mu is held.
func (q *Queue) thin(now time.Time) {
	if len(q.groups) > 2*q.groupsKept && late(now, q.thinned, time.Second) {
		q.thinned = now
		q.sweepIdle(now)
	}
}

// recollect takes up what is left of a group.
func (g *group) recollect(q *Queue) {
	f, ok := q.faint[g.name]
	if !ok {
		return
	}
	delete(q.faint, g.name)
	g.fails, g.worked, g.restTo = f.fails, f.worked, time.UnixMicro(f.until)
}

// sweepFaint drops what is of no use any more: a group that has not been tried
// for an hour begins anew.
func (q *Queue) sweepFaint(now time.Time) {
	old := now.Add(-time.Hour).UnixMicro()
	for name, f := range q.faint {
		if f.until < old {
			delete(q.faint, name)
		}
	}
}
