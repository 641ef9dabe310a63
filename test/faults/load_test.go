//go:build !race

package faults

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

// ledger is what the submitters offered and were told. Each message has a
// recipient of its own, which names it.
type ledger struct {
	mu       sync.Mutex
	next     int
	offered  map[string]bool
	acked    map[string]time.Time
	refusals map[int]int // by reply code or HTTP status; 0: broken connection
	slowest  time.Duration
	pad      string // makes messages larger
}

func newLedger() *ledger {
	return &ledger{offered: make(map[string]bool), acked: make(map[string]time.Time), refusals: make(map[int]int)}
}

// fresh names a message that is about to be offered.
func (l *ledger) fresh() string { return l.freshAt("") }

// freshAt is fresh with a domain of choice.
func (l *ledger) freshAt(domain string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	if domain == "" {
		domain = fmt.Sprintf("d%d.test", l.next%20)
	}
	to := fmt.Sprintf("m%d@%s", l.next, domain)
	l.offered[to] = true
	return to
}

func (l *ledger) ack(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[to] = time.Now()
}

// refused notes what came in place of an acknowledgement.
func (l *ledger) refused(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var reply *textproto.Error
	var status *statusError
	switch {
	case errors.As(err, &reply):
		l.refusals[reply.Code]++
	case errors.As(err, &status):
		l.refusals[status.code]++
	default:
		l.refusals[0]++
	}
}

func (l *ledger) took(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, d)
}

func (l *ledger) acks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// refusedWith tells whether there were refusals with all of the codes.
func (l *ledger) refusedWith(codes ...int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, code := range codes {
		if l.refusals[code] == 0 {
			return false
		}
	}
	return true
}

// refusalsSoFar gives the refusals by code, and forgets them.
func (l *ledger) refusalsSoFar() map[int]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.refusals
	l.refusals = make(map[int]int)
	return r
}

// snapshot copies what was offered and acknowledged.
func (l *ledger) snapshot() (offered map[string]bool, acked map[string]time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.offered), maps.Clone(l.acked)
}

// text is the whole body of a message: a copy that is not exactly this is
// another message, or a damaged one.
func (l *ledger) text(to string) string {
	return "begin " + to + "\r\n" + l.pad + "end " + to + "\r\n"
}

// padding makes so many octets of lines.
func padding(n int) string {
	const line = "The quick brown fox jumps over the lazy dog, again and again.\r\n"
	return strings.Repeat(line, n/len(line))
}

// dial opens a submission that is logged in.
func (w *world) dial(ctx context.Context) (*smtp.Client, net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", w.smtp)
	if err != nil {
		return nil, nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, conn, err
	}
	c, err := smtp.NewClient(conn, hostname)
	if err != nil {
		return nil, conn, err
	}
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		return nil, conn, err
	}
	return c, conn, c.Auth(smtp.PlainAuth("", w.user, w.secret, hostname))
}

// mail is a message as SMTP takes it.
func (w *world) mail(to string) string {
	return "From: " + sender + "\r\nTo: " + to + "\r\nSubject: " + to + "\r\n\r\n" + w.text(to)
}

// sendSMTP submits up to n messages on one connection, until something breaks.
func (w *world) sendSMTP(ctx context.Context, n int, name func() string) error {
	c, conn, err := w.dial(ctx)
	if conn != nil {
		defer func() { _ = conn.Close() }()
	}
	if err != nil {
		return err
	}
	for range n {
		if ctx.Err() != nil {
			return c.Quit()
		}
		to := name()
		if err := w.submit(c, to); err != nil {
			return err
		}
	}
	return c.Quit()
}

func (w *world) submit(c *smtp.Client, to string) error {
	if err := c.Mail(sender); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	b, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := b.Write([]byte(w.mail(to))); err != nil {
		return err
	}
	sent := time.Now()
	if err := b.Close(); err != nil {
		return err
	}
	w.took(time.Since(sent))
	w.ack(to)
	return nil
}

// sendHTTP submits a batch of n; each item that was taken is acknowledged.
func (w *world) sendHTTP(n int, name func() string) error {
	var batch []map[string]string
	for range n {
		to := name()
		batch = append(batch, map[string]string{"From": sender, "To": to, "Subject": to, "TextBody": w.text(to)})
	}
	var results []struct {
		ErrorCode   int
		To, Message string
	}
	sent := time.Now()
	if err := w.call("POST", "/email/batch", serverHeader, w.token, batch, &results); err != nil {
		return err
	}
	w.took(time.Since(sent))
	for _, one := range results {
		if one.ErrorCode != 0 {
			return &statusError{one.ErrorCode, one.Message}
		}
		w.ack(one.To)
	}
	return nil
}

// load keeps submitting, by SMTP and HTTP, until the function that it gives is
// called.
func (w *world) load() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	keep := func(send func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := send(); err != nil && ctx.Err() == nil {
					w.refused(err)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	for range 3 {
		keep(func() error { return w.sendSMTP(ctx, 20, w.fresh) })
	}
	for range 2 {
		keep(func() error { return w.sendHTTP(5, w.fresh) })
	}
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); wg.Wait() }) }
	w.t.Cleanup(stop)
	return stop
}

// accepted waits until n more messages were acknowledged.
func (w *world) accepted(n int, within time.Duration) bool {
	w.t.Helper()
	from := w.acks()
	ok := w.until(within, fmt.Sprintf("%d more acknowledgements", n), func() bool { return w.acks() >= from+n })
	w.countFreed()
	return ok
}
