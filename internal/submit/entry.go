package submit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
	"pennypost/internal/deliver"
	"pennypost/internal/eml"
	"pennypost/internal/queue"
	"pennypost/internal/store"
)

// entry is a draft and what its accepting transaction makes of it. The
// transaction may run more than once (store.Tx), so begin empties what it sets.
type entry struct {
	*draft
	raw        *Raw        // over SMTP
	submission *Submission // over HTTP
	item       int         // its place in the request

	answer func(*Accepted) ([]byte, error) // to the request, if it is this alone

	err        error // why the transaction did not take it
	message    *pennypost.Message
	recipients []pennypost.Recipient
	inactive   []pennypost.Address
	jobs       []pennypost.Job
	places     []*queue.Place // of the jobs; nil: no room
	found      settings       // beside errStale
}

func (e *entry) begin() {
	e.release()
	e.err, e.message = nil, nil
	e.recipients, e.inactive, e.jobs, e.places = e.recipients[:0], nil, e.jobs[:0], e.places[:0]
}

// release gives back the places that no job took.
func (e *entry) release() {
	for i, p := range e.places {
		if p != nil {
			p.Cancel()
			e.places[i] = nil
		}
	}
}

func (e *entry) result() *Accepted {
	a := &Accepted{ID: e.id, SubmittedAt: e.at, Unrendered: e.unrendered != ""}
	if e.message != nil {
		a.SubmittedAt = e.message.ReceivedAt
	}
	for _, addr := range e.inactive {
		a.Inactive = append(a.Inactive, pennypost.Address(addr.Key()))
	}
	return a
}

func (e *entry) testAccepted() *Accepted {
	return &Accepted{ID: e.id, SubmittedAt: e.at, Test: true}
}

// store takes one message: on nil it is on stable storage and on its way.
func (d *Door) store(ctx context.Context, c pennypost.Caller, e *entry, room *share) error {
	err := d.storeOnce(ctx, c, e)
	for try := 1; errors.Is(err, errStale) && try < maxStale; try++ {
		if err := d.redo(ctx, c, e, room); err != nil {
			return err
		}
		err = d.storeOnce(ctx, c, e)
	}
	return err
}

func (d *Door) storeOnce(ctx context.Context, c pennypost.Caller, e *entry) error {
	defer e.release()
	err := d.conf.Store.Update(ctx, func(tx *store.Tx) error {
		in := &intake{door: d, tx: tx, caller: c}
		if err := in.begin(ctx); err != nil {
			return err
		}
		if err := in.take(ctx, e); err != nil {
			return err
		}
		return in.note(ctx, e)
	})
	if err = d.settle(ctx, err, e); err != nil {
		return fmt.Errorf("store message %s: %w", e.id, err)
	}
	c.Request.Took(takenFor(c, e))
	if c.Request != nil {
		c.Request.Answered = e.answer != nil
	}
	d.hand(e)
	return nil
}

// The bounds of a message that stays in memory from acceptance to delivery:
// its own size, and that times its recipients, since a copy is counted for each
// of them.
const (
	maxKept    = 1 << 20
	maxKeptAll = 4 << 20
	// overhead is what a task holds beside the content, about.
	overhead = 1 << 10
)

// plan makes the job of a recipient, born leased if the queue has room for it.
func (d *Door) plan(e *entry, r *pennypost.Recipient, p pennypost.Priority, live int) {
	job := pennypost.Job{
		ID: d.conf.Store.NextID(), Kind: pennypost.JobDeliver, Dest: d.names.Dest(e.message, r.Address, e.bounceType),
		Tenant: e.server, Priority: p, RunAt: e.message.Begins(), Ref: store.JobRef(e.id, r.N),
	}
	var place *queue.Place
	size := len(e.content)
	if d.conf.Queue != nil && e.sendAt.IsZero() && p != pennypost.PriorityRequest && size <= maxKept && size*live <= maxKeptAll {
		place = d.conf.Queue.ReserveFor(job.Dest, job.Tenant, e.weight(live))
	}
	if place != nil {
		job.Lease = d.conf.Store.Session()
	}
	e.jobs = append(e.jobs, job)
	e.places = append(e.places, place)
}

// weight is what a task holds in memory, about. The copies that recipients of a
// personal message get of their own come beside the content they are made of.
func (e *entry) weight(live int) int {
	n := cap(e.content)
	if e.message.Personal {
		n += n / live
	}
	return n + overhead
}

// hand gives the jobs of a stored message to the queue.
func (d *Door) hand(e *entry) {
	d.accepted.Add(len(e.jobs), string(e.source))
	if d.conf.Queue == nil {
		return
	}
	var kept []pennypost.Recipient
	live := 0 // jobs are those of the queued recipients, in their order
	for i := range e.recipients {
		if e.recipients[i].State != pennypost.Queued {
			continue
		}
		if e.places[live] != nil {
			kept = append(kept, e.recipients[i])
		}
		live++
	}
	fresh := deliver.NewFresh(e.message, e.content, kept)
	for i := range e.jobs {
		job := e.jobs[i]
		if e.places[i] == nil {
			d.wake(&job)
			continue
		}
		e.places[i].Offer(queue.Task{Job: job, Payload: fresh[0], Bytes: e.weight(live)})
		e.places[i], fresh = nil, fresh[1:]
	}
}

// scanSoon is how soon a job must be due for the queue to be told of it. Those
// that are due later it finds in the store: what it remembers is bounded.
const scanSoon = time.Minute

func (d *Door) wake(job *pennypost.Job) {
	switch ahead := job.RunAt.Sub(d.conf.Now()); {
	case ahead <= 0:
		d.conf.Queue.Wake(job.Dest)
	case ahead < scanSoon:
		d.conf.Queue.WakeAt(job.Dest, job.RunAt)
	}
}

// settleWithin bounds the question whether a message was stored after all.
const settleWithin = 5 * time.Second

// settle finds out what became of messages whose commit ended without an
// answer: nil when they are stored. Otherwise, should the commit show later,
// their jobs must not be left to a session that does not know them.
func (d *Door) settle(ctx context.Context, err error, list ...*entry) error {
	if errors.Is(err, store.ErrUnavailable) {
		d.conf.Disk.Doubt()
	}
	if !errors.Is(err, store.ErrUnknown) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	var jobs []pennypost.Job
	for _, e := range list {
		if e.message == nil {
			continue
		}
		found := d.conf.Store.View(ctx, func(tx *store.Tx) error {
			_, err := tx.AnyMessage(ctx, e.id)
			return err
		})
		if found == nil {
			return nil // one transaction stored them all
		}
		jobs = append(jobs, e.jobs...)
	}
	ids := make([]int64, len(jobs))
	for i := range jobs {
		ids[i] = jobs[i].ID
	}
	free := d.conf.Store.Update(ctx, func(tx *store.Tx) error { return tx.FreeJobs(ctx, ids) })
	if free != nil && d.conf.Queue != nil { // without a queue none is leased
		d.log.WarnContext(ctx, "jobs of an unknown commit are freed later", "jobs", len(ids), "err", free)
		d.conf.Queue.Disown(jobs)
	}
	return err
}

// mailboxes gives the form of the nouns.
func mailboxes(list []eml.Mailbox) []pennypost.Mailbox {
	if len(list) == 0 {
		return nil
	}
	out := make([]pennypost.Mailbox, len(list))
	for i, m := range list {
		out[i] = mailbox(m)
	}
	return out
}

func mailbox(m eml.Mailbox) pennypost.Mailbox {
	return pennypost.Mailbox{Name: m.Name, Address: pennypost.Address(m.Addr())}
}
