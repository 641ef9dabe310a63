package deliver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/bounce"
	"pennypost/internal/dkim"
	"pennypost/internal/event"
	"pennypost/internal/fakenet"
	"pennypost/internal/mx"
	"pennypost/internal/queue"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

// BenchmarkPipeline measures a message from its acceptance (without the edges)
// to the 250 of the other side and the note of it: store, queue, signature,
// SMTP over loopback. The sink runs in the same process, and its cost is part
// of the figures.
func BenchmarkPipeline(b *testing.B) {
	for _, c := range []struct {
		name     string
		unsaved  bool // free in the store: claimed and loaded
		domains  int
		personal bool
	}{
		{"fresh", false, 1, false},
		{"fresh_100_domains", false, 100, false},
		{"surplus", true, 1, false},
		{"personal", false, 1, true},
	} {
		b.Run(c.name, func(b *testing.B) { benchPipeline(b, c.unsaved, c.domains, c.personal) })
	}
}

// inFlight bounds what was accepted and not delivered.
const inFlight = 1000

func benchPipeline(b *testing.B, unsaved bool, domains int, personal bool) {
	b.Helper()
	p := newBenchmark(b, domains)
	p.personal = personal
	body := benchContent()
	slots := make(chan struct{}, inFlight)
	p.sink.took = func() { <-slots }
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	start := cpu()
	var left atomic.Int64
	left.Store(int64(b.N))
	var doors sync.WaitGroup
	for range 20 {
		doors.Go(func() {
			for left.Add(-1) >= 0 {
				slots <- struct{}{}
				p.accept(b, body, unsaved, domains)
			}
		})
	}
	doors.Wait()
	for p.d.Queue().Stats().Tasks > 0 || p.sink.count.Load() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	used := cpu() - start
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/msg")
	b.ReportMetric(float64(p.sink.conns.Load()), "conns")
}

type benchmark struct {
	st   *store.Store
	d    *Deliverer
	sink *sink
	n    atomic.Int64
	// personal messages have the ten links of benchContent made anew.
	personal bool
}

func (p *benchmark) accept(b *testing.B, body []byte, unsaved bool, domains int) {
	b.Helper()
	n := p.n.Add(1)
	m := &pennypost.Message{
		AccountID: 1, ServerID: 1, Stream: pennypost.StreamOutbound, Source: pennypost.SourceSMTP,
		From: pennypost.Mailbox{Address: "news@shop.test"}, Subject: "Your receipt", SignDomain: "shop.test", ReceivedAt: time.Now(),
		Size: int64(len(body)), Recipients: 1, TrackLinks: pennypost.TrackNone,
	}
	if _, err := rand.Read(m.ID[:]); err != nil {
		b.Error(err)
	}
	if p.personal {
		m.Personal, body = true, bytes.ReplaceAll(body, []byte(bookedToken), []byte(benchSigner().Token(m.ID, track.Copy)))
	}
	to := pennypost.Address(fmt.Sprintf("ann%d@d%d.test", n, n%int64(domains)))
	recips := []pennypost.Recipient{{MessageID: m.ID, Address: to, State: pennypost.Queued, ChangedAt: m.ReceivedAt}}
	job := pennypost.Job{
		ID: p.st.NextID(), Kind: pennypost.JobDeliver, Dest: to.Domain(), Tenant: 1, Priority: pennypost.PriorityTransactional,
		RunAt: m.ReceivedAt, Ref: store.JobRef(m.ID, 0),
	}
	var place *queue.Place
	if !unsaved {
		if place = p.d.Queue().ReserveFor(job.Dest, 1, len(body)); place != nil {
			job.Lease = p.st.Session()
		}
	}
	ctx := context.Background()
	err := p.st.Update(ctx, func(tx *store.Tx) error {
		err := tx.AddMessage(ctx, &store.NewMessage{Message: m, Content: body, Recipients: recips, Jobs: []pennypost.Job{job}})
		if err != nil {
			return err
		}
		return event.Accepted(ctx, tx, m, 1)
	})
	if err != nil {
		b.Error(err)
	}
	if place == nil {
		p.d.Queue().Wake(job.Dest)
		return
	}
	place.Offer(queue.Task{Job: job, Payload: NewFresh(m, body, recips)[0], Bytes: len(body)})
}

// bookedToken keeps the place of a token in benchContent.
const bookedToken = "0123456789abcdefghijklmn"

func benchSigner() *track.Signer { return track.NewSigner([]byte("key")) }

func benchContent() []byte {
	var m bytes.Buffer
	m.WriteString("From: Shop <news@shop.test>\r\nTo: ann@d0.test\r\nSubject: Your receipt\r\nMessage-ID: <1@mail.test>\r\n" +
		"Date: Sat, 01 Jan 2000 00:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	for range 10 {
		m.WriteString("https://track.test/c/h1/0123456789abcdefghijkl/0123456789abcdef/" + bookedToken + "/x\r\n")
	}
	for m.Len() < 4096 {
		m.WriteString("Thank you for your order. It will be with you in no time at all.\r\n")
	}
	return m.Bytes()
}

func newBenchmark(b *testing.B, domains int) *benchmark {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	n, err := fakenet.New(fakenet.Config{})
	if err != nil {
		b.Fatal(err)
	}
	st, err := store.Open(ctx, store.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	p := &benchmark{st: st, sink: newSink(b)}
	priv, err := dkim.GenerateRSA(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	der, err := dkim.MarshalPKCS8(priv)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := keys.Seal(auth.PurposeDKIM, der)
	if err != nil {
		b.Fatal(err)
	}
	err = st.Update(ctx, func(tx *store.Tx) error {
		return tx.AddDKIMKey(ctx, &pennypost.DKIMKey{
			AccountID: 1, Domain: "shop.test", Selector: "s", Algorithm: pennypost.AlgorithmRSA, State: pennypost.KeyActive, Sealed: sealed,
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range domains {
		for _, line := range []string{"d%d.test. 60 IN MX 10 mx%d.sink.test.", "mx%d.sink.test. 60 IN A 127.0.0.1"} {
			if err := n.Record(strings.ReplaceAll(line, "%d", fmt.Sprint(i))); err != nil {
				b.Fatal(err)
			}
		}
	}
	resolver, err := mx.NewResolver(mx.ResolverConfig{Servers: []string{n.DNSAddr()}})
	if err != nil {
		b.Fatal(err)
	}
	verp, err := bounce.NewVerp(0, bounce.VerpKey{ID: 1, Secret: make([]byte, 32)})
	if err != nil {
		b.Fatal(err)
	}
	p.d, err = New(Config{
		Store: st, Finder: mx.New(mx.FinderConfig{Resolver: resolver, AllowPrivate: true}), Keys: keys, Verp: verp,
		Hostname: "mail.test", BounceDomain: "pm.mail.test", MXPort: p.sink.port, Personal: benchSigner().Personal,
	})
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{n.Run, st.KeepSession, p.d.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	return p
}

func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// A sink takes all mail and throws it away.
type sink struct {
	port  int
	took  func()
	count atomic.Int64
	conns atomic.Int64
}

func newSink(b *testing.B) *sink {
	b.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &sink{port: l.Addr().(*net.TCPAddr).Port}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			go s.serve(c)
		}
	}()
	return s
}

func (s *sink) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r, w := bufio.NewReaderSize(c, 16<<10), bufio.NewWriter(c)
	_, _ = w.WriteString("220 sink\r\n")
	data := false
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		reply := "250 2.0.0 Ok\r\n"
		switch {
		case data && string(line) != ".\r\n":
			continue
		case data:
			data = false
			s.count.Add(1)
			s.took()
		case bytes.HasPrefix(line, []byte("EHLO")):
			reply = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 10000000\r\n"
		case bytes.HasPrefix(line, []byte("DATA")):
			data, reply = true, "354 go\r\n"
		case bytes.HasPrefix(line, []byte("QUIT")):
			return
		}
		_, _ = w.WriteString(reply)
	}
}
