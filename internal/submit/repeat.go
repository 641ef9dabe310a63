package submit

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"pennypost"
	"pennypost/internal/store"
)

// CodeUnderWay is the ErrorCode of a request whose key another one has that is
// still being worked on; the contract has none (docs/decisions/0007).
const CodeUnderWay pennypost.Code = 9002

// ErrUnderWay refuses the second of two requests with one key.
func ErrUnderWay() *pennypost.Error {
	return &pennypost.Error{
		Code: CodeUnderWay, Status: http.StatusConflict,
		Text: "A request with this Idempotency-Key is still being worked on. Please repeat it in a moment to get its answer.",
	}
}

// acceptedBefore gives what an earlier try of the same request accepted for a
// submission, or nil.
func acceptedBefore(c pennypost.Caller, s *Submission) *Accepted {
	if c.Request == nil {
		return nil
	}
	t, ok := c.Request.Taken[s.Item]
	if !ok {
		return nil
	}
	return &Accepted{ID: t.ID, SubmittedAt: t.At, Inactive: t.Inactive}
}

// takenFor says what a transaction accepted for the request of its caller.
func takenFor(c pennypost.Caller, list ...*entry) []pennypost.Taken {
	if c.Request == nil {
		return nil
	}
	taken := make([]pennypost.Taken, 0, len(list))
	for _, e := range list {
		if e.err != nil {
			continue
		}
		a := e.result()
		taken = append(taken, pennypost.Taken{Place: e.item, ID: a.ID, At: a.SubmittedAt, Inactive: a.Inactive})
	}
	return taken
}

// note writes, in the accepting transaction, what it accepts for a request with
// a key: whatever happens after the commit, a repeat knows of it.
func (in *intake) note(ctx context.Context, list ...*entry) error {
	taken := takenFor(in.caller, list...)
	if len(taken) == 0 {
		return nil
	}
	var err error
	if one := list[0]; len(list) == 1 && one.answer != nil {
		body, errBody := one.answer(one.result())
		if errBody != nil {
			return fmt.Errorf("word the answer: %w", errBody)
		}
		err = in.tx.FinishRequest(ctx, in.caller.ServerID, in.caller.Request, taken, http.StatusOK, body)
	} else {
		err = in.tx.TakeRequest(ctx, in.caller.ServerID, in.caller.Request, taken)
	}
	if errors.Is(err, store.ErrConflict) {
		return ErrUnderWay()
	}
	return err
}

// noteFault remembers that a part of a request failed by our own fault and is
// to be done when it is repeated.
func noteFault(c pennypost.Caller, err error) {
	if c.Request == nil {
		return
	}
	var refusal *pennypost.Error
	if !errors.As(err, &refusal) || refusal.Status >= http.StatusInternalServerError ||
		refusal.Status == http.StatusConflict || refusal.Status == http.StatusTooManyRequests {
		c.Request.Fault = true
	}
}
