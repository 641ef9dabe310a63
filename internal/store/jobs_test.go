package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

const deliver = pennypost.JobDeliver

// job makes a free job of tenant 1 that is due.
func job(st *store.Store, dest string, change ...func(j *pennypost.Job)) pennypost.Job {
	j := pennypost.Job{
		ID: st.NextID(), Kind: deliver, Dest: dest, Tenant: 1, Priority: pennypost.PriorityTransactional,
		RunAt: micro(time.Now()).Add(-time.Minute), Ref: store.JobRef(newID(), 0),
	}
	for _, f := range change {
		f(&j)
	}
	return j
}

func addJobs(t *testing.T, st *store.Store, jobs ...pennypost.Job) {
	t.Helper()
	update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.AddJobs(ctx, jobs) })
}

func claim(t *testing.T, st *store.Store, dest string, n int) (jobs []pennypost.Job, more bool) {
	t.Helper()
	update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		jobs, more, err = tx.ClaimJobs(ctx, deliver, dest, n)
		return err
	})
	return jobs, more
}

func dests(t *testing.T, st *store.Store) []string {
	t.Helper()
	var names []string
	view(t, st, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.DueDests(ctx, deliver, 100)
		for _, d := range list {
			names = append(names, d.Dest)
		}
		return err
	})
	return names
}

func jobNames(jobs []pennypost.Job, names map[int64]string) []string {
	var list []string
	for i := range jobs {
		list = append(list, names[jobs[i].ID])
	}
	return list
}

// By priority, then by time; what is not due, held, leased or of another dest
// or kind stays.
func TestClaimOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		names := make(map[int64]string)
		base := micro(time.Now()).Add(-time.Hour)
		add := func(name string, priority pennypost.Priority, minute int, change ...func(j *pennypost.Job)) {
			j := job(st, "a.example", append(change, func(j *pennypost.Job) {
				j.Priority, j.RunAt = priority, base.Add(time.Duration(minute)*time.Minute)
			})...)
			names[j.ID] = name
			addJobs(t, st, j)
		}
		add("bulk early", pennypost.PriorityBulk, 0)
		add("late", pennypost.PriorityTransactional, 20)
		add("early", pennypost.PriorityTransactional, 10)
		add("not due", pennypost.PriorityTransactional, 100)
		add("system", pennypost.PrioritySystem, 30)
		add("odd priority", 15, 5)
		add("other dest", pennypost.PriorityTransactional, 0, func(j *pennypost.Job) { j.Dest = "b.example" })
		add("other kind", pennypost.PriorityTransactional, 0, func(j *pennypost.Job) { j.Kind = 7 })
		add("leased", pennypost.PriorityTransactional, 0, func(j *pennypost.Job) { j.Lease = st.Session() })

		jobs, more := claim(t, st, "a.example", 3)
		if d := cmp.Diff([]string{"system", "early", "late"}, jobNames(jobs, names)); d != "" || !more {
			t.Errorf("more %v; %s", more, d)
		}
		for _, j := range jobs {
			if j.Lease != st.Session() || j.Dest != "a.example" || j.Tenant != 1 || j.Kind != deliver || len(j.Ref) != 18 {
				t.Errorf("claimed %+v", j)
			}
		}
		if got := dests(t, st); !slices.Contains(got, "a.example") {
			t.Errorf("due dests are %v", got)
		}
		jobs, more = claim(t, st, "a.example", 10)
		if d := cmp.Diff([]string{"odd priority", "bulk early"}, jobNames(jobs, names)); d != "" || more {
			t.Errorf("more %v; %s", more, d)
		}
		if got := dests(t, st); slices.Contains(got, "a.example") {
			t.Errorf("due dests are %v", got)
		}
		if jobs, more = claim(t, st, "a.example", 10); len(jobs) != 0 || more {
			t.Errorf("%d more jobs", len(jobs))
		}
		if jobs, more = claim(t, st, "c.example", 10); len(jobs) != 0 || more {
			t.Errorf("%d jobs of nobody", len(jobs))
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			at, err := tx.DestNext(ctx, deliver, "a.example")
			if want := base.Add(100 * time.Minute); !at.Equal(want) {
				t.Errorf("the dest is due at %v, want that of the job that is left, %v", at, want)
			}
			return err
		})
	})
}

// Each job goes to one of those that ask at once: goroutines on SQLite, several
// processes on PostgreSQL.
func TestClaimsRaced(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, c store.Config) {
		stores := []*store.Store{storetest.OpenConfig(t, c)}
		if c.URL != "" {
			stores = append(stores, storetest.OpenConfig(t, c), storetest.OpenConfig(t, c))
		}
		const n = 600
		var jobs []pennypost.Job
		for i := range n {
			jobs = append(jobs, job(stores[0], []string{"a.example", "b.example"}[i%2]))
		}
		addJobs(t, stores[0], jobs...)
		var mu sync.Mutex
		owners := make(map[int64]int64)
		var wg sync.WaitGroup
		for w := range 9 {
			st := stores[w%len(stores)]
			wg.Go(func() {
				for idle := 0; idle < 3; {
					var got []pennypost.Job
					err := st.Update(context.Background(), func(tx *store.Tx) error {
						got = nil
						for _, dest := range []string{"a.example", "b.example"}[w%2:] {
							list, _, err := tx.ClaimJobs(context.Background(), deliver, dest, 7)
							if err != nil {
								return err
							}
							got = append(got, list...)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
						return
					}
					if idle++; len(got) > 0 {
						idle = 0
					}
					mu.Lock()
					for _, j := range got {
						if owner, ok := owners[j.ID]; ok {
							t.Errorf("job %d went to session %d and %d", j.ID, owner, j.Lease)
						}
						owners[j.ID] = j.Lease
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(owners) != n {
			t.Errorf("%d jobs were claimed, want %d", len(owners), n)
		}
		if got := number(t, stores[0], `SELECT COUNT(*) FROM dests`); got != 0 {
			t.Errorf("%d dests are left", got)
		}
	})
}

// A free job that is stored while its dest is being claimed empty is not
// forgotten.
func TestAddRacesClaim(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		const n = 200
		var claimed sync.Map
		var wg sync.WaitGroup
		added := make(chan struct{})
		wg.Go(func() {
			defer close(added)
			for range n {
				j := job(st, "a.example")
				if err := st.Update(context.Background(), func(tx *store.Tx) error { return tx.AddJobs(context.Background(), []pennypost.Job{j}) }); err != nil {
					t.Error(err)
				}
			}
		})
		for range 3 {
			wg.Go(func() {
				for {
					var last bool
					select {
					case <-added:
						last = true
					default:
					}
					var jobs []pennypost.Job
					err := st.Update(context.Background(), func(tx *store.Tx) (err error) {
						jobs, _, err = tx.ClaimJobs(context.Background(), deliver, "a.example", 2)
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
					for _, j := range jobs {
						claimed.Store(j.ID, true)
					}
					if last && len(jobs) == 0 {
						return
					}
				}
			})
		}
		wg.Wait()
		got := 0
		claimed.Range(func(any, any) bool { got++; return true })
		if got != n {
			t.Errorf("%d jobs were claimed, want %d; due dests %v", got, n, dests(t, st))
		}
	})
}

func TestLeaseLost(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		ctx := t.Context()
		for name, do := range map[string]func(tx *store.Tx, j pennypost.Job) error{
			"finish":   func(tx *store.Tx, j pennypost.Job) error { return tx.FinishJob(ctx, j.ID) },
			"put back": func(tx *store.Tx, j pennypost.Job) error { return tx.PutBackJob(ctx, j) },
			"hold":     func(tx *store.Tx, j pennypost.Job) error { return tx.HoldJob(ctx, j.ID) },
		} {
			for state, lease := range map[string]int64{"free": 0, "of another session": st.Session() + 1} {
				j := job(st, "a.example", func(j *pennypost.Job) { j.Lease = lease })
				addJobs(t, st, j)
				err := st.Update(ctx, func(tx *store.Tx) error { return do(tx, j) })
				if !errors.Is(err, store.ErrLeaseLost) {
					t.Errorf("%s a job that is %s: %v, want ErrLeaseLost", name, state, err)
				}
				if got := number(t, st, `SELECT lease FROM jobs WHERE id = $1`, j.ID); got != lease {
					t.Errorf("%s a job that is %s: its lease is %d", name, state, got)
				}
			}
			err := st.Update(ctx, func(tx *store.Tx) error { return do(tx, job(st, "a.example")) })
			if !errors.Is(err, store.ErrLeaseLost) {
				t.Errorf("%s a job that is gone: %v, want ErrLeaseLost", name, err)
			}
		}
	})
}

// The way of a job: claimed, put back, claimed again when its time has come,
// finished.
func TestPutBackAndFinish(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		addJobs(t, st, job(st, "a.example"))
		jobs, _ := claim(t, st, "a.example", 1)
		j := jobs[0]
		j.Attempt, j.RunAt = 1, micro(time.Now()).Add(time.Hour)
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.PutBackJob(ctx, j) })
		if jobs, _ := claim(t, st, "a.example", 1); len(jobs) != 0 {
			t.Error("a job that is not due was claimed")
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			at, err := tx.NextDue(ctx, deliver)
			if !at.Equal(j.RunAt) {
				t.Errorf("next due at %v, want %v", at, j.RunAt)
			}
			return err
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE jobs SET run_at = 1`)
			return err
		})
		jobs, _ = claim(t, st, "a.example", 1)
		if len(jobs) != 1 || jobs[0].Attempt != 1 {
			t.Fatalf("claimed %+v", jobs)
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.FinishJob(ctx, j.ID) })
		if got := number(t, st, `SELECT COUNT(*) FROM jobs`); got != 0 {
			t.Errorf("%d jobs are left", got)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			at, err := tx.NextDue(ctx, deliver)
			if !at.IsZero() {
				t.Errorf("next due at %v, want never", at)
			}
			return err
		})
	})
}

// Put back by mistake of a time before: the earliest free job decides when its
// dest is due.
func TestDestIsDueWithItsEarliestJob(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		later := micro(time.Now()).Add(time.Hour)
		addJobs(t, st, job(st, "a.example", func(j *pennypost.Job) { j.RunAt = later }))
		if got := dests(t, st); len(got) != 0 {
			t.Errorf("due are %v", got)
		}
		addJobs(t, st, job(st, "a.example"), job(st, "b.example", func(j *pennypost.Job) { j.RunAt = j.RunAt.Add(-time.Minute) }))
		if d := cmp.Diff([]string{"b.example", "a.example"}, dests(t, st)); d != "" {
			t.Errorf("due dests, the longest waiting first: %s", d)
		}
		addJobs(t, st, job(st, "a.example", func(j *pennypost.Job) { j.RunAt = later.Add(time.Hour) }))
		if got := dests(t, st); len(got) != 2 {
			t.Errorf("a later job took its dest away: %v", got)
		}
	})
}

// A dest that rests is not looked at, until its time or until a job is freed.
func TestDelayDest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		addJobs(t, st, job(st, "a.example"), job(st, "b.example"))
		until := micro(time.Now()).Add(time.Hour)
		delay := func(dest string, until time.Time) {
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.DelayDest(ctx, deliver, dest, until) })
		}
		delay("a.example", until)
		delay("c.example", until)
		if d := cmp.Diff([]string{"b.example"}, dests(t, st)); d != "" {
			t.Error(d)
		}
		delay("a.example", until.Add(-2*time.Hour)) // a delay never brings it forward
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			at, err := tx.DestNext(ctx, deliver, "a.example")
			if !at.Equal(until) {
				t.Errorf("rests until %v, want %v", at, until)
			}
			return err
		})
		if jobs, _ := claim(t, st, "a.example", 1); len(jobs) != 1 {
			t.Error("its jobs cannot be claimed")
		}
		if got := number(t, st, `SELECT COUNT(*) FROM dests WHERE dest = 'c.example'`); got != 0 {
			t.Error("a dest without jobs has a row")
		}
	})
}

// A dead dest with very many jobs keeps nobody else from being seen and claimed.
func TestDeadDestStarvesNobody(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		const dead = 20_000
		soon := micro(time.Now()).Add(time.Hour)
		for range dead / 1000 {
			var jobs []pennypost.Job
			for i := range 1000 {
				jobs = append(jobs, job(st, "dead.example", func(j *pennypost.Job) {
					j.RunAt = soon.Add(time.Duration(i) * time.Second)
					j.Attempt = 3
				}))
			}
			addJobs(t, st, jobs...)
		}
		addJobs(t, st, job(st, "dead.example", func(j *pennypost.Job) { j.Priority = pennypost.PriorityBulk }), job(st, "alive.example"))
		if d := cmp.Diff([]string{"alive.example", "dead.example"}, slices.Sorted(slices.Values(dests(t, st)))); d != "" {
			t.Error(d)
		}
		began := time.Now()
		jobs, more := claim(t, st, "dead.example", 100)
		if len(jobs) != 1 || more {
			t.Errorf("%d jobs are due, more %v", len(jobs), more)
		}
		if jobs, _ = claim(t, st, "alive.example", 100); len(jobs) != 1 {
			t.Errorf("%d jobs of the living", len(jobs))
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("two claims took %v", took)
		}
		if got := dests(t, st); len(got) != 0 {
			t.Errorf("due are %v", got)
		}
	})
}

func TestHoldAndRelease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		var jobs []pennypost.Job
		for range 5 {
			jobs = append(jobs, job(st, "a.example", func(j *pennypost.Job) { j.Lease = st.Session() }))
		}
		jobs = append(jobs, job(st, "a.example", func(j *pennypost.Job) { j.Lease, j.Tenant = st.Session(), 2 }))
		addJobs(t, st, jobs...)
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			for _, j := range jobs {
				if err := tx.HoldJob(ctx, j.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if got, _ := claim(t, st, "a.example", 10); len(got) != 0 || len(dests(t, st)) != 0 {
			t.Errorf("%d held jobs were claimed", len(got))
		}
		held := func(tenant pennypost.ServerID) (list []pennypost.Job) {
			view(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
				list, err = tx.HeldJobs(ctx, tenant, 10)
				return err
			})
			return list
		}
		if got := held(1); len(got) != 5 || got[0].ID != jobs[0].ID || !bytes.Equal(got[0].Ref, jobs[0].Ref) {
			t.Errorf("%d jobs are held", len(got))
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.DiscardJob(ctx, jobs[0].ID) })
		err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.DiscardJob(t.Context(), jobs[0].ID) })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("discarded twice: %v", err)
		}
		var released []pennypost.Job
		update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			released, err = tx.ReleaseHeld(ctx, 1, 3)
			return err
		})
		if len(released) != 3 || released[0].ID != jobs[1].ID || released[0].Lease != 0 {
			t.Errorf("released %+v", released)
		}
		if got, _ := claim(t, st, "a.example", 10); len(got) != 3 {
			t.Errorf("%d released jobs were claimed", len(got))
		}
		if len(held(1)) != 1 || len(held(2)) != 1 {
			t.Errorf("%d and %d are held still", len(held(1)), len(held(2)))
		}
		err = st.Update(t.Context(), func(tx *store.Tx) error { return tx.DiscardJob(t.Context(), jobs[1].ID) })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a released job was discarded: %v", err)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			counts, err := tx.QueueCounts(ctx, deliver)
			want := []store.QueueCount{{Server: 1, Leased: 3, Held: 1}, {Server: 2, Held: 1}}
			if d := cmp.Diff(want, counts); d != "" {
				t.Error(d)
			}
			return err
		})
	})
}

// What is handed back keeps its time; what is not ours is left alone.
func TestFreeJobs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		var ids []int64
		var jobs []pennypost.Job
		for range 250 {
			jobs = append(jobs, job(st, "a.example", func(j *pennypost.Job) { j.Lease = st.Session() }))
			ids = append(ids, jobs[len(jobs)-1].ID)
		}
		foreign := job(st, "b.example", func(j *pennypost.Job) { j.Lease = st.Session() + 1 })
		addJobs(t, st, append(jobs, foreign)...)
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.FreeJobs(ctx, append(ids, foreign.ID, 12345)) })
		if d := cmp.Diff([]string{"a.example"}, dests(t, st)); d != "" {
			t.Error(d)
		}
		got, _ := claim(t, st, "a.example", 1000)
		if len(got) != len(jobs) || !got[0].RunAt.Equal(jobs[0].RunAt) {
			t.Errorf("%d jobs were freed", len(got))
		}
		if lease := number(t, st, `SELECT lease FROM jobs WHERE id = $1`, foreign.ID); lease != foreign.Lease {
			t.Error("a job of another session was freed")
		}
	})
}

// A damaged job is put out of the way, with an error in the log, and does not
// stop those behind it.
func TestDamagedJobIsSetAside(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, c store.Config) {
		c.Metrics = metrics.New()
		st := storetest.OpenConfig(t, c)
		jobs := []pennypost.Job{job(st, "a.example"), job(st, "a.example"), job(st, "a.example")}
		addJobs(t, st, jobs...)
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			ref := bytes.Clone(jobs[1].Ref)
			ref[5] ^= 8
			_, err := tx.Exec(ctx, `UPDATE jobs SET ref = $2 WHERE id = $1`, jobs[1].ID, ref)
			return err
		})
		got, more := claim(t, st, "a.example", 10)
		if len(got) != 2 || got[0].ID != jobs[0].ID || got[1].ID != jobs[2].ID || more {
			t.Errorf("claimed %+v", got)
		}
		if n := figure(t, c.Metrics, "store_damaged_total"); n != 1 {
			t.Errorf("%d damaged jobs were counted", n)
		}
		if n := number(t, st, `SELECT held FROM jobs WHERE id = $1`, jobs[1].ID); n != 2 {
			t.Errorf("held is %d", n)
		}
		if got, _ := claim(t, st, "a.example", 10); len(got) != 0 || len(dests(t, st)) != 0 {
			t.Error("the damaged job is found again")
		}
	})
}

func TestJobsOf(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, addresses(3)...))
		stored(t, st, mail(st, addresses(3)...))
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.FinishJob(ctx, m.Jobs[1].ID) })
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			jobs, err := tx.JobsOf(ctx, m.Message.ID)
			var got []string
			for _, j := range jobs {
				id, n, err := store.ParseJobRef(j.Ref)
				got = append(got, fmt.Sprint(id == m.Message.ID, n, err))
			}
			if d := cmp.Diff([]string{"true 0 <nil>", "true 2 <nil>"}, got); d != "" {
				t.Error(d)
			}
			return err
		})
	})
}

// Jobs of somebody else's message are a fault of the program.
func TestJobOfAnotherMessage(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	m := mail(st, "ann@shop.example")
	m.Jobs[0].Ref = store.JobRef(newID(), 0)
	if err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddMessage(t.Context(), m) }); err == nil {
		t.Error("it was stored")
	}
	m = mail(st, "ann@shop.example")
	m.Jobs[0].Ref = store.JobRef(m.Message.ID, 1)
	if err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddMessage(t.Context(), m) }); err == nil {
		t.Error("a job of a recipient that is not there was stored")
	}
}
