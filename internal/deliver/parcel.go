package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pennypost"
	"pennypost/internal/smtpc"
)

// errUnsigned says that a letter could not be signed.
var errUnsigned = errors.New("not signed")

// A parcel is a letter on its way. It is signed and put into its envelope when
// a mail server is there to take it: what cannot be delivered needs no
// signature, and a dead site's mail is tried again and again.
type parcel struct {
	d        *Deliverer
	k        *letter
	envelope *smtpc.Envelope // nil: not yet
	fields   []byte          // the signature
	took     time.Duration   // to make it
}

// ready gives the envelope.
func (p *parcel) ready(ctx context.Context) (*smtpc.Envelope, error) {
	if p.envelope != nil {
		return p.envelope, nil
	}
	began := p.d.c.Now()
	fields, err := p.d.signature(ctx, p.k)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnsigned, err)
	}
	p.took = p.d.c.Now().Sub(began)
	p.fields, p.envelope = fields, p.d.envelope(p.k, fields)
	return p.envelope, nil
}

// phases are those of the attempt that are not the conversation's.
func (p *parcel) phases(others []pennypost.PhaseTime) []pennypost.PhaseTime {
	if p.envelope == nil {
		return others
	}
	return append([]pennypost.PhaseTime{{Phase: "sign", Took: p.took}}, others...)
}
