package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/mail"
	"net/smtp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// ledger is what the senders were told.
type ledger struct {
	mu      sync.Mutex
	next    int
	acked   map[string]bool // by recipient: each message has its own
	offered map[string]bool
}

// fresh names a message that is about to be offered.
func (l *ledger) fresh() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	to := fmt.Sprintf("m%d@d%d.test", l.next, l.next%20)
	l.offered[to] = true
	return to
}

func (l *ledger) ack(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[to] = true
}

func (l *ledger) counts() (offered, acked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.offered), len(l.acked)
}

// sendSMTP sends on one connection until something breaks.
func (l *ledger) sendSMTP(ctx context.Context, r *rig) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.smtp)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, "mail.pennypost.test")
	if err != nil {
		return err
	}
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil { //nolint:gosec // G402: self-signed
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", r.user, r.secret, "mail.pennypost.test")); err != nil {
		return err
	}
	for range 20 {
		if ctx.Err() != nil {
			return c.Quit()
		}
		to := l.fresh()
		if err := c.Mail("orders@shop.test"); err != nil {
			return err
		}
		if err := c.Rcpt(to); err != nil {
			return err
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "From: orders@shop.test\r\nTo: %s\r\nSubject: %s\r\n\r\nHello\r\n", to, to); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		l.ack(to)
	}
	return c.Quit()
}

// sendHTTP sends a batch; items that were taken are acknowledged.
func (l *ledger) sendHTTP(r *rig) error {
	var batch []map[string]string
	for range 5 {
		to := l.fresh()
		batch = append(batch, map[string]string{"From": "orders@shop.test", "To": to, "Subject": to, "TextBody": "Hello"})
	}
	var results []struct {
		ErrorCode int
		To        string
	}
	if err := r.serverCall("POST", "/email/batch", batch, &results); err != nil {
		return err
	}
	for _, one := range results {
		if one.ErrorCode != 0 {
			return fmt.Errorf("refused: %+v", one)
		}
		l.ack(one.To)
	}
	return nil
}

// load keeps sending until ctx ends. Broken connections are what it is about.
func (l *ledger) load(ctx context.Context, r *rig) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if l.sendSMTP(ctx, r) != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				if l.sendHTTP(r) != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
}

// kills is how often the program is killed under load.
const kills = 10

// TestKilledUnderLoad kills the program ten times while mail comes in and goes
// out. All that was acknowledged must arrive; what arrives twice must have been
// under way at a kill; nothing arrives that nobody sent.
func TestKilledUnderLoad(t *testing.T) {
	// Answers take a little, so that each kill meets messages whose final dot
	// is out and not answered.
	r := booted(t, fakenet.Config{Keep: 200_000, Hosts: 8}, map[string]string{"PENNYPOST_LOG_LEVEL": "warn"})
	for d := range 4 {
		if _, err := r.net.Host(fmt.Sprintf("d%d.test", d), fakenet.Script{Act: func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.Dot {
				return fakenet.Act{Delay: time.Duration(20+rand.IntN(60)) * time.Millisecond}
			}
			return fakenet.Act{}
		}}); err != nil {
			t.Fatal(err)
		}
	}
	l := &ledger{acked: make(map[string]bool), offered: make(map[string]bool)}
	ctx, cancel := context.WithCancel(t.Context())
	loaded := make(chan struct{})
	go func() { l.load(ctx, r); close(loaded) }()
	defer func() { cancel(); <-loaded }()
	takenOver := 0.0
	var killed []time.Time
	for range kills {
		before, _ := l.counts()
		waitUntil(t, 20*time.Second, "the senders to get on", func() bool {
			now, _ := l.counts()
			return now >= before+100
		})
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		// The figure begins anew with each process: it is read at its end.
		takenOver += tookOver(t, r)
		if err := r.kill(); err != nil {
			t.Fatal(err)
		}
		killed = append(killed, time.Now())
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-loaded
	reconcile(t, r, l, int(takenOver), killed)
}

// tookOver is how many jobs the program took over from the process before it.
func tookOver(t *testing.T, r *rig) float64 {
	t.Helper()
	n, err := r.metric("pennypost_queue_taken_over_total")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// reconcile compares what was acknowledged with what arrived.
func reconcile(t *testing.T, r *rig, l *ledger, takenOver int, killed []time.Time) {
	t.Helper()
	offered, acked := l.counts()
	arrived := func() map[string]int {
		got := make(map[string]int)
		for _, m := range r.net.Box().All() {
			for _, to := range m.To {
				got[to]++
			}
		}
		return got
	}
	waitUntil(t, 60*time.Second, "all that was acknowledged", func() bool {
		got := arrived()
		for to := range l.acked {
			if got[to] == 0 {
				return false
			}
		}
		return true
	})
	time.Sleep(500 * time.Millisecond) // what would come twice
	takenOver += int(tookOver(t, r))
	got := arrived()
	inWindow(t, r, killed)
	lost, twice, invented := 0, 0, 0
	for to := range l.acked {
		if got[to] == 0 {
			lost++
		}
	}
	for to, n := range got {
		twice += n - 1
		if !l.offered[to] {
			invented++
		}
	}
	t.Logf("%d kills: %d offered, %d acknowledged, %d arrived, %d lost, %d twice, %d taken over from dead sessions",
		kills, offered, acked, len(got), lost, twice, takenOver)
	if lost > 0 || invented > 0 {
		t.Errorf("%d lost, %d that nobody sent", lost, invented)
	}
	if twice > takenOver {
		t.Errorf("%d arrived twice, only %d can have been under way at a kill", twice, takenOver)
	}
	if acked < 50*kills || takenOver == 0 {
		t.Errorf("only %d acknowledged, %d taken over: the test shows nothing", acked, takenOver)
	}
	for _, m := range r.net.Box().All() {
		msg, err := mail.ReadMessage(bytes.NewReader(m.Data))
		if err != nil || len(m.To) != 1 || msg.Header.Get("Subject") != m.To[0] {
			t.Fatalf("a copy of another message: to %v: %v, %.300q", m.To, err, m.Data)
		}
	}
}

// slow is how long after a kill a mail server may still take what was sent
// before.
const slow = time.Second

// inWindow checks that between two copies of a message the program was killed:
// a process sends each message once.
func inWindow(t *testing.T, r *rig, killed []time.Time) {
	t.Helper()
	latest := make(map[string]time.Time)
	for _, m := range r.net.Box().All() {
		before, again := latest[m.To[0]]
		latest[m.To[0]] = m.At
		if again && !slices.ContainsFunc(killed, func(k time.Time) bool { return before.Before(k.Add(slow)) && m.At.After(k) }) {
			t.Errorf("%s went out at %v and at %v, and nothing was killed in between", m.To[0], before, m.At)
		}
	}
}

// waitUntil polls for a condition.
func waitUntil(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("waited %v in vain for %s", within, what)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + strings.ToValidUTF8(s[len(s)-n:], "")
	}
	return s
}
