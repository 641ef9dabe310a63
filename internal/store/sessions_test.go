package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// takeAll frees the jobs of dead sessions to the end, and gives how many and in
// how many steps.
func takeAll(t *testing.T, st *store.Store, n int) (freed, steps int) {
	t.Helper()
	for more := true; more; steps++ {
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			k, m, err := tx.TakeDeadSessions(ctx, n)
			freed, more = freed+k, m
			return err
		})
		if steps > 1000 {
			t.Fatal("it never ends")
		}
	}
	return freed, steps
}

// After a crash on SQLite the next start frees what the dead process held: its
// jobs are due at once.
func TestRestartFreesBornLeased(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	st := storetest.OpenConfig(t, c)
	if freed, _ := takeAll(t, st, 100); freed != 0 {
		t.Errorf("%d jobs of nobody were freed", freed)
	}
	const n = 25
	var last *store.NewMessage
	for range n {
		last = stored(t, st, mail(st, "ann@a.example", "bob@b.example"))
	}
	if got := dests(t, st); len(got) != 0 {
		t.Errorf("born leased, and due: %v", got)
	}
	crash(t, st)
	again := storetest.OpenConfig(t, c)
	if got := dests(t, again); len(got) != 0 {
		t.Errorf("due before they were freed: %v", got)
	}
	freed, steps := takeAll(t, again, 10)
	if freed != 2*n || steps < 5 || steps > 7 {
		t.Errorf("%d jobs were freed in %d steps, want %d", freed, steps, 2*n)
	}
	for _, dest := range []string{"a.example", "b.example"} {
		jobs, more := claim(t, again, dest, 100)
		if len(jobs) != n || more {
			t.Errorf("%d jobs of %s, want %d", len(jobs), dest, n)
		}
		for _, j := range jobs {
			if j.Lease != again.Session() || j.RunAt.After(time.Now()) {
				t.Errorf("%+v", j)
			}
		}
	}
	if freed, _ := takeAll(t, again, 10); freed != 0 {
		t.Error("our own jobs were freed")
	}
	if got := number(t, again, `SELECT COUNT(*) FROM sessions`); got != 1 {
		t.Errorf("%d sessions are left, want ours", got)
	}
	update(t, again, func(ctx context.Context, tx *store.Tx) error { return tx.FinishJob(ctx, last.Jobs[0].ID) })
}

// crash ends a store without giving its session up.
func crash(t *testing.T, st *store.Store) {
	t.Helper()
	session := st.Session()
	if err := st.Abandon(); err != nil {
		t.Fatal(err)
	}
	t.Logf("session %d is abandoned", session)
}

// Many starts that failed leave many sessions; one walk serves them all.
func TestManyDeadSessions(t *testing.T) {
	c := storetest.Config(t, storetest.SQLite)
	for range 5 {
		st := storetest.OpenConfig(t, c)
		stored(t, st, mail(st, addresses(10)...))
		crash(t, st)
	}
	st := storetest.OpenConfig(t, c)
	freed, steps := takeAll(t, st, 20)
	if freed != 50 || steps > 4 {
		t.Errorf("%d jobs were freed in %d steps", freed, steps)
	}
}

// Held jobs, free ones and those of the living stay as they are.
func TestOnlyTheDeadLoseJobs(t *testing.T) {
	c := storetest.Config(t, storetest.PostgreSQL)
	living, dead := storetest.OpenConfig(t, c), storetest.OpenConfig(t, c)
	leased := func(st *store.Store) pennypost.Job {
		return job(st, "a.example", func(j *pennypost.Job) { j.Lease = st.Session() })
	}
	ours, theirs, held := leased(living), leased(dead), leased(dead)
	free := job(dead, "a.example", func(j *pennypost.Job) { j.RunAt = micro(time.Now()).Add(time.Hour) })
	addJobs(t, living, ours)
	addJobs(t, dead, theirs, held, free)
	update(t, dead, func(ctx context.Context, tx *store.Tx) error { return tx.HoldJob(ctx, held.ID) })
	third := storetest.OpenConfig(t, c)
	if freed, _ := takeAll(t, third, 100); freed != 0 {
		t.Errorf("%d jobs of the living were freed", freed)
	}
	expire(t, living, dead.Session())
	if freed, _ := takeAll(t, third, 100); freed != 1 {
		t.Errorf("%d jobs were freed, want 1", freed)
	}
	jobs, _ := claim(t, third, "a.example", 10)
	if len(jobs) != 1 || jobs[0].ID != theirs.ID {
		t.Errorf("claimed %+v", jobs)
	}
	// The late result of the dead session is refused, that of the living is not.
	err := dead.Update(t.Context(), func(tx *store.Tx) error { return tx.FinishJob(t.Context(), theirs.ID) })
	if !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("the dead session finished its job: %v", err)
	}
	update(t, living, func(ctx context.Context, tx *store.Tx) error { return tx.FinishJob(ctx, ours.ID) })
	if got := number(t, living, `SELECT run_at FROM jobs WHERE id = $1`, free.ID); got != free.RunAt.UnixMicro() {
		t.Errorf("the free job runs at %d", got)
	}
}

// expire lets a session's time pass.
func expire(t *testing.T, st *store.Store, session int64) {
	t.Helper()
	update(t, st, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE sessions SET expires_at = $2 WHERE id = $1`, session, tx.Now().Add(-time.Second).UnixMicro())
		if n != 1 {
			t.Errorf("%d sessions were changed", n)
		}
		return err
	})
}

// A session that ended can neither be renewed nor be given jobs.
func TestSessionLost(t *testing.T) {
	c := storetest.Config(t, storetest.PostgreSQL)
	st, other := storetest.OpenConfig(t, c), storetest.OpenConfig(t, c)
	if !st.LeaseOK() {
		t.Error("a new session has ended")
	}
	if err := st.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	addJobs(t, st, job(st, "a.example"))
	expire(t, other, st.Session())
	if err := st.Renew(t.Context()); !errors.Is(err, store.ErrSessionLost) {
		t.Errorf("got %v, want ErrSessionLost", err)
	}
	takeAll(t, other, 100)
	if err := st.Renew(t.Context()); !errors.Is(err, store.ErrSessionLost) {
		t.Errorf("got %v, want ErrSessionLost", err)
	}
	st.PastLease()
	if st.LeaseOK() {
		t.Error("it goes on past its time")
	}
	leased := job(st, "a.example", func(j *pennypost.Job) { j.Lease = st.Session() })
	err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddJobs(t.Context(), []pennypost.Job{leased}) })
	if !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("it was given a new job: %v", err)
	}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		_, _, err := tx.ClaimJobs(t.Context(), deliver, "a.example", 1)
		return err
	})
	if !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("it claimed: %v", err)
	}
}

// On SQLite nobody else can have taken anything: a session whose time passed,
// while the machine slept, goes on.
func TestSessionSleptOnSQLite(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	expire(t, st, st.Session())
	if freed, _ := takeAll(t, st, 100); freed != 0 {
		t.Errorf("%d of our own jobs were freed", freed)
	}
	st.PastLease()
	if err := st.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	if !st.LeaseOK() {
		t.Error("the session did not go on")
	}
}

// A session that was closed frees its jobs at once.
func TestCloseEndsSession(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, c store.Config) {
		st := storetest.OpenConfig(t, c)
		stored(t, st, mail(st, "ann@a.example"))
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if st.LeaseOK() {
			t.Error("it has its lease still")
		}
		again := storetest.OpenConfig(t, c)
		if freed, _ := takeAll(t, again, 100); freed != 1 {
			t.Errorf("%d jobs were freed, want 1", freed)
		}
	})
}

func TestKeepSession(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		kept := make(chan error, 1)
		go func() { kept <- st.KeepSession(ctx) }()
		cancel()
		if err := <-kept; err != nil {
			t.Errorf("the end that was asked for is an error: %v", err)
		}
		before := number(t, st, `SELECT expires_at FROM sessions WHERE id = $1`, st.Session())
		time.Sleep(2 * time.Millisecond)
		if err := st.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := number(t, st, `SELECT expires_at FROM sessions WHERE id = $1`, st.Session())
		if after <= before || time.UnixMicro(after).Before(time.Now().Add(store.LeaseTime-10*time.Second)) {
			t.Errorf("the session ends at %v, before at %v", time.UnixMicro(after), time.UnixMicro(before))
		}
	})
}
