package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"pennypost"
)

// The values of the column held.
const (
	jobHeld    = 1
	jobDamaged = 2
)

var errJobRef = errors.New("not the reference of a delivery job")

// JobRef is the Ref of a delivery job: which recipient of which message.
func JobRef(id pennypost.MessageID, n int) []byte {
	return binary.BigEndian.AppendUint16(append(make([]byte, 0, len(id)+2), id[:]...), uint16(n)) //nolint:gosec // at most some hundred recipients
}

// ParseJobRef reads a Ref that JobRef made.
func ParseJobRef(ref []byte) (pennypost.MessageID, int, error) {
	var id pennypost.MessageID
	if len(ref) != len(id)+2 {
		return id, 0, errJobRef
	}
	copy(id[:], ref)
	return id, int(binary.BigEndian.Uint16(ref[len(id):])), nil
}

// sumJob covers what a lease does not change. A wrong RunAt delays a job, no
// more.
func sumJob(j *pennypost.Job) int64 {
	s := seal{buf: make([]byte, 0, 128)}
	return s.num(j.ID, int64(j.Kind), int64(j.Tenant), int64(j.Priority), int64(j.Attempt)).text(j.Dest).bytes(j.Ref).sum()
}

// jobsAtOnce are stored with one statement.
const jobsAtOnce = 10

// AddJobs stores jobs, free ones or such that this session holds. ErrLeaseLost:
// there are some of the latter, and the session has ended.
func (tx *Tx) AddJobs(ctx context.Context, jobs []pennypost.Job) error {
	for i := range jobs {
		if jobs[i].Lease != 0 && !tx.s.mayLease() {
			return fmt.Errorf("add jobs: %w", ErrLeaseLost)
		}
	}
	args := make([]any, 0, 11*min(len(jobs), jobsAtOnce))
	err := inGroups(jobs, jobsAtOnce, func(group []pennypost.Job) error {
		args = args[:0]
		for i := range group {
			j := &group[i]
			if j.Ref == nil {
				j.Ref = []byte{}
			}
			args = append(args, j.ID, int64(j.Kind), j.Dest, int64(j.Tenant), int64(j.Priority), timeToDB(j.RunAt),
				int64(j.Attempt), j.Lease, j.Ref, sumJob(j), int64(0))
		}
		_, err := tx.exec(ctx, addJobs(len(group)), args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("add jobs: %w", err)
	}
	return tx.due(ctx, jobs)
}

func addJobs(n int) string {
	return insertMany(`INSERT INTO jobs (id, kind, dest, tenant, priority, run_at, attempt, lease, ref, checksum, held) VALUES `,
		11, n)
}

const jobColumns = `id, kind, dest, tenant, priority, run_at, attempt, lease, ref, checksum`

// jobRow is a job, and whether its row is what was stored.
type jobRow struct {
	pennypost.Job
	damaged bool
}

func scanJobRow(row scanner) (*jobRow, error) {
	j := &jobRow{}
	var sum int64
	err := row.Scan(&j.ID, &j.Kind, &j.Dest, &j.Tenant, &j.Priority, intoTime(&j.RunAt), &j.Attempt, &j.Lease, &j.Ref, &sum)
	if err != nil {
		return nil, err
	}
	j.damaged = sumJob(&j.Job) != sum
	return j, nil
}

func scanJob(row scanner) (*pennypost.Job, error) {
	j, err := scanJobRow(row)
	if err != nil {
		return nil, err
	}
	if j.damaged {
		return nil, fmt.Errorf("job %d: %w", j.ID, ErrDamaged)
	}
	return &j.Job, nil
}

// sound gives the jobs whose rows are what was stored, and puts the others out
// of the way: a damaged job must not stop those behind it, and who it is for
// cannot be known. A person has to look.
func (tx *Tx) sound(ctx context.Context, list []jobRow) ([]pennypost.Job, error) {
	jobs := make([]pennypost.Job, 0, len(list))
	for i := range list {
		if !list[i].damaged {
			jobs = append(jobs, list[i].Job)
			continue
		}
		tx.s.log.ErrorContext(ctx, "job damaged in the database", "job", list[i].ID, "err", ErrDamaged)
		tx.s.damaged.Add(1)
		if _, err := tx.exec(ctx, `UPDATE jobs SET held = $2, lease = 0 WHERE id = $1`, list[i].ID, int64(jobDamaged)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(jobs, func(a, b pennypost.Job) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID))
	})
	return jobs, nil
}

// FinishJob ends a job that this session holds; ErrLeaseLost.
func (tx *Tx) FinishJob(ctx context.Context, id int64) error {
	n, err := tx.exec(ctx, `DELETE FROM jobs WHERE id = $1 AND lease = $2`, id, tx.s.Session())
	return leased(n, err, "finish", id)
}

// PutBackJob frees a job that this session holds, to run again at its RunAt,
// and stores its Attempt; ErrLeaseLost.
func (tx *Tx) PutBackJob(ctx context.Context, job pennypost.Job) error {
	n, err := tx.exec(ctx, `UPDATE jobs SET lease = 0, run_at = $3, attempt = $4, priority = $5, checksum = $6
		WHERE id = $1 AND lease = $2`,
		job.ID, tx.s.Session(), timeToDB(job.RunAt), int64(job.Attempt), int64(job.Priority), sumJob(&job))
	if err := leased(n, err, "put back", job.ID); err != nil {
		return err
	}
	return tx.dueAt(ctx, job.Kind, job.Dest, job.RunAt)
}

// HoldJob puts a job that this session holds aside until its tenant's release;
// ErrLeaseLost.
func (tx *Tx) HoldJob(ctx context.Context, id int64) error {
	n, err := tx.exec(ctx, `UPDATE jobs SET lease = 0, held = 1 WHERE id = $1 AND lease = $2`, id, tx.s.Session())
	return leased(n, err, "hold", id)
}

// HoldFree puts the free jobs of a tenant aside, among the next n jobs of all
// tenants after an id, and gives them. last is where to go on, 0 at the end.
func (tx *Tx) HoldFree(ctx context.Context, tenant pennypost.ServerID, after int64, n int) (jobs []pennypost.Job, last int64, err error) {
	err = tx.row(ctx, `SELECT id FROM jobs WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2`, after, int64(n-1)).Scan(&last)
	until := last
	if errors.Is(err, ErrNotFound) {
		last, until, err = 0, math.MaxInt64, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("walk through jobs: %w", err)
	}
	list, err := collect(tx, ctx, scanJobRow, `UPDATE jobs SET held = 1
		WHERE id > $1 AND id <= $2 AND tenant = $3 AND lease = 0 AND held = 0 RETURNING `+jobColumns,
		after, until, int64(tenant))
	if err != nil {
		return nil, 0, fmt.Errorf("hold jobs of tenant %d: %w", tenant, err)
	}
	jobs, err = tx.sound(ctx, list)
	if err != nil {
		return nil, 0, fmt.Errorf("hold jobs of tenant %d: %w", tenant, err)
	}
	return jobs, last, nil
}

func leased(n int64, err error, what string, id int64) error {
	if err != nil {
		return fmt.Errorf("%s job %d: %w", what, id, err)
	}
	if n == 0 {
		return fmt.Errorf("%s job %d: %w", what, id, ErrLeaseLost)
	}
	return nil
}

// HeldJobs gives up to n held jobs of a tenant, the oldest first.
func (tx *Tx) HeldJobs(ctx context.Context, tenant pennypost.ServerID, n int) ([]pennypost.Job, error) {
	list, err := collect(tx, ctx, scanJobRow, `SELECT `+jobColumns+` FROM jobs WHERE tenant = $1 AND held = 1
		ORDER BY id LIMIT $2`, int64(tenant), int64(n))
	if err != nil {
		return nil, fmt.Errorf("held jobs of tenant %d: %w", tenant, err)
	}
	jobs := make([]pennypost.Job, 0, len(list))
	for i := range list {
		if !list[i].damaged {
			jobs = append(jobs, list[i].Job)
		}
	}
	return jobs, nil
}

// ReleaseHeld makes up to n held jobs of a tenant free and due, the oldest
// first, and gives them. Those that were never tried are not due before their
// time.
func (tx *Tx) ReleaseHeld(ctx context.Context, tenant pennypost.ServerID, n int) ([]pennypost.Job, error) {
	list, err := collect(tx, ctx, scanJobRow, `UPDATE jobs SET held = 0,
			run_at = CASE WHEN attempt = 0 AND run_at > $3 THEN run_at ELSE $3 END WHERE id IN (
			SELECT id FROM jobs WHERE tenant = $1 AND held = 1 ORDER BY id LIMIT $2`+tx.skipLocked()+`)
		RETURNING `+jobColumns, int64(tenant), int64(n), timeToDB(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("release jobs of tenant %d: %w", tenant, err)
	}
	jobs, err := tx.sound(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("release jobs of tenant %d: %w", tenant, err)
	}
	return jobs, tx.due(ctx, jobs)
}

// DiscardJob deletes a held job; ErrNotFound.
func (tx *Tx) DiscardJob(ctx context.Context, id int64) error {
	n, err := tx.exec(ctx, `DELETE FROM jobs WHERE id = $1 AND held = 1`, id)
	return changed(n, err, "held job", id)
}

// CancelJob deletes a job that nobody has taken and nobody has begun;
// ErrNotFound when there is none such.
func (tx *Tx) CancelJob(ctx context.Context, id int64) error {
	n, err := tx.exec(ctx, `DELETE FROM jobs WHERE id = $1 AND lease = 0 AND attempt = 0 AND held <> $2`, id, int64(jobDamaged))
	return changed(n, err, "free job", id)
}

// freeAtOnce are freed with one statement, which has so many places whether
// they are needed or not, so that there is one to prepare.
const freeAtOnce = 100

// FreeJobs hands jobs back that this session holds, due as they were. Those
// that it does not hold are left alone.
func (tx *Tx) FreeJobs(ctx context.Context, ids []int64) error {
	args := make([]any, 0, freeAtOnce+1)
	return inGroups(ids, freeAtOnce, func(group []int64) error {
		args = append(args[:0], tx.s.Session())
		for i := range freeAtOnce {
			args = append(args, group[min(i, len(group)-1)])
		}
		jobs, err := collect(tx, ctx, scanJobRow, `UPDATE jobs SET lease = 0 WHERE lease = $1 AND id IN (`+
			places(2, freeAtOnce)+`) RETURNING `+jobColumns, args...)
		if err != nil {
			return fmt.Errorf("free jobs: %w", err)
		}
		return tx.dueRows(ctx, jobs)
	})
}

// JobsOf gives the delivery jobs of a message that are not finished.
func (tx *Tx) JobsOf(ctx context.Context, id pennypost.MessageID) ([]pennypost.Job, error) {
	list, err := collect(tx, ctx, scanJob, `SELECT j.id, j.kind, j.dest, j.tenant, j.priority, j.run_at, j.attempt, j.lease,
			j.ref, j.checksum
		FROM recipients r JOIN jobs j ON j.id = r.job_id WHERE r.message_id = $1 ORDER BY r.n`, id[:])
	if err != nil {
		return nil, fmt.Errorf("jobs of message %s: %w", id, err)
	}
	return list, nil
}

// QueueCount is what waits of one tenant.
type QueueCount struct {
	Server             pennypost.ServerID
	Leased, Free, Held int64
}

// QueueCounts gives what waits, by tenant. It reads all jobs.
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

// skipLocked lets transactions of several nodes pass each other on PostgreSQL.
func (tx *Tx) skipLocked() string {
	if tx.postgres() {
		return ` FOR UPDATE SKIP LOCKED`
	}
	return ""
}
