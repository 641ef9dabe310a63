package deliver

import (
	"context"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/event"
	"pennypost/internal/store"
)

type suspensions map[pennypost.ServerID]pennypost.Suspension

// SuspensionChanged reads anew which servers are suspended. It is called once
// a suspension or its end was committed; without it the change is seen within
// Config.RefreshHold.
func (d *Deliverer) SuspensionChanged(ctx context.Context) error {
	d.refresh.Lock()
	defer d.refresh.Unlock()
	var all suspensions
	err := d.c.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.SuspendedServers(ctx)
		return err
	})
	if err != nil {
		return err
	}
	d.suspended.Store(&all)
	select {
	case d.changed <- struct{}{}:
	default: // it will look
	}
	return nil
}

// knowSuspensions returns once they were read: before that nothing is sent.
func (d *Deliverer) knowSuspensions(ctx context.Context) {
	for wait := patienceMin; ; wait = min(2*wait, patienceMax) {
		err := d.SuspensionChanged(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		d.c.Log.WarnContext(ctx, "suspensions cannot be read", "err", err)
		sleep(ctx, wait)
	}
}

// watchSuspensions reads them again and again.
func (d *Deliverer) watchSuspensions(ctx context.Context) {
	for sleep(ctx, d.c.RefreshHold) {
		if err := d.SuspensionChanged(ctx); err != nil && ctx.Err() == nil {
			d.c.Log.WarnContext(ctx, "suspensions cannot be read", "err", err)
		}
	}
}

// sweepSuspended holds what waits of each server once it is suspended.
func (d *Deliverer) sweepSuspended(ctx context.Context) {
	swept := make(suspensions)
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
		}
		now := *d.suspended.Load()
		for id, s := range swept {
			if now[id] != s {
				delete(swept, id)
			}
		}
		for id, s := range now {
			if _, done := swept[id]; done {
				continue
			}
			if err := d.holdWaiting(ctx, id); err != nil {
				if ctx.Err() == nil { // tried again at the next reading
					d.c.Log.WarnContext(ctx, "waiting mail is not held yet", "server", int64(id), "err", err)
				}
				continue
			}
			swept[id] = s
		}
	}
}

// holdStep is how many jobs of all servers are looked through in one
// transaction for those of a suspended one.
const holdStep = 1000

// holdWaiting holds what waits of a suspended server for a next attempt. What
// is in memory is held when its turn comes.
func (d *Deliverer) holdWaiting(ctx context.Context, server pennypost.ServerID) error {
	after := int64(0)
	for {
		last := int64(0)
		err := d.c.Store.Update(ctx, func(tx *store.Tx) error {
			last = 0
			s, err := tx.SuspensionKept(ctx, server)
			if err != nil || !s.Active() {
				return err
			}
			var jobs []pennypost.Job
			if jobs, last, err = tx.HoldFree(ctx, server, after, holdStep); err != nil {
				return err
			}
			for i := range jobs {
				if err := d.holdOne(ctx, tx, &jobs[i], s.Reason); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || last == 0 {
			return err
		}
		after = last
	}
}

// holdOne: what is damaged is found out when it is released or discarded.
func (d *Deliverer) holdOne(ctx context.Context, tx *store.Tx, job *pennypost.Job, reason string) error {
	k, err := d.held(ctx, tx, job)
	if isAmiss(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r := result{outcome: pennypost.OutcomeHeld, verdict: bounce.Verdict{Rule: "suspended"}}
	return d.markHeld(ctx, tx, k, &r, reason)
}

// markHeld writes that a letter is held, beside its job.
func (d *Deliverer) markHeld(ctx context.Context, tx *store.Tx, k *letter, r *result, reason string) error {
	r.text = ours + "4.7.1 sending is suspended: " + printable(reason)
	rcpt, err := moved(k, r, tx.Now())
	if err != nil {
		return err
	}
	if err := tx.SetRecipient(ctx, rcpt); err != nil {
		return err
	}
	e := newEvent(k, pennypost.EventHeld, tx.Now())
	e.Details = map[string]string{"Reason": reason}
	return event.Record(ctx, tx, e)
}

// sleep waits; false: the context ended.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *Deliverer) isSuspended(id pennypost.ServerID) bool {
	_, ok := (*d.suspended.Load())[id]
	return ok
}

// hold puts a letter of a suspended server aside. The transaction looks again:
// what it holds after the end of the suspension nobody would release. False:
// the suspension has ended, and the letter is to go.
func (d *Deliverer) hold(ctx context.Context, k *letter) bool {
	r := result{outcome: pennypost.OutcomeHeld, verdict: bounce.Verdict{Rule: "suspended"}}
	active := false
	err := d.persist(ctx, func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.SuspensionKept(ctx, k.m.ServerID)
		active = s.Active()
		if errors.Is(err, store.ErrNotFound) || err == nil && !active {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tx.HoldJob(ctx, k.job.ID); err != nil {
			return err
		}
		return d.markHeld(ctx, tx, k, &r, s.Reason)
	})
	if err == nil && !active {
		return false
	}
	d.ended(ctx, k, &r, err)
	return true
}

// releaseStep is how often held mail is released in a second.
const releaseStep = 5

// Release lets the held mail of a server go, Config.ReleasePace in a second,
// and returns how many once none is left. It stops when the server is
// suspended again, or the context ends; whoever calls it calls it again.
func (d *Deliverer) Release(ctx context.Context, server pennypost.ServerID) (int, error) {
	if err := d.SuspensionChanged(ctx); err != nil {
		return 0, err
	}
	step := max(1, d.c.ReleasePace/releaseStep)
	pause := time.Second * time.Duration(step) / time.Duration(max(1, d.c.ReleasePace))
	for sum := 0; ; {
		n, err := d.release(ctx, server, step)
		sum += n
		if err != nil || n == 0 {
			return sum, err
		}
		if !sleep(ctx, pause) {
			return sum, ctx.Err()
		}
	}
}

func (d *Deliverer) release(ctx context.Context, server pennypost.ServerID, step int) (int, error) {
	var jobs []pennypost.Job
	err := d.c.Store.Update(ctx, func(tx *store.Tx) error {
		jobs = nil
		if s, err := tx.Suspension(ctx, server); err == nil && s.Active() {
			return nil
		}
		var err error
		if jobs, err = tx.ReleaseHeld(ctx, server, step); err != nil {
			return err
		}
		for i := range jobs {
			if err := d.releaseOne(ctx, tx, &jobs[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range jobs {
		d.q.Wake(jobs[i].Dest)
	}
	d.met.outcomes.Add(len(jobs), pennypost.OutcomeReleased.String())
	return len(jobs), nil
}

// releaseOne: what is damaged is quarantined by its attempt.
func (d *Deliverer) releaseOne(ctx context.Context, tx *store.Tx, job *pennypost.Job) error {
	k, err := d.held(ctx, tx, job)
	if isAmiss(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r := result{outcome: pennypost.OutcomeReleased, verdict: bounce.Verdict{Rule: "released"}, next: tx.Now()}
	if k.m.SendAt.After(r.next) {
		r.next = k.m.SendAt
	}
	rcpt, err := moved(k, &r, tx.Now())
	if err != nil {
		return err
	}
	rcpt.HeldFor += heldFor(k, tx.Now())
	if err := tx.SetRecipient(ctx, rcpt); err != nil {
		return err
	}
	return event.Record(ctx, tx, newEvent(k, pennypost.EventReleased, tx.Now()))
}

// heldFor is how long a letter has been held of the time in which it would have
// been tried.
func heldFor(k *letter, now time.Time) time.Duration {
	since := k.rcpt.ChangedAt
	if k.m.SendAt.After(since) {
		since = k.m.SendAt
	}
	return max(now.Sub(since), 0)
}

// isAmiss tells whether what a job is about is damaged or gone. That must not
// keep the others from being released or discarded.
func isAmiss(err error) bool {
	return errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound)
}

// discardDamaged quarantines what cannot be discarded with a bounce.
func (d *Deliverer) discardDamaged(ctx context.Context, tx *store.Tx, k *letter, why error) error {
	d.c.Log.ErrorContext(ctx, "held message is damaged", "message_id", k.rcpt.MessageID, "recipient", k.rcpt.N, "err", why)
	if err := tx.DiscardJob(ctx, k.job.ID); err != nil {
		return err
	}
	rcpt := k.rcpt
	if rcpt.MessageID.IsZero() {
		return nil
	}
	rcpt.State, rcpt.ChangedAt, rcpt.NextAt = pennypost.Quarantined, tx.Now(), time.Time{}
	rcpt.Rule, rcpt.Reply = "damaged", ours+"4.3.0 "+printable(why.Error())
	if err := tx.SetRecipient(ctx, &rcpt); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// held reads what a held job is about, as far as it can be read.
func (d *Deliverer) held(ctx context.Context, tx *store.Tx, job *pennypost.Job) (*letter, error) {
	k := &letter{job: *job}
	id, n, err := store.ParseJobRef(job.Ref)
	if err != nil {
		return k, err
	}
	k.rcpt.MessageID, k.rcpt.N = id, n
	rcpt, err := tx.Recipient(ctx, id, n)
	if err != nil {
		return k, err
	}
	k.rcpt = *rcpt
	k.m, err = tx.AnyMessage(ctx, id)
	return k, err
}

// discardStep is how many held letters are discarded in one transaction.
const discardStep = 50

// Discard drops the held mail of a server, with a bounce event each, and
// returns how many.
func (d *Deliverer) Discard(ctx context.Context, server pennypost.ServerID) (int, error) {
	if err := d.holdWaiting(ctx, server); err != nil {
		return 0, err
	}
	for sum := 0; ; {
		n := 0
		err := d.c.Store.Update(ctx, func(tx *store.Tx) error {
			jobs, err := tx.HeldJobs(ctx, server, discardStep)
			if err != nil {
				return err
			}
			for i := range jobs {
				if err := d.discardOne(ctx, tx, &jobs[i]); err != nil {
					return err
				}
			}
			n = len(jobs)
			return nil
		})
		if err != nil {
			return sum, err
		}
		sum += n
		d.met.outcomes.Add(n, pennypost.OutcomeDiscarded.String())
		if n == 0 {
			return sum, nil
		}
	}
}

// discardOne: the recipient is not at fault, so that the type is one that
// suppresses nobody.
func (d *Deliverer) discardOne(ctx context.Context, tx *store.Tx, job *pennypost.Job) error {
	k, err := d.held(ctx, tx, job)
	if isAmiss(err) {
		return d.discardDamaged(ctx, tx, k, err)
	}
	if err != nil {
		return err
	}
	r := result{
		outcome: pennypost.OutcomeDiscarded, verdict: bounce.Verdict{Rule: "discarded"},
		text: ours + "5.7.1 discarded by the operator while sending was suspended",
	}
	rcpt, err := moved(k, &r, tx.Now())
	if err != nil {
		return err
	}
	if err := tx.DiscardJob(ctx, job.ID); err != nil {
		return err
	}
	if err := tx.SetRecipient(ctx, rcpt); err != nil {
		return err
	}
	return event.Record(ctx, tx, bounced(k, &r, bounce.Unknown, r.text, tx.Now()))
}
