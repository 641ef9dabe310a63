package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// Config is what Requests works with. Store, Door, Auth and Keys must be set.
type Config struct {
	Store *store.Store
	Door  *submit.Door
	Auth  *auth.Auth
	Keys  *auth.Keys

	Now     func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Set
}

// Requests takes and works off bulk requests. It is safe for any number of
// goroutines; Run is called once.
type Requests struct {
	conf  Config
	log   *slog.Logger
	kick  chan struct{} // a request came in
	made  *metrics.Counter
	known *known           // the content that was used last; Run's own
	one   pennypost.BulkID // of which one message is made at a time; Run's own

	last   pennypost.ServerID                 // whose turn it was; Run's own
	faulty map[pennypost.BulkID]time.Duration // how long requests waited after their last fault; Run's own
}

// New makes Requests.
func New(c Config) (*Requests, error) {
	if c.Store == nil || c.Door == nil || c.Auth == nil || c.Keys == nil {
		return nil, errors.New("bulk: Store, Door, Auth and Keys must be set")
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Requests{
		conf: c, log: c.Log, kick: make(chan struct{}, 1),
		made: c.Metrics.Counter("bulk_messages", "Messages of bulk requests, by what came of them.", "outcome"),
	}, nil
}

// Codes of bulk requests (contract/common.md §6.1); the last two are ours.
const (
	codeSeveral   pennypost.Code = 11
	codeUnknown   pennypost.Code = 12
	codePage      pennypost.Code = 13
	codeForbidden pennypost.Code = 14
	codeTooLate   pennypost.Code = 791
	codeTooMany   pennypost.Code = 792
)

// maxOpen is how many requests of a server may be open. Requests that are taken at
// the same moment on several nodes may pass it by a few.
const maxOpen = 20

// checkOpen refuses one more request of a server that has enough of them.
func checkOpen(ctx context.Context, tx *store.Tx, server pennypost.ServerID) error {
	n, err := tx.OpenBulks(ctx, server)
	if err == nil && n >= maxOpen {
		err = pennypost.Refuse(codeTooMany, "A server may have at most %d bulk requests under way. Try again when one of them is completed, or cancel one.", maxOpen)
	}
	return err
}

// Allowed refuses an account that may send no bulk requests. They are allowed
// unless the operator says otherwise.
func (r *Requests) Allowed(ctx context.Context, account pennypost.AccountID) error {
	return r.conf.Store.View(ctx, func(tx *store.Tx) error {
		acc, err := tx.Account(ctx, account)
		if err != nil {
			return err
		}
		if acc.NoBulk {
			return pennypost.Refuse(codeForbidden, "This endpoint requires approval to access. Contact support to use the Bulk API postmarkapp.com/contact")
		}
		return nil
	})
}

func errUnknown() *pennypost.Error {
	return &pennypost.Error{Code: codeUnknown, Status: 404, Text: "This bulk request was not found."}
}

// Request gives a bulk request of a server.
func (r *Requests) Request(ctx context.Context, server pennypost.ServerID, id pennypost.BulkID) (*pennypost.BulkRequest, error) {
	var b *pennypost.BulkRequest
	err := r.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		b, err = tx.Bulk(ctx, server, id)
		return ifMissing(err)
	})
	return b, err
}

func ifMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errUnknown()
	}
	return err
}

// Cancel ends a bulk request: none of its messages is made any more once Cancel
// has returned; those that were made go their way. One that was cancelled before
// is given as it is.
func (r *Requests) Cancel(ctx context.Context, server pennypost.ServerID, id pennypost.BulkID) (*pennypost.BulkRequest, error) {
	var b *pennypost.BulkRequest
	err := r.conf.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.CancelBulk(ctx, server, id); err != nil {
			return err
		}
		var err error
		if b, err = tx.Bulk(ctx, server, id); err != nil {
			return ifMissing(err)
		}
		if b.State != pennypost.BulkCancelled {
			return pennypost.Refuse(codeTooLate, "This bulk request cannot be cancelled any more: it is completed.")
		}
		return nil
	})
	if err == nil {
		r.wake()
	}
	return b, err
}

// wake has Run look for work.
func (r *Requests) wake() {
	select {
	case r.kick <- struct{}{}:
	default: // it will look
	}
}

// MistakesError is a bulk request with more than one mistake.
type MistakesError struct{ List []submit.FieldError }

// Error counts them.
func (e *MistakesError) Error() string {
	return fmt.Sprintf("%d mistakes in a bulk request", len(e.List))
}

// Refusal is what is answered beside the list.
func (e *MistakesError) Refusal() *pennypost.Error {
	return pennypost.Refuse(codeSeveral, "Multiple errors occurred. Inspect the Errors property for more information.")
}

// refusal gives one mistake as itself, and more as MistakesError.
func refusal(list []submit.FieldError) error {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0].Err
	}
	return &MistakesError{List: list}
}
