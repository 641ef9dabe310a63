package submit

import (
	"context"
	"errors"

	"pennypost"
)

// Door is the one way in.
type Door struct{}

var errSoon = errors.New("door is being built")

// Accept checks, renders, builds and stores one message with a job per recipient; when it returns nil the message is on stable storage. A refusal is a *pennypost.Error.
func (d *Door) Accept(ctx context.Context, c pennypost.Caller, s *Submission) (*Accepted, error) {
	return nil, errSoon
}

// AcceptBatch does the same for up to 500 messages; each item succeeds or fails alone (contract/sending.md §10).
func (d *Door) AcceptBatch(ctx context.Context, c pennypost.Caller, s []*Submission) []Result {
	return nil
}

// AcceptRaw takes a message from an SMTP session. A refusal is a *pennypost.Error and has been recorded as SMTPApiError.
func (d *Door) AcceptRaw(ctx context.Context, c pennypost.Caller, r *Raw) (*Accepted, error) {
	return nil, errSoon
}
