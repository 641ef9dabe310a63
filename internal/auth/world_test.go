package auth

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logbook keeps what was logged.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

// world is a database with two accounts, one server each.
type world struct {
	*Auth
	st    *store.Store
	keys  *Keys
	clock *clock
	log   *logbook

	account, other pennypost.AccountID
	server, theirs pennypost.ServerID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: &clock{now: time.Date(2026, 3, 2, 14, 15, 7, 0, time.UTC)}, log: &logbook{}}
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	w.st = st
	if w.keys, err = NewKeys(bytes.Repeat([]byte{7}, 32)); err != nil {
		t.Fatal(err)
	}
	w.Auth = w.newAuth(t, "")
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		for _, to := range []struct {
			account *pennypost.AccountID
			server  *pennypost.ServerID
		}{{&w.account, &w.server}, {&w.other, &w.theirs}} {
			a := &pennypost.Account{Name: "A", Plan: pennypost.PlanUnlimited}
			if err := tx.AddAccount(ctx, a); err != nil {
				return err
			}
			s := &pennypost.Server{
				AccountID: a.ID, Name: "S", SMTPActivated: true, SMTPRejection: pennypost.RejectImmediate,
				TrackLinks: pennypost.TrackNone, InboundHash: strings.Repeat("a", 31) + string(rune('0'+a.ID)),
			}
			if err := tx.AddServer(ctx, s); err != nil {
				return err
			}
			*to.account, *to.server = a.ID, s.ID
			out := &pennypost.Stream{ServerID: s.ID, ID: pennypost.StreamOutbound, Type: pennypost.StreamTransactional, Name: "Out"}
			if err := tx.AddStream(ctx, out); err != nil {
				return err
			}
		}
		return nil
	})
	return w
}

func (w *world) newAuth(t *testing.T, operator Secret) *Auth {
	t.Helper()
	a, err := New(Config{
		Store: w.st, Keys: w.keys, OperatorToken: operator, Now: w.clock.Now,
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) update(t *testing.T, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := w.st.Update(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// apiToken makes a token of a server, or of the account when server is 0.
func (w *world) apiToken(t *testing.T, account pennypost.AccountID, server pennypost.ServerID) (Secret, pennypost.TokenID) {
	t.Helper()
	s := NewAPIToken()
	row := &pennypost.APIToken{AccountID: account, ServerID: server}
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddAPIToken(ctx, row, w.keys.Hash(PurposeAPIToken, s.Reveal()), []byte("sealed"))
	})
	return s, row.ID
}

func (w *world) smtpToken(t *testing.T, account pennypost.AccountID, server pennypost.ServerID) (Secret, *pennypost.SMTPToken) {
	t.Helper()
	s := NewSMTPSecret()
	row := &pennypost.SMTPToken{
		AccountID: account, ServerID: server, Stream: pennypost.StreamOutbound, Label: "app",
		AccessKey: NewAccessKey(server, pennypost.StreamOutbound, pennypost.StreamTransactional),
	}
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddSMTPToken(ctx, row, w.keys.Hash(PurposeSMTPSecret, s.Reveal()))
	})
	return s, row
}

// setServer changes the first server and lets auth know.
func (w *world) setServer(t *testing.T, change func(*pennypost.Server)) {
	t.Helper()
	w.update(t, func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.Server(ctx, w.account, w.server)
		if err != nil {
			return err
		}
		change(s)
		return tx.SetServer(ctx, s)
	})
	w.refresh(t)
}

func (w *world) refresh(t *testing.T) {
	t.Helper()
	if err := w.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var here = addr("192.0.2.1")
