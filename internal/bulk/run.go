package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

const (
	stepMessages = 20                     // made with one transaction
	lookEvery    = 2 * time.Second        // for requests of other nodes
	restMost     = 100 * time.Millisecond // between steps
	waitOut      = time.Minute            // while a server is suspended
	unfinished   = time.Hour              // after which a request that was not stored as a whole is swept away
	faultWait    = 2 * time.Second        // after a fault in a step of a request, at first
	faultMost    = time.Minute            // after one of many
	maxFaulty    = 1000                   // requests whose waits are remembered
)

// Run works off requests until ctx ends.
func (r *Requests) Run(ctx context.Context) error {
	wait := time.Duration(0)
	for pause(ctx, r.kick, wait) {
		began := r.conf.Now()
		did, err := r.turn(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			r.log.WarnContext(ctx, "bulk requests wait", "err", err)
			wait = lookEvery
		case did:
			// As long as it took: others get at least half of the writer.
			wait = min(r.conf.Now().Sub(began), restMost)
		default:
			wait = lookEvery
		}
	}
	return nil
}

// pause waits, or is woken; false: the context ended. Between steps nobody wakes.
func pause(ctx context.Context, kick <-chan struct{}, wait time.Duration) bool {
	if wait < lookEvery {
		kick = nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-kick:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// turn makes one step of one request, or sweeps, and tells whether there was
// anything to do.
func (r *Requests) turn(ctx context.Context) (did bool, err error) {
	if r.conf.Door.Closed() != "" {
		return false, nil // who watches the door says so
	}
	var b *pennypost.BulkRequest
	waste := false
	err = r.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		if b, err = tx.DueBulk(ctx, r.last); errors.Is(err, store.ErrNotFound) {
			waste, err = tx.BulkWaste(ctx, tx.Now().Add(-unfinished))
		}
		return err
	})
	switch {
	case err != nil:
		return false, err
	case b != nil:
		r.last = b.ServerID
		return true, r.step(ctx, b)
	}
	r.known = nil
	if waste {
		err = r.conf.Store.UpdateSoon(ctx, func(tx *store.Tx) error {
			_, err := tx.SweepBulk(ctx, tx.Now().Add(-unfinished))
			return err
		})
	}
	return waste, err
}

// errNoServer says that the server of a request was deleted.
var errNoServer = errors.New("the server of the bulk request was deleted")

// step makes the next messages of a request. What goes wrong for a reason of the
// request's own keeps none of the others waiting.
func (r *Requests) step(ctx context.Context, b *pennypost.BulkRequest) error {
	err := r.tryStep(ctx, b)
	var refused *pennypost.Error
	var broke *panicError
	switch {
	case err == nil, errors.Is(err, store.ErrStale):
		delete(r.faulty, b.ID)
		return nil
	case errors.As(err, &broke):
		return r.broken(ctx, b, broke)
	case errors.Is(err, errNoServer):
		return r.update(ctx, func(tx *store.Tx) error {
			_, err := tx.CancelBulk(ctx, b.ServerID, b.ID)
			return err
		})
	case errors.Is(err, store.ErrDamaged), errors.Is(err, errPart):
		r.log.ErrorContext(ctx, "bulk request is damaged: its rest fails", "bulk_id", b.ID.String(), "messages", b.Total-b.Done(), "err", err)
		return r.fail(ctx, b, b.Total-b.Done())
	case errors.As(err, &refused): // suspended
		return r.update(ctx, func(tx *store.Tx) error { return tx.DelayBulk(ctx, b.ID, tx.Now().Add(waitOut)) })
	case ctx.Err() != nil:
		return err
	}
	return r.putOff(ctx, b, err)
}

// putOff has a request wait after a fault of ours, longer with each in a row, so
// that the others go on: it may be of this request alone, such as the memory that
// its messages take.
func (r *Requests) putOff(ctx context.Context, b *pennypost.BulkRequest, fault error) error {
	wait := min(max(2*r.faulty[b.ID], faultWait), faultMost)
	if r.faulty == nil || len(r.faulty) >= maxFaulty {
		r.faulty = map[pennypost.BulkID]time.Duration{}
	}
	r.faulty[b.ID] = wait
	r.log.WarnContext(ctx, "bulk request waits", "bulk_id", b.ID.String(), "for", wait, "err", fault)
	return r.update(ctx, func(tx *store.Tx) error { return tx.DelayBulk(ctx, b.ID, tx.Now().Add(wait)) })
}

func (r *Requests) update(ctx context.Context, fn func(tx *store.Tx) error) error {
	err := r.conf.Store.Update(ctx, fn)
	if errors.Is(err, store.ErrStale) {
		return nil
	}
	return err
}

// fail counts the next messages of a request as failed, unmade.
func (r *Requests) fail(ctx context.Context, b *pennypost.BulkRequest, n int) error {
	return r.update(ctx, func(tx *store.Tx) error {
		if err := tx.TakeBulk(ctx, b); err != nil {
			return err
		}
		after := *b
		after.Failed += n
		return tx.SetBulk(ctx, &after, -1)
	})
}

// panicError is a panic in the making of messages.
type panicError struct {
	value any
	stack []byte
}

// Error tells what was thrown.
func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// broken goes on after a panic, message by message, without the one that throws.
func (r *Requests) broken(ctx context.Context, b *pennypost.BulkRequest, p *panicError) error {
	r.log.ErrorContext(ctx, "making messages of a bulk request panicked", "bulk_id", b.ID.String(), "from", b.Done(),
		"panic", fmt.Sprint(p.value), "stack", string(p.stack))
	if r.one != b.ID {
		r.one = b.ID
		return nil
	}
	return r.fail(ctx, b, 1)
}

// tryStep turns a panic into an error.
func (r *Requests) tryStep(ctx context.Context, b *pennypost.BulkRequest) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	k, err := r.load(ctx, b)
	if err != nil {
		return err
	}
	most := stepMessages
	if r.one == b.ID {
		most = 1
	}
	list := k.next(b.Done(), most)
	if len(list) == 0 {
		return fmt.Errorf("%w: no message %d", errPart, b.Done())
	}
	step := &submit.BulkStep{
		AccountID: b.AccountID, ServerID: b.ServerID,
		Begin: func(ctx context.Context, tx *store.Tx) (*pennypost.ServerState, error) {
			if err := tx.TakeBulk(ctx, b); err != nil {
				return nil, err
			}
			state, err := r.conf.Auth.CheckServer(ctx, tx, b.AccountID, b.ServerID)
			if errors.Is(err, store.ErrNotFound) {
				err = errNoServer
			}
			return state, err
		},
		End: func(ctx context.Context, tx *store.Tx, results []submit.Result) error {
			after := *b
			for i := range results {
				if isReleased(&results[i]) {
					after.Released++
				} else {
					after.Failed++
				}
			}
			return tx.SetBulk(ctx, &after, k.finished(after.Done()))
		},
	}
	results, err := r.conf.Door.AcceptStep(ctx, step, list)
	if err != nil {
		return err
	}
	r.tell(ctx, b, results)
	return nil
}

// isReleased tells whether somebody gets the message.
func isReleased(r *submit.Result) bool { return r.Err == nil && !r.Accepted.Unrendered }

// tell counts what was made, and says why what was not was not.
func (r *Requests) tell(ctx context.Context, b *pennypost.BulkRequest, results []submit.Result) {
	failed := 0
	var why error
	for i := range results {
		if !isReleased(&results[i]) {
			failed++
			if why == nil {
				why = results[i].Err
			}
		}
	}
	r.made.Add(len(results)-failed, "released")
	r.made.Add(failed, "failed")
	if failed > 0 {
		r.log.InfoContext(ctx, "messages of a bulk request failed", "bulk_id", b.ID.String(), "from", b.Done(), "messages", failed, "first", why)
	}
}

// known is the part of a request that is worked on, decoded.
type known struct {
	id       pennypost.BulkID
	shared   *Shared
	content  *submit.Content
	first    int // number of the first of messages
	messages []Message
}

// errPart says that a part is not what was stored.
var errPart = errors.New("part of a bulk request cannot be read")

// load gives the part of a request in which the next message is.
func (r *Requests) load(ctx context.Context, b *pennypost.BulkRequest) (*known, error) {
	if k := r.known; k != nil && k.id == b.ID && k.holds(b.Done()) {
		return k, nil
	}
	var first int
	var shared, part []byte
	known := r.known != nil && r.known.id == b.ID
	err := r.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		if !known {
			if shared, err = tx.BulkShared(ctx, b.ID); err != nil {
				return err
			}
		}
		first, part, err = tx.BulkPart(ctx, b.ID, b.Done())
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, r.gone(ctx, b)
	}
	if err != nil {
		return nil, err
	}
	k, err := r.decode(b.ID, shared)
	if err != nil {
		return nil, err
	}
	k.first, k.messages = first, nil
	if err := json.Unmarshal(part, &k.messages); err != nil {
		return nil, fmt.Errorf("%w: %w", errPart, err)
	}
	if !k.holds(b.Done()) {
		return nil, r.gone(ctx, b)
	}
	return k, nil
}

// gone finds out why a message is not there: another node is further, or it is
// lost.
func (r *Requests) gone(ctx context.Context, b *pennypost.BulkRequest) error {
	return r.conf.Store.View(ctx, func(tx *store.Tx) error {
		now, err := tx.Bulk(ctx, b.ServerID, b.ID)
		if err == nil && now.Done() == b.Done() && now.State != pennypost.BulkCancelled {
			return fmt.Errorf("%w: message %d is missing", errPart, b.Done())
		}
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return store.ErrStale
		}
		return err
	})
}

// decode reads what the messages share, unless that is at hand.
func (r *Requests) decode(id pennypost.BulkID, shared []byte) (*known, error) {
	if shared == nil {
		return r.known, nil
	}
	k := &known{id: id, shared: &Shared{}}
	if err := json.Unmarshal(shared, k.shared); err != nil {
		return nil, fmt.Errorf("%w: %w", errPart, err)
	}
	if k.shared.Source == nil {
		return nil, fmt.Errorf("%w: it says nothing", errPart)
	}
	var err error
	if k.content, err = k.shared.Source.Content(); err != nil {
		return nil, fmt.Errorf("%w: %s", errPart, err.Error())
	}
	r.known = k
	return k, nil
}

// holds tells whether the message of a number is in the part.
func (k *known) holds(n int) bool { return k.first <= n && n < k.first+len(k.messages) }

// finished gives the part, if it is done with n messages of the request, or -1.
func (k *known) finished(n int) int {
	if n >= k.first+len(k.messages) {
		return k.first
	}
	return -1
}

// next gives the messages from a number on, at most so many and of this part.
func (k *known) next(n, most int) []*submit.Submission {
	rest := k.messages[n-k.first:]
	list := make([]*submit.Submission, min(len(rest), most))
	for i := range list {
		s := k.shared.submission(&rest[i])
		s.Template = &submit.Template{Content: k.content, Model: rest[i].Model, InlineCSS: &k.shared.InlineCSS}
		list[i] = s
	}
	return list
}
