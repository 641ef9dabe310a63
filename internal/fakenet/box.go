package fakenet

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mail is a message that a mail server took.
type Mail struct {
	At   time.Time
	Host netip.Addr // address of the server
	Helo string     // what the client called itself
	TLS  string     // version and cipher suite, "" in the clear
	From string     // envelope sender, without angle brackets
	To   []string   // envelope recipients
	// Params are those of MAIL, such as SIZE=12 and SMTPUTF8.
	Params string
	Data   []byte // as sent, dots unstuffed
	// Unanswered: the connection was dropped instead of an answer.
	Unanswered bool
	// Faults are what the client did against the protocol.
	Faults []string
}

// Refusal is a command that a mail server answered with 4yz or 5yz, or by
// dropping the connection.
type Refusal struct {
	At    time.Time
	Host  netip.Addr
	Stage Stage
	From  string
	To    string
	Reply string // "" when the connection was dropped or left without answer
}

// Box holds mails in the order of their arrival.
type Box struct {
	keep int

	mu    sync.Mutex
	mails []Mail
	total int
	more  chan struct{} // closed at the next arrival
}

func newBox(keep int) *Box { return &Box{keep: keep, more: make(chan struct{})} }

func (b *Box) add(m Mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total++; len(b.mails) >= b.keep {
		b.mails = slices.Delete(b.mails, 0, len(b.mails)-b.keep+1)
	}
	b.mails = append(b.mails, m)
	close(b.more)
	b.more = make(chan struct{})
}

// All gives what the box holds.
func (b *Box) All() []Mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mails)
}

// Total is how many mails arrived, also those no longer held.
func (b *Box) Total() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// ByRecipient gives the mails to an envelope recipient, in any letter case.
func (b *Box) ByRecipient(address string) []Mail {
	var found []Mail
	for _, m := range b.All() {
		if slices.ContainsFunc(m.To, func(to string) bool { return strings.EqualFold(to, address) }) {
			found = append(found, m)
		}
	}
	return found
}

// Wait waits until n mails arrived in all, and gives what the box holds.
func (b *Box) Wait(ctx context.Context, n int) ([]Mail, error) {
	err := b.until(ctx, func() bool { return b.total >= n })
	if err != nil {
		return b.All(), fmt.Errorf("%d of %d mails arrived: %w", b.Total(), n, err)
	}
	return b.All(), nil
}

// WaitFor waits until n mails to a recipient arrived, and gives them.
func (b *Box) WaitFor(ctx context.Context, address string, n int) ([]Mail, error) {
	for {
		b.mu.Lock()
		more := b.more
		b.mu.Unlock()
		got := b.ByRecipient(address)
		if len(got) >= n {
			return got, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return got, fmt.Errorf("%d of %d mails to %s arrived: %w", len(got), n, address, ctx.Err())
		}
	}
}

// until waits for a condition that is read under the lock.
func (b *Box) until(ctx context.Context, ok func() bool) error {
	for {
		b.mu.Lock()
		done, more := ok(), b.more
		b.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
