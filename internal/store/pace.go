package store

import (
	"sync/atomic"
	"time"
)

// pace is what the committer's batches took lately, for those who want to know
// before they come how long they would wait. All times are microseconds.
type pace struct {
	began atomic.Int64 // of the batch that runs; 0: none does
	sync  atomic.Int64 // time of a COMMIT, averaged
	work  atomic.Int64 // nanoseconds of one closure, averaged
}

func (p *pace) begin(now time.Time) { p.began.Store(now.UnixMicro()) }

// idle tells that no batch runs.
func (p *pace) idle() { p.began.Store(0) }

// ended tells of a batch of n closures whose COMMIT began at a time.
func (p *pace) ended(n int, commit, now time.Time) {
	began := time.UnixMicro(p.began.Swap(0))
	mean(&p.sync, now.Sub(commit).Microseconds())
	if n > 0 {
		mean(&p.work, commit.Sub(began).Nanoseconds()/int64(n))
	}
}

func mean(to *atomic.Int64, v int64) { to.Store((to.Load() + max(v, 0)) / 2) }

// wait estimates the time until one closure more is committed, with so many
// before it: what is left of the running batch, then its own. A COMMIT that has
// taken longer than those before it is believed to be half done.
func (p *pace) wait(now time.Time, waiting int) time.Duration {
	began := p.began.Load()
	if began == 0 && waiting == 0 {
		return 0
	}
	sync := time.Duration(p.sync.Load()) * time.Microsecond
	sum := time.Duration(0)
	if began != 0 {
		age := max(now.Sub(time.UnixMicro(began)), 0)
		if sum = sync - age; sum < 0 {
			sum, sync = age, max(sync, age)
		}
	}
	return sum + time.Duration(waiting/maxBatch+1)*sync + time.Duration(waiting*int(p.work.Load()))
}

// Wait estimates how long Update would take now. PostgreSQL has no line to stand
// in: 0.
func (s *Store) Wait() time.Duration {
	if s.lite == nil {
		return 0
	}
	c := s.lite.commits
	return c.pace.wait(s.now(), len(c.queue))
}
