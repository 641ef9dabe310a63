package submit

import (
	"context"
	"fmt"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

// AcceptSystem stores a message of our own. It belongs to server 0 of account
// 0, which has no streams, limits or suppressions, and is signed by the
// instance's key.
func (d *Door) AcceptSystem(ctx context.Context, s *System) (*Accepted, error) {
	dr := &draft{
		source: pennypost.SourceSystem, at: d.conf.Now(), stream: pennypost.StreamOutbound,
		from: eml.Mailbox{Name: s.FromName, Local: "postmaster", Domain: d.conf.BounceDomain},
		to:   []eml.Mailbox{s.To}, subject: oneLine(s.Subject),
		// RFC 3834 §5: nobody's holiday notice answers.
		headers: []eml.Field{eml.RawField("Auto-Submitted", "auto-generated")},
		root:    eml.Compose(s.Text, s.HTML, nil),
	}
	dr.setRecipients(dr.to)
	var err error
	if dr.id, err = d.newID(dr.at); err != nil {
		return nil, err
	}
	if err := d.render(dr); err != nil {
		return nil, err
	}
	e := &entry{draft: dr}
	defer e.release()
	err = d.conf.Store.Update(ctx, func(tx *store.Tx) error { return d.takeOwn(ctx, tx, e) })
	if err = d.settle(ctx, err, e); err != nil {
		return nil, fmt.Errorf("store message %s: %w", e.id, err)
	}
	d.hand(e)
	return e.result(), nil
}

func (d *Door) takeOwn(ctx context.Context, tx *store.Tx, e *entry) error {
	e.begin()
	e.message = newMessage(e.draft, tx)
	e.message.ReturnDomain = d.conf.BounceDomain
	in := &intake{door: d, tx: tx}
	return in.add(ctx, e, nil, len(e.draft.recipients), pennypost.PrioritySystem)
}
