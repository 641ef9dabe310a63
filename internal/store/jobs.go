package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"pennypost"
)

// JobRef names one recipient of a message in a job.
func JobRef(id pennypost.MessageID, n int) []byte {
	ref := make([]byte, len(id)+2)
	copy(ref, id[:])
	binary.BigEndian.PutUint16(ref[len(id):], uint16(n)) //nolint:gosec // a message has at most some hundred recipients
	return ref
}

// ParseJobRef reads what JobRef made; anything else is ErrDamaged.
func ParseJobRef(ref []byte) (pennypost.MessageID, int, error) {
	var id pennypost.MessageID
	if len(ref) != len(id)+2 {
		return id, 0, fmt.Errorf("reference of a job: %w", ErrDamaged)
	}
	copy(id[:], ref)
	return id, int(binary.BigEndian.Uint16(ref[len(id):])), nil
}

const jobColumns = `id, kind, dest, tenant, priority, run_at, attempt, lease, ref, checksum`

func jobSum(j *pennypost.Job) int64 {
	var head [10]byte
	binary.BigEndian.PutUint16(head[:], uint16(j.Kind))    //nolint:gosec // bits
	binary.BigEndian.PutUint64(head[2:], uint64(j.Tenant)) //nolint:gosec // bits
	return checksum(head[:], []byte(j.Dest), j.Ref)
}

// scanJob reads a job. A damaged one comes with an empty Ref, which whoever
// works on it finds out by ParseJobRef: a list must not end at it.
func scanJob(row scanner) (*pennypost.Job, error) {
	j := &pennypost.Job{}
	var sum int64
	err := row.Scan(&j.ID, &j.Kind, &j.Dest, &j.Tenant, &j.Priority, intoTime(&j.RunAt), &j.Attempt, &j.Lease, &j.Ref, &sum)
	if err != nil {
		return nil, err
	}
	if jobSum(j) != sum {
		j.Ref = nil
	}
	return j, nil
}

// AddJobs stores jobs with the ids that they have. Those with Lease 0 are free.
func (tx *Tx) AddJobs(ctx context.Context, jobs []pennypost.Job) error {
	const columns = 10
	for len(jobs) > 0 {
		part := jobs[:min(len(jobs), 100)]
		jobs = jobs[len(part):]
		var sql strings.Builder
		sql.WriteString(`INSERT INTO jobs (` + jobColumns + `, held) VALUES `)
		args := make([]any, 0, columns*len(part))
		for i := range part {
			j := &part[i]
			valuesAnd(&sql, i, columns, "0")
			args = append(args, j.ID, int64(j.Kind), j.Dest, int64(j.Tenant), int64(j.Priority), timeToDB(j.RunAt),
				int64(j.Attempt), j.Lease, j.Ref, jobSum(j))
		}
		if _, err := tx.exec(ctx, sql.String(), args...); err != nil {
			return fmt.Errorf("add jobs: %w", err)
		}
		for i := range part {
			if part[i].Lease != 0 {
				continue
			}
			if err := tx.lowerDest(ctx, part[i].Kind, part[i].Dest, part[i].RunAt); err != nil {
				return err
			}
		}
	}
	return nil
}

// valuesAnd writes the i-th group of n parameters and a constant.
func valuesAnd(sql *strings.Builder, i, n int, last string) {
	var one strings.Builder
	values(&one, i, n)
	sql.WriteString(strings.TrimSuffix(one.String(), ")"))
	sql.WriteString(", " + last + ")")
}

// lowerDest notes that a destination has a free job for a time.
func (tx *Tx) lowerDest(ctx context.Context, kind pennypost.JobKind, dest string, at time.Time) error {
	_, err := tx.exec(ctx, `INSERT INTO dests (kind, dest, next_at) VALUES ($1, $2, $3)
		ON CONFLICT (kind, dest) DO UPDATE SET next_at = excluded.next_at WHERE excluded.next_at < dests.next_at`,
		int64(kind), dest, timeToDB(at))
	if err != nil {
		return fmt.Errorf("note destination of job: %w", err)
	}
	return nil
}

// DueDest is a destination with a free job that is due.
type DueDest struct {
	Dest string
	At   time.Time
}

// DueDests gives up to n destinations whose earliest free job is due, the
// earliest first.
func (tx *Tx) DueDests(ctx context.Context, kind pennypost.JobKind, n int) ([]DueDest, error) {
	list, err := collect(tx, ctx, func(row scanner) (*DueDest, error) {
		d := &DueDest{}
		return d, row.Scan(&d.Dest, intoTime(&d.At))
	}, `SELECT dest, next_at FROM dests WHERE kind = $1 AND next_at <= $2 ORDER BY next_at LIMIT $3`,
		int64(kind), timeToDB(tx.Now()), int64(n))
	if err != nil {
		return nil, fmt.Errorf("look for due destinations: %w", err)
	}
	return list, nil
}

// NextDue gives when the earliest free job of all destinations is due, or the
// zero time when there is none.
func (tx *Tx) NextDue(ctx context.Context, kind pennypost.JobKind) (time.Time, error) {
	var at time.Time
	err := tx.row(ctx, `SELECT COALESCE(MIN(next_at), 0) FROM dests WHERE kind = $1`, int64(kind)).Scan(intoTime(&at))
	if err != nil {
		return at, fmt.Errorf("look for the next due destination: %w", err)
	}
	return at, nil
}

// priorities are those that ClaimJobs asks for, one after the other: within one
// the index is in the order of time.
func priorities() []pennypost.Priority {
	return []pennypost.Priority{pennypost.PrioritySystem, pennypost.PriorityTransactional, pennypost.PriorityBulk}
}

// ClaimJobs leases up to n due jobs of a destination to this session, by
// priority, then by time. more says that some are left that are due now.
func (tx *Tx) ClaimJobs(ctx context.Context, kind pennypost.JobKind, dest string, n int) (jobs []pennypost.Job, more bool, err error) {
	// Its row is locked first: whoever adds a free job beside us waits, and
	// lowers the time that we are about to set.
	ok, err := tx.lockDest(ctx, kind, dest)
	if err != nil || !ok {
		return nil, false, err
	}
	for _, p := range priorities() {
		if len(jobs) >= n {
			break
		}
		part, err := collect(tx, ctx, scanJob, `SELECT `+jobColumns+` FROM jobs
			WHERE kind = $1 AND dest = $2 AND priority = $3 AND run_at <= $4 AND lease = 0 AND held = 0
			ORDER BY run_at LIMIT $5`+tx.skipLocked(),
			int64(kind), dest, int64(p), timeToDB(tx.Now()), int64(n-len(jobs)))
		if err != nil {
			return nil, false, fmt.Errorf("claim jobs: %w", err)
		}
		jobs = append(jobs, part...)
	}
	if err := tx.leaseJobs(ctx, jobs); err != nil {
		return nil, false, err
	}
	next, err := tx.settleDest(ctx, kind, dest)
	return jobs, !next.IsZero() && !next.After(tx.Now()), err
}

func (tx *Tx) skipLocked() string {
	if tx.postgres() {
		return ` FOR UPDATE SKIP LOCKED`
	}
	return ""
}

func (tx *Tx) lockDest(ctx context.Context, kind pennypost.JobKind, dest string) (bool, error) {
	if !tx.postgres() {
		return true, nil
	}
	var at int64
	list, err := collect(tx, ctx, func(row scanner) (*int64, error) { return &at, row.Scan(&at) },
		`SELECT next_at FROM dests WHERE kind = $1 AND dest = $2 FOR UPDATE`, int64(kind), dest)
	if err != nil {
		return false, fmt.Errorf("lock destination: %w", err)
	}
	return len(list) > 0, nil
}

func (tx *Tx) leaseJobs(ctx context.Context, jobs []pennypost.Job) error {
	session := tx.s.Session()
	for i := range jobs {
		jobs[i].Lease = session
	}
	return inChunks(jobs, func(part []pennypost.Job) error {
		list, args := idList(part, 1)
		_, err := tx.exec(ctx, `UPDATE jobs SET lease = $1 WHERE id IN (`+list+`)`, append([]any{session}, args...)...)
		if err != nil {
			return fmt.Errorf("lease jobs: %w", err)
		}
		return nil
	})
}

func inChunks[T any](all []T, do func([]T) error) error {
	const most = 200
	for len(all) > 0 {
		part := all[:min(len(all), most)]
		all = all[len(part):]
		if err := do(part); err != nil {
			return err
		}
	}
	return nil
}

func idList(jobs []pennypost.Job, after int) (string, []any) {
	var list strings.Builder
	args := make([]any, len(jobs))
	for i := range jobs {
		fmt.Fprintf(&list, ", $%d", after+i+1)
		args[i] = jobs[i].ID
	}
	return list.String()[2:], args
}

// settleDest sets a destination's time to that of its earliest free job, or
// removes its row, and gives that time.
func (tx *Tx) settleDest(ctx context.Context, kind pennypost.JobKind, dest string) (time.Time, error) {
	var next time.Time
	for _, p := range priorities() {
		var at time.Time
		err := tx.row(ctx, `SELECT COALESCE(MIN(run_at), 0) FROM jobs WHERE kind = $1 AND dest = $2 AND priority = $3 AND lease = 0 AND held = 0`,
			int64(kind), dest, int64(p)).Scan(intoTime(&at))
		if err != nil {
			return next, fmt.Errorf("look for the next job of a destination: %w", err)
		}
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	var err error
	if next.IsZero() {
		_, err = tx.exec(ctx, `DELETE FROM dests WHERE kind = $1 AND dest = $2`, int64(kind), dest)
	} else {
		_, err = tx.exec(ctx, `INSERT INTO dests (kind, dest, next_at) VALUES ($1, $2, $3)
			ON CONFLICT (kind, dest) DO UPDATE SET next_at = excluded.next_at`, int64(kind), dest, timeToDB(next))
	}
	if err != nil {
		return next, fmt.Errorf("note destination: %w", err)
	}
	return next, nil
}

// DelayDest keeps a destination that rests out of DueDests until a time.
func (tx *Tx) DelayDest(ctx context.Context, kind pennypost.JobKind, dest string, until time.Time) error {
	_, err := tx.exec(ctx, `UPDATE dests SET next_at = $3 WHERE kind = $1 AND dest = $2 AND next_at < $3`,
		int64(kind), dest, timeToDB(until))
	if err != nil {
		return fmt.Errorf("delay destination: %w", err)
	}
	return nil
}

// owned turns the result of a change to a job of ours into an error.
func owned(n int64, err error, what string, id int64) error {
	if err != nil {
		return fmt.Errorf("%s job %d: %w", what, id, err)
	}
	if n == 0 {
		return fmt.Errorf("%s job %d: %w", what, id, ErrLeaseLost)
	}
	return nil
}

// FinishJob removes a job that this session holds; ErrLeaseLost.
func (tx *Tx) FinishJob(ctx context.Context, id int64) error {
	n, err := tx.exec(ctx, `DELETE FROM jobs WHERE id = $1 AND lease = $2`, id, tx.s.Session())
	return owned(n, err, "finish", id)
}

// PutBackJob frees a job that this session holds, to be run at RunAt with its
// Attempt; ErrLeaseLost.
func (tx *Tx) PutBackJob(ctx context.Context, j pennypost.Job) error {
	n, err := tx.exec(ctx, `UPDATE jobs SET lease = 0, run_at = $3, attempt = $4 WHERE id = $1 AND lease = $2`,
		j.ID, tx.s.Session(), timeToDB(j.RunAt), int64(j.Attempt))
	if err := owned(n, err, "put back", j.ID); err != nil {
		return err
	}
	return tx.lowerDest(ctx, j.Kind, j.Dest, j.RunAt)
}

// HoldJob puts a job that this session holds aside: its server is suspended.
func (tx *Tx) HoldJob(ctx context.Context, id int64) error {
	n, err := tx.exec(ctx, `UPDATE jobs SET lease = 0, held = 1 WHERE id = $1 AND lease = $2`, id, tx.s.Session())
	return owned(n, err, "hold", id)
}

// HeldJobs gives up to n held jobs of a server, the oldest first.
func (tx *Tx) HeldJobs(ctx context.Context, tenant pennypost.ServerID, n int) ([]pennypost.Job, error) {
	list, err := collect(tx, ctx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE tenant = $1 AND held = 1 ORDER BY id LIMIT $2`+tx.skipLocked(),
		int64(tenant), int64(n))
	if err != nil {
		return nil, fmt.Errorf("look for held jobs: %w", err)
	}
	return list, nil
}

// ReleaseHeld makes up to n held jobs of a server free and due, and gives them.
func (tx *Tx) ReleaseHeld(ctx context.Context, tenant pennypost.ServerID, n int) ([]pennypost.Job, error) {
	jobs, err := tx.HeldJobs(ctx, tenant, n)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		j := &jobs[i]
		j.RunAt = tx.Now()
		if _, err := tx.exec(ctx, `UPDATE jobs SET held = 0, run_at = $2 WHERE id = $1 AND held = 1`, j.ID, timeToDB(j.RunAt)); err != nil {
			return nil, fmt.Errorf("release job %d: %w", j.ID, err)
		}
		if err := tx.lowerDest(ctx, j.Kind, j.Dest, j.RunAt); err != nil {
			return nil, err
		}
	}
	return jobs, nil
}

// DiscardJob removes a held job; ErrNotFound when it is not held any more.
func (tx *Tx) DiscardJob(ctx context.Context, id int64) error {
	n, err := tx.exec(ctx, `DELETE FROM jobs WHERE id = $1 AND held = 1`, id)
	return changed(n, err, "held job", id)
}

// FreeJobs gives jobs of this session back as they are; those that are no
// longer ours are passed over.
func (tx *Tx) FreeJobs(ctx context.Context, ids []int64) error {
	for _, id := range ids {
		j, err := scanJob(tx.row(ctx, `UPDATE jobs SET lease = 0 WHERE id = $1 AND lease = $2 RETURNING `+jobColumns, id, tx.s.Session()))
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("free job %d: %w", id, err)
		}
		if err := tx.lowerDest(ctx, j.Kind, j.Dest, j.RunAt); err != nil {
			return err
		}
	}
	return nil
}

// JobsOf gives the jobs of a message's recipients. It looks for them around
// the time at which the message was accepted: the ids of jobs are times.
func (tx *Tx) JobsOf(ctx context.Context, id pennypost.MessageID) ([]pennypost.Job, error) {
	var at time.Time
	err := tx.row(ctx, `SELECT received_at FROM messages WHERE id = $1`, id[:]).Scan(intoTime(&at))
	if err != nil {
		return nil, fmt.Errorf("jobs of %v: %w", id, err)
	}
	const around = 2 * time.Minute
	all, err := collect(tx, ctx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE id >= $1 AND id <= $2 AND ref >= $3 AND ref <= $4 ORDER BY id`,
		idAt(at.Add(-around)), idAt(at.Add(around)), id[:], append(id[:], 0xff, 0xff))
	if err != nil {
		return nil, fmt.Errorf("jobs of %v: %w", id, err)
	}
	return all, nil
}

// QueueCount is what waits of one server.
type QueueCount struct {
	Server             pennypost.ServerID
	Leased, Free, Held int64
}

// QueueCounts gives what waits, by server. It reads all jobs.
func (tx *Tx) QueueCounts(ctx context.Context, kind pennypost.JobKind) ([]QueueCount, error) {
	list, err := collect(tx, ctx, func(row scanner) (*QueueCount, error) {
		c := &QueueCount{}
		return c, row.Scan(&c.Server, &c.Leased, &c.Free, &c.Held)
	}, `SELECT tenant, CAST(SUM(CASE WHEN lease <> 0 THEN 1 ELSE 0 END) AS BIGINT),
			CAST(SUM(CASE WHEN lease = 0 AND held = 0 THEN 1 ELSE 0 END) AS BIGINT),
			CAST(SUM(CASE WHEN held = 1 THEN 1 ELSE 0 END) AS BIGINT)
		FROM jobs WHERE kind = $1 GROUP BY tenant ORDER BY tenant`, int64(kind))
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	return list, nil
}
