package bulk

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// chance is the door's source of message ids, which may fail.
type chance struct{ fails atomic.Bool }

var errChance = errors.New("no chance")

func (c *chance) Read(b []byte) (int, error) {
	if c.fails.Load() {
		return 0, errChance
	}
	return rand.Read(b)
}

// world is Requests on a store of their own, with an account that may send from
// acme.example by two servers.
type world struct {
	store   *store.Store
	req     *Requests
	chance  chance
	ahead   atomic.Int64 // of real time, in nanoseconds
	account pennypost.Account
	callers []pennypost.Caller // one of each server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	now := func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	var err error
	if w.store, err = store.Open(t.Context(), store.Config{Dir: t.TempDir(), Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	who, err := auth.New(auth.Config{Store: w.store, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	door, err := submit.New(submit.Config{
		Store: w.store, Check: who.CheckAccept, Hostname: "mail.penny.example", BounceDomain: "pm.mail.penny.example",
		Now: now, Rand: &w.chance,
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.req, err = New(Config{Store: w.store, Door: door, Auth: who, Keys: keys, Now: now}); err != nil {
		t.Fatal(err)
	}
	w.update(t, w.fill)
	return w
}

func (w *world) fill(ctx context.Context, tx *store.Tx) error {
	w.account = pennypost.Account{Name: "Acme", Plan: pennypost.PlanUnlimited}
	if err := tx.AddAccount(ctx, &w.account); err != nil {
		return err
	}
	domain := pennypost.Domain{AccountID: w.account.ID, Name: "acme.example", Listed: true, VerifiedAt: tx.Now()}
	if err := tx.AddDomain(ctx, &domain, tx.Now()); err != nil {
		return err
	}
	for _, name := range []string{"Shop", "News"} {
		s := pennypost.Server{
			AccountID: w.account.ID, Name: name, Color: "purple", SMTPRejection: pennypost.RejectImmediate,
			InboundHash: name, TrackLinks: pennypost.TrackNone,
		}
		if err := tx.AddServer(ctx, &s); err != nil {
			return err
		}
		stream := pennypost.Stream{
			ServerID: s.ID, ID: pennypost.StreamBroadcast, Type: pennypost.StreamBroadcasts, RetryFor: time.Hour,
			Unsubscribe: pennypost.UnsubscribeNone,
		}
		if err := tx.AddStream(ctx, &stream); err != nil {
			return err
		}
		token := pennypost.APIToken{AccountID: w.account.ID, ServerID: s.ID, Label: name}
		if err := tx.AddAPIToken(ctx, &token, []byte("hash of "+name), []byte("sealed")); err != nil {
			return err
		}
		w.callers = append(w.callers, pennypost.Caller{
			Kind: pennypost.CallerAPI, AccountID: w.account.ID, ServerID: s.ID, TokenID: token.ID,
		})
	}
	return nil
}

func (w *world) update(t *testing.T, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := w.store.Update(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// mail is a request of so many messages.
func mail(n int) *Input {
	return &Input{
		Shared: Shared{From: "news@acme.example"}, TextBody: "Hello",
		Messages: repeated(n, &Message{To: "ann@shop.example"}),
	}
}

func repeated(n int, m *Message) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for range n {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (w *world) accept(t *testing.T, c pennypost.Caller, n int) *pennypost.BulkRequest {
	t.Helper()
	b, err := w.req.Accept(t.Context(), c, mail(n))
	if err != nil {
		t.Fatal(err)
	}
	w.ahead.Add(int64(time.Millisecond)) // the next one is later
	return b
}

// look gives a request as it stands.
func (w *world) look(t *testing.T, b *pennypost.BulkRequest) *pennypost.BulkRequest {
	t.Helper()
	now, err := w.req.Request(t.Context(), b.ServerID, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// turn makes one turn, and wants to be told whether there was anything to do.
func (w *world) turn(t *testing.T, want bool) {
	t.Helper()
	did, err := w.req.turn(t.Context())
	if did != want || err != nil {
		t.Fatalf("turn did %v (%v), want %v", did, err, want)
	}
	w.ahead.Add(int64(time.Millisecond))
}
