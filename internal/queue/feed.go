package queue

import (
	"context"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// Sizes of steps: a write transaction is kept to some milliseconds.
const (
	scanStep   = 500 // dests of one scan
	claimDests = 64  // of one transaction
	claimJobs  = 500
	claimMax   = 200 // jobs of one dest at a time
	freeStep   = 500
	deadStep   = 500
)

// A feeder moves jobs from the store to the lanes and back. It is one
// goroutine.
type feeder struct {
	q       *Queue
	scanned time.Time // last scan
	full    bool      // it found more than it took
	next    time.Time // when the next job is due, as it found; zero: none
	swept   time.Time // last look for dead sessions
	failing int       // turns in a row in which the store failed
}

// run works until the context ends.
func (f *feeder) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.q.kick:
		case <-timer.C:
		}
		if err := f.turn(ctx); err != nil && ctx.Err() == nil {
			f.failing++
			f.q.met.storeFails.Add(1)
			f.q.c.Log.WarnContext(ctx, "queue cannot reach the store", "err", err)
			pause(ctx, min(100*time.Millisecond<<min(f.failing, 10), 5*time.Second))
		} else {
			f.failing = 0
		}
		timer.Reset(f.wait())
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// turn does all that is due.
func (f *feeder) turn(ctx context.Context) error {
	now := f.q.c.Now()
	f.q.ring(now)
	if late(now, f.swept, f.q.c.SweepEvery) {
		f.swept = now
		if err := f.sweep(ctx); err != nil {
			return err
		}
	}
	due := !f.next.IsZero() && !now.Before(f.next)
	if due || late(now, f.scanned, f.q.c.ScanEvery) || f.full && f.q.quiet() {
		f.scanned = now
		if err := f.scan(ctx); err != nil {
			return err
		}
	}
	if err := f.free(ctx); err != nil {
		return err
	}
	return f.claim(ctx)
}

// late tells whether something that is done every so often is due; so it is
// when the clock was set back.
func late(now, last time.Time, every time.Duration) bool {
	return now.Sub(last) >= every || now.Before(last)
}

// wait is how long nothing will be due.
func (f *feeder) wait() time.Duration {
	q := f.q
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.c.Now()
	next := f.scanned.Add(q.c.ScanEvery)
	if at := f.swept.Add(q.c.SweepEvery); at.Before(next) {
		next = at
	}
	if at, ok := q.due.next(); ok && at.Before(next) {
		next = at
	}
	if !f.next.IsZero() {
		next = minTime(next, f.next)
	}
	if len(q.waiting) > 0 {
		next = minTime(next, now.Add(crowdLook))
	}
	if len(q.hungry) > 0 || 4*q.tasks > 3*q.c.Memory {
		next = minTime(next, now.Add(time.Second))
	}
	if f.full {
		next = minTime(next, now.Add(50*time.Millisecond))
	}
	return max(next.Sub(now), 0)
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// ring handles the alarms that are due, and workers that hang.
func (q *Queue) ring(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for a, ok := q.due.pop(now); ok; a, ok = q.due.pop(now) {
		if a.dest == "" {
			if g := q.groups[a.group]; g != nil {
				q.unparkSome(g)
			}
			continue
		}
		d := q.dest(a.dest)
		d.more = true
		q.wanted(d)
	}
	q.markStalled()
}

// quiet tells whether no claim is due.
func (q *Queue) quiet() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.want)+len(q.waiting) == 0
}

// sweep frees the jobs of dead sessions, and forgets what is idle. Each job
// that a dead session held may have been delivered: it counts as one possible
// duplicate.
func (f *feeder) sweep(ctx context.Context) error {
	q := f.q
	q.mu.Lock()
	q.sweep()
	q.mu.Unlock()
	for more := true; more && ctx.Err() == nil; {
		var freed int
		err := q.c.Store.Update(ctx, func(tx *store.Tx) (err error) {
			freed, more, err = tx.TakeDeadSessions(ctx, deadStep)
			return err
		})
		if err != nil {
			return err
		}
		if freed > 0 {
			q.met.takenOver.Add(freed)
			q.c.Log.InfoContext(ctx, "took over jobs of a dead session", "jobs", freed)
			f.scanned = time.Time{}
		}
	}
	return nil
}

// scan looks for dests with due jobs that we do not know of.
func (f *feeder) scan(ctx context.Context) error {
	q := f.q
	var found []store.DueDest
	var first time.Time
	err := q.c.Store.View(ctx, func(tx *store.Tx) (err error) {
		if found, err = tx.DueDests(ctx, q.c.Kind, scanStep); err != nil {
			return err
		}
		first, err = tx.NextDue(ctx, q.c.Kind)
		return err
	})
	if err != nil {
		return err
	}
	f.full = len(found) == scanStep
	// What is due now and is not taken by this scan waits for the next one.
	f.next = time.Time{}
	if first.After(f.scanned) {
		f.next = first
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, x := range found {
		d := q.dest(x.Dest)
		asked := d.looking
		d.more = true
		q.wanted(d)
		if !d.wanting && (!d.looking || asked) {
			q.delay(d)
		}
	}
	return nil
}

// delay keeps a dest that cannot be served now out of the way of the next
// scans, so that those behind it are seen.
func (q *Queue) delay(d *dest) {
	now := q.c.Now()
	until := now.Add(5*time.Second + time.Duration(q.c.Rand()*float64(10*time.Second)))
	if g := d.group; g != nil && g.restTo.After(until) {
		until = g.restTo
	}
	q.delays[d.name] = until
}

// wanted asks for a claim for a dest if the store has jobs of it and there is
// room. q.mu is held.
func (q *Queue) wanted(d *dest) {
	if !d.more || d.wanting || d.parked || q.phase == stopping || 2*d.held > q.c.PerDest {
		return
	}
	if d.group == nil && !d.looking && len(q.lookNext) >= maxDests {
		return // the scan finds it when fewer wait to be looked up
	}
	q.lookUp(d)
	g := q.groupOf(d)
	switch {
	case g == nil, d.wanting, d.parked:
		return // found asks, or has asked
	case g.resting(q), g.probing():
		q.park(d, g)
		return
	case q.tight(g):
		q.parkFull(d, g)
		return
	case g.fails > 0:
		g.probe = d
	}
	d.wanting = true
	q.want = append(q.want, d)
	q.nudge()
}

// A claim asks for jobs of a dest.
type claim struct {
	d       *dest
	n       int
	allowed int // of n, taken from the allowance for repetitions
	jobs    []pennypost.Job
	more    bool
}

// again counts the repetitions that it brought.
func (c *claim) again() int {
	n := 0
	for i := range c.jobs {
		if c.jobs[i].Attempt > 0 {
			n++
		}
	}
	return n
}

// claim serves those that want, until nobody does.
func (f *feeder) claim(ctx context.Context) error {
	for {
		claims := f.q.orders()
		if len(claims) == 0 {
			return nil
		}
		err := f.q.c.Store.UpdateSoon(ctx, func(tx *store.Tx) error {
			for i := range claims {
				c := &claims[i]
				var err error
				if c.jobs, c.more, err = tx.ClaimJobs(ctx, f.q.c.Kind, c.d.name, c.n); err != nil {
					return err
				}
			}
			return nil
		})
		f.q.claimed(claims, err)
		if err != nil {
			return err
		}
	}
}

// orders takes some of those that want, and counts what they may get. Those
// that may bring repetitions wait while their allowance is used up (crowd).
func (q *Queue) orders() []claim {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := orderList{q: q, room: q.crowd.room(q.c.Now()), guess: crowdGuess}
	for o.room > 0 && len(q.waiting) > 0 && o.open() {
		if !o.take(&q.waiting) {
			return o.list
		}
	}
	for len(q.want) > 0 && o.open() {
		if d := q.want[0]; o.room <= 0 && q.crowd.needs(d) {
			q.want = behead(q.want)
			q.waiting = append(q.waiting, d)
			continue
		}
		if !o.take(&q.want) {
			break
		}
	}
	return o.list
}

// An orderList is a list of claims that is being made.
type orderList struct {
	q     *Queue
	list  []claim
	sum   int // jobs
	room  int // for repetitions
	guess int // for those of whom nothing is known
}

// open tells whether there is room for more in the transaction.
func (o *orderList) open() bool {
	return len(o.list) < claimDests && o.sum < claimJobs && o.guess > 0
}

// take makes a claim for the first dest of a list, if there is room for it.
// False: there is no room for anybody.
func (o *orderList) take(from *[]*dest) bool {
	q, d := o.q, (*from)[0]
	n := q.room(d)
	if n <= 0 && q.tasks >= q.c.Memory {
		return false // release nudges
	}
	*from = behead(*from)
	d.wanting = false
	if n <= 0 { // its own share is used up: what is released there unparks it
		q.unprobe(d)
		q.parkFull(d, q.groupOf(d))
		return true
	}
	c := claim{d: d, n: n}
	switch {
	case q.crowd.needs(d):
		c.n = min(n, o.room)
		c.allowed = c.n
		o.room -= c.n
		q.crowd.take(c.n)
	case d.last == unknown:
		c.n = min(n, o.guess)
		o.guess -= c.n
	}
	q.tasks += c.n
	d.held += c.n
	o.sum += c.n
	o.list = append(o.list, c)
	return true
}

func behead(list []*dest) []*dest {
	list[0] = nil
	return list[1:]
}

// room is how many jobs of a dest may be claimed now. A quarter of a dest's
// share is left for mail that comes in.
func (q *Queue) room(d *dest) int {
	g := q.groupOf(d)
	if g == nil || g.resting(q) {
		return 0
	}
	n := min(q.destShare(), max(1, q.c.PerDest*3/4)) - d.held
	n = min(n, q.space(g), q.c.Memory-q.tasks, claimMax)
	if g.fails > 0 {
		n = min(n, 1)
	}
	return n
}

func (q *Queue) unprobe(d *dest) {
	if d.group != nil && d.group.probe == d {
		d.group.probe = nil
	}
}

// claimed puts what was claimed into the lanes.
func (q *Queue) claimed(claims []claim, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		for i := range claims {
			q.unclaimed(&claims[i], err)
		}
	}
	q.crowd.learn(claims)
	for _, c := range claims {
		q.unprobe(c.d)
		q.tasks -= c.n - len(c.jobs)
		c.d.held -= c.n - len(c.jobs)
		c.d.more = c.more
		q.met.claimed.Add(len(c.jobs))
		for _, job := range c.jobs {
			q.route(&Task{Job: job, q: q, dest: c.d})
		}
		if g := q.groupOf(c.d); g != nil && len(c.jobs) == 0 {
			q.unparkSome(g)
		}
		q.wanted(c.d)
	}
}

// unclaimed handles a claim that failed. Where nobody knows whether it did, its
// jobs may be ours: they are freed, which passes over those that are not.
func (q *Queue) unclaimed(c *claim, err error) {
	if errors.Is(err, store.ErrUnknown) {
		for _, job := range c.jobs {
			q.back = append(q.back, handBack{id: job.ID, dest: c.d})
		}
	}
	c.jobs, c.more = nil, true
}

// free gives jobs back to the store, and delays dests whose group rests.
func (f *feeder) free(ctx context.Context) error {
	for {
		back, delays := f.q.takeBack()
		if len(back) == 0 && len(delays) == 0 {
			return nil
		}
		err := f.q.freeJobs(ctx, back, delays)
		f.q.freed(back, delays, err)
		if err != nil {
			return err
		}
	}
}

func (q *Queue) takeBack() ([]handBack, map[string]time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.back), freeStep)
	back := q.back[:n:n]
	q.back = q.back[n:]
	if len(q.back) == 0 {
		q.back = nil
	}
	// Delays wait for the last step, as freeing a job makes its dest due.
	var delays map[string]time.Time
	if len(q.back) == 0 && len(q.delays) > 0 {
		delays = q.delays
		q.delays = make(map[string]time.Time)
	}
	return back, delays
}

func (q *Queue) freeJobs(ctx context.Context, back []handBack, delays map[string]time.Time) error {
	ids := make([]int64, len(back))
	for i := range back {
		ids[i] = back[i].id
	}
	return q.c.Store.UpdateSoon(ctx, func(tx *store.Tx) error {
		if len(ids) > 0 {
			if err := tx.FreeJobs(ctx, ids); err != nil {
				return err
			}
		}
		for dest, until := range delays {
			if err := tx.DelayDest(ctx, q.c.Kind, dest, until); err != nil {
				return err
			}
		}
		return nil
	})
}

func (q *Queue) freed(back []handBack, delays map[string]time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.back = append(q.back, back...)
		for dest, until := range delays {
			if _, ok := q.delays[dest]; !ok {
				q.delays[dest] = until
			}
		}
		return
	}
	q.met.returned.Add(len(back))
	for _, b := range back {
		b.dest.more = true
		q.wanted(b.dest)
	}
}
