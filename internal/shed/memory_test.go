package shed

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits is served in order.
func TestMemoryInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(10, nil)
		take := func(n int64) int64 {
			t.Helper()
			got, err := m.Take(t.Context(), n, time.Second)
			if err != nil {
				t.Fatalf("%d: %v", n, err)
			}
			return got
		}
		first := take(6)
		order := make(chan int64, 3)
		for _, n := range []int64{9, 1} {
			go func() { order <- take(n) }()
			synctest.Wait()
		}
		select {
		case n := <-order:
			t.Fatalf("%d was served before its turn", n)
		default:
		}
		m.Give(first)
		synctest.Wait()
		if len(order) != 2 || m.Held() != 10 {
			t.Errorf("%d served, %d held", len(order), m.Held())
		}
	})
}

// Who takes little passes those who take much, and finds room when they have
// taken all that is for them.
func TestMemoryLeavesRoomForSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(1280, nil).FavourSmall() // up to 10 is small, 160 are kept for that
		take := func(n int64) int64 {
			got, err := m.Take(t.Context(), n, time.Second)
			if err != nil {
				t.Errorf("%d: %v", n, err)
			}
			return got
		}
		if got := take(5000); got != 1120 {
			t.Errorf("a large taker got %d, want all but what is kept", got)
		}
		large := make(chan int64, 2)
		for _, n := range []int64{600, 11} {
			go func() { large <- take(n) }()
			synctest.Wait()
		}
		began := time.Now()
		for range 16 {
			take(10)
		}
		if waited := time.Since(began); waited != 0 || m.Held() != 1280 {
			t.Errorf("small takers waited %v; %d are held", waited, m.Held())
		}
		small := make(chan int64, 1)
		go func() { small <- take(10) }()
		synctest.Wait()
		m.Give(10)
		synctest.Wait()
		if len(small) != 1 || len(large) != 0 {
			t.Errorf("%d small and %d large were served, want the small one past the others", len(small), len(large))
		}
		m.Give(700) // what is kept stays, and the second does not pass the first
		synctest.Wait()
		if len(large) != 0 {
			t.Errorf("%d large takers were served before there was room for the first", len(large))
		}
		m.Give(60)
		synctest.Wait()
		if len(large) != 1 || <-large != 600 {
			t.Error("the first large taker was not served, or the second with it")
		}
		m.Give(100)
		synctest.Wait()
		if len(large) != 1 || <-large != 11 {
			t.Error("the second large taker was not served")
		}
	})
}

func TestMemoryRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []bool
		m := NewMemory(10, func(short bool) { told = append(told, short) })
		all, err := m.Take(t.Context(), 1000, 0) // more than there is: all of it
		if all != 10 || err != nil {
			t.Fatalf("got %d, %v", all, err)
		}
		began := time.Now()
		if _, err := m.Take(t.Context(), 4, 2*time.Second); !errors.Is(err, ErrNoMemory) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Take(ctx, 4, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that ended: %v", err)
		}
		if !m.Short() || m.Refused() != 2 {
			t.Errorf("short %v, refused %d", m.Short(), m.Refused())
		}
		m.Give(4)
		if !m.Short() {
			t.Error("not short with less than half free")
		}
		m.Give(6)
		if m.Short() || m.Held() != 0 || len(told) != 2 || !told[0] || told[1] {
			t.Errorf("short %v, held %d, told %v", m.Short(), m.Held(), told)
		}
	})
}

// One that gives up is not in the way of those behind it.
func TestMemoryGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(10, nil)
		if _, err := m.Take(t.Context(), 5, 0); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = m.Take(t.Context(), 9, time.Second) }()
		synctest.Wait()
		began := time.Now()
		if _, err := m.Take(t.Context(), 5, time.Minute); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestNoMemory(t *testing.T) {
	var m *Memory
	n, err := m.Take(t.Context(), 1<<40, 0)
	if n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	m.Give(n)
}
