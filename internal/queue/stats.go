package queue

import (
	"time"

	"pennypost/internal/metrics"
)

// counters are what the queue counts.
type counters struct {
	offered, claimed, returned, takenOver, rests, panics, storeFails *metrics.Counter
}

func newCounters(q *Queue, m *metrics.Set) counters {
	m.Gauge("queue_tasks", "Tasks in memory, with reserved places.", func() float64 { return float64(q.Stats().Tasks) })
	m.Gauge("queue_payload_bytes", "Octets of content kept for tasks.", func() float64 { return float64(q.Stats().Bytes) })
	m.Gauge("queue_lanes", "Lanes in memory.", func() float64 { return float64(q.Stats().Lanes) })
	m.Gauge("queue_groups_resting", "Groups of destinations that rest after failures.", func() float64 { return float64(q.Stats().Resting) })
	m.Gauge("queue_workers", "Workers, each of which is one connection.", func() float64 { return float64(q.Stats().Workers) })
	return counters{
		offered:    m.Counter("queue_offered", "Tasks that went to a worker without touching the store again."),
		claimed:    m.Counter("queue_claimed", "Tasks that were claimed from the store."),
		returned:   m.Counter("queue_returned", "Tasks that were handed back untried."),
		takenOver:  m.Counter("queue_taken_over", "Jobs taken over from dead sessions; each may have been delivered once."),
		rests:      m.Counter("queue_rests", "Rests of lanes after failures."),
		panics:     m.Counter("queue_panics", "Panics of workers and look-ups."),
		storeFails: m.Counter("queue_store_failures", "Turns in which the store could not be reached."),
	}
}

// Stats is how a queue stands.
type Stats struct {
	Tasks   int   // in memory, with reserved places
	Bytes   int64 // of payloads kept
	Lanes   int
	Resting int // groups of dests
	Workers int
	Idle    int // workers without a task
	Due     int // due times remembered
}

// Stats tells how the queue stands.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{
		Tasks: q.tasks, Bytes: q.bytes, Lanes: len(q.lanes), Workers: len(q.workers),
		Idle: q.idle.Len(), Due: len(q.due.list),
	}
	for _, g := range q.groups {
		if g.resting(q) {
			s.Resting++
		}
	}
	return s
}

// LaneStats is how the lane of a dest stands.
type LaneStats struct {
	Name    string
	Waiting int // tasks in memory
	Workers int
	Limit   int       // of workers, as it has grown
	Fails   int       // failures in a row, of the dest's group
	RestTo  time.Time // nothing is tried for the group before
}

// LaneOf tells how the lane of a dest stands; false: nothing is going on there.
func (q *Queue) LaneOf(dest string) (LaneStats, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.dests[dest]
	if d == nil || d.group == nil {
		return LaneStats{}, false
	}
	g := q.groupOf(d)
	return LaneStats{
		Name: g.lane.name, Waiting: g.lane.waiting + g.lane.backlog, Workers: g.lane.workers, Limit: g.lane.limit,
		Fails: g.fails, RestTo: g.restTo,
	}, true
}
