package submit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pennypost"
	"pennypost/internal/store"
)

const (
	maxBatch = 500
	// A batch is stored in steps of so many messages and octets, so that no
	// transaction keeps others waiting for long.
	stepMessages = 50
	stepBytes    = 4 << 20
)

// AcceptBatch does what Accept does for up to 500 messages; each succeeds or
// fails alone (contract/sending.md §10). There is a result for each, in order.
func (d *Door) AcceptBatch(ctx context.Context, c pennypost.Caller, list []*Submission) []Result {
	results := make([]Result, len(list))
	if len(list) > maxBatch {
		for i := range results {
			results[i].Err = pennypost.Refuse(pennypost.CodeBatchSize, "You may only send up to 500 messages in a single batched request.")
		}
		return results
	}
	for i, s := range list {
		if s.Item == 0 {
			s.Item = i + 1
		}
		s.Answer = nil // there is one for all
	}
	for begin := 0; begin < len(list); {
		begin += d.acceptStep(ctx, c, list[begin:], results[begin:])
	}
	for i := range results {
		if results[i].Err != nil {
			d.count(pennypost.SourceHTTP, results[i].Err)
			noteFault(c, results[i].Err)
		}
	}
	return results
}

// acceptStep stores as many messages as fit into one transaction and tells how
// many it saw to.
func (d *Door) acceptStep(ctx context.Context, c pennypost.Caller, list []*Submission, results []Result) int {
	room, err := d.letIn(ctx, stepSize(list))
	if err != nil {
		turnAway(c, list, results, err)
		return len(list)
	}
	defer room.close()
	entries := make([]*entry, 0, min(len(list), stepMessages))
	at := make([]int, 0, cap(entries)) // their places in results
	n, size := 0, 0
	for ; n < len(list) && len(entries) < stepMessages && size < stepBytes; n++ {
		if results[n].Accepted = acceptedBefore(c, list[n]); results[n].Accepted != nil {
			continue
		}
		e, err := d.enter(ctx, c, list[n], room)
		var closed *ClosedError
		if errors.As(err, &closed) {
			turnAway(c, list[n:], results[n:], err)
			n = len(list)
			break
		}
		switch {
		case err != nil:
			results[n].Err = d.streamFirst(ctx, c, list[n], err)
		case c.Kind == pennypost.CallerTest:
			results[n].Accepted = e.testAccepted()
		default:
			entries, at = append(entries, e), append(at, n)
			size += len(e.content)
		}
	}
	if len(entries) == 0 {
		return n
	}
	d.storeAll(ctx, c, entries, room)
	for i, e := range entries {
		if e.err != nil {
			results[at[i]].Err = e.err
			continue
		}
		results[at[i]].Accepted = e.result()
	}
	return n
}

// turnAway refuses messages for which there is no room now, but for those that
// are there already.
func turnAway(c pennypost.Caller, list []*Submission, results []Result, err error) {
	for i := range list {
		if results[i].Accepted = acceptedBefore(c, list[i]); results[i].Accepted == nil {
			results[i].Err = err
		}
	}
}

// storeAll stores messages together; why one was not is in err of its entry.
// Those that are to be rendered again come in a transaction after that of the
// others.
func (d *Door) storeAll(ctx context.Context, c pennypost.Caller, list []*entry, room *share) {
	for try := 1; ; try++ {
		if err := d.storeThese(ctx, c, list); err != nil {
			for _, e := range list {
				e.err = err
			}
			return
		}
		var again []*entry
		for _, e := range list {
			if !errors.Is(e.err, errStale) || try == maxStale {
				continue
			}
			if e.err = d.redo(ctx, c, e, room); e.err == nil {
				again = append(again, e)
			}
		}
		if list = again; len(list) == 0 {
			return
		}
	}
}

// stepSize is about how much the next step of a batch takes.
func stepSize(list []*Submission) int64 {
	size := int64(0)
	for i := 0; i < len(list) && i < stepMessages && size < stepBytes; i++ {
		size += list[i].size()
	}
	return size
}

// storeThese stores the messages that are not refused in one transaction; a
// refusal, or errStale, is in err of its entry. The error is one that concerns
// them all.
func (d *Door) storeThese(ctx context.Context, c pennypost.Caller, list []*entry) error {
	defer func() {
		for _, e := range list {
			e.release()
		}
	}()
	err := d.conf.Store.Update(ctx, func(tx *store.Tx) error {
		in := &intake{door: d, tx: tx, caller: c}
		if err := in.begin(ctx); err != nil {
			return err
		}
		for _, e := range list {
			err := in.take(ctx, e)
			var refusal *pennypost.Error
			if err != nil && !errors.As(err, &refusal) && !errors.Is(err, errStale) {
				return err
			}
			e.err = err
		}
		return in.note(ctx, list...)
	})
	if err = d.settle(ctx, err, list...); err != nil {
		return fmt.Errorf("store %d messages: %w", len(list), err)
	}
	c.Request.Took(takenFor(c, list...))
	for _, e := range list {
		if e.err == nil {
			d.hand(e)
		}
	}
	return nil
}

// streamFirst gives a stream that cannot be used precedence over what else is
// wrong with a message (contract/sending.md §8).
func (d *Door) streamFirst(ctx context.Context, c pennypost.Caller, s *Submission, err error) error {
	var refusal *pennypost.Error
	if c.ServerID == 0 || strings.TrimSpace(s.Stream) == "" || !errors.As(err, &refusal) {
		return err
	}
	looked := d.conf.Store.View(ctx, func(tx *store.Tx) error {
		_, err := usableStream(ctx, tx, c.ServerID, streamOf(c, s.Stream))
		return err
	})
	if errors.As(looked, &refusal) {
		return looked
	}
	return err
}
