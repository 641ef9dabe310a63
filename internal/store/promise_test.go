package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// A job that is freed while another process claims must have its dest noted,
// whenever it comes: else no scan ever finds it.
func TestClaimLeavesTheDestOfWhatItDidNotSee(t *testing.T) {
	c := storetest.Config(t, storetest.PostgreSQL)
	one, other := storetest.OpenConfig(t, c), storetest.OpenConfig(t, c)
	free := func() pennypost.Job {
		j := mailAt(one, time.Now().Add(-time.Hour), "ann@shop.example").Jobs[0]
		j.Lease = 0
		return j
	}
	ctx := t.Context()
	seen, unseen := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	err := other.Update(ctx, func(tx *store.Tx) error {
		// No job, no row to lock. Then two come, of which it sees one.
		tx.Between(`FOR UPDATE`, func() {
			update(t, one, func(ctx context.Context, tx *store.Tx) error { return tx.AddJobs(ctx, []pennypost.Job{free()}) })
			go func() {
				done <- one.Update(ctx, func(tx *store.Tx) error {
					err := tx.AddJobs(ctx, []pennypost.Job{free()})
					close(seen)
					<-unseen
					return err
				})
			}()
			<-seen
			time.AfterFunc(200*time.Millisecond, func() { close(unseen) })
		})
		_, _, err := tx.ClaimJobs(ctx, pennypost.JobDeliver, "shop.example", 10)
		return err
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if n := number(t, one, `SELECT COUNT(*) FROM jobs WHERE lease = 0`); n == 0 {
		t.Fatal("no job is free, nothing was tested")
	}
	var due []store.DueDest
	view(t, one, func(ctx context.Context, tx *store.Tx) (err error) {
		due, err = tx.DueDests(ctx, pennypost.JobDeliver, 10)
		return err
	})
	if len(due) != 1 {
		t.Errorf("%d dests are due, but there is a free job", len(due))
	}
}

// Who read that a server is suspended, and holds a job for it, is waited for by
// whoever ends the suspension: what is held later nobody would release.
func TestEndOfSuspensionWaitsForWhoReadIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		a := &pennypost.Account{Name: "shop", Plan: pennypost.PlanUnlimited}
		s := &pennypost.Server{Name: "shop", InboundHash: "0123456789abcdef0123456789abcdef"}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddAccount(ctx, a); err != nil {
				return err
			}
			s.AccountID, s.Suspension = a.ID, pennypost.Suspension{Since: time.Now(), Reason: "abuse"}
			return tx.AddServer(ctx, s)
		})
		for name, end := range map[string]func(ctx context.Context, tx *store.Tx) error{
			"server":  func(ctx context.Context, tx *store.Tx) error { return tx.SetServer(ctx, s) },
			"account": func(ctx context.Context, tx *store.Tx) error { return tx.SetAccount(ctx, a) },
		} {
			done := make(chan error, 1)
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				if _, err := tx.SuspensionKept(ctx, s.ID); err != nil {
					return err
				}
				go func() { done <- st.Update(ctx, func(tx *store.Tx) error { return end(ctx, tx) }) }()
				select {
				case err := <-done:
					t.Errorf("%s: the suspension ended before what was decided on it was stored (%v)", name, err)
					done <- err
				case <-time.After(300 * time.Millisecond):
				}
				return nil
			})
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// However many people search, logins and deliveries find a connection.
func TestSearchesKeepNobodyWaiting(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begun := make(chan struct{}, 64)
		var searches sync.WaitGroup
		for range 64 {
			searches.Go(func() {
				_ = st.Browse(ctx, func(*store.Tx) error {
					begun <- struct{}{}
					<-ctx.Done()
					return nil
				})
			})
		}
		<-begun
		short, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		for range 100 {
			if err := st.Ping(short); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		searches.Wait()
	})
}
