package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pennypost"
)

const bulkColumns = `id, account_id, server_id, stream, subject, submitted_at, state, total, released, failed`

func scanBulk(row scanner) (*pennypost.BulkRequest, error) {
	b := &pennypost.BulkRequest{}
	var id []byte
	err := row.Scan(&id, &b.AccountID, &b.ServerID, &b.Stream, &b.Subject, intoTime(&b.SubmittedAt), &b.State, &b.Total,
		&b.Released, &b.Failed)
	copy(b.ID[:], id)
	return b, err
}

// BeginBulk stores the head of a bulk request and what its messages share, and
// sets SubmittedAt. Until OpenBulk it does not show.
func (tx *Tx) BeginBulk(ctx context.Context, b *pennypost.BulkRequest, shared []byte) error {
	b.SubmittedAt, b.State = tx.Now(), pennypost.BulkReceiving
	_, err := tx.exec(ctx, `INSERT INTO bulk_requests (`+bulkColumns+`, next_at, stored)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $6, 1)`, b.ID[:], int64(b.AccountID), int64(b.ServerID), string(b.Stream),
		plain(b.Subject), timeToDB(b.SubmittedAt), int64(b.State), int64(b.Total))
	if err != nil {
		return fmt.Errorf("begin bulk request: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO bulk_shared (request_id, content, checksum) VALUES ($1, $2, $3)`,
		b.ID[:], shared, sumContent(b.ID[:], shared))
	if err != nil {
		return fmt.Errorf("begin bulk request: %w", err)
	}
	return nil
}

// AddBulkPart stores messages of a bulk request, the first of which has that
// number.
func (tx *Tx) AddBulkPart(ctx context.Context, id pennypost.BulkID, first int, content []byte) error {
	_, err := tx.exec(ctx, `INSERT INTO bulk_parts (request_id, first, content, checksum) VALUES ($1, $2, $3, $4)`,
		id[:], int64(first), content, sumBulkPart(id, first, content))
	if err != nil {
		return fmt.Errorf("add part of bulk request: %w", err)
	}
	return nil
}

func sumBulkPart(id pennypost.BulkID, first int, content []byte) int64 {
	return sumContent(binary.AppendVarint(id[:], int64(first)), content)
}

// OpenBulk makes a bulk request visible and due, now that all of it is stored;
// ErrNotFound when it is no longer there.
func (tx *Tx) OpenBulk(ctx context.Context, b *pennypost.BulkRequest) error {
	n, err := tx.exec(ctx, `UPDATE bulk_requests SET state = $2, next_at = $3 WHERE id = $1 AND state = $4`,
		b.ID[:], int64(pennypost.BulkAccepted), timeToDB(tx.Now()), int64(pennypost.BulkReceiving))
	if err == nil && n > 0 {
		b.State = pennypost.BulkAccepted
	}
	return changed(n, err, "bulk request", b.ID)
}

// Bulk gives a bulk request of a server, or ErrNotFound.
func (tx *Tx) Bulk(ctx context.Context, server pennypost.ServerID, id pennypost.BulkID) (*pennypost.BulkRequest, error) {
	b, err := scanBulk(tx.row(ctx, `SELECT `+bulkColumns+` FROM bulk_requests WHERE id = $1 AND server_id = $2 AND state <> 0`,
		id[:], int64(server)))
	if err != nil {
		return nil, fmt.Errorf("bulk request %s: %w", id, err)
	}
	return b, nil
}

// BulkPlace is where a list of bulk requests goes on: after the request of that
// time and id.
type BulkPlace struct {
	At time.Time
	ID pennypost.BulkID
}

// Bulks gives up to n bulk requests of a server, the newest first, from the
// beginning or after a place.
func (tx *Tx) Bulks(ctx context.Context, server pennypost.ServerID, after *BulkPlace, n int) ([]pennypost.BulkRequest, error) {
	where, args := ``, []any{int64(server), int64(n)}
	if after != nil {
		where = ` AND (submitted_at < $3 OR submitted_at = $3 AND id < $4)`
		args = append(args, timeToDB(after.At), after.ID[:])
	}
	list, err := collect(tx, ctx, scanBulk, `SELECT `+bulkColumns+` FROM bulk_requests WHERE server_id = $1 AND state <> 0`+where+`
		ORDER BY submitted_at DESC, id DESC LIMIT $2`, args...)
	if err != nil {
		return nil, fmt.Errorf("list bulk requests: %w", err)
	}
	return list, nil
}

// DueBulk gives the open bulk request that is worked on next, or ErrNotFound when
// none is due. Servers take turns in the order of their ids, whichever of them
// have how many: it is one of the first server after that one, and of its
// requests that which has waited longest.
func (tx *Tx) DueBulk(ctx context.Context, after pennypost.ServerID) (*pennypost.BulkRequest, error) {
	b, err := scanBulk(tx.row(ctx, `SELECT `+bulkColumns+` FROM bulk_requests WHERE state IN (1, 2) AND next_at <= $1
		ORDER BY CASE WHEN server_id > $2 THEN 0 ELSE 1 END, server_id, next_at, id LIMIT 1`, timeToDB(tx.Now()), int64(after)))
	if err != nil {
		return nil, fmt.Errorf("due bulk request: %w", err)
	}
	return b, nil
}

// OpenBulks counts the open bulk requests of a server. It looks at all that are
// open, which are fewer than those that a server ever had.
func (tx *Tx) OpenBulks(ctx context.Context, server pennypost.ServerID) (int, error) {
	var n int
	err := tx.row(ctx, `SELECT COUNT(*) FROM bulk_requests WHERE state IN (1, 2) AND +server_id = $1`, int64(server)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count open bulk requests: %w", err)
	}
	return n, nil
}

// BulkShared gives what the messages of a bulk request share; ErrNotFound,
// ErrDamaged.
func (tx *Tx) BulkShared(ctx context.Context, id pennypost.BulkID) ([]byte, error) {
	var content []byte
	var sum int64
	err := tx.row(ctx, `SELECT content, checksum FROM bulk_shared WHERE request_id = $1`, id[:]).Scan(&content, &sum)
	if err == nil && sum != sumContent(id[:], content) {
		err = ErrDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("shared part of bulk request %s: %w", id, err)
	}
	return content, nil
}

// BulkPart gives the part of a bulk request in which a message is, and the number
// of its first message; ErrNotFound, ErrDamaged.
func (tx *Tx) BulkPart(ctx context.Context, id pennypost.BulkID, n int) (first int, content []byte, err error) {
	var sum int64
	err = tx.row(ctx, `SELECT first, content, checksum FROM bulk_parts WHERE request_id = $1 AND first <= $2
		ORDER BY first DESC LIMIT 1`, id[:], int64(n)).
		Scan(&first, &content, &sum)
	if err == nil && sum != sumBulkPart(id, first, content) {
		err = ErrDamaged
	}
	if err != nil {
		return first, nil, fmt.Errorf("part of bulk request %s: %w", id, err)
	}
	return first, content, nil
}

// TakeBulk claims the next step of a bulk request for the transaction: nobody
// else has made one since it was read, and on PostgreSQL nobody does until the
// transaction ends. ErrStale: somebody has, or it was cancelled.
func (tx *Tx) TakeBulk(ctx context.Context, b *pennypost.BulkRequest) error {
	n, err := tx.exec(ctx, `UPDATE bulk_requests SET state = $4 WHERE id = $1 AND released = $2 AND failed = $3 AND state IN (1, 2)`,
		b.ID[:], int64(b.Released), int64(b.Failed), int64(pennypost.BulkProcessing))
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("take bulk request %s: %w", b.ID, err)
	}
	return nil
}

// SetBulk stores how far a bulk request is that TakeBulk took, and completes it
// once all of it is done. part is the number of the first message of the part
// that is done, -1 when none is.
func (tx *Tx) SetBulk(ctx context.Context, b *pennypost.BulkRequest, part int) error {
	b.State = pennypost.BulkProcessing
	if b.Done() >= b.Total {
		b.State = pennypost.BulkCompleted
	}
	n, err := tx.exec(ctx, `UPDATE bulk_requests SET state = $2, released = $3, failed = $4, next_at = $5 WHERE id = $1`,
		b.ID[:], int64(b.State), int64(b.Released), int64(b.Failed), timeToDB(tx.Now()))
	if err := changed(n, err, "bulk request", b.ID); err != nil {
		return err
	}
	if part < 0 {
		return nil
	}
	if _, err := tx.exec(ctx, `DELETE FROM bulk_parts WHERE request_id = $1 AND first = $2`, b.ID[:], int64(part)); err != nil {
		return fmt.Errorf("delete part of bulk request: %w", err)
	}
	return nil
}

// DelayBulk keeps an open bulk request from being worked on before a time.
func (tx *Tx) DelayBulk(ctx context.Context, id pennypost.BulkID, until time.Time) error {
	_, err := tx.exec(ctx, `UPDATE bulk_requests SET next_at = $2 WHERE id = $1 AND state IN (1, 2)`, id[:], timeToDB(until))
	if err != nil {
		return fmt.Errorf("delay bulk request: %w", err)
	}
	return nil
}

// CancelBulk ends an open bulk request where it stands, and tells whether it was
// open.
func (tx *Tx) CancelBulk(ctx context.Context, server pennypost.ServerID, id pennypost.BulkID) (bool, error) {
	n, err := tx.exec(ctx, `UPDATE bulk_requests SET state = $3 WHERE id = $1 AND server_id = $2 AND state IN (1, 2)`,
		id[:], int64(server), int64(pennypost.BulkCancelled))
	if err != nil {
		return false, fmt.Errorf("cancel bulk request: %w", err)
	}
	return n > 0, nil
}

// DisownBulk sees to it that nothing comes of a bulk request whose last commit
// ended without an answer: it waits until that is decided, cancels what it opened,
// and takes the id when there is no such request, so that none can come to be.
// What is left of it does not show and is swept away.
func (tx *Tx) DisownBulk(ctx context.Context, b *pennypost.BulkRequest) error {
	_, err := tx.exec(ctx, `INSERT INTO bulk_requests (`+bulkColumns+`, next_at, stored)
		VALUES ($1, $2, $3, '', '', $4, 0, 0, 0, 0, $4, 1)
		ON CONFLICT (id) DO UPDATE SET state = CASE WHEN bulk_requests.state IN (1, 2) THEN 4 ELSE bulk_requests.state END`,
		b.ID[:], int64(b.AccountID), int64(b.ServerID), timeToDB(tx.Now()))
	if err != nil {
		return fmt.Errorf("disown bulk request: %w", err)
	}
	return nil
}

const wasteOfBulk = ` FROM bulk_requests WHERE state NOT IN (1, 2) AND stored = 1 AND (state <> 0 OR submitted_at < $1)`

// BulkWaste tells whether SweepBulk has anything to delete.
func (tx *Tx) BulkWaste(ctx context.Context, before time.Time) (bool, error) {
	is, err := tx.exists(ctx, `SELECT 1`+wasteOfBulk, timeToDB(before))
	if err != nil {
		return false, fmt.Errorf("look for ended bulk requests: %w", err)
	}
	return is, nil
}

// deleteBulkParts deletes a little of what is left of a request.
const deleteBulkParts = `DELETE FROM bulk_parts WHERE request_id = $1 AND first IN (
	SELECT first FROM bulk_parts WHERE request_id = $1 ORDER BY first LIMIT 4)`

// SweepBulk deletes a little of what ended requests, and those that never came
// to be before a time, have left behind, and tells whether there was any.
func (tx *Tx) SweepBulk(ctx context.Context, before time.Time) (bool, error) {
	var id []byte
	var state pennypost.BulkState
	err := tx.row(ctx, `SELECT id, state`+wasteOfBulk+` LIMIT 1`, timeToDB(before)).Scan(&id, &state)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for ended bulk requests: %w", err)
	}
	n, err := tx.exec(ctx, deleteBulkParts, id)
	if err != nil || n > 0 {
		return true, err
	}
	steps := []string{`DELETE FROM bulk_shared WHERE request_id = $1`, `UPDATE bulk_requests SET stored = 0 WHERE id = $1`}
	if state == pennypost.BulkReceiving {
		steps[1] = `DELETE FROM bulk_requests WHERE id = $1`
	}
	for _, s := range steps {
		if _, err := tx.exec(ctx, s, id); err != nil {
			return true, fmt.Errorf("sweep bulk requests: %w", err)
		}
	}
	return true, nil
}

// ServerState reads what accepting a message has to know of a server and its
// account, when no token asks for it, and their suspensions; ErrNotFound when the
// server was deleted. Whoever suspends waits as with AcceptState.
func (tx *Tx) ServerState(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID) (*AcceptState, error) {
	if err := tx.lockAccept(ctx, account, server, true); err != nil {
		return nil, err
	}
	a := &AcceptState{}
	err := tx.row(ctx, `SELECT s.id, a.id, s.sandbox, a.pending, s.smtp_rejection, s.smtp_error_hooks, s.track_opens, s.track_links,
			a.monthly_limit, s.monthly_limit, s.suspended_at, s.suspend_reason, a.suspended_at, a.suspend_reason
		FROM servers s JOIN accounts a ON a.id = s.account_id WHERE s.id = $1 AND s.account_id = $2 AND s.deleted_at = 0`,
		int64(server), int64(account)).Scan(&a.ServerID, &a.AccountID, intoBool(&a.Sandbox), intoBool(&a.Pending), &a.SMTPRejection,
		intoBool(&a.SMTPErrorHooks), intoBool(&a.TrackOpens), &a.TrackLinks, &a.Limits.Account, &a.Limits.Server,
		intoTime(&a.Server.Since), &a.Server.Reason, intoTime(&a.Account.Since), &a.Account.Reason)
	if err != nil {
		return nil, fmt.Errorf("server %d: %w", server, err)
	}
	return a, nil
}
