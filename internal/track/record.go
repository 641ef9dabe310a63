package track

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
	"pennypost/internal/event"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
)

const (
	// recordEvery and holdFor keep what is recorded within a second of its
	// request; holdFor must exceed burstTime, so that a burst is seen whole.
	recordEvery = 100 * time.Millisecond
	holdFor     = 600 * time.Millisecond
	// recordAtOnce is how many are written in a transaction.
	recordAtOnce = 64
	// sayEvery bounds how often it is logged that the database is away.
	sayEvery = 30 * time.Second
	// endWithin is how long the rest may take at the end.
	endWithin = 5 * time.Second
)

// Why an open or a click is not recorded, as metrics name it.
const (
	lostFull   = "full"   // the buffer was
	lostGone   = "gone"   // no such message any more, or no such recipient
	lostFailed = "failed" // the database would not take it
)

// recorder writes what the buffer holds.
type recorder struct {
	conf   *ServerConfig
	buffer *buffer
	places *places
	agents *agents
	rules  []rule
	lost   *metrics.Counter

	waiting []hit // taken and not written yet
	said    time.Time
}

func newRecorder(c *ServerConfig, b *buffer, p *places, lost *metrics.Counter) *recorder {
	return &recorder{conf: c, buffer: b, places: p, agents: newAgents(), rules: machineRules(), lost: lost}
}

func (r *recorder) run(ctx context.Context) error {
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.places.refresh(ctx)
			r.record(ctx, r.conf.Now().Add(-holdFor))
		case <-ctx.Done():
			return r.end(ctx)
		}
	}
}

// end records all that is left.
func (r *recorder) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	r.record(ctx, r.conf.Now().Add(time.Hour))
	if n := len(r.waiting); n > 0 {
		r.lost.Add(n, lostFailed)
		r.conf.Log.ErrorContext(ctx, "opens and clicks were not recorded", "count", n)
	}
	return nil
}

// record writes the hits of before a time. While the database is away they
// wait, and the buffer fills up.
func (r *recorder) record(ctx context.Context, before time.Time) {
	r.waiting = append(r.waiting, r.buffer.take(before, burstTime)...)
	for len(r.waiting) > 0 {
		part := r.waiting[:min(len(r.waiting), recordAtOnce)]
		err := r.write(ctx, part)
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
			if now := r.conf.Now(); now.Sub(r.said) >= sayEvery {
				r.said = now
				r.conf.Log.WarnContext(ctx, "opens and clicks wait for the database", "count", len(r.waiting), "err", err)
			}
			return
		default:
			r.singly(ctx, part, err)
		}
		r.buffer.done(part)
		r.waiting = r.waiting[len(part):]
	}
	r.waiting = nil
}

// singly writes each of several hits on its own, since one of them spoils the
// others, and leaves that one out.
func (r *recorder) singly(ctx context.Context, hits []hit, err error) {
	for i := range hits {
		if len(hits) > 1 {
			err = r.write(ctx, hits[i:i+1])
		}
		if err != nil {
			r.lost.Add(1, lostFailed)
			r.conf.Log.ErrorContext(ctx, "open or click not recorded", "message_id", hits[i].id, "recipient", hits[i].n, "err", err)
		}
	}
}

// known are the messages and recipients that hits are about.
type known struct {
	messages   map[pennypost.MessageID]*pennypost.Message
	recipients map[recipientKey]*pennypost.Recipient
}

type recipientKey struct {
	id pennypost.MessageID
	n  int
}

func (r *recorder) write(ctx context.Context, hits []hit) error {
	var k *known
	err := r.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
		k, err = lookUp(ctx, tx, hits)
		return err
	})
	if err != nil {
		return err
	}
	clicks := make([]pennypost.Click, 0, len(hits))
	for i := range hits {
		m, to := k.messages[hits[i].id], k.recipients[recipientKey{hits[i].id, hits[i].n}]
		if m == nil || to == nil {
			continue
		}
		clicks = append(clicks, r.reading(&hits[i], m, to))
	}
	written := 0
	err = r.conf.Store.UpdateSoon(ctx, func(tx *store.Tx) error {
		written = 0
		for i := range clicks {
			// A purge may have taken the message meanwhile, or be about to.
			err := tx.KeepMessage(ctx, clicks[i].MessageID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err == nil {
				err = record(ctx, tx, &clicks[i])
			}
			if err != nil {
				return err
			}
			written++
		}
		return nil
	})
	if err == nil && written < len(hits) {
		r.lost.Add(len(hits)-written, lostGone)
	}
	return err
}

// record writes a click, or an open, which has no link.
func record(ctx context.Context, tx *store.Tx, c *pennypost.Click) (err error) {
	if c.Link == 0 {
		_, err = event.Opened(ctx, tx, &c.Reading)
	} else {
		_, err = event.Clicked(ctx, tx, c)
	}
	return err
}

// lookUp reads messages and recipients. What is not there, or damaged, is left
// out: the link leads on all the same (contract/tracking.md §3).
func lookUp(ctx context.Context, tx *store.Tx, hits []hit) (*known, error) {
	k := &known{
		messages:   make(map[pennypost.MessageID]*pennypost.Message, len(hits)),
		recipients: make(map[recipientKey]*pennypost.Recipient, len(hits)),
	}
	for i := range hits {
		id := hits[i].id
		if _, ok := k.messages[id]; !ok {
			m, err := tx.AnyMessage(ctx, id)
			if err != nil && !absent(err) {
				return nil, fmt.Errorf("read message of an open or a click: %w", err)
			}
			k.messages[id] = m
		}
		key := recipientKey{id, hits[i].n}
		if _, ok := k.recipients[key]; !ok && k.messages[id] != nil {
			to, err := tx.Recipient(ctx, id, hits[i].n)
			if err != nil && !absent(err) {
				return nil, fmt.Errorf("read recipient of an open or a click: %w", err)
			}
			k.recipients[key] = to
		}
	}
	return k, nil
}

func absent(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged)
}

// reading makes of a hit what is stored.
func (r *recorder) reading(h *hit, m *pennypost.Message, to *pennypost.Recipient) pennypost.Click {
	a := r.agents.read(h.agent)
	c := pennypost.Click{Link: h.link, Location: h.location, Target: h.target, Reading: pennypost.Reading{
		At: h.at, AccountID: m.AccountID, ServerID: m.ServerID, Stream: m.Stream, MessageID: m.ID, N: h.n, Recipient: to.Address,
		Tag: m.Tag, Client: a.client, OS: a.os, Platform: a.platform, Machine: r.machine(&look{h, &a, to}),
	}}
	if r.conf.Private {
		return c
	}
	c.UserAgent = h.agent
	if h.addr.IsValid() && a.kind != agentProxy { // whose address tells nothing of the reader
		c.Place = r.places.find(h.addr)
	}
	return c
}
