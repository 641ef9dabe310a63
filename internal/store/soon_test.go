package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pennypost/internal/metrics"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// soonWait is how long an UpdateSoon waits for others, and as long a batch of many
// those who are expected.
const soonWait = 5 * time.Millisecond

// A timed store is one on SQLite in a bubble, whose clock goes only when nobody
// does anything.
type timed struct {
	*store.Store
	t     *testing.T
	m     *metrics.Set
	wg    sync.WaitGroup
	mu    sync.Mutex
	took  map[string]time.Duration // of the updates, by their key
	began int                      // commits before
}

func inTime(t *testing.T, test func(s *timed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
		c := storetest.Config(t, storetest.SQLite)
		c.Metrics = metrics.New()
		s := &timed{Store: storetest.OpenConfig(t, c), t: t, m: c.Metrics, took: make(map[string]time.Duration)}
		s.began = figure(t, s.m, "store_commits_total")
		test(s)
		s.wg.Wait()
	})
}

// start writes a key by Update or UpdateSoon and notes how long that took.
func (s *timed) start(update func(context.Context, func(*store.Tx) error) error, key string) {
	began := time.Now()
	s.wg.Go(func() {
		if err := update(s.t.Context(), setMeta(key)); err != nil {
			s.t.Errorf("%s: %v", key, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.took[key] = time.Since(began)
	})
	synctest.Wait()
}

func (s *timed) want(commits int, took map[string]time.Duration) {
	s.t.Helper()
	s.wg.Wait()
	for key, want := range took {
		if got := s.took[key]; got != want {
			s.t.Errorf("%s took %v, want %v", key, got, want)
		}
		if !hasMeta(s.t, s.Store, key) {
			s.t.Errorf("%s is not there", key)
		}
	}
	if got := figure(s.t, s.m, "store_commits_total") - s.began; got != commits {
		s.t.Errorf("%d commits, want %d", got, commits)
	}
}

func TestSoonWaitsForCompany(t *testing.T) {
	inTime(t, func(s *timed) {
		s.start(s.UpdateSoon, "first")
		time.Sleep(2 * time.Millisecond)
		s.start(s.UpdateSoon, "second")
		time.Sleep(2 * time.Millisecond)
		s.start(s.UpdateSoon, "third")
		s.want(1, map[string]time.Duration{"first": soonWait, "second": 3 * time.Millisecond, "third": time.Millisecond})
		s.start(s.UpdateSoon, "later")
		s.want(2, map[string]time.Duration{"later": soonWait})
	})
}

func TestSoonRidesWithWhatCannotWait(t *testing.T) {
	inTime(t, func(s *timed) {
		s.start(s.UpdateSoon, "soon")
		time.Sleep(time.Millisecond)
		s.start(s.Update, "now")
		s.want(1, map[string]time.Duration{"soon": time.Millisecond, "now": 0})
		s.start(s.UpdateSoon, "next") // its wait is its own
		s.want(2, map[string]time.Duration{"next": soonWait})
	})
}

func TestManySoonDoNotWait(t *testing.T) {
	inTime(t, func(s *timed) {
		want := make(map[string]time.Duration)
		for i := range store.SoonMost {
			key := fmt.Sprint("soon ", i)
			s.start(s.UpdateSoon, key)
			want[key] = 0
		}
		s.want(1, want)
	})
}

// A batch waits for those who are on their way only when they are many.
func TestBatchWaitsForExpected(t *testing.T) {
	tests := []struct {
		name            string
		expected, comes int
		want            time.Duration // of the first
		commits         int
	}{
		{"few", store.CompanyOf - 2, 0, 0, 1},
		{"many that do not come", store.CompanyOf - 1, 0, soonWait, 1},
		{"all come", store.CompanyOf - 1, store.CompanyOf - 1, 3 * time.Millisecond, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inTime(t, func(s *timed) {
				coming := make([]store.Expected, tt.expected)
				for i := range coming {
					coming[i] = s.Expect()
				}
				s.start(s.Update, "first")
				time.Sleep(3 * time.Millisecond)
				want := map[string]time.Duration{"first": tt.want}
				for i := range tt.comes {
					key := fmt.Sprint("other ", i)
					s.Met(&coming[i])
					s.Met(&coming[i]) // once is enough
					s.start(s.Update, key)
					want[key] = 0
				}
				s.want(tt.commits, want)
			})
		})
	}
}

// Whoever takes long, such as a client on a slow line, is not waited for.
func TestExpectationEnds(t *testing.T) {
	inTime(t, func(s *timed) {
		coming := make([]store.Expected, 100)
		for i := range coming {
			coming[i] = s.Expect()
		}
		time.Sleep(2 * store.CompanyWindow)
		s.start(s.Update, "alone")
		s.want(1, map[string]time.Duration{"alone": 0})
		for i := range coming {
			s.Met(&coming[i]) // late, which must not count below none
		}
		for range store.CompanyOf - 1 {
			s.Expect()
		}
		s.start(s.Update, "again")
		s.want(2, map[string]time.Duration{"again": soonWait})
	})
}

// An UpdateSoon whose context ends while it waits has no effect; what waits
// when the store is closed is written.
func TestSoonEnds(t *testing.T) {
	inTime(t, func(s *timed) {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Millisecond)
		defer cancel()
		if err := s.UpdateSoon(ctx, setMeta("gone")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		time.Sleep(soonWait)
		if hasMeta(s.t, s.Store, "gone") {
			t.Error("it was written")
		}
		s.start(s.UpdateSoon, "last")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s.wg.Wait()
		if took, ok := s.took["last"]; !ok || took > soonWait {
			t.Errorf("written: %v, after %v", ok, took)
		}
	})
}
