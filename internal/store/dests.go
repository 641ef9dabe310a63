package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pennypost"
)

// A dest has a row in dests as long as it has a free job, with the time at
// which the earliest is due, or later when the dest rests. Whoever frees a job
// lowers it in the same transaction; whoever claims takes the row first and
// writes anew what is left. So on PostgreSQL, where each statement sees what is
// committed, a claim that has the row sees every free job whose row was lowered
// before, and what is lowered after waits for the row.

// DueDest is a dest with work, and since when.
type DueDest struct {
	Dest string
	At   time.Time
}

// DueDests gives up to n dests whose earliest free job is due, the longest
// waiting first.
func (tx *Tx) DueDests(ctx context.Context, kind pennypost.JobKind, n int) ([]DueDest, error) {
	list, err := collect(tx, ctx, func(row scanner) (*DueDest, error) {
		d := &DueDest{}
		return d, row.Scan(&d.Dest, intoTime(&d.At))
	}, dueDests, int64(kind), timeToDB(tx.Now()), int64(n))
	if err != nil {
		return nil, fmt.Errorf("look for due dests: %w", err)
	}
	return list, nil
}

const dueDests = `SELECT dest, next_at FROM dests WHERE kind = $1 AND next_at <= $2 ORDER BY next_at LIMIT $3`

// NextDue gives when the earliest free job of all dests is due, or the zero time
// when there is none.
func (tx *Tx) NextDue(ctx context.Context, kind pennypost.JobKind) (time.Time, error) {
	var at time.Time
	err := tx.row(ctx, `SELECT COALESCE(MIN(next_at), 0) FROM dests WHERE kind = $1`, int64(kind)).Scan(intoTime(&at))
	if err != nil {
		return at, fmt.Errorf("look for the next due dest: %w", err)
	}
	return at, nil
}

// DestNext gives when a dest is looked at next, or the zero time when it has no
// free job: later than its earliest job while it rests.
func (tx *Tx) DestNext(ctx context.Context, kind pennypost.JobKind, dest string) (time.Time, error) {
	var at time.Time
	err := tx.row(ctx, `SELECT next_at FROM dests WHERE kind = $1 AND dest = $2`, int64(kind), dest).Scan(intoTime(&at))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return at, fmt.Errorf("look for dest: %w", err)
	}
	return at, nil
}

// DelayDest keeps a dest from being due before a time.
func (tx *Tx) DelayDest(ctx context.Context, kind pennypost.JobKind, dest string, until time.Time) error {
	_, err := tx.exec(ctx, `UPDATE dests SET next_at = $3 WHERE kind = $1 AND dest = $2 AND next_at < $3`,
		int64(kind), dest, timeToDB(until))
	if err != nil {
		return fmt.Errorf("delay dest: %w", err)
	}
	return nil
}

type destKey struct {
	kind pennypost.JobKind
	dest string
}

// due notes the free ones among jobs.
func (tx *Tx) due(ctx context.Context, jobs []pennypost.Job) error {
	var at map[destKey]time.Time
	for i := range jobs {
		j := &jobs[i]
		if j.Lease != 0 {
			continue
		}
		if at == nil {
			at = make(map[destKey]time.Time)
		}
		k := destKey{j.Kind, j.Dest}
		if t, ok := at[k]; !ok || j.RunAt.Before(t) {
			at[k] = j.RunAt
		}
	}
	// In one order, so that transactions do not wait for each other in a ring.
	keys := slices.SortedFunc(maps.Keys(at), func(a, b destKey) int {
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		if a.dest < b.dest {
			return -1
		}
		return 1
	})
	for _, k := range keys {
		if err := tx.dueAt(ctx, k.kind, k.dest, at[k]); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) dueRows(ctx context.Context, list []jobRow) error {
	jobs := make([]pennypost.Job, len(list))
	for i := range list {
		jobs[i] = list[i].Job
	}
	return tx.due(ctx, jobs)
}

// dueAt notes a free job of a dest.
func (tx *Tx) dueAt(ctx context.Context, kind pennypost.JobKind, dest string, at time.Time) error {
	_, err := tx.exec(ctx, `INSERT INTO dests (kind, dest, next_at) VALUES ($1, $2, $3)
		ON CONFLICT (kind, dest) DO UPDATE SET next_at = excluded.next_at WHERE dests.next_at > excluded.next_at`,
		int64(kind), dest, timeToDB(at))
	if err != nil {
		return fmt.Errorf("note due job: %w", err)
	}
	return nil
}

// ClaimJobs leases up to n due jobs of a dest to this session, by priority and
// then by time, and tells whether more are due.
//
// It looks at one priority after the other, each from its earliest job on, so
// that the jobs of a dead dest that wait for their time cost nothing.
func (tx *Tx) ClaimJobs(ctx context.Context, kind pennypost.JobKind, dest string, n int) (jobs []pennypost.Job, more bool, err error) {
	if !tx.s.mayLease() {
		return nil, false, fmt.Errorf("claim jobs: %w", ErrLeaseLost)
	}
	switch there, err := tx.takeDest(ctx, kind, dest); {
	case err != nil:
		return nil, false, fmt.Errorf("claim jobs: %w", err)
	case !there:
		return nil, false, nil
	}
	var left time.Time // when the earliest that stays free is due
	for p := int64(-1) << 15; ; p++ {
		var at time.Time
		if p, at, err = tx.nextPriority(ctx, kind, dest, p); errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, false, fmt.Errorf("claim jobs: %w", err)
		}
		if len(jobs) < n && !at.After(tx.Now()) {
			got, err := tx.claim(ctx, kind, dest, p, n-len(jobs))
			if err != nil {
				return nil, false, fmt.Errorf("claim jobs: %w", err)
			}
			jobs = append(jobs, got...)
			if at, err = tx.earliest(ctx, kind, dest, p); errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, false, fmt.Errorf("claim jobs: %w", err)
			}
		}
		if left.IsZero() || at.Before(left) {
			left = at
		}
	}
	if err := tx.leaveDest(ctx, kind, dest, left); err != nil {
		return nil, false, fmt.Errorf("claim jobs: %w", err)
	}
	return jobs, !left.IsZero() && !left.After(tx.Now()), nil
}

// takeDest locks the row of a dest on PostgreSQL. False: it has none, and so no
// free job. One that comes only now must not be looked for without the lock:
// leaveDest would take away the row of what comes beside it.
func (tx *Tx) takeDest(ctx context.Context, kind pennypost.JobKind, dest string) (there bool, err error) {
	if !tx.postgres() {
		return true, nil
	}
	n, err := tx.exec(ctx, `SELECT 1 FROM dests WHERE kind = $1 AND dest = $2 FOR UPDATE`, int64(kind), dest)
	return n > 0, err
}

// leaveDest writes when the dest is due next; the zero time: it has no free
// job.
func (tx *Tx) leaveDest(ctx context.Context, kind pennypost.JobKind, dest string, left time.Time) error {
	if left.IsZero() {
		_, err := tx.exec(ctx, `DELETE FROM dests WHERE kind = $1 AND dest = $2`, int64(kind), dest)
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO dests (kind, dest, next_at) VALUES ($1, $2, $3)
		ON CONFLICT (kind, dest) DO UPDATE SET next_at = excluded.next_at`, int64(kind), dest, timeToDB(left))
	return err
}

const (
	freeJobs     = ` FROM jobs WHERE kind = $1 AND dest = $2 AND lease = 0 AND held = 0`
	nextPriority = `SELECT priority, run_at` + freeJobs + ` AND priority >= $3 ORDER BY priority, run_at LIMIT 1`
	earliestJob  = `SELECT run_at` + freeJobs + ` AND priority = $3 ORDER BY run_at LIMIT 1`
	claimJobs    = `UPDATE jobs SET lease = $6 WHERE id IN (
		SELECT id` + freeJobs + ` AND priority = $3 AND run_at <= $4 ORDER BY run_at LIMIT $5`
)

// nextPriority gives the first priority from p on that a dest has free jobs of,
// and the earliest job's time.
func (tx *Tx) nextPriority(ctx context.Context, kind pennypost.JobKind, dest string, p int64) (int64, time.Time, error) {
	var at time.Time
	err := tx.row(ctx, nextPriority, int64(kind), dest, p).Scan(&p, intoTime(&at))
	return p, at, err
}

func (tx *Tx) earliest(ctx context.Context, kind pennypost.JobKind, dest string, p int64) (time.Time, error) {
	var at time.Time
	err := tx.row(ctx, earliestJob, int64(kind), dest, p).Scan(intoTime(&at))
	return at, err
}

func (tx *Tx) claim(ctx context.Context, kind pennypost.JobKind, dest string, p int64, n int) ([]pennypost.Job, error) {
	list, err := collect(tx, ctx, scanJobRow, claimJobs+tx.skipLocked()+`) RETURNING `+jobColumns,
		int64(kind), dest, p, timeToDB(tx.Now()), int64(n), tx.s.Session())
	if err != nil {
		return nil, err
	}
	return tx.sound(ctx, list)
}
