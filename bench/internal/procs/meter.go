package procs

import (
	"context"
	"sync"
	"time"
)

// Meter measures a tree and its disk over one stretch of work.
type Meter struct {
	Tree Tree
	Disk Disk // the zero value counts nothing
}

// Use is what a stretch of work took.
type Use struct {
	Cost
	PeakAnon  int64 // highest of the samples
	DiskBytes int64 // written to the device by all programs
	Flushes   int64 // of the device, by all programs; -1: not known
}

// Reading is a stretch under way.
type Reading struct {
	m      *Meter
	cost   Cost
	disk   DiskCount
	noDisk bool
	stop   context.CancelFunc
	wg     sync.WaitGroup
	peak   int64
}

// sampleEvery is how often memory is looked at.
const sampleEvery = 100 * time.Millisecond

// Begin starts a stretch; End must follow.
func (m *Meter) Begin() (*Reading, error) {
	r := &Reading{m: m}
	var err error
	if r.cost, err = m.Tree.Cost(); err != nil {
		return nil, err
	}
	if r.disk, err = m.Disk.Count(); err != nil {
		r.noDisk = true
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.wg.Go(func() {
		t := time.NewTicker(sampleEvery)
		defer t.Stop()
		for {
			r.peak = max(r.peak, m.Tree.anon())
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	})
	return r, nil
}

// End ends a stretch.
func (r *Reading) End() (Use, error) {
	r.stop()
	r.wg.Wait()
	u := Use{Flushes: -1}
	now, err := r.m.Tree.Cost()
	if err != nil {
		return u, err
	}
	u.Cost = now.Sub(r.cost)
	u.PeakAnon = max(r.peak, now.Anon)
	if disk, err := r.m.Disk.Count(); err == nil && !r.noDisk {
		d := disk.Sub(r.disk)
		u.Flushes, u.DiskBytes = d.Flushes, d.Sectors*512
	}
	return u, nil
}

// Settle waits until the tree does hardly anything, at most that long: work
// that goes on after the last answer belongs to what caused it.
func (t Tree) Settle(ctx context.Context, atMost time.Duration) error {
	const look, idle = 200 * time.Millisecond, 10 * time.Millisecond
	end := time.Now().Add(atMost)
	last, err := t.Cost()
	for err == nil && time.Now().Before(end) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
		var c Cost
		if c, err = t.Cost(); err == nil && c.CPU-last.CPU <= idle {
			return nil
		}
		last = c
	}
	return err
}
