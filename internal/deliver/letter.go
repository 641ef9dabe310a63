package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
	"pennypost/internal/queue"
	"pennypost/internal/store"
)

// A letter is one recipient's copy of a message, ready to be tried.
type letter struct {
	task    *queue.Task
	job     pennypost.Job
	m       *pennypost.Message
	rcpt    pennypost.Recipient
	content []byte // that of a personal message is the recipient's own once it is signed
	shared  *Shared
	loaded  bool  // from the store
	large   int64 // octets taken from Deliverer.large
}

// errGone says that a job's message is no longer there.
var errGone = errors.New("message of the job is gone")

// open gives the letter of a task: from memory if it came with it, else from
// the store. Close ends its use.
func (d *Deliverer) open(ctx context.Context, t *queue.Task) (*letter, error) {
	if f, ok := t.Payload.(*Fresh); ok {
		return &letter{task: t, job: t.Job, m: f.Message, rcpt: f.Recipient, content: f.Content, shared: f.Shared}, nil
	}
	id, n, err := store.ParseJobRef(t.Job.Ref)
	if err != nil {
		return nil, fmt.Errorf("job %d: %w", t.Job.ID, err)
	}
	k := &letter{task: t, job: t.Job, rcpt: pennypost.Recipient{MessageID: id, N: n}, loaded: true}
	if err := d.patiently(ctx, func() error { return d.load(ctx, k) }); err != nil {
		d.close(k)
		return k, err
	}
	return k, nil
}

func (d *Deliverer) close(k *letter) {
	if k.large > 0 {
		d.large.give(k.job.Tenant, k.large, d.c.Now())
		k.large = 0
	}
	if k.loaded && k.shared != nil {
		d.unshare(k.rcpt.MessageID)
		k.shared = nil
	}
}

// errNoRoom says that the content of a large message must wait, so that any
// number of them fits the memory.
var errNoRoom = errors.New("no room for the content")

// load reads a letter.
func (d *Deliverer) load(ctx context.Context, k *letter) error {
	var fields []byte
	read := func(tx *store.Tx) (err error) {
		fields, err = k.read(ctx, tx)
		return err
	}
	err := d.c.Store.View(ctx, read)
	if errors.Is(err, errLarge) {
		size := min(k.m.Size, maxLarge)
		if !d.large.take(k.job.Tenant, size) {
			return errNoRoom
		}
		k.large = size
		err = d.c.Store.View(ctx, read)
	}
	if errors.Is(err, store.ErrNotFound) {
		return errGone
	}
	if err != nil {
		return err
	}
	k.shared = d.share(k.rcpt.MessageID)
	k.shared.offer(fields)
	return nil
}

// errNoContent says that a message is there, but its content is not.
var errNoContent = fmt.Errorf("%w: the content is missing", store.ErrDamaged)

// errLarge says that there must be room for the content first.
var errLarge = errors.New("content is large")

// read reads all of a letter, and the signature if there may be one.
func (k *letter) read(ctx context.Context, tx *store.Tx) (fields []byte, err error) {
	id := k.rcpt.MessageID
	rcpt, err := tx.Recipient(ctx, id, k.rcpt.N)
	if err != nil {
		return nil, err
	}
	k.rcpt = *rcpt
	if k.m, err = tx.AnyMessage(ctx, id); err != nil {
		return nil, err
	}
	if k.m.Size > largeFrom && k.large == 0 {
		return nil, errLarge
	}
	k.content, err = tx.Content(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoContent // catalogue C-024
	}
	if err != nil {
		return nil, err
	}
	if k.m.Personal || k.job.Attempt == 0 && k.m.Recipients == 1 {
		return nil, nil
	}
	fields, err = tx.Signature(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return fields, err
}

// offer hands over a signature from the store.
func (s *Shared) offer(fields []byte) {
	if len(fields) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fields == nil {
		s.fields, s.kept = fields, true
	}
}

// Patience with the store: how long between tries.
const (
	patienceMin = 50 * time.Millisecond
	patienceMax = 5 * time.Second
)

// patiently repeats what fails because the store cannot be reached. That is no
// fault of the message: it waits with its worker until the store is back, the
// context ends or the lease is lost.
func (d *Deliverer) patiently(ctx context.Context, try func() error) error {
	for wait := patienceMin; ; wait = min(2*wait, patienceMax) {
		err := try()
		if !errors.Is(err, store.ErrUnavailable) || !d.c.Store.LeaseOK() {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.c.Store.Failed():
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
