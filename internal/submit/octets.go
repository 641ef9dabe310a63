package submit

import (
	"bytes"
	"context"
	"errors"

	"pennypost"
	"pennypost/internal/eml"
)

// RefuseRaw is told of a message that an SMTP session refuses for its octets:
// a bare CR or NUL, or its size. That is a refusal like any other: it is
// recorded, and what is given back is as from AcceptRaw: an Accepted on a
// server that accepts what it refuses, else why.
func (d *Door) RefuseRaw(ctx context.Context, c pennypost.Caller, r *Raw, why *pennypost.Error) (*Accepted, error) {
	if err := d.stillOpen(ctx); err != nil {
		return nil, err
	}
	dr, err := d.newRaw(c, r)
	if err != nil {
		return nil, err
	}
	d.count(pennypost.SourceSMTP, why)
	if c.Kind == pennypost.CallerTest || !recorded(why) {
		return nil, why
	}
	dr.glance(c, r)
	return d.refuse(ctx, c, &entry{draft: dr, raw: r}, why)
}

// newRaw begins the draft of a message from SMTP.
func (d *Door) newRaw(c pennypost.Caller, r *Raw) (*draft, error) {
	dr := &draft{
		account: c.AccountID, server: c.ServerID, stream: streamOf(c, ""),
		source: pennypost.SourceSMTP, trace: "ESMTPA", at: d.conf.Now(), // RFC 3848: who is here has logged in
	}
	if r.TLS {
		dr.trace = "ESMTPSA"
	}
	var err error
	dr.id, err = d.newID(dr.at)
	return dr, err
}

// glance reads for the record what can be read in the header of a message that
// is refused for its octets. What goes wrong is of no interest any more.
func (dr *draft) glance(c pennypost.Caller, r *Raw) {
	head := r.Data[:min(len(r.Data), maxHeaderBytes/2)]
	for _, odd := range []string{"\r", "\x00"} {
		head = bytes.ReplaceAll(head, []byte(odd), nil)
	}
	if end := bytes.Index(head, []byte("\n\n")); end >= 0 {
		head = head[:end+1]
	} else {
		head = head[:bytes.LastIndexByte(head, '\n')+1] // without the field that was cut
	}
	data, err := eml.NormalizeLines(head)
	if err != nil {
		return
	}
	p, err := eml.Parse(data, eml.Limits{})
	h, headErr := dr.readHeader(c, p)
	_ = errors.Join(err, headErr, dr.setRawOriginator(h.from), dr.setSubject(h.subject), dr.setTag(h.tag)) //nolint:errcheck // see above
}
