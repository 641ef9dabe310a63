package submit

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/queue"
	"pennypost/internal/store"
)

// noon is when everything happens.
var noon = time.Date(2026, 7, 4, 11, 5, 57, 417864000, time.UTC)

// counting stands in for chance.
type counting struct {
	mu sync.Mutex
	n  uint64
}

func (c *counting) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	clear(b)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], c.n)
	copy(b[max(len(b)-8, 0):], n[:])
	return len(b), nil
}

// fixture is a door on a store of its own with one account. acme.example is a
// verified domain; solo@sign.example a confirmed signature and new@sign.example
// one that is not.
type fixture struct {
	dir     string
	ahead   atomic.Int64 // of noon, in nanoseconds
	store   *store.Store
	queue   *queue.Queue
	door    *Door
	auth    *auth.Auth
	account pennypost.Account
	server  pennypost.Server
	api     pennypost.Caller
	smtp    pennypost.Caller
}

func setup(tb testing.TB) *fixture {
	tb.Helper()
	f := &fixture{}
	f.open(tb, tb.TempDir())
	f.update(tb, f.fill)
	return f
}

func (f *fixture) open(tb testing.TB, dir string) {
	tb.Helper()
	now := func() time.Time { return noon.Add(time.Duration(f.ahead.Load())) }
	var err error
	if f.store, err = store.Open(tb.Context(), store.Config{Dir: dir, Now: now}); err != nil {
		tb.Fatal(err)
	}
	f.dir = dir
	tb.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			tb.Error(err)
		}
	})
	f.queue = queue.New(queue.Config{
		Store: f.store, Kind: pennypost.JobDeliver, Now: now,
		Lane: func(_ context.Context, dest string) queue.Way {
			return queue.Way{Lane: dest, Until: noon.Add(time.Hour)}
		},
		Work: func(context.Context, *queue.Worker) {},
	})
	f.auth = &auth.Auth{}
	f.door, err = New(Config{
		Store: f.store, Queue: f.queue, Check: f.auth.CheckAccept, Hostname: "mail.penny.example",
		BounceDomain: "pm.mail.penny.example", Now: now, Rand: &counting{},
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// fill makes the account.
func (f *fixture) fill(tx *store.Tx) error {
	ctx := context.Background()
	f.account = pennypost.Account{Name: "Acme", Plan: pennypost.PlanUnlimited}
	f.server = pennypost.Server{Name: "Shop", Color: "purple", SMTPActivated: true, SMTPRejection: pennypost.RejectImmediate, InboundHash: "h1", TrackLinks: pennypost.TrackNone}
	steps := []func() error{
		func() error { return tx.AddAccount(ctx, &f.account) },
		func() error { f.server.AccountID = f.account.ID; return tx.AddServer(ctx, &f.server) },
		func() error { return f.addStreams(tx) },
		func() error { return f.addSenders(tx) },
		func() error { return f.addTokens(tx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixture) addStreams(tx *store.Tx) error {
	for _, s := range []pennypost.Stream{
		{ID: pennypost.StreamOutbound, Type: pennypost.StreamTransactional},
		{ID: pennypost.StreamInbound, Type: pennypost.StreamInboundType},
		{ID: pennypost.StreamBroadcast, Type: pennypost.StreamBroadcasts},
	} {
		s.ServerID, s.RetryFor, s.Unsubscribe = f.server.ID, 72*time.Hour, pennypost.UnsubscribeNone
		if err := tx.AddStream(context.Background(), &s); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixture) addSenders(tx *store.Tx) error {
	ctx := context.Background()
	listed := pennypost.Domain{
		AccountID: f.account.ID, Name: "acme.example", Listed: true, VerifiedAt: noon,
		ReturnPath: "pm-bounces.acme.example", ReturnPathVerified: true,
	}
	if err := tx.AddDomain(ctx, &listed, noon); err != nil {
		return err
	}
	unlisted := pennypost.Domain{AccountID: f.account.ID, Name: "sign.example"}
	if err := tx.AddDomain(ctx, &unlisted, noon); err != nil {
		return err
	}
	for _, s := range []pennypost.SenderSignature{
		{Address: "solo@sign.example", Name: "Solo Käse", ReplyTo: "answers@sign.example", ConfirmedAt: noon},
		{Address: "new@sign.example", Name: "New"},
	} {
		s.AccountID, s.DomainID = f.account.ID, unlisted.ID
		if err := tx.AddSender(ctx, &s); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixture) addTokens(tx *store.Tx) error {
	ctx := context.Background()
	api := pennypost.APIToken{AccountID: f.account.ID, ServerID: f.server.ID, Label: "api"}
	if err := tx.AddAPIToken(ctx, &api, []byte("hash of the API token"), []byte("sealed")); err != nil {
		return err
	}
	smtp := pennypost.SMTPToken{AccountID: f.account.ID, ServerID: f.server.ID, Label: "smtp", AccessKey: "PM-S-1-x"}
	if err := tx.AddSMTPToken(ctx, &smtp, []byte("hash of the secret")); err != nil {
		return err
	}
	f.api = pennypost.Caller{Kind: pennypost.CallerAPI, AccountID: f.account.ID, ServerID: f.server.ID, TokenID: api.ID}
	f.smtp = pennypost.Caller{Kind: pennypost.CallerSMTP, AccountID: f.account.ID, ServerID: f.server.ID, TokenID: smtp.ID}
	return nil
}

func (f *fixture) update(tb testing.TB, fn func(tx *store.Tx) error) {
	tb.Helper()
	if err := f.store.Update(tb.Context(), fn); err != nil {
		tb.Fatal(err)
	}
}

func (f *fixture) view(t *testing.T, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := f.store.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// stored is all that the store has of a message.
type stored struct {
	*pennypost.Message
	content    string
	recipients []pennypost.Recipient
	jobs       []pennypost.Job
}

func (f *fixture) load(t *testing.T, id pennypost.MessageID) *stored {
	t.Helper()
	s := &stored{}
	f.view(t, func(tx *store.Tx) (err error) {
		ctx := t.Context()
		if s.Message, err = tx.AnyMessage(ctx, id); err != nil {
			return err
		}
		content, err := tx.Content(ctx, id)
		if err != nil {
			return err
		}
		s.content = string(content)
		if s.recipients, err = tx.Recipients(ctx, id); err != nil {
			return err
		}
		s.jobs, err = tx.JobsOf(ctx, id)
		return err
	})
	return s
}

// messages gives how many the server has.
func (f *fixture) messages(t *testing.T) int {
	t.Helper()
	var n int
	f.view(t, func(tx *store.Tx) (err error) {
		_, n, err = tx.SearchMessages(t.Context(), store.MessageFilter{Server: f.server.ID}, 1, 0)
		return err
	})
	return n
}

// bounces gives those of a stream, oldest first.
func (f *fixture) bounces(t *testing.T, stream pennypost.StreamID) []pennypost.Bounce {
	t.Helper()
	var list []pennypost.Bounce
	f.view(t, func(tx *store.Tx) (err error) {
		list, _, err = tx.Bounces(t.Context(), f.server.ID, stream, 500, 0)
		return err
	})
	slices.Reverse(list)
	return list
}

// used gives the recipients counted this month.
func (f *fixture) used(t *testing.T) int64 {
	t.Helper()
	var n int64
	f.view(t, func(tx *store.Tx) (err error) {
		_, n, err = tx.Usage(t.Context(), f.account.ID, f.server.ID, noon)
		return err
	})
	return n
}

func (f *fixture) suppress(t *testing.T, addrs ...pennypost.Address) {
	t.Helper()
	f.update(t, func(tx *store.Tx) error {
		for _, a := range addrs {
			s := pennypost.Suppression{ServerID: f.server.ID, Stream: pennypost.StreamOutbound, Address: a, Reason: "HardBounce", Origin: "Recipient"}
			if _, err := tx.Suppress(t.Context(), s); err != nil {
				return err
			}
		}
		return nil
	})
}

// set changes server and account.
func (f *fixture) set(t *testing.T, change func(a *pennypost.Account, s *pennypost.Server)) {
	t.Helper()
	change(&f.account, &f.server)
	f.update(t, func(tx *store.Tx) error {
		if err := tx.SetAccount(t.Context(), &f.account); err != nil {
			return err
		}
		return tx.SetServer(t.Context(), &f.server)
	})
}
