package store

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	var p pace
	want := func(what string, waiting int, least, most time.Duration) {
		t.Helper()
		if got := p.wait(at, waiting); got < least || got > most {
			t.Errorf("%s: %v, want %v to %v", what, got, least, most)
		}
	}
	batch := func(n int, work, sync time.Duration) {
		p.begin(at)
		commit := at.Add(work)
		at = commit.Add(sync)
		p.ended(n, commit, at)
	}
	want("nothing is known", 0, 0, 0)
	for range 20 {
		batch(10, time.Millisecond, time.Second)
	}
	want("idle", 0, 0, 0)
	p.begin(at)
	want("a batch has begun", 1, 2*time.Second-time.Millisecond, 2*time.Second+time.Millisecond)
	want("many wait", 3*maxBatch, 5*time.Second, 6*time.Second)
	at = at.Add(900 * time.Millisecond)
	want("it is nearly done", 1, 1090*time.Millisecond, 1110*time.Millisecond)
	at = at.Add(4 * time.Second)
	want("it takes longer than ever", 1, 9*time.Second, 10*time.Second)
	p.idle()
	for range 20 {
		batch(10, time.Millisecond, time.Millisecond)
	}
	p.begin(at)
	want("the disk is fast again", 1, 0, 10*time.Millisecond)
	want("closures that take long", 1000, 100*time.Millisecond, 200*time.Millisecond)
	at = at.Add(-time.Hour) // a clock that was set back
	want("in the future", 1, 0, 10*time.Millisecond)
}

// What the committer measures is that.
func TestPaceOfCommits(t *testing.T) {
	st, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	slow := func(tx *Tx) error {
		tx.s.lite.commits.beforeCommit = func() error {
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		return nil
	}
	for range 3 {
		if err := st.Update(t.Context(), slow); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- st.Update(t.Context(), slow) }()
	most := time.Duration(0)
	for len(done) == 0 {
		most = max(most, st.Wait())
		time.Sleep(time.Millisecond)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if most < 250*time.Millisecond || most > 2*time.Second {
		t.Errorf("with commits of 200 ms the wait is thought to be %v", most)
	}
	if got := st.Wait(); got != 0 {
		t.Errorf("idle: %v", got)
	}
}
