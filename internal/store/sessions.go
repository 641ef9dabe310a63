package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// leaseTime is how long a session lives without being renewed.
const leaseTime = 30 * time.Second

// lease is what this process knows of its session's end, by its own monotonic
// clock: a step of the wall clock neither ends nor lengthens it.
type lease struct {
	mu    sync.Mutex
	until time.Time
	over  bool
}

func (l *lease) set(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

// beginSession takes a number and stores its end. On SQLite the lock on the
// directory proves that every other session is dead.
func (s *Store) beginSession(ctx context.Context) error {
	begun := s.now()
	var id int64
	err := s.Update(ctx, func(tx *Tx) error {
		if !tx.postgres() {
			if _, err := tx.exec(ctx, `UPDATE sessions SET expires_at = 0`); err != nil {
				return err
			}
		}
		var err error
		if id, err = tx.next(ctx, "session"); err != nil {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO sessions (id, started_at, expires_at, walked) VALUES ($1, $2, $3, 0)`,
			id, timeToDB(tx.Now()), timeToDB(tx.Now().Add(leaseTime)))
		return err
	})
	if err != nil {
		return err
	}
	s.session.Store(id)
	s.lease.set(begun.Add(leaseTime))
	return nil
}

// endSession gives the session up: its jobs may be taken at once.
func (s *Store) endSession() error {
	if s.failing() != nil {
		return nil //nolint:nilerr // nothing can be written any more; the session runs out
	}
	s.lease.mu.Lock()
	s.lease.over = true
	s.lease.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `UPDATE sessions SET expires_at = 0 WHERE id = $1`, s.Session())
		return err
	})
}

// ErrSessionLost says that the session ended before it was renewed: others may
// have taken its jobs.
var ErrSessionLost = errors.New("session ended before it was renewed")

// KeepSession renews the session every third of its time, until ctx ends. It
// returns ErrSessionLost when it could not in time; the process must end then.
func (s *Store) KeepSession(ctx context.Context) error {
	t := time.NewTicker(leaseTime / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.failed:
			return s.failing()
		case <-t.C:
		}
		err := s.renew(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for
		}
		if err != nil && (errors.Is(err, ErrSessionLost) || !s.LeaseOK()) {
			return fmt.Errorf("keep session: %w", err)
		}
		if err != nil {
			s.log.WarnContext(ctx, "session not renewed, trying again", "err", err)
		}
	}
}

func (s *Store) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime/4)
	defer cancel()
	begun := s.now()
	var n int64
	err := s.Update(ctx, func(tx *Tx) (err error) {
		n, err = tx.exec(ctx, `UPDATE sessions SET expires_at = $2 WHERE id = $1 AND expires_at > $3`,
			s.Session(), timeToDB(tx.Now().Add(leaseTime)), timeToDB(tx.Now()))
		return err
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		return ErrSessionLost
	}
	s.lease.set(begun.Add(leaseTime))
	return nil
}

// LeaseOK tells whether the session has not ended by our own clock: the last
// look before the end of a message goes out.
func (s *Store) LeaseOK() bool {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return !s.lease.over && s.now().Before(s.lease.until)
}

// TakeDeadSessions looks through the next n jobs for those that a dead session
// holds, frees them, and gives how many: each may have been delivered
// (docs/lifecycle.md). more says that it is not through yet.
func (tx *Tx) TakeDeadSessions(ctx context.Context, n int) (freed int, more bool, err error) {
	type session struct{ id, walked int64 }
	dead, err := collect(tx, ctx, func(row scanner) (*session, error) {
		d := &session{}
		return d, row.Scan(&d.id, &d.walked)
	}, `SELECT id, walked FROM sessions WHERE expires_at <= $1 AND id <> $2 ORDER BY id LIMIT 1`+tx.skipLocked(),
		timeToDB(tx.Now()), tx.s.Session())
	if err != nil {
		return 0, false, fmt.Errorf("look for dead sessions: %w", err)
	}
	if len(dead) == 0 {
		return 0, false, nil
	}
	jobs, err := collect(tx, ctx, scanJobRow, `SELECT `+jobColumns+` FROM jobs WHERE id > $1 ORDER BY id LIMIT $2`, dead[0].walked, int64(n))
	if err != nil {
		return 0, false, fmt.Errorf("look for jobs of a dead session: %w", err)
	}
	if freed, err = tx.freeDead(ctx, jobs); err != nil {
		return 0, false, err
	}
	if len(jobs) < n {
		_, err = tx.exec(ctx, `DELETE FROM sessions WHERE id = $1`, dead[0].id)
	} else {
		_, err = tx.exec(ctx, `UPDATE sessions SET walked = $2 WHERE id = $1`, dead[0].id, jobs[len(jobs)-1].ID)
	}
	if err != nil {
		return 0, false, fmt.Errorf("note freed jobs: %w", err)
	}
	return freed, true, nil
}

// freeDead frees those of the jobs that no living session holds.
func (tx *Tx) freeDead(ctx context.Context, jobs []jobRow) (int, error) {
	alive, err := tx.aliveSessions(ctx)
	if err != nil {
		return 0, err
	}
	freed := 0
	for i := range jobs {
		j := &jobs[i]
		if j.Lease == 0 || alive[j.Lease] {
			continue
		}
		n, err := tx.exec(ctx, `UPDATE jobs SET lease = 0, run_at = $3 WHERE id = $1 AND lease = $2`, j.ID, j.Lease, timeToDB(tx.Now()))
		if err != nil {
			return 0, fmt.Errorf("free job %d: %w", j.ID, err)
		}
		if n == 0 {
			continue
		}
		freed++
		if err := tx.dueAt(ctx, j.Kind, j.Dest, tx.Now()); err != nil {
			return 0, err
		}
	}
	return freed, nil
}

func (tx *Tx) aliveSessions(ctx context.Context) (map[int64]bool, error) {
	ids, err := collect(tx, ctx, func(row scanner) (*int64, error) {
		var id int64
		return &id, row.Scan(&id)
	}, `SELECT id FROM sessions WHERE expires_at > $1`, timeToDB(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	alive := map[int64]bool{tx.s.Session(): true}
	for _, id := range ids {
		alive[id] = true
	}
	return alive, nil
}
