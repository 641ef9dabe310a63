package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

// syncBuffer is written and read by several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestStage(t *testing.T) {
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	st := newStage(t.Context())
	st.start("a", waits)
	st.start("b", waits)
	if err := st.end(); err != nil {
		t.Errorf("asked to end: got %v", err)
	}

	broken := errors.New("broken")
	st = newStage(t.Context())
	st.start("a", waits)
	st.start("b", func(context.Context) error { return broken })
	<-st.ctx.Done() // by the part that failed
	if err := st.end(); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "b: ") {
		t.Errorf("got %v", err)
	}

	st = newStage(t.Context())
	st.start("a", func(context.Context) error { return nil })
	<-st.ctx.Done()
	if err := st.end(); !errors.Is(err, errEnded) {
		t.Errorf("a part that ends by itself: got %v", err)
	}

	st = newStage(t.Context())
	st.start("a", func(ctx context.Context) error { <-ctx.Done(); return broken })
	if err := st.end(); !errors.Is(err, broken) {
		t.Errorf("a part that fails at the end: got %v", err)
	}
}
