package deliver

import (
	"bytes"
	"context"
	"strings"

	"pennypost/internal/dkim"
)

// signature gives the DKIM-Signature fields of a letter. They are made once for
// a message, by the first that needs them, while the others wait. A signature
// from the store counts as long as all its keys still sign for the domain:
// a key that was replaced may be gone from the DNS by the time of a retry.
func (d *Deliverer) signature(ctx context.Context, k *letter) ([]byte, error) {
	keys, err := d.ring.keys(ctx, k.m.AccountID, k.m.SignDomain)
	if err != nil {
		return nil, err
	}
	if k.m.Personal {
		return d.signOwn(ctx, k, keys)
	}
	s := k.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fields != nil && (!k.loaded || madeWith(s.fields, keys)) {
		return s.fields, nil
	}
	if err := d.signing.enter(ctx); err != nil {
		return nil, err
	}
	defer d.signing.leave()
	fields, err := d.signer.Sign(k.content, keys...)
	if err != nil {
		return nil, err
	}
	d.met.signatures.Add(len(keys))
	s.fields, s.kept = fields, false
	return fields, nil
}

// signOwn makes a recipient's own copy of a personal message, and signs it. It is
// made no sooner than it can be signed: of all the letters that wait, only those
// that were signed hold a copy. It is not kept for further attempts, which make
// the same one again.
func (d *Deliverer) signOwn(ctx context.Context, k *letter, keys []*dkim.Key) ([]byte, error) {
	if err := d.signing.enter(ctx); err != nil {
		return nil, err
	}
	defer d.signing.leave()
	if d.c.Personal != nil {
		k.content = d.c.Personal(k.content, k.rcpt.MessageID, k.rcpt.N)
	}
	fields, err := d.signer.Sign(k.content, keys...)
	if err != nil {
		return nil, err
	}
	d.met.signatures.Add(len(keys))
	return fields, nil
}

// madeWith tells whether DKIM-Signature fields are those of the keys, no more
// and no fewer.
func madeWith(fields []byte, keys []*dkim.Key) bool {
	made := signedBy(fields)
	if len(made) != len(keys) {
		return false
	}
	for _, k := range keys {
		if !made[strings.ToLower(k.Selector+"._domainkey."+k.Domain)] {
			return false
		}
	}
	return true
}

// signedBy gives the names of the key records of DKIM-Signature fields that we
// made (RFC 6376 §3.6.2.1).
func signedBy(fields []byte) map[string]bool {
	names := make(map[string]bool)
	unfolded := bytes.ReplaceAll(fields, []byte("\r\n "), []byte(" "))
	unfolded = bytes.ReplaceAll(unfolded, []byte("\r\n\t"), []byte(" "))
	for field := range strings.SplitSeq(string(unfolded), "\r\n") {
		_, list, ok := strings.Cut(field, ":")
		if !ok {
			continue
		}
		var domain, selector string
		for tag := range strings.SplitSeq(list, ";") {
			name, value, _ := strings.Cut(tag, "=")
			switch value = strings.Join(strings.Fields(value), ""); strings.TrimSpace(name) {
			case "d":
				domain = value
			case "s":
				selector = value
			}
		}
		names[strings.ToLower(selector+"._domainkey."+domain)] = true
	}
	return names
}
