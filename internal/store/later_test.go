package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// A job that is due later leaves its dest alone until then.
func TestJobDueLater(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		at := micro(time.Now()).Add(time.Hour)
		addJobs(t, st, job(st, "a.test", func(j *pennypost.Job) { j.RunAt = at }))
		if got := dests(t, st); len(got) != 0 {
			t.Errorf("due are %v, want none", got)
		}
		now := job(st, "a.test")
		addJobs(t, st, now)
		jobs, more := claim(t, st, "a.test", 10)
		if len(jobs) != 1 || jobs[0].ID != now.ID || more {
			t.Errorf("claimed %+v, more %v; want the one that is due", jobs, more)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			next, err := tx.DestNext(ctx, deliver, "a.test")
			if err == nil && !next.Equal(at) {
				t.Errorf("its dest is due at %v, want %v", next, at)
			}
			return err
		})
	})
}

// What a worker holds, what was tried and what is damaged cannot be cancelled.
func TestCancelJob(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		free, tried := job(st, "a.test"), job(st, "b.test", func(j *pennypost.Job) { j.Attempt = 1 })
		held, taken := job(st, "c.test", func(j *pennypost.Job) { j.Tenant = 2 }), job(st, "d.test")
		addJobs(t, st, free, tried, held, taken)
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.HoldFree(ctx, 2, 0, 100)
			return err
		})
		claim(t, st, "d.test", 1)
		for _, x := range []struct {
			name string
			id   int64
			want error
		}{
			{"free", free.ID, nil},
			{"free, again", free.ID, store.ErrNotFound},
			{"tried", tried.ID, store.ErrNotFound},
			{"held", held.ID, nil},
			{"taken", taken.ID, store.ErrNotFound},
		} {
			err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.CancelJob(t.Context(), x.id) })
			if !errors.Is(err, x.want) {
				t.Errorf("%s: %v, want %v", x.name, err, x.want)
			}
		}
	})
}

// The end of a suspension makes no job due before its time that was never tried.
func TestReleaseKeepsTimes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		at := micro(time.Now()).Add(time.Hour)
		later := func(attempt int) func(j *pennypost.Job) {
			return func(j *pennypost.Job) { j.RunAt, j.Attempt = at, attempt }
		}
		addJobs(t, st, job(st, "new.test", later(0)), job(st, "tried.test", later(2)))
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.HoldFree(ctx, 1, 0, 100)
			return err
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			jobs, err := tx.ReleaseHeld(ctx, 1, 10)
			if err != nil || len(jobs) != 2 {
				t.Errorf("released %d (%v), want 2", len(jobs), err)
			}
			for _, j := range jobs {
				if early := !j.RunAt.After(tx.Now()); early != (j.Dest == "tried.test") {
					t.Errorf("%s is due at %v", j.Dest, j.RunAt)
				}
			}
			return nil
		})
	})
}

func TestSearchScheduled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		add := func(subject string, ahead time.Duration, state pennypost.RecipientState) {
			m := mail(st, "ann@shop.example")
			m.Message.Subject, m.Recipients[0].State = subject, state
			if ahead != 0 {
				m.Message.SendAt = micro(time.Now()).Add(ahead)
			}
			stored(t, st, m)
		}
		add("at once", 0, pennypost.Queued)
		add("was due", -time.Minute, pennypost.Queued)
		add("later", time.Hour, pennypost.Queued)
		add("held", time.Hour, pennypost.Held)
		add("cancelled", time.Hour, pennypost.Cancelled)
		add("suppressed", time.Hour, pennypost.Suppressed)
		add("delivered", -time.Minute, pennypost.Delivered)
		for status, want := range map[string]map[string]bool{
			"queued":    {"at once": true, "was due": true},
			"scheduled": {"later": true, "held": true},
			"failed":    {"cancelled": true},
			"sent":      {"suppressed": true, "delivered": true},
		} {
			got := map[string]bool{}
			view(t, st, func(ctx context.Context, tx *store.Tx) error {
				list, n, err := tx.SearchMessages(ctx, store.MessageFilter{Server: mail(st, "x@y.example").Message.ServerID, Status: status}, 100, 0)
				for _, m := range list {
					got[m.Subject] = true
				}
				if n != len(list) {
					t.Errorf("%s: counted %d, listed %d", status, n, len(list))
				}
				return err
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s -want +got:\n%s", status, diff)
			}
		}
	})
}

// What is taken back is taken from where it was counted.
func TestTakeBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := mail(st, "ann@shop.example").Message
		m.Stream, m.Tag, m.ReceivedAt = "outbound", "t", micro(time.Now())
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.CountStats(ctx, store.StatCount{Server: m.ServerID, Stream: m.Stream, Tag: m.Tag, Sent: 5}); err != nil {
				return err
			}
			return tx.AddUsage(ctx, m.AccountID, m.ServerID, 5, pennypost.Limits{})
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.UncountStats(ctx, store.StatCount{Server: m.ServerID, Stream: m.Stream, Tag: m.Tag, Sent: -2}, m.ReceivedAt); err != nil {
				return err
			}
			return tx.TakeBackUsage(ctx, m.AccountID, m.ServerID, 2, m.ReceivedAt)
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			all, own, err := tx.Usage(ctx, m.AccountID, m.ServerID, m.ReceivedAt)
			if all != 3 || own != 3 {
				t.Errorf("usage is %d and %d, want 3", all, own)
			}
			if err != nil {
				return err
			}
			hours, err := tx.StatsHours(ctx, m.ServerID, m.Stream, m.ReceivedAt.Add(-2*time.Hour), m.ReceivedAt.Add(2*time.Hour))
			sent := int64(0)
			for _, h := range hours {
				sent += h.Sent
			}
			if sent != 3 {
				t.Errorf("%d are counted as sent, want 3", sent)
			}
			return err
		})
	})
}

// Of a worker and a cancellation that come at once one gets each job.
func TestCancelAgainstClaim(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		const n = 20
		var wg sync.WaitGroup
		var claimed, cancelled atomic.Int64
		for i := range n {
			dest := fmt.Sprintf("d%d.test", i)
			j := job(st, dest)
			addJobs(t, st, j)
			wg.Go(func() {
				err := st.Update(t.Context(), func(tx *store.Tx) error {
					jobs, _, err := tx.ClaimJobs(t.Context(), deliver, dest, 1)
					if err == nil {
						claimed.Add(int64(len(jobs)))
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				switch err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.CancelJob(t.Context(), j.ID) }); {
				case err == nil:
					cancelled.Add(1)
				case !errors.Is(err, store.ErrNotFound):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if claimed.Load()+cancelled.Load() != n {
			t.Errorf("%d claimed and %d cancelled, want %d together", claimed.Load(), cancelled.Load(), n)
		}
		if left := number(t, st, `SELECT COUNT(*) FROM jobs`); left != claimed.Load() {
			t.Errorf("%d jobs are left, %d were claimed", left, claimed.Load())
		}
	})
}
