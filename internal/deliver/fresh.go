package deliver

import (
	"sync"

	"pennypost"
)

// Fresh is the payload of a job that goes to delivery without touching the
// store again. Message and Content are shared and never changed.
type Fresh struct {
	Message   *pennypost.Message
	Recipient pennypost.Recipient
	Content   []byte
	Shared    *Shared
}

// NewFresh makes the payloads of a message for those of its recipients that are
// to be delivered, in their order.
func NewFresh(m *pennypost.Message, content []byte, recips []pennypost.Recipient) []*Fresh {
	shared := &Shared{}
	list := make([]*Fresh, len(recips))
	for i := range recips {
		list[i] = &Fresh{Message: m, Recipient: recips[i], Content: content, Shared: shared}
	}
	return list
}

// Shared is what the recipients of one message share: its signature.
type Shared struct {
	mu     sync.Mutex
	fields []byte // DKIM-Signature fields; nil until they are made
	kept   bool   // they are in the store
}

// A shareRef lets recipients that were loaded at the same time share.
type shareRef struct {
	shared *Shared
	n      int
}

// share gives the Shared of a message that was loaded; unshare ends its use.
func (d *Deliverer) share(id pennypost.MessageID) *Shared {
	d.mu.Lock()
	defer d.mu.Unlock()
	ref := d.sharing[id]
	if ref == nil {
		ref = &shareRef{shared: &Shared{}}
		d.sharing[id] = ref
	}
	ref.n++
	return ref.shared
}

func (d *Deliverer) unshare(id pennypost.MessageID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ref := d.sharing[id]
	if ref == nil {
		return
	}
	if ref.n--; ref.n == 0 {
		delete(d.sharing, id)
	}
}
