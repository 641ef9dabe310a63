package deliver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/bounce"
	"pennypost/internal/dkim"
	"pennypost/internal/event"
	"pennypost/internal/fakenet"
	"pennypost/internal/metrics"
	"pennypost/internal/mx"
	"pennypost/internal/queue"
	"pennypost/internal/store"
)

// A world is a deliverer on a real store, with a pretend internet, in a bubble
// of synctest.
type world struct {
	t    *testing.T
	dir  string
	st   *store.Store
	net  *fakenet.Net
	d    *Deliverer
	keys *auth.Keys
	log  *safeBuffer
	met  *metrics.Set

	account pennypost.AccountID
	server  pennypost.ServerID

	mu    sync.Mutex
	dials map[string]int // by address
	// dial stands before the net's own, if set.
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	change []func(*Config)
	stop   func()
	close  func()
	// endLease lets nobody renew the session any more.
	endLease func()
}

// quickDir is a directory in memory where there is one: thousands of commits
// are made in hours of fake time, and none of these tests cuts the power.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "deliver") //nolint:usetesting // TempDir is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const (
	senderDomain = "shop.test"
	bounceDomain = "pm.mail.test"
)

// lifetimeOfTests is how long their stream tries. Each hour of fake time costs
// the store some hundred real commits, as sessions are renewed.
const lifetimeOfTests = 6 * time.Hour

// inBubble runs a test with a world that is not running yet.
func inBubble(t *testing.T, test func(x *world), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// A bubble begins in the year 2000; ids and certificates are younger.
		time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
		n, err := fakenet.New(fakenet.Config{Memory: true, Again: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Errorf("net: %v", err)
			}
		})
		t.Cleanup(func() {
			cancel()
			wg.Wait()
		})
		master := make([]byte, 32)
		keys, err := auth.NewKeys(master)
		if err != nil {
			t.Fatal(err)
		}
		x := &world{
			t: t, dir: quickDir(t), net: n, keys: keys, log: &safeBuffer{}, dials: make(map[string]int),
			account: 1, server: 1, change: change, stop: func() {}, close: func() {},
		}
		t.Cleanup(func() {
			x.stop()
			x.close()
		})
		x.open(x.dir)
		x.customer()
		test(x)
	})
}

// open opens a store and makes a deliverer on it.
func (x *world) open(dir string) {
	x.t.Helper()
	st, err := store.Open(x.t.Context(), store.Config{Dir: dir})
	if err != nil {
		x.t.Fatal(err)
	}
	x.st = st
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := st.KeepSession(ctx); err != nil && ctx.Err() == nil {
			x.t.Errorf("session: %v", err)
		}
	})
	x.endLease = func() {
		cancel()
		wg.Wait()
	}
	closed := false
	x.close = func() {
		if closed {
			return
		}
		closed = true
		cancel()
		wg.Wait()
		if err := st.Close(); err != nil {
			x.t.Error(err)
		}
	}
	x.make()
}

func (x *world) make() {
	x.t.Helper()
	resolver, err := mx.NewResolver(mx.ResolverConfig{Servers: []string{x.net.DNSAddr()}, Dial: x.net.Dial})
	if err != nil {
		x.t.Fatal(err)
	}
	x.met = metrics.New()
	verp, err := bounce.NewVerp(0, bounce.VerpKey{ID: 1, Secret: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		x.t.Fatal(err)
	}
	c := Config{
		Store: x.st, Finder: mx.New(mx.FinderConfig{Resolver: resolver, AllowPrivate: true, Now: time.Now}), Keys: x.keys, Verp: verp,
		Hostname: "mail.test", BounceDomain: bounceDomain, MXPort: x.net.MXPort(), Dialer: x.dialer,
		Log: slog.New(slog.NewTextHandler(x.log, nil)), Metrics: x.met,
		// Half of the jitter is none; seldom looks keep long tests short.
		Rand: func() float64 { return .5 }, RefreshHold: time.Minute,
		Queue: queue.Config{ScanEvery: time.Minute, SweepEvery: 10 * time.Minute},
	}
	for _, f := range x.change {
		f(&c)
	}
	if x.d, err = New(c); err != nil {
		x.t.Fatal(err)
	}
}

func (x *world) dialer(ctx context.Context, network, addr string) (net.Conn, error) {
	x.mu.Lock()
	host, _, _ := net.SplitHostPort(addr)
	x.dials[host]++
	dial := x.dial
	x.mu.Unlock()
	if dial != nil {
		return dial(ctx, network, addr)
	}
	return x.net.Dial(ctx, network, addr)
}

func (x *world) dialled() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, k := range x.dials {
		n += k
	}
	return n
}

// run starts the deliverer; it ends with the test or stop.
func (x *world) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.t.Context()))
	done := make(chan error, 1)
	d := x.d
	go func() { done <- d.Run(ctx) }()
	ended := false
	x.stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			x.t.Errorf("Run: %v", err)
		}
	}
	settled()
}

func (x *world) update(fn func(ctx context.Context, tx *store.Tx) error) {
	x.t.Helper()
	ctx := x.t.Context()
	if err := x.st.Update(ctx, func(tx *store.Tx) error { return fn(ctx, tx) }); err != nil {
		x.t.Fatal(err)
	}
}

// customer sets an account up with a server, a domain and its key, and the
// instance with its own.
func (x *world) customer() {
	x.t.Helper()
	x.update(func(ctx context.Context, tx *store.Tx) error {
		a := &pennypost.Account{Name: "shop", Plan: pennypost.PlanUnlimited}
		if err := tx.AddAccount(ctx, a); err != nil {
			return err
		}
		s := &pennypost.Server{
			AccountID: a.ID, Name: "shop", SMTPActivated: true, SMTPRejection: pennypost.RejectImmediate,
			TrackLinks: pennypost.TrackNone, InboundHash: "0123456789abcdef0123456789abcdef",
		}
		if err := tx.AddServer(ctx, s); err != nil {
			return err
		}
		x.account, x.server = a.ID, s.ID
		return tx.AddStream(ctx, &pennypost.Stream{
			ServerID: s.ID, ID: pennypost.StreamOutbound, Type: pennypost.StreamTransactional, Name: "outbound",
			Unsubscribe: pennypost.UnsubscribeNone, RetryFor: lifetimeOfTests,
		})
	})
	x.key(x.account, senderDomain, "first", pennypost.AlgorithmRSA)
	x.key(0, bounceDomain, "own", pennypost.AlgorithmRSA)
}

// key makes a signing key, active and published.
func (x *world) key(account pennypost.AccountID, domain, selector string, alg pennypost.Algorithm) *pennypost.DKIMKey {
	x.t.Helper()
	var priv crypto.Signer
	var err error
	if alg == pennypost.AlgorithmRSA {
		priv, err = dkim.GenerateRSA(rand.Reader)
	} else {
		priv, err = dkim.GenerateEd25519(rand.Reader)
	}
	if err != nil {
		x.t.Fatal(err)
	}
	txt, err := dkim.TXTValue(priv)
	if err != nil {
		x.t.Fatal(err)
	}
	der, err := dkim.MarshalPKCS8(priv)
	if err != nil {
		x.t.Fatal(err)
	}
	sealed, err := x.keys.Seal(auth.PurposeDKIM, der)
	if err != nil {
		x.t.Fatal(err)
	}
	k := &pennypost.DKIMKey{
		AccountID: account, Domain: domain, Selector: selector, Algorithm: alg, State: pennypost.KeyActive,
		TXT: txt, Sealed: sealed,
	}
	x.update(func(ctx context.Context, tx *store.Tx) error { return tx.AddDKIMKey(ctx, k) })
	if err := x.net.Record(fmt.Sprintf("%s. 60 IN TXT %s", k.Host(), quoted(txt))); err != nil {
		x.t.Fatal(err)
	}
	return k
}

// quoted divides a text into strings of a TXT record.
func quoted(s string) string {
	var b strings.Builder
	for len(s) > 200 {
		fmt.Fprintf(&b, "%q ", s[:200])
		s = s[200:]
	}
	fmt.Fprintf(&b, "%q", s)
	return b.String()
}

// A draft is a message to be accepted.
type draft struct {
	to        []string
	tag       string
	deliverBy time.Time
	sendAt    time.Time // stored free, as the door does
	sandbox   bool
	asked     string // X-PM-Bounce-Type
	broadcast bool
	noDomain  bool // no signing domain
	unplaced  bool // stored free, as when there is no room
	content   string
	// personal makes the content of a personal message.
	personal func(id pennypost.MessageID) string
	received time.Time
}

const content = "From: Shop <news@shop.test>\r\nTo: ann@a.test\r\nSubject: Your receipt\r\n" +
	"Message-ID: <1@mail.test>\r\nDate: Sat, 01 Jan 2000 00:00:00 +0000\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=us-ascii\r\n\r\nThank you.\r\n.\r\n..two\r\n"

// accept does what the door does.
func (x *world) accept(f draft) *pennypost.Message {
	x.t.Helper()
	m, recips := x.message(f)
	if f.personal != nil {
		f.content = f.personal(m.ID)
		m.Personal, m.Size = true, int64(len(f.content))
	}
	q := x.d.Queue()
	jobs := make([]pennypost.Job, len(recips))
	places := make([]*queue.Place, len(recips))
	fresh := NewFresh(m, []byte(f.content), recips)
	for i, r := range recips {
		dest := x.d.names.Dest(m, r.Address, f.asked)
		jobs[i] = pennypost.Job{
			ID: x.st.NextID(), Kind: pennypost.JobDeliver, Dest: dest, Tenant: m.ServerID,
			Priority: pennypost.PriorityTransactional, RunAt: m.Begins(), Ref: store.JobRef(m.ID, r.N),
		}
		if m.Broadcast {
			jobs[i].Priority = pennypost.PriorityBulk
		}
		if f.unplaced || !f.sendAt.IsZero() {
			continue
		}
		if places[i] = q.ReserveFor(dest, m.ServerID, len(f.content)/len(recips)); places[i] != nil {
			jobs[i].Lease = x.st.Session()
		}
	}
	x.update(func(ctx context.Context, tx *store.Tx) error {
		err := tx.AddMessage(ctx, &store.NewMessage{Message: m, Content: []byte(f.content), Recipients: recips, Jobs: jobs})
		if err != nil {
			return err
		}
		return event.Accepted(ctx, tx, m, len(recips))
	})
	for i, p := range places {
		if p != nil {
			p.Offer(queue.Task{Job: jobs[i], Payload: fresh[i], Bytes: len(f.content) / len(recips)})
		} else if f.sendAt.IsZero() {
			q.Wake(jobs[i].Dest)
		}
	}
	return m
}

func (x *world) message(f draft) (*pennypost.Message, []pennypost.Recipient) {
	if f.content == "" {
		f.content = content
	}
	now := time.Now()
	if !f.received.IsZero() {
		now = f.received
	}
	m := &pennypost.Message{
		AccountID: x.account, ServerID: x.server, Stream: pennypost.StreamOutbound, Broadcast: f.broadcast, Sandbox: f.sandbox,
		Source: pennypost.SourceHTTP, From: pennypost.Mailbox{Name: "Shop", Address: "news@shop.test"}, Subject: "Your receipt",
		Tag: f.tag, SignDomain: senderDomain, ReceivedAt: now, SendAt: f.sendAt, DeliverBy: f.deliverBy, Size: int64(len(f.content)),
		Recipients: len(f.to), HeaderID: "<1@mail.test>", TrackLinks: pennypost.TrackNone,
	}
	if f.noDomain {
		m.SignDomain = ""
	}
	if _, err := rand.Read(m.ID[:]); err != nil {
		x.t.Fatal(err)
	}
	recips := make([]pennypost.Recipient, len(f.to))
	for i, a := range f.to {
		recips[i] = pennypost.Recipient{MessageID: m.ID, N: i, Address: pennypost.Address(a), State: pennypost.Queued, NextAt: m.Begins(), ChangedAt: now}
		m.To = append(m.To, pennypost.Mailbox{Address: pennypost.Address(a)})
	}
	return m, recips
}

// mail accepts a message with the usual content to some recipients.
func (x *world) mail(to ...string) *pennypost.Message {
	x.t.Helper()
	return x.accept(draft{to: to, content: content})
}

// A story is what the store knows of a recipient.
type story struct {
	pennypost.Recipient
	attempts []pennypost.Attempt
	events   []pennypost.Event
	jobs     int
}

// story reads what became of a recipient, after all that can happen now has
// happened.
func (x *world) story(m *pennypost.Message, n int) story {
	x.t.Helper()
	settled()
	var s story
	ctx := x.t.Context()
	err := x.st.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Recipient(ctx, m.ID, n)
		if err != nil {
			return err
		}
		s.Recipient = *r
		attempts, err := tx.Attempts(ctx, m.ID)
		if err != nil {
			return err
		}
		for _, a := range attempts {
			if a.N == n {
				s.attempts = append(s.attempts, a)
			}
		}
		events, err := tx.Events(ctx, m.ID)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.N == n {
				s.events = append(s.events, e)
			}
		}
		jobs, err := tx.JobsOf(ctx, m.ID)
		for _, j := range jobs {
			if bytes.Equal(j.Ref, store.JobRef(m.ID, n)) {
				s.jobs++
			}
		}
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// want checks state, attempts and the kinds of events, and that a job is there
// just as long as something is to be done.
func (x *world) want(m *pennypost.Message, n int, state pennypost.RecipientState, attempts int, events ...pennypost.EventType) story {
	x.t.Helper()
	s := x.story(m, n)
	var kinds []pennypost.EventType
	for _, e := range s.events {
		kinds = append(kinds, e.Type)
	}
	if s.State != state || s.Attempts != attempts || len(s.attempts) != attempts || fmt.Sprint(kinds) != fmt.Sprint(events) {
		x.t.Errorf("recipient %d: %v, %d attempts (%d rows), events %v, %q\nwant %v, %d attempts, events %v",
			n, s.State, s.Attempts, len(s.attempts), kinds, s.Reply, state, attempts, events)
		for _, a := range s.attempts[:min(3, len(s.attempts))] {
			x.t.Logf("attempt %d at %v: %v %s %s\n%s", a.No, a.StartedAt, a.Outcome, a.Phase, a.Reply, a.Conversation)
		}
	}
	jobs := 1
	if state.Final() {
		jobs = 0
	}
	if s.jobs != jobs {
		x.t.Errorf("recipient %d: %d jobs, want %d", n, s.jobs, jobs)
	}
	return s
}

// got gives the mails that arrived for a recipient.
func (x *world) got(to string, want int) []fakenet.Mail {
	x.t.Helper()
	settled()
	mails := x.net.Box().ByRecipient(to)
	if len(mails) != want {
		x.t.Errorf("%d mails arrived for %s, want %d", len(mails), to, want)
	}
	return mails
}

func (x *world) suppressed(a pennypost.Address) bool {
	x.t.Helper()
	var found []pennypost.Address
	ctx := x.t.Context()
	err := x.st.View(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.Suppressed(ctx, x.server, pennypost.StreamOutbound, []pennypost.Address{a})
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return len(found) > 0
}

// metric gives a figure of the metrics page, summed over its labels.
func (x *world) metric(name string) float64 {
	x.t.Helper()
	rec := httptest.NewRecorder()
	x.met.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(x.t.Context(), "GET", "/", nil))
	sum := 0.0
	line := regexp.MustCompile(`(?m)^pennypost_` + name + `(?:\{[^}]*\})? (\S+)$`)
	for _, m := range line.FindAllStringSubmatch(rec.Body.String(), -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			x.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// act gives a domain a mail server of its own.
func (x *world) act(domain string, act func(fakenet.Moment) fakenet.Act) {
	x.t.Helper()
	if _, err := x.net.Host(domain, fakenet.Script{Act: act}); err != nil {
		x.t.Fatal(err)
	}
}

// answer gives a domain a mail server that always says the same at a stage.
func (x *world) answer(domain string, stage fakenet.Stage, reply string) {
	x.t.Helper()
	x.act(domain, func(m fakenet.Moment) fakenet.Act {
		if m.Stage == stage {
			return fakenet.Act{Reply: reply}
		}
		return fakenet.Act{}
	})
}

// settled waits until all that can happen now has happened. Results of attempts
// wait for company on their way to the disk.
func settled() {
	for range 3 {
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
	}
	synctest.Wait()
}
