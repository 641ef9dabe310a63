package account

import (
	"context"
	"errors"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// A server and its account that are reactivated at the same time may send
// again: one of the two must note that held mail is to be released.
func TestReactivatedAtOnceIsReleased(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		ctx := t.Context()
		since := pennypost.Suspension{Since: time.Now(), Reason: "abuse"}
		a := &pennypost.Account{Name: "shop", Plan: pennypost.PlanUnlimited, Suspension: since}
		s := &pennypost.Server{Name: "shop", InboundHash: "0123456789abcdef0123456789abcdef", Suspension: since}
		err := st.Update(ctx, func(tx *store.Tx) error {
			err := tx.AddAccount(ctx, a)
			s.AccountID = a.ID
			return errors.Join(err, tx.SetAccount(ctx, a), tx.AddServer(ctx, s))
		})
		if err != nil {
			t.Fatal(err)
		}
		a.Suspension, s.Suspension = pennypost.Suspension{}, pennypost.Suspension{}
		begun, done := make(chan struct{}, 2), make(chan error, 2)
		for _, change := range []func(ctx context.Context, tx *store.Tx) error{
			func(ctx context.Context, tx *store.Tx) error { return tx.SetAccount(ctx, a) },
			func(ctx context.Context, tx *store.Tx) error { return tx.SetServer(ctx, s) },
		} {
			go func() {
				done <- st.Update(ctx, func(tx *store.Tx) error {
					return noteReleases(ctx, tx, func() error {
						begun <- struct{}{}
						for end := time.Now().Add(300 * time.Millisecond); len(begun) < 2 && time.Now().Before(end); {
							time.Sleep(time.Millisecond)
						}
						return change(ctx, tx)
					})
				})
			}()
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Fatal(err)
		}
		var due []pennypost.ServerID
		err = st.View(ctx, func(tx *store.Tx) (err error) {
			due, err = tx.ReleaseDue(ctx)
			return err
		})
		if err != nil || len(due) != 1 {
			t.Errorf("servers to release: %v, %v", due, err)
		}
	})
}
