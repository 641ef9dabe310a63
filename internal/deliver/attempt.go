package deliver

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/dkim"
	"pennypost/internal/queue"
	"pennypost/internal/smtpc"
	"pennypost/internal/store"
)

// handle does all that a task needs, and ends it.
func (d *Deliverer) handle(ctx context.Context, l *line, w *queue.Worker, t *queue.Task) {
	defer func() {
		if p := recover(); p != nil {
			l.drop()
			d.panicked(ctx, t, p)
		}
	}()
	if !d.c.Store.LeaseOK() {
		d.lost(t)
		return
	}
	k, err := d.open(ctx, t)
	if err != nil {
		d.unopened(ctx, t, k, err)
		return
	}
	defer d.close(k)
	switch {
	case k.rcpt.State.Final():
		d.c.Log.WarnContext(ctx, "job of a recipient that is done", "message_id", k.rcpt.MessageID, "state", k.rcpt.State)
		d.finish(ctx, k)
	case d.isSuspended(k.m.ServerID) && d.hold(ctx, k):
	case d.isUnwanted(ctx, k) && d.suppress(ctx, k):
	case d.isLate(ctx, w, k):
		d.expire(ctx, k)
	default:
		if dest := d.fate(k); dest != "" {
			d.simulate(ctx, l, w, k, dest)
			return
		}
		d.attempt(ctx, l, w, k)
	}
}

// isLate tells whether a letter is given up without being tried: its sender
// said until when, or its time is up and its servers do not answer. All others
// are tried once more, however late: that we were away is our own fault.
func (d *Deliverer) isLate(ctx context.Context, w *queue.Worker, k *letter) bool {
	now := d.c.Now()
	if by := k.m.DeliverBy; !by.IsZero() && !now.Before(by) {
		return true
	}
	return w.Failing() && !now.Before(d.end(ctx, k))
}

// attempt talks, signing when somebody listens, and records.
func (d *Deliverer) attempt(ctx context.Context, l *line, w *queue.Worker, k *letter) {
	if d.starving(ctx, l, k) {
		return
	}
	began := d.c.Now()
	p := &parcel{d: d, k: k}
	t := l.send(ctx, k.rcpt.Address.Domain(), p)
	t.phases = p.phases(t.phases)
	if errors.Is(t.err, errUnsigned) {
		d.unsigned(ctx, k, t.err)
		return
	}
	if t.err != nil && d.untold(ctx, k, &t) {
		return
	}
	r := judge(&t)
	if d.tellLane(w, &t, &r, began) {
		return
	}
	d.plan(ctx, k, &r)
	r.record(k, &t, began, d.c.Now())
	if p.fields != nil && !k.m.Personal && (r.outcome == pennypost.OutcomeDeferred || k.loaded && k.m.Recipients > 1) {
		r.fields = k.shared.unkept(p.fields)
	}
	l.noteLater(ctx, w, k, &r)
}

// unkept gives the signature if it is not in the store yet.
func (s *Shared) unkept(fields []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept {
		return nil
	}
	s.kept = true
	return fields
}

// untold handles what is no outcome of an attempt, and tells whether it did.
func (d *Deliverer) untold(ctx context.Context, k *letter, t *talk) bool {
	var broke *smtpc.Error
	ambiguous := errors.As(t.err, &broke) && broke.Ambiguous
	switch {
	case errors.Is(t.err, errLease):
		d.lost(k.task)
	case errors.Is(t.err, smtpc.ErrContent), errors.Is(t.err, smtpc.ErrPath):
		d.quarantine(ctx, k, "unfit-content", t.err)
	case ctx.Err() != nil && !ambiguous:
		k.task.Return()
	case ambiguous:
		return false
	default:
		return d.starve(ctx, k, t)
	}
	return true
}

// tellLane lets the lane learn from an attempt. It tells whether the task is to
// be tried again at once, since only its connection was one too many.
func (d *Deliverer) tellLane(w *queue.Worker, t *talk, r *result, began time.Time) (again bool) {
	failed := r.outcome == pennypost.OutcomeDeferred
	switch {
	case failed && t.unrouted() && !strings.HasPrefix(w.Lane(), dnsLane):
		w.Reroute()
	case failed && !t.reached():
		r.rests = w.Fail(began)
		return r.rests.IsZero() && isConnect(t) && w.Again()
	case failed && (r.verdict.Block || r.ambiguous || t.reply != nil && t.reply.Code == 421):
		w.Slow()
	case t.reply != nil && !t.reply.Local:
		w.Good()
	}
	return false
}

// unsigned handles a message that could not be signed. That is our fault, so
// that it never ends the message.
func (d *Deliverer) unsigned(ctx context.Context, k *letter, err error) {
	switch {
	case ctx.Err() != nil:
		k.task.Return()
		return
	case errors.Is(err, dkim.ErrMessage):
		d.quarantine(ctx, k, "unfit-content", err)
		return
	}
	d.c.Log.ErrorContext(ctx, "message cannot be signed", "message_id", k.rcpt.MessageID, "domain", k.m.SignDomain, "err", err)
	d.deferOwn(ctx, k, "unsigned", "the message could not be signed")
}

// deferOwn tries a letter again later because of a fault of our own.
func (d *Deliverer) deferOwn(ctx context.Context, k *letter, rule, text string) {
	r := result{
		outcome: pennypost.OutcomeDeferred, quiet: true, text: ours + "4.3.0 " + text,
		verdict: bounce.Verdict{Class: bounce.Deferred, Type: bounce.Transient, Final: bounce.SoftBounce, Rule: rule},
	}
	r.next = d.c.Now().Add(Backoff(min(k.rcpt.Attempts+1, 4), d.c.Rand()))
	d.note(ctx, k, &r)
}

// simulate does with a letter that never leaves all but the network.
func (d *Deliverer) simulate(ctx context.Context, l *line, w *queue.Worker, k *letter, dest string) {
	now := d.c.Now()
	a := actOf(dest, k.rcpt.Address.Domain())
	t := talk{reply: &a.reply, host: a.host, info: smtpc.Info{IP: "127.0.0.1", Conversation: a.conversation(k.rcpt.Address)}}
	r := judgeReply(&a.reply)
	r.verdict.Rule, r.simulated, r.back = a.rule, true, a.back
	if a.refused != 0 {
		// Also what would be tried again: who asks for a bounce has it at once.
		r.outcome = pennypost.OutcomeBounced
		r.verdict.Class, r.verdict.Type, r.verdict.Final = bounce.Permanent, a.refused, a.refused
	}
	switch {
	case a.refused == bounce.SMTPAPIError:
		r.dump = refusalDump(r.text, k.content)
	case a.reply.Local:
		r.dump = r.text
	}
	r.record(k, &t, now, now)
	w.Good()
	l.noteLater(ctx, w, k, &r)
}

// expire ends a letter whose time is up.
func (d *Deliverer) expire(ctx context.Context, k *letter) {
	var last *pennypost.Attempt
	err := d.patiently(ctx, func() error {
		return d.c.Store.View(ctx, func(tx *store.Tx) error {
			list, err := tx.Attempts(ctx, k.rcpt.MessageID)
			for i := range list {
				if list[i].N == k.rcpt.N {
					last = &list[i]
				}
			}
			return err
		})
	})
	if ctx.Err() != nil {
		k.task.Return()
		return
	}
	if err != nil {
		d.c.Log.ErrorContext(ctx, "attempts of an expired message cannot be read", "message_id", k.rcpt.MessageID, "err", err)
	}
	r := expired(k, last)
	d.note(ctx, k, &r)
}

// unopened handles a job whose letter could not be loaded.
func (d *Deliverer) unopened(ctx context.Context, t *queue.Task, k *letter, err error) {
	log := d.c.Log.With("job", t.Job.ID)
	switch {
	case ctx.Err() != nil:
		t.Return()
	case errors.Is(err, errGone):
		log.WarnContext(ctx, "job without message", "message_id", k.rcpt.MessageID)
		d.finish(ctx, k)
	case k != nil && errors.Is(err, store.ErrDamaged):
		d.quarantine(ctx, k, "damaged", err)
	case errors.Is(err, errNoRoom):
		wait := d.large.again(t.Job.Tenant, d.c.Now())
		d.later(ctx, t, wait+time.Duration(d.c.Rand()*float64(wait)))
	case !d.c.Store.LeaseOK():
		d.lost(t)
	default:
		log.ErrorContext(ctx, "job cannot be loaded", "err", err)
		d.later(ctx, t, loadAgain)
	}
}

// loadAgain is when a job that could not be loaded is tried again. It is no
// attempt, and nothing is known that could be said about it.
const loadAgain = 10 * time.Minute

func (d *Deliverer) later(ctx context.Context, t *queue.Task, wait time.Duration) {
	job := t.Job
	job.RunAt = d.c.Now().Add(wait)
	err := d.persist(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.PutBackJob(ctx, job) })
	switch {
	case errors.Is(err, store.ErrLeaseLost):
		d.lost(t)
	case err != nil:
		d.c.Log.ErrorContext(ctx, "job could not be put back", "job", job.ID, "err", err)
		d.met.unrecorded.Add(1)
		t.Done()
	default:
		t.PutBack(job.RunAt)
	}
}

// lost gives up a task whose lease is over. Soon our session is renewed after
// all, and its job free again unless another session has it, or the process
// ends: no job may stay with a session that lives and does nothing about it.
func (d *Deliverer) lost(t *queue.Task) {
	d.met.leaseLost.Add(1)
	for range 100 {
		if d.c.Store.LeaseOK() {
			t.Return()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Done()
}

// maxPanics is after how many panics in a row a message is quarantined.
const maxPanics = 3

const panicRule = "panic-"

// panicked puts a message aside that broke the worker. How often it did is
// kept in the recipient's rule, so that it survives the process.
func (d *Deliverer) panicked(ctx context.Context, t *queue.Task, p any) {
	d.met.panics.Add(1)
	defer func() {
		if again := recover(); again != nil {
			d.c.Log.ErrorContext(ctx, "panic after a panic", "job", t.Job.ID, "panic", again)
			t.Return()
		}
	}()
	d.c.Log.ErrorContext(ctx, "attempt panicked", "job", t.Job.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	id, n, err := store.ParseJobRef(t.Job.Ref)
	k := &letter{task: t, job: t.Job}
	if err == nil {
		err = d.patiently(ctx, func() error {
			return d.c.Store.View(ctx, func(tx *store.Tx) error {
				rcpt, err := tx.Recipient(ctx, id, n)
				if err == nil {
					k.rcpt = *rcpt
				}
				return err
			})
		})
	}
	if err != nil || k.rcpt.State.Final() {
		t.Done()
		return
	}
	if k.rcpt.Rule == fmt.Sprint(panicRule, maxPanics-1) {
		d.quarantine(ctx, k, "panic", fmt.Errorf("panic: %v", p))
		return
	}
	before := 0
	if s, ok := strings.CutPrefix(k.rcpt.Rule, panicRule); ok && len(s) == 1 {
		before = int(s[0] - '0')
	}
	d.deferOwn(ctx, k, fmt.Sprint(panicRule, before+1), "the attempt broke off by a fault of ours")
}
