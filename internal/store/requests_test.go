package store_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// A request with a key is found again with all that was accepted for it, and
// its answer, until its day is over; of two that go on with it one is told.
func TestRequests(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		at := micro(time.Now())
		one := pennypost.Taken{Place: 1, ID: newID(), At: at}
		two := pennypost.Taken{Place: 2, ID: newID(), At: at, Inactive: []pennypost.Address{"gone@example.com"}}
		three := pennypost.Taken{Place: 51, ID: newID(), At: at}
		r := &pennypost.Request{Key: "key '1'", Hash: []byte("hash")}
		take := func(ctx context.Context, tx *store.Tx, r *pennypost.Request, list ...pennypost.Taken) error {
			return tx.TakeRequest(ctx, 7, r, list)
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Request(ctx, 7, r.Key)
			wantErr(t, "a key that nobody used", err, store.ErrNotFound)
			return nil
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return take(ctx, tx, r, one, two) })
		fails(t, st, "another call with the same key", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return take(ctx, tx, &pennypost.Request{Key: r.Key, Hash: []byte("hash")}, one)
		})
		fails(t, st, "another call with the same key that accepted nothing", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return tx.AnswerRequest(ctx, 7, &pennypost.Request{Key: r.Key, Hash: []byte("hash")}, 422, []byte("{}"))
		})
		r.Took([]pennypost.Taken{one, two})
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return take(ctx, tx, r, three) })
		fails(t, st, "one that knows of the first step alone", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return take(ctx, tx, r, three)
		})
		r.Took([]pennypost.Taken{three})
		read := func(server pennypost.ServerID) (got *store.KeptRequest, err error) {
			err = st.View(t.Context(), func(tx *store.Tx) (err error) {
				got, err = tx.Request(t.Context(), server, r.Key)
				return err
			})
			return got, err
		}
		want := &store.KeptRequest{Request: *r, Answer: []byte{}}
		if got, err := read(7); err != nil || cmp.Diff(want, got, cmpopts.EquateEmpty()) != "" {
			t.Errorf("%v, -want +got:\n%s", err, cmp.Diff(want, got, cmpopts.EquateEmpty()))
		}
		if _, err := read(8); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another server's key: %v, want %v", err, store.ErrNotFound)
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.AnswerRequest(ctx, 7, r, 200, []byte(`["OK"]`)),
				tx.AnswerRequest(ctx, 8, &pennypost.Request{Key: r.Key, Hash: []byte("x")}, 422, []byte("no")))
		})
		want.Status, want.Answer = 200, []byte(`["OK"]`)
		if got, err := read(7); err != nil || cmp.Diff(want, got, cmpopts.EquateEmpty()) != "" {
			t.Errorf("answered: %v, -want +got:\n%s", err, cmp.Diff(want, got, cmpopts.EquateEmpty()))
		}
		fails(t, st, "accepting for what is answered", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return take(ctx, tx, r, pennypost.Taken{Place: 52, ID: newID(), At: at})
		})
		if got, err := read(8); err != nil || got.Status != 422 || string(got.Answer) != "no" || got.Turn != 1 {
			t.Errorf("refused: %+v, %v", got, err)
		}

		// Accepted and answered in one.
		r2 := &pennypost.Request{Key: "k2", Hash: []byte("h")}
		finish := func(ctx context.Context, tx *store.Tx) error {
			return tx.FinishRequest(ctx, 9, r2, []pennypost.Taken{one}, 200, []byte("{}"))
		}
		update(t, st, finish)
		fails(t, st, "a second one", store.ErrConflict, finish)
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Request(ctx, 9, "k2")
			if err != nil || got.Status != 200 || string(got.Answer) != "{}" || len(got.Taken) != 1 || got.Turn != 1 {
				t.Errorf("finished: %+v, %v", got, err)
			}
			return nil
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `DELETE FROM requests WHERE server_id = 9`)
			return err
		})

		// A day later.
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE requests SET begun_at = begun_at - $1`, pennypost.RequestKept.Microseconds())
			return err
		})
		if _, err := read(7); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a day later: %v, want %v", err, store.ErrNotFound)
		}
		again := &pennypost.Request{Key: r.Key, Hash: []byte("other")}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return take(ctx, tx, again, three) })
		again.Took([]pennypost.Taken{three})
		want = &store.KeptRequest{Request: *again, Answer: []byte{}}
		if got, err := read(7); err != nil || cmp.Diff(want, got, cmpopts.EquateEmpty()) != "" {
			t.Errorf("used again: %v, -want +got:\n%s", err, cmp.Diff(want, got, cmpopts.EquateEmpty()))
		}
		drop := func() (n int) {
			update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
				n, err = tx.DropRequests(ctx, 1)
				return err
			})
			return n
		}
		if a, b := drop(), drop(); a != 1 || b != 0 {
			t.Errorf("dropped %d and %d, want the one whose time is over", a, b)
		}
		if n := number(t, st, `SELECT COUNT(*) FROM requests`); n != 1 {
			t.Errorf("%d requests are left, want 1", n)
		}
	})
}

// Scope, stream and allowed addresses are there wherever a credential is read.
func TestGuardedCredentials(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		a := &pennypost.Account{Name: "Acme"}
		s := newServer(1, "shop")
		s.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}
		limited := &pennypost.APIToken{AccountID: 1, Label: "limited", Scope: pennypost.ScopeSend, Stream: "outbound"}
		plain := &pennypost.APIToken{AccountID: 1, Label: "plain"}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := errors.Join(tx.AddAccount(ctx, a), tx.AddServer(ctx, s)); err != nil {
				return err
			}
			limited.ServerID, plain.ServerID = s.ID, s.ID
			return errors.Join(tx.AddAPIToken(ctx, limited, []byte("h1"), []byte("s")), tx.AddAPIToken(ctx, plain, []byte("h2"), []byte("s")))
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			c, err := tx.TokenByHash(ctx, []byte("h1"))
			if err != nil {
				return err
			}
			if c.Scope != pennypost.ScopeSend || c.Stream != "outbound" || cmp.Diff(s.AllowedIPs, c.Allowed.Prefixes, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) != "" {
				t.Errorf("credential is %+v", c)
			}
			state, err := tx.AcceptState(ctx, 1, s.ID, limited.ID)
			if err != nil {
				return err
			}
			if !state.Allowed.Has("192.0.2.9") || state.Allowed.Has("198.51.100.1") {
				t.Errorf("accepting sees %+v", state.Allowed)
			}
			list, err := tx.APITokens(ctx, 1, s.ID)
			if err != nil || len(list) != 2 || list[0].Scope != pennypost.ScopeSend || list[0].Stream != "outbound" ||
				list[1].Scope != pennypost.ScopeFull || list[1].Stream != "" {
				t.Errorf("tokens are %+v, %v", list, err)
			}
			return nil
		})
		s.AllowedIPs = nil
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.SetServer(ctx, s) })
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Server(ctx, 1, s.ID)
			if err != nil || got.AllowedIPs != nil {
				t.Errorf("emptied list is %v, %v", got.AllowedIPs, err)
			}
			c, err := tx.TokenByHash(ctx, []byte("h2"))
			if c.Allowed != nil {
				t.Errorf("allowed: %+v, want any", c.Allowed)
			}
			return err
		})
	})
}
