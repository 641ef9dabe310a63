package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server is a DNS server on loopback whose answers a test scripts.
type server struct {
	t    testing.TB
	addr string

	mu      sync.Mutex
	records map[string][]string // "name TYPE" to records in the form of zone files
	special map[string]func(w dns.ResponseWriter, r *dns.Msg)
	asked   map[string]int // "name TYPE network"
	down    atomic.Bool    // says nothing
}

func newServer(tb testing.TB) *server {
	tb.Helper()
	s := &server{t: tb, records: map[string][]string{}, special: map[string]func(dns.ResponseWriter, *dns.Msg){}, asked: map[string]int{}}
	var lc net.ListenConfig
	var pc net.PacketConn
	var l net.Listener
	for range 10 { // the TCP port of the same number may be taken
		var err error
		if pc, err = lc.ListenPacket(tb.Context(), "udp", "127.0.0.1:0"); err != nil {
			tb.Fatal(err)
		}
		if l, err = lc.Listen(tb.Context(), "tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		_ = pc.Close() // try another
		l = nil
	}
	if l == nil {
		tb.Fatal("no port that is free for UDP and TCP")
	}
	s.addr = pc.LocalAddr().String()
	for _, d := range []*dns.Server{{PacketConn: pc, Handler: s}, {Listener: l, Handler: s}} {
		started := make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		done := make(chan error, 1)
		go func() { done <- d.ActivateAndServe() }()
		<-started
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = d.ShutdownContext(ctx) //nolint:errcheck // sessions that a test left hanging
			if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
				tb.Error(err)
			}
		})
	}
	return s
}

// ServeDNS answers from the records: NXDOMAIN for names that have none, no
// record for types that they have not.
func (s *server) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	q := r.Question[0]
	key := strings.ToLower(strings.TrimSuffix(q.Name, ".")) + " " + dns.TypeToString[q.Qtype]
	s.mu.Lock()
	s.asked[key+" "+w.LocalAddr().Network()]++
	special := s.special[key]
	if s.down.Load() {
		special = silent
	}
	s.mu.Unlock()
	if special != nil {
		special(w, r)
		return
	}
	send(w, s.answer(r, key))
}

func (s *server) answer(r *dns.Msg, key string) *dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	m.RecursionAvailable = true
	name, _, _ := strings.Cut(key, " ")
	m.Rcode = dns.RcodeNameError
	for k := range s.records {
		if n, _, _ := strings.Cut(k, " "); n == name {
			m.Rcode = dns.RcodeSuccess
		}
	}
	for _, text := range s.records[key] {
		m.Answer = append(m.Answer, record(s.t, text))
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{record(s.t, "test. 600 IN SOA ns.test. root.test. 1 1 1 1 300")}
	}
	return m
}

func record(tb testing.TB, text string) dns.RR {
	tb.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		tb.Errorf("%s: %v", text, err)
	}
	return rr
}

// set gives a name records; each is "TTL TYPE data". No data: the name exists.
func (s *server) set(name, qtype string, data ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := name + " " + qtype
	s.records[key] = nil
	delete(s.special, key)
	for _, d := range data {
		s.records[key] = append(s.records[key], name+". "+d)
	}
}

// script answers a question in another way; w and r are the library's.
func (s *server) script(name, qtype string, f func(w dns.ResponseWriter, r *dns.Msg)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.special[name+" "+qtype] = f
}

// count tells how often a question came over "udp" or "tcp".
func (s *server) count(name, qtype, network string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name+" "+qtype+" "+network]
}

func send(w dns.ResponseWriter, m *dns.Msg) {
	_ = w.WriteMsg(m) //nolint:errcheck // the client may be gone
}

func sendRaw(w dns.ResponseWriter, b []byte) {
	_, _ = w.Write(b) //nolint:errcheck // the client may be gone
}

func silent(dns.ResponseWriter, *dns.Msg) {}

func rcode(code int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, r *dns.Msg) {
		send(w, new(dns.Msg).SetRcode(r, code))
	}
}

// reply answers with these sections, as they are.
func reply(tb testing.TB, answer, authority, additional []string) func(dns.ResponseWriter, *dns.Msg) {
	tb.Helper()
	return func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		for _, text := range answer {
			m.Answer = append(m.Answer, record(tb, text))
		}
		for _, text := range authority {
			m.Ns = append(m.Ns, record(tb, text))
		}
		for _, text := range additional {
			m.Extra = append(m.Extra, record(tb, text))
		}
		send(w, m)
	}
}

// clock is a time that a test moves.
type clock struct{ us atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.us.Load()) }
func (c *clock) forward(d time.Duration) { c.us.Add(d.Microseconds()) }

// resolver gives one that asks the server, with a clock of its own.
func (s *server) resolver(tb testing.TB, change func(c *ResolverConfig)) (*Resolver, *clock) {
	tb.Helper()
	clk := &clock{}
	clk.forward(time.Hour)
	c := ResolverConfig{Servers: []string{s.addr}, Now: clk.now, Timeout: 8 * time.Second}
	if change != nil {
		change(&c)
	}
	r, err := NewResolver(c)
	if err != nil {
		tb.Fatal(err)
	}
	return r, clk
}

// hurry makes time-outs short.
func hurry(c *ResolverConfig) { c.Timeout = 100 * time.Millisecond }

func wantKind(t *testing.T, err error, kind Kind, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want kind %v with %q", err, kind, text)
	}
}

func show[T any](list []T) string { return strings.Trim(fmt.Sprint(list), "[]") }
