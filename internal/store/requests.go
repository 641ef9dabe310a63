package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pennypost"
)

// KeptRequest is a request with a key and what became of it.
type KeptRequest struct {
	pennypost.Request
	Status int    // of the answer; 0: there was none yet
	Answer []byte // its body
}

// Request gives the request of a server that has a key, or ErrNotFound. Those
// whose time is over are not there.
func (tx *Tx) Request(ctx context.Context, server pennypost.ServerID, key string) (*KeptRequest, error) {
	r := &KeptRequest{Request: pennypost.Request{Key: key}}
	var items string
	err := tx.row(ctx, `SELECT hash, turn, items, status, answer FROM requests
		WHERE server_id = $1 AND key = $2 AND begun_at > $3`, int64(server), key, tx.requestsEnd()).
		Scan(&r.Hash, &r.Turn, &items, &r.Status, &r.Answer)
	if err != nil {
		return nil, fmt.Errorf("request with a key: %w", err)
	}
	if r.Taken, err = takenOf(items); err != nil {
		return nil, fmt.Errorf("request with a key: %w", err)
	}
	return r, nil
}

// requestsEnd is when a request began whose time is over now.
func (tx *Tx) requestsEnd() int64 { return timeToDB(tx.Now().Add(-pennypost.RequestKept)) }

// TakeRequest notes what this transaction accepts for a request. ErrConflict:
// another call with the same key has accepted something since it was read; the
// caller rolls back.
func (tx *Tx) TakeRequest(ctx context.Context, server pennypost.ServerID, r *pennypost.Request, list []pennypost.Taken) error {
	var n int64
	var err error
	if r.Turn == 0 {
		n, err = tx.addRequest(ctx, server, r, takenText(list), 0, nil)
	} else {
		n, err = tx.exec(ctx, `UPDATE requests SET turn = turn + 1, items = items || $4
			WHERE server_id = $1 AND key = $2 AND turn = $3 AND status = 0`, int64(server), r.Key, r.Turn, takenText(list))
	}
	if err == nil && n == 0 {
		err = ErrConflict
	}
	if err != nil {
		return fmt.Errorf("note what was accepted for a request with a key: %w", err)
	}
	return nil
}

// FinishRequest notes what this transaction accepts for a request, all of it,
// with the answer. ErrConflict as of TakeRequest.
func (tx *Tx) FinishRequest(ctx context.Context, server pennypost.ServerID, r *pennypost.Request, list []pennypost.Taken, status int, answer []byte) error {
	if err := tx.TakeRequest(ctx, server, r, list); err != nil {
		return err
	}
	taken := *r
	taken.Turn++
	return tx.AnswerRequest(ctx, server, &taken, status, answer)
}

// addRequest adds the row of a request, in place of one whose time is over.
func (tx *Tx) addRequest(ctx context.Context, server pennypost.ServerID, r *pennypost.Request, items string, status int, answer []byte) (int64, error) {
	if answer == nil {
		answer = []byte{}
	}
	return tx.exec(ctx, `INSERT INTO requests (server_id, key, hash, begun_at, turn, items, status, answer)
		VALUES ($1, $2, $3, $4, 1, $5, $6, $7)
		ON CONFLICT (server_id, key) DO UPDATE SET hash = excluded.hash, begun_at = excluded.begun_at, turn = excluded.turn,
			items = excluded.items, status = excluded.status, answer = excluded.answer
		WHERE requests.begun_at <= $8`,
		int64(server), r.Key, r.Hash, timeToDB(tx.Now()), items, int64(status), answer, tx.requestsEnd())
}

// AnswerRequest keeps the answer of a request. ErrConflict: another call with
// the same key went on with it.
func (tx *Tx) AnswerRequest(ctx context.Context, server pennypost.ServerID, r *pennypost.Request, status int, answer []byte) error {
	var n int64
	var err error
	if r.Turn == 0 {
		n, err = tx.addRequest(ctx, server, r, "", status, answer)
	} else {
		n, err = tx.exec(ctx, `UPDATE requests SET status = $4, answer = $5
			WHERE server_id = $1 AND key = $2 AND turn = $3 AND status = 0`, int64(server), r.Key, r.Turn, int64(status), answer)
	}
	if err == nil && n == 0 {
		err = ErrConflict
	}
	if err != nil {
		return fmt.Errorf("keep the answer of a request with a key: %w", err)
	}
	return nil
}

// DropRequests deletes up to n requests whose time is over, and gives how many.
func (tx *Tx) DropRequests(ctx context.Context, n int) (int, error) {
	gone, err := tx.exec(ctx, `DELETE FROM requests WHERE (server_id, key) IN (
		SELECT server_id, key FROM requests WHERE begun_at <= $1 ORDER BY begun_at LIMIT $2)`, tx.requestsEnd(), int64(n))
	if err != nil {
		return 0, fmt.Errorf("delete requests whose time is over: %w", err)
	}
	return int(gone), nil
}

// takenItem is a line of the column items.
type takenItem struct {
	N        int                 `json:"n"`
	ID       pennypost.MessageID `json:"id"`
	At       int64               `json:"at"`
	Inactive []pennypost.Address `json:"inactive,omitempty"`
}

func takenText(list []pennypost.Taken) string {
	var b strings.Builder
	for _, t := range list {
		b.WriteString(jsonText(takenItem{N: t.Place, ID: t.ID, At: timeToDB(t.At), Inactive: t.Inactive}))
		b.WriteByte('\n')
	}
	return b.String()
}

func takenOf(text string) (map[int]pennypost.Taken, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nothing was accepted
	}
	taken := make(map[int]pennypost.Taken)
	for line := range strings.Lines(text) {
		var i takenItem
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			return nil, errors.Join(errEncoding, err)
		}
		taken[i.N] = pennypost.Taken{Place: i.N, ID: i.ID, At: time.UnixMicro(i.At).UTC(), Inactive: i.Inactive}
	}
	return taken, nil
}
