package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"pennypost"
)

// attemptFacts is what an attempt is explained by and never searched for.
type attemptFacts struct {
	Phase    string                `json:"phase,omitempty"`
	Host     string                `json:"host,omitempty"`
	IP       string                `json:"ip,omitempty"`
	Enhanced string                `json:"enhanced,omitempty"`
	Reply    string                `json:"reply,omitempty"`
	Rule     string                `json:"rule,omitempty"`
	TLS      string                `json:"tls,omitempty"`
	TLSNote  string                `json:"tls_note,omitempty"`
	Reused   bool                  `json:"reused,omitempty"`
	Phases   []pennypost.PhaseTime `json:"phases,omitempty"`
}

// AddAttempt stores an attempt.
func (tx *Tx) AddAttempt(ctx context.Context, a *pennypost.Attempt) error {
	facts, err := json.Marshal(attemptFacts{
		Phase: a.Phase, Host: a.Host, IP: a.IP, Enhanced: a.Enhanced, Reply: a.Reply, Rule: a.Rule,
		TLS: a.TLS, TLSNote: a.TLSNote, Reused: a.Reused, Phases: a.Phases,
	})
	if err != nil {
		return fmt.Errorf("encode attempt: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO attempts (message_id, n, no, started_at, outcome, took, code, ambiguous, facts, conversation)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		a.MessageID[:], int64(a.N), int64(a.No), timeToDB(a.StartedAt), int64(a.Outcome), a.Took.Microseconds(),
		int64(a.Code), flag(a.Ambiguous), string(facts), a.Conversation)
	if err != nil {
		return fmt.Errorf("add attempt: %w", err)
	}
	return nil
}

// Attempts gives all attempts for a message, by recipient and number.
func (tx *Tx) Attempts(ctx context.Context, id pennypost.MessageID) ([]pennypost.Attempt, error) {
	list, err := collect(tx, ctx, func(row scanner) (*pennypost.Attempt, error) {
		a := &pennypost.Attempt{MessageID: id}
		var took int64
		var text string
		err := row.Scan(&a.N, &a.No, intoTime(&a.StartedAt), &a.Outcome, &took, &a.Code, intoBool(&a.Ambiguous), &text, &a.Conversation)
		if err != nil {
			return nil, err
		}
		var f attemptFacts
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		a.Took = time.Duration(took) * time.Microsecond
		a.Phase, a.Host, a.IP, a.Enhanced, a.Reply, a.Rule = f.Phase, f.Host, f.IP, f.Enhanced, f.Reply, f.Rule
		a.TLS, a.TLSNote, a.Reused, a.Phases = f.TLS, f.TLSNote, f.Reused, f.Phases
		return a, nil
	}, `SELECT n, no, started_at, outcome, took, code, ambiguous, facts, conversation FROM attempts
		WHERE message_id = $1 ORDER BY n, no`, id[:])
	if err != nil {
		return nil, fmt.Errorf("attempts for %v: %w", id, err)
	}
	return list, nil
}
