package deliver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/queue"
	"pennypost/internal/store"
)

// maxNotes is how many results of one connection may be on their way to the
// disk while it goes on. Each is a message that is delivered again if the
// process is killed just then.
const maxNotes = 8

// maxAllNotes is how many results of all connections may be. When results come
// quicker than the disk takes them, as of many sites that refuse at once, the
// workers wait, and what is to be tried waits without a goroutine each.
const maxAllNotes = 512

// noteLater writes a result while the connection takes the next message: the
// other side does not wait for our disk.
func (l *line) noteLater(ctx context.Context, w *queue.Worker, k *letter, r *result) {
	d, notes := l.d, l.notes // the line is made anew with each connection
	notes <- struct{}{}
	d.notes <- struct{}{}
	k.content = nil // it was sent; what waits for the disk need not keep it
	w.Detach(ctx, func() {
		defer func() {
			<-d.notes
			<-notes
		}()
		d.noteBy(ctx, d.c.Store.UpdateSoon, k, r)
	})
}

// note writes a result (style.md §2, Tx 2) and ends the task. If that panics
// the job stays with this session: the message may have been delivered, and is
// not sent again at once for a fault of ours.
func (d *Deliverer) note(ctx context.Context, k *letter, r *result) {
	d.noteBy(ctx, d.c.Store.Update, k, r)
}

func (d *Deliverer) noteBy(ctx context.Context, update updater, k *letter, r *result) {
	defer func() {
		if p := recover(); p != nil {
			d.met.panics.Add(1)
			d.ended(ctx, k, r, fmt.Errorf("panic: %v", p))
		}
	}()
	err := d.persistBy(ctx, update, func(ctx context.Context, tx *store.Tx) error { return d.write(ctx, tx, k, r) })
	d.ended(ctx, k, r, err)
}

// write is the transaction. The job comes first: whose lease is lost writes
// nothing.
func (d *Deliverer) write(ctx context.Context, tx *store.Tx, k *letter, r *result) error {
	rcpt, err := moved(k, r, tx.Now())
	if err != nil {
		return err
	}
	if r.next.IsZero() {
		err = tx.FinishJob(ctx, k.job.ID)
	} else {
		job := k.job
		job.RunAt = r.next
		job.Attempt++
		err = tx.PutBackJob(ctx, job)
	}
	if err != nil {
		return err
	}
	if r.attempt != nil {
		if err := tx.AddAttempt(ctx, r.attempt); err != nil {
			return err
		}
	}
	if err := tx.SetRecipient(ctx, rcpt); err != nil {
		return err
	}
	if r.fields != nil {
		if err := tx.SetSignature(ctx, rcpt.MessageID, r.fields); err != nil {
			return err
		}
	}
	if e := happened(k, r, tx.Now()); e != nil {
		if err := event.Record(ctx, tx, e); err != nil {
			return err
		}
	}
	if r.back == 0 {
		return nil
	}
	return event.Record(ctx, tx, bounced(k, r, r.back, r.back.Description(), tx.Now()))
}

// moved gives the recipient after a result.
func moved(k *letter, r *result, now time.Time) (*pennypost.Recipient, error) {
	rcpt := k.rcpt
	state, err := rcpt.State.After(r.outcome)
	if err != nil {
		return nil, err
	}
	rcpt.State, rcpt.ChangedAt, rcpt.NextAt = state, now, r.next
	rcpt.Rule, rcpt.Reply = r.verdict.Rule, r.text
	if r.attempt != nil {
		rcpt.Attempts++
	}
	return &rcpt, nil
}

// happened gives the event of a result; nil when there is none to tell.
func happened(k *letter, r *result, now time.Time) *pennypost.Event {
	if r.quiet {
		return nil
	}
	switch r.outcome {
	case pennypost.OutcomeDelivered:
		e := newEvent(k, pennypost.EventDelivered, now)
		e.Details = r.answer()
		return e
	case pennypost.OutcomeDeferred:
		e := newEvent(k, pennypost.EventTransient, now)
		e.Details = r.answer()
		return e
	case pennypost.OutcomeBounced:
		return bounced(k, r, r.verdict.Type, r.text, now)
	case pennypost.OutcomeExpired:
		return bounced(k, r, r.verdict.Final, r.text+" (given up after "+tried(k, now)+")", now)
	case pennypost.OutcomeHeld, pennypost.OutcomeReleased, pennypost.OutcomeQuarantined, pennypost.OutcomeDiscarded,
		pennypost.OutcomeCancelled, pennypost.OutcomeSuppressed:
	}
	return nil
}

func newEvent(k *letter, t pennypost.EventType, now time.Time) *pennypost.Event {
	return &pennypost.Event{
		At: now, AccountID: k.m.AccountID, ServerID: k.m.ServerID, Stream: k.m.Stream, MessageID: k.rcpt.MessageID,
		N: k.rcpt.N, Recipient: k.rcpt.Address, Type: t, Tag: k.m.Tag,
	}
}

// answer gives the details of contract/messages.md §4.
func (r *result) answer() map[string]string {
	details := map[string]string{"DeliveryMessage": r.text, "DestinationServer": "", "DestinationIP": ""}
	a := r.attempt
	if a == nil || a.Host == "" {
		return details
	}
	details["DestinationServer"] = a.Host
	if a.IP != "" {
		details["DestinationServer"] += " (" + a.IP + ")"
		details["DestinationIP"] = a.IP
	}
	return details
}

func bounced(k *letter, r *result, t bounce.Type, details string, now time.Time) *pennypost.Event {
	e := newEvent(k, pennypost.EventBounced, now)
	e.Details = map[string]string{"Summary": details}
	e.Bounce = &pennypost.Bounce{
		Type: t.String(), TypeCode: t.Code(), AccountID: e.AccountID, ServerID: e.ServerID, Stream: e.Stream,
		MessageID: e.MessageID, N: e.N, Recipient: e.Recipient, From: string(k.m.From.Address), Subject: k.m.Subject,
		Tag: e.Tag, Details: details, Rule: r.verdict.Rule, Inactive: t.Inactive(), Simulated: r.simulated, At: now,
	}
	switch {
	case r.dump != "":
		e.Bounce.Dump = r.dump
	case r.attempt != nil:
		e.Bounce.Dump = r.attempt.Conversation
	}
	return e
}

// tried says for how long a letter was tried.
func tried(k *letter, now time.Time) string {
	d := now.Sub(k.m.Begins())
	unit, name := time.Minute, " minutes"
	switch {
	case d >= 48*time.Hour:
		unit, name = 24*time.Hour, " days"
	case d >= 2*time.Hour:
		unit, name = time.Hour, " hours"
	}
	return strconv.FormatInt(int64((d+unit/2)/unit), 10) + name
}

// Limits of writing a result.
const (
	noteFaults = 5 // tries when it is no fault that passes
	notePause  = 20 * time.Millisecond
	noteMax    = 5 * time.Second
	noteStop   = 3 * time.Second // goes on after the context ended
)

// persist writes what has happened already, also when the context has ended: it
// is tried until it succeeds, as long as the lease holds. It tells ErrLeaseLost when somebody else has the
// job.
func (d *Deliverer) persist(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return d.persistBy(ctx, d.c.Store.Update, fn)
}

// An updater is Store.Update or Store.UpdateSoon.
type updater func(ctx context.Context, fn func(tx *store.Tx) error) error

func (d *Deliverer) persistBy(ctx context.Context, update updater, fn func(ctx context.Context, tx *store.Tx) error) error {
	unended := context.WithoutCancel(ctx)
	unknown := false
	var stop time.Time
	for n, pause := 1, notePause; ; n, pause = n+1, min(2*pause, noteMax) {
		err := update(unended, func(tx *store.Tx) error { return fn(unended, tx) })
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrLeaseLost) && unknown:
			return nil // the commit whose outcome was unknown took effect
		case errors.Is(err, store.ErrLeaseLost), errors.Is(err, store.ErrClosed), isClosed(d.c.Store.Failed()):
			return err
		case errors.Is(err, store.ErrUnknown):
			unknown = true
		case !errors.Is(err, store.ErrUnavailable) && n >= noteFaults:
			return err
		}
		d.met.noteRetries.Add(1)
		if !d.c.Store.LeaseOK() {
			return errors.Join(store.ErrLeaseLost, err)
		}
		if ctx.Err() != nil {
			if stop.IsZero() {
				stop = d.c.Now().Add(noteStop)
			}
			if d.c.Now().After(stop) {
				return err
			}
		}
		time.Sleep(pause)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ended ends the task after its result was written, or could not be.
func (d *Deliverer) ended(ctx context.Context, k *letter, r *result, err error) {
	if errors.Is(err, store.ErrLeaseLost) {
		d.lost(k.task)
		return
	}
	if err != nil {
		// The job stays with this session; the next one repeats the attempt.
		d.c.Log.ErrorContext(ctx, "result of an attempt could not be recorded",
			"message_id", k.rcpt.MessageID, "outcome", r.outcome.String(), "err", err)
		d.met.unrecorded.Add(1)
		k.task.Done()
		return
	}
	d.count(k, r)
	d.log(ctx, k, r)
	if r.next.IsZero() {
		k.task.Done()
		return
	}
	k.task.PutBack(r.next)
}

func (d *Deliverer) log(ctx context.Context, k *letter, r *result) {
	if !d.c.Log.Enabled(ctx, 0) {
		return
	}
	code, host := 0, ""
	if r.attempt != nil {
		code, host = r.attempt.Code, r.attempt.Host
	}
	d.c.Log.InfoContext(ctx, "attempt ended", "outcome", r.outcome.String(), "message_id", k.rcpt.MessageID, "server", int64(k.job.Tenant),
		"domain", k.rcpt.Address.Domain(), "attempt", k.rcpt.Attempts+1, "code", code, "host", host, "rule", r.verdict.Rule)
}

// finish ends a job with which nothing is to be done.
func (d *Deliverer) finish(ctx context.Context, k *letter) {
	err := d.persist(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.FinishJob(ctx, k.job.ID) })
	if err != nil && !errors.Is(err, store.ErrLeaseLost) {
		d.c.Log.ErrorContext(ctx, "job could not be finished", "job", k.job.ID, "err", err)
	}
	k.task.Done()
}

// quarantine takes a letter out of delivery until a person has looked at it.
func (d *Deliverer) quarantine(ctx context.Context, k *letter, rule string, why error) {
	d.c.Log.ErrorContext(ctx, "message quarantined", "message_id", k.rcpt.MessageID, "recipient", k.rcpt.N, "rule", rule, "err", why)
	err := d.persist(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.FinishJob(ctx, k.job.ID); err != nil {
			return err
		}
		rcpt := k.rcpt
		state, err := quarantined(rcpt.State)
		if err != nil {
			return err
		}
		rcpt.State, rcpt.ChangedAt, rcpt.NextAt = state, tx.Now(), time.Time{}
		rcpt.Rule, rcpt.Reply = rule, ours+"4.3.0 "+printable(why.Error())
		return tx.SetRecipient(ctx, &rcpt)
	})
	switch {
	case errors.Is(err, store.ErrLeaseLost):
		d.lost(k.task)
		return
	case err != nil:
		d.c.Log.ErrorContext(ctx, "quarantine could not be recorded", "message_id", k.rcpt.MessageID, "err", err)
		d.met.unrecorded.Add(1)
	default:
		d.met.outcomes.Add(1, pennypost.OutcomeQuarantined.String())
	}
	k.task.Done()
}

// quarantined is the move of a recipient; one whose own row is damaged has no
// state that could be trusted.
func quarantined(s pennypost.RecipientState) (pennypost.RecipientState, error) {
	if s == 0 {
		return pennypost.Quarantined, nil
	}
	return s.After(pennypost.OutcomeQuarantined)
}
