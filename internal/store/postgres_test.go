package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// cable is one to a PostgreSQL that breaks when a text passes: before the
// server sees it, or after, so that its answer is lost.
type cable struct {
	l      net.Listener
	server string
	text   atomic.Pointer[string]
	after  atomic.Bool
}

// through gives a URL that leads through a cable.
func through(t *testing.T, to string) (*cable, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{l: l, server: u.Host}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	u.Host = l.Addr().String()
	return c, u.String()
}

func (c *cable) serve(client net.Conn) {
	server, err := (&net.Dialer{}).Dial("tcp", c.server)
	if err != nil {
		_ = client.Close()
		return
	}
	closeBoth := func() { _ = client.Close(); _ = server.Close() }
	var cut atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer closeBoth()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			text := c.text.Load()
			found := text != nil && bytes.Contains(buf[:n], []byte(*text))
			if found {
				cut.Store(true)
			}
			if found && !c.after.Load() {
				return
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	wg.Go(func() {
		defer closeBoth()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || cut.Load() {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	wg.Wait()
}

// A connection that is lost while COMMIT is on its way leaves the outcome open;
// lost before, nothing was written. Afterwards the store goes on.
func TestConnectionLost(t *testing.T) {
	c := storetest.Config(t, storetest.PostgreSQL)
	direct := storetest.OpenConfig(t, c)
	wire, u := through(t, c.URL)
	st := storetest.OpenConfig(t, store.Config{URL: u})
	for i, x := range []struct {
		name, text string
		after      bool
		want       error
		stored     bool
	}{
		{"before the first statement", "meta", false, store.ErrUnavailable, false},
		{"before COMMIT arrives", "COMMIT", false, store.ErrUnknown, false},
		{"after COMMIT arrived", "COMMIT", true, store.ErrUnknown, true},
		{"at BEGIN", "", true, store.ErrUnavailable, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			wire.after.Store(x.after)
			wire.text.Store(&x.text)
			key := fmt.Sprint("key ", i)
			err := st.Update(t.Context(), setMeta(key))
			wire.text.Store(nil)
			if !errors.Is(err, x.want) || errors.Is(err, store.ErrUnknown) && errors.Is(err, store.ErrUnavailable) {
				t.Errorf("got %v, want %v", err, x.want)
			}
			if got := hasMeta(t, direct, key); got != x.stored {
				t.Errorf("stored %v, want %v", got, x.stored)
			}
			if err := st.Update(t.Context(), setMeta("later")); err != nil {
				t.Errorf("the next update: %v", err)
			}
		})
	}
	select {
	case <-st.Failed():
		t.Error("the failure is final")
	default:
	}
}

// A server that is not there is a fault that may pass.
func TestServerAway(t *testing.T) {
	c := storetest.Config(t, storetest.PostgreSQL)
	wire, u := through(t, c.URL)
	st := storetest.OpenConfig(t, store.Config{URL: u})
	address := wire.l.Addr().String()
	_ = wire.l.Close()
	text := ""
	wire.text.Store(&text) // everything
	for range 2 {
		if err := st.Update(t.Context(), setMeta("key")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("update: %v, want ErrUnavailable", err)
		}
	}
	if err := st.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ping: %v, want ErrUnavailable", err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	wire.text.Store(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { wire.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	if err := st.Update(t.Context(), setMeta("key")); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	_ = l.Close()
	wg.Wait()
}

// Two transactions that wait for each other: one of them runs again.
func TestDeadlockIsTriedAgain(t *testing.T) {
	st := storetest.Open(t, storetest.PostgreSQL)
	var runs atomic.Int32
	var both sync.WaitGroup
	both.Add(2)
	set := func(first, second string) error {
		var once sync.Once
		return st.Update(context.Background(), func(tx *store.Tx) error {
			runs.Add(1)
			if err := tx.SetMeta(context.Background(), first, first+second); err != nil {
				return err
			}
			once.Do(func() {
				both.Done()
				both.Wait()
			})
			return tx.SetMeta(context.Background(), second, first+second)
		})
	}
	errs := make(chan error, 2)
	go func() { errs <- set("a", "b") }()
	go func() { errs <- set("b", "a") }()
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := runs.Load(); got != 3 {
		t.Errorf("the closures ran %d times, want 3", got)
	}
}

// A context that ends stops what waits for the server.
func TestContextEndsOnPostgres(t *testing.T) {
	st := storetest.Open(t, storetest.PostgreSQL)
	ctx, cancel := context.WithCancel(t.Context())
	err := st.Update(ctx, func(tx *store.Tx) error {
		cancel()
		return tx.SetMeta(ctx, "key", "there")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if hasMeta(t, st, "key") {
		t.Error("its row is there")
	}
	if err := st.View(ctx, func(*store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if !strings.HasPrefix(st.Engine(), "postgres ") {
		t.Errorf("the engine is %q", st.Engine())
	}
}
