package store

import (
	"context"
	"fmt"
	"time"

	"pennypost"
)

// AddAttempt stores what one attempt did; ErrConflict when there is one with
// its number.
func (tx *Tx) AddAttempt(ctx context.Context, a *pennypost.Attempt) error {
	_, err := tx.exec(ctx, `INSERT INTO attempts (message_id, n, no, started_at, outcome, phase, host, ip, code, enhanced,
			reply, rule, tls, tls_note, ambiguous, reused, took_us, phases, conversation)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		a.MessageID[:], int64(a.N), int64(a.No), timeToDB(a.StartedAt), int64(a.Outcome), a.Phase, plain(a.Host), a.IP,
		int64(a.Code), plain(a.Enhanced), plain(a.Reply), plain(a.Rule), plain(a.TLS), plain(a.TLSNote),
		flag(a.Ambiguous), flag(a.Reused), a.Took.Microseconds(), phasesText(a.Phases), plain(a.Conversation))
	if err != nil {
		return fmt.Errorf("add attempt: %w", err)
	}
	return nil
}

func scanAttempt(row scanner) (*pennypost.Attempt, error) {
	a := &pennypost.Attempt{}
	var id []byte
	var took int64
	var phases string
	err := row.Scan(&id, &a.N, &a.No, intoTime(&a.StartedAt), &a.Outcome, &a.Phase, &a.Host, &a.IP, &a.Code, &a.Enhanced,
		&a.Reply, &a.Rule, &a.TLS, &a.TLSNote, intoBool(&a.Ambiguous), intoBool(&a.Reused), &took, &phases, &a.Conversation)
	if err != nil {
		return nil, err
	}
	copy(a.MessageID[:], id)
	a.Took = time.Duration(took) * time.Microsecond
	a.Phases, err = phasesOf(phases)
	return a, err
}

// Attempts gives the attempts for a message by recipient and number.
func (tx *Tx) Attempts(ctx context.Context, id pennypost.MessageID) ([]pennypost.Attempt, error) {
	list, err := collect(tx, ctx, scanAttempt, `SELECT message_id, n, no, started_at, outcome, phase, host, ip, code, enhanced,
			reply, rule, tls, tls_note, ambiguous, reused, took_us, phases, conversation
		FROM attempts WHERE message_id = $1 ORDER BY n, no`, id[:])
	if err != nil {
		return nil, fmt.Errorf("attempts for message %s: %w", id, err)
	}
	return list, nil
}
