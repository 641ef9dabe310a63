package submit

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pennypost/internal/metrics"
	"pennypost/internal/shed"
	"pennypost/internal/store"
)

// reopen gives f another door, with what a test changes of its configuration.
func (f *fixture) reopen(t *testing.T, change func(c *Config)) (log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	c := f.door.conf
	c.Log, c.Metrics = slog.New(slog.NewTextHandler(log, nil)), metrics.New()
	change(&c)
	var err error
	if f.door, err = New(c); err != nil {
		t.Fatal(err)
	}
	return log
}

// Catalogue C-020, S-090: with the reserve of the disk touched nothing is let
// in, over either edge; what is told is 4yz, once in the log, and passes.
func TestClosedForDisk(t *testing.T) {
	f := setup(t)
	free := uint64(100)
	disk := shed.NewDisk(shed.DiskConfig{Reserve: 50, Statfs: func(_ string, st *unix.Statfs_t) error {
		st.Bsize, st.Blocks, st.Bavail = 1, 1000, free
		return nil
	}})
	log := f.reopen(t, func(c *Config) { c.Disk = disk })
	open := func(want string) {
		t.Helper()
		disk.Doubt()
		err := f.door.Open(t.Context())
		var closed *ClosedError
		if want == "" {
			if err != nil || f.door.Closed() != "" {
				t.Errorf("closed: %v, %s", err, f.door.Closed())
			}
			return
		}
		if !errors.As(err, &closed) {
			t.Fatalf("Open gives %v", err)
		}
		code, enhanced, text := closed.SMTPReply()
		if code != 452 || enhanced != "4.3.1" || text != want {
			t.Errorf("reply %d %s %s", code, enhanced, text)
		}
	}
	open("")
	free = 49
	const full = "Error: insufficient system storage; try again later"
	open(full)
	open(full)
	var closed *ClosedError
	if _, err := f.door.Accept(t.Context(), f.api, good()); !errors.As(err, &closed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := f.door.AcceptRaw(t.Context(), f.smtp, raw("From: a@acme.example\n\nx\n")); !errors.As(err, &closed) {
		t.Errorf("AcceptRaw: %v", err)
	}
	for i, r := range f.door.AcceptBatch(t.Context(), f.api, []*Submission{good(), good()}) {
		if !errors.As(r.Err, &closed) {
			t.Errorf("AcceptBatch, item %d: %v", i, r.Err)
		}
	}
	if got := f.messages(t); got != 0 {
		t.Errorf("%d messages were stored", got)
	}
	if !strings.Contains(f.door.Closed(), "MiB") {
		t.Errorf("said to those who watch: %q", f.door.Closed())
	}
	free = 57
	open("")
	if _, err := f.door.Accept(t.Context(), f.api, good()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("%d lines in the log, want 2:\n%s", got, log)
	}
}

// Catalogue C-039: when the disk cannot keep up, mail is refused before it
// comes, and what is there may wait a little longer.
func TestClosedForDelay(t *testing.T) {
	f := setup(t)
	var later atomic.Int64
	st, err := store.Open(t.Context(), store.Config{
		Dir: t.TempDir(), Now: func() time.Time { return noon.Add(time.Duration(later.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	log := f.reopen(t, func(c *Config) { c.Store, c.MaxWait = st, 10*time.Second })
	started, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- st.Update(t.Context(), func(*store.Tx) error {
			close(started)
			<-release
			return nil
		})
	}()
	<-started
	if err := f.door.Open(t.Context()); err != nil {
		t.Errorf("at once: %v", err)
	}
	later.Store(int64(6 * time.Second)) // as much again, at least
	err = f.door.Open(t.Context())
	var closed *ClosedError
	if !errors.As(err, &closed) {
		t.Fatalf("Open gives %v", err)
	}
	if code, enhanced, text := closed.SMTPReply(); code != 452 || enhanced != "4.3.1" || !strings.HasPrefix(text, "Error: the service cannot keep up") {
		t.Errorf("reply %d %s %s", code, enhanced, text)
	}
	if err := f.door.stillOpen(t.Context()); err != nil {
		t.Errorf("what is here: %v", err)
	}
	if f.door.Closed() == "" {
		t.Error("who watches is not told")
	}
	later.Store(int64(12 * time.Second))
	if err := f.door.stillOpen(t.Context()); !errors.As(err, &closed) {
		t.Errorf("what is here, after long: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := f.door.Open(t.Context()); err != nil {
		t.Errorf("idle: %v", err)
	}
	if got := strings.Count(log.String(), "\n"); got != 1 {
		t.Errorf("%d lines in the log, want 1:\n%s", got, log)
	}
}

// The messages that are being made ready share a memory; who does not get any
// in time comes again.
func TestWorkIsBounded(t *testing.T) {
	f := setup(t)
	work := shed.NewMemory(1<<20, nil)
	f.reopen(t, func(c *Config) { c.Work = work })
	for range 3 {
		if _, err := f.door.Accept(t.Context(), f.api, good()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.door.AcceptRaw(t.Context(), f.smtp, raw("no header\n")); err == nil {
			t.Fatal("accepted")
		}
		for _, r := range f.door.AcceptBatch(t.Context(), f.api, []*Submission{good(), {}}) {
			if errors.Is(r.Err, shed.ErrNoMemory) {
				t.Fatal(r.Err)
			}
		}
	}
	if work.Held() != 0 {
		t.Errorf("%d octets were not given back", work.Held())
	}
}
