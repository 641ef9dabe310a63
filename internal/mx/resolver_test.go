package mx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestRecords(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	s.set("a.test", "MX", "60 IN MX 20 B.test.", "60 IN MX 10 c.test.", "60 IN MX 10 A.test.", "60 IN MX 10 a.test.")
	s.set("a.test", "TXT", `60 IN TXT "v=DKIM1; " "p=\\abc\"\195\164"`, `60 IN TXT "two"`)
	s.set("k._domainkey.a.test", "CNAME", "60 IN CNAME K.Elsewhere.test.")
	s.set("a.test", "A", "60 IN A 192.0.2.1", "60 IN A 192.0.2.2", "60 IN A 192.0.2.1")
	s.set("a.test", "AAAA", "60 IN AAAA 2001:db8::1")
	s.set("b.test", "A", "60 IN A 192.0.2.3")
	s.set("empty.test", "A")
	ctx := t.Context()

	hosts, err := r.MX(ctx, "A.Test.")
	if got, want := show(hosts), "{a.test 10} {c.test 10} {b.test 20}"; err != nil || got != want {
		t.Errorf("MX: got %s, %v, want %s", got, err, want)
	}
	texts, err := r.TXT(ctx, "a.test")
	if got, want := strings.Join(texts, "|"), `v=DKIM1; p=\abc"ä|two`; err != nil || got != want {
		t.Errorf("TXT: got %q, %v, want %q", got, err, want)
	}
	target, err := r.CNAME(ctx, "k._domainkey.a.test")
	if want := "k.elsewhere.test"; err != nil || target != want {
		t.Errorf("CNAME: got %q, %v, want %q", target, err, want)
	}
	addrs, err := r.Addrs(ctx, "a.test")
	if got, want := show(addrs), "2001:db8::1 192.0.2.1 192.0.2.2"; err != nil || got != want {
		t.Errorf("Addrs: got %s, %v, want %s", got, err, want)
	}
	addrs, err = r.Addrs(ctx, "b.test")
	if got, want := show(addrs), "192.0.2.3"; err != nil || got != want {
		t.Errorf("Addrs: got %s, %v, want %s", got, err, want)
	}

	_, err = r.MX(ctx, "b.test")
	wantKind(t, err, NoRecord, "MX b.test: no such record")
	_, err = r.CNAME(ctx, "b.test")
	wantKind(t, err, NoRecord, "CNAME b.test")
	_, err = r.TXT(ctx, "c.test")
	wantKind(t, err, NoName, "TXT c.test: no such name")
	_, err = r.Addrs(ctx, "c.test")
	wantKind(t, err, NoName, "c.test")
	_, err = r.Addrs(ctx, "empty.test")
	wantKind(t, err, NoRecord, "empty.test")
}

// Those who look for a *net.DNSError, such as package dkim, find one.
func TestErrorIsDNSError(t *testing.T) {
	for _, tt := range []struct {
		kind            Kind
		sentinel        error
		notFound, later bool
	}{
		{NoName, ErrNoName, true, false}, {NoRecord, ErrNoRecord, true, false}, {Temporary, ErrTemporary, false, true},
	} {
		cause := errors.New("cause")
		err := fmt.Errorf("look: %w", &Error{Name: "a.test", Type: "MX", Kind: tt.kind, Err: cause})
		var d *net.DNSError
		if !errors.As(err, &d) || d.IsNotFound != tt.notFound || d.IsTemporary != tt.later || d.Name != "a.test" {
			t.Errorf("%v: got %+v", tt.kind, d)
		}
		for _, s := range []error{ErrNoName, ErrNoRecord, ErrTemporary} {
			if got := errors.Is(err, s); got != errors.Is(s, tt.sentinel) {
				t.Errorf("%v: got Is(%v) %v", tt.kind, s, got)
			}
		}
		if !errors.Is(err, cause) {
			t.Errorf("%v: the cause is lost", tt.kind)
		}
	}
}

// Names that no DNS has are not asked for.
func TestNamesNotAsked(t *testing.T) {
	r, err := NewResolver(ResolverConfig{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		t.Errorf("dialled %s", addr)
		return nil, io.EOF
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"", ".", "a..b", ".a", "-.", "127.0.0.1", "1", "[127.0.0.1]", "::1", "a b.test", "ä.test", "a\x00.test", `a\.b.test`,
		strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "test", "*.test", "a.test..",
	} {
		if name == "-." {
			continue
		}
		_, err := r.MX(t.Context(), name)
		wantKind(t, err, NoName, "MX ")
		_, err = r.Addrs(t.Context(), name)
		wantKind(t, err, NoName, "")
	}
}

// D-002: what is no answer.
func TestNoAnswer(t *testing.T) {
	tests := []struct {
		name   string
		script func(dns.ResponseWriter, *dns.Msg)
		text   string
	}{
		{"SERVFAIL", rcode(dns.RcodeServerFailure), "SERVFAIL"},
		{"REFUSED", rcode(dns.RcodeRefused), "REFUSED"},
		{"unknown code", rcode(12), "RCODE 12"},
		{"silence", silent, "timed out"},
		{"lame", reply(t, nil, []string{"test. 60 IN NS ns.test."}, nil), "refers to others"},
		{"loop", reply(t, []string{"x.test. 60 IN CNAME y.test.", "y.test. 60 IN CNAME x.test."}, nil, nil), "CNAMEs"},
		{"loop of one", reply(t, []string{"x.test. 60 IN CNAME x.test."}, nil, nil), "CNAMEs"},
		{"another id", func(w dns.ResponseWriter, r *dns.Msg) {
			r.Id++
			reply(t, []string{"x.test. 60 IN MX 1 a.test."}, nil, nil)(w, r)
		}, "timed out"},
		{"another question", func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetReply(r)
			m.Question[0].Name = "y.test."
			m.Answer = append(m.Answer, record(t, "y.test. 60 IN MX 1 a.test."))
			send(w, m)
		}, "timed out"},
		{"no question", func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetReply(r)
			m.Question = nil
			send(w, m)
		}, "timed out"},
		{"a flood", func(w dns.ResponseWriter, r *dns.Msg) {
			r.Id++
			for range 2 * maxStray {
				reply(t, nil, nil, nil)(w, r)
			}
		}, "too many answers that do not fit"},
		{"damaged", func(w dns.ResponseWriter, r *dns.Msg) { sendRaw(w, damaged(r)) }, ""},
		{"compression loop", func(w dns.ResponseWriter, r *dns.Msg) { sendRaw(w, looped(r)) }, ""},
		{"cut, and no TCP", func(w dns.ResponseWriter, r *dns.Msg) {
			if w.LocalAddr().Network() == "udp" {
				m := new(dns.Msg).SetReply(r)
				m.Truncated = true
				send(w, m)
				return
			}
			_ = w.Close() // the point
		}, "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			r, _ := s.resolver(t, hurry)
			s.script("x.test", "MX", tt.script)
			_, err := r.MX(t.Context(), "x.test")
			wantKind(t, err, Temporary, tt.text)
			wantKind(t, err, Temporary, "MX x.test: no answer: ")
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		l, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // the point
		r, err := NewResolver(ResolverConfig{Servers: []string{l.LocalAddr().String()}, Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.MX(t.Context(), "x.test")
		wantKind(t, err, Temporary, "connection refused")
	})
}

// damaged is an answer whose counts promise more than there is.
func damaged(r *dns.Msg) []byte {
	m := new(dns.Msg).SetReply(r)
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	b[7] = 9 // answers
	return append(b, 0xc0, 0x0c, 0, 15)
}

// looped is an answer with a name that points to itself.
func looped(r *dns.Msg) []byte {
	b, err := new(dns.Msg).SetReply(r).Pack()
	if err != nil {
		return nil
	}
	b[7] = 1
	at := uint16(len(b)) //nolint:gosec // G115: of this test
	b = binary.BigEndian.AppendUint16(b, 0xc000|at)
	return binary.BigEndian.AppendUint16(append(b, 0, 15, 0, 1, 0, 0, 0, 60, 0, 4, 0, 1), 0xc000|at)
}

// D-009, D-011: answers that do not fit are passed over, the right one counts.
func TestForgedFirst(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	s.script("x.test", "MX", func(w dns.ResponseWriter, q *dns.Msg) {
		forged := q.Copy()
		forged.Id++
		reply(t, []string{"x.test. 60 IN MX 1 evil.test."}, nil, nil)(w, forged)
		forged = q.Copy()
		forged.Question[0].Name = "y.test."
		reply(t, []string{"x.test. 60 IN MX 1 evil.test."}, nil, nil)(w, forged)
		sendRaw(w, []byte{1, 2, 3})
		sendRaw(w, nil)
		echo, err := q.Pack()
		if err != nil {
			t.Error(err)
		}
		sendRaw(w, echo) // a question is no answer
		reply(t, []string{"X.TEST. 60 IN MX 1 good.test."}, nil, nil)(w, q)
	})
	hosts, err := r.MX(t.Context(), "x.test")
	if got := show(hosts); err != nil || got != "{good.test 1}" {
		t.Errorf("got %s, %v, want good.test", got, err)
	}
}

// D-011: only what answers the question is taken.
func TestBailiwick(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	s.script("x.test", "MX", reply(t,
		[]string{"other.test. 60 IN MX 1 evil.test.", "x.test. 60 IN MX 1 good.test.", "x.test. 60 CH TXT \"x\"", "bank.test. 60 IN A 192.0.2.66"},
		[]string{"x.test. 60 IN NS evil.test."},
		[]string{"good.test. 60 IN A 192.0.2.66", "bank.test. 60 IN A 192.0.2.66"}))
	s.set("good.test", "A", "60 IN A 192.0.2.1")
	hosts, err := r.MX(t.Context(), "x.test")
	if got := show(hosts); err != nil || got != "{good.test 1}" {
		t.Errorf("got %s, %v, want good.test alone", got, err)
	}
	addrs, err := r.Addrs(t.Context(), "good.test")
	if got := show(addrs); err != nil || got != "192.0.2.1" {
		t.Errorf("got %s, %v, want what the server says when asked", got, err)
	}
	_, err = r.Addrs(t.Context(), "bank.test")
	wantKind(t, err, NoName, "")
}

// D-009: what does not fit a datagram comes over TCP, up to 64 KiB.
func TestTCP(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	big := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if w.LocalAddr().Network() == "udp" {
			m.Truncated = true
		} else {
			for i := range 1000 { // D-008
				m.Answer = append(m.Answer, record(t, fmt.Sprintf("x.test. 60 IN MX %d mx%d.x.test.", 1000-i, i)))
			}
			m.Compress = true
		}
		send(w, m)
	}
	s.script("x.test", "MX", big)
	hosts, err := r.MX(t.Context(), "x.test")
	if err != nil || len(hosts) != maxHosts || hosts[0] != (Host{"mx999.x.test", 1}) {
		t.Errorf("got %d hosts, first %v, %v, want %d, first mx999", len(hosts), hosts[:min(len(hosts), 1)], err, maxHosts)
	}
	if got := s.count("x.test", "MX", "tcp"); got != 1 {
		t.Errorf("got %d questions over TCP, want 1", got)
	}
	// A damaged datagram may be a whole message over TCP.
	s.script("y.test", "MX", func(w dns.ResponseWriter, q *dns.Msg) {
		if w.LocalAddr().Network() == "udp" {
			sendRaw(w, damaged(q))
			return
		}
		reply(t, []string{"y.test. 60 IN MX 1 a.test."}, nil, nil)(w, q)
	})
	if hosts, err = r.MX(t.Context(), "y.test"); err != nil || show(hosts) != "{a.test 1}" {
		t.Errorf("got %v, %v, want a.test", hosts, err)
	}
	// Over TCP the answer must fit as well.
	for _, change := range []func(q *dns.Msg){
		func(q *dns.Msg) { q.Id++ }, func(q *dns.Msg) { q.Question[0].Name = "w.test." },
	} {
		r, _ := s.resolver(t, nil)
		s.script("z.test", "MX", func(w dns.ResponseWriter, q *dns.Msg) {
			if w.LocalAddr().Network() == "udp" {
				m := new(dns.Msg).SetReply(q)
				m.Truncated = true
				send(w, m)
				return
			}
			change(q)
			reply(t, nil, nil, nil)(w, q)
		})
		_, err = r.MX(t.Context(), "z.test")
		wantKind(t, err, Temporary, errQuestion.Error())
	}
}

// D-005: chains are followed, in one answer or over several questions.
func TestCNAME(t *testing.T) {
	for _, whole := range []bool{true, false} {
		for _, n := range []int{1, 8, 9, 20} {
			s := newServer(t)
			r, _ := s.resolver(t, nil)
			var chain []string
			for i := range n {
				chain = append(chain, fmt.Sprintf("c%d.test. 60 IN CNAME c%d.test.", i, i+1))
			}
			end := fmt.Sprintf("c%d.test. 60 IN A 192.0.2.1", n)
			for i := range n + 1 {
				name, answer := fmt.Sprintf("c%d.test", i), append(append([]string(nil), chain[i:]...), end)
				if !whole {
					answer = answer[:1]
				}
				s.script(name, "A", reply(t, answer, nil, nil))
				s.script(name, "AAAA", reply(t, chain[min(i, len(chain)):], []string{"test. 60 IN SOA ns.test. root.test. 1 1 1 1 300"}, nil))
			}
			addrs, err := r.Addrs(t.Context(), "c0.test")
			if n > maxChain {
				wantKind(t, err, Temporary, "CNAMEs")
			} else if err != nil || show(addrs) != "192.0.2.1" {
				t.Errorf("chain of %d, whole %v: got %v, %v", n, whole, addrs, err)
			}
		}
	}
	// What a CNAME leads to may not exist, or be no name.
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	s.script("x.test", "MX", reply(t, []string{"x.test. 60 IN CNAME gone.test."}, nil, nil))
	_, err := r.MX(t.Context(), "x.test")
	wantKind(t, err, NoName, "MX x.test")
	s.script("y.test", "MX", reply(t, []string{`y.test. 60 IN CNAME a\.b.test.`}, nil, nil))
	_, err = r.MX(t.Context(), "y.test")
	wantKind(t, err, NoName, "MX y.test")
}

// A server that knows no EDNS is asked without.
func TestNoEDNS(t *testing.T) {
	for _, code := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented} {
		s := newServer(t)
		r, _ := s.resolver(t, nil)
		s.script("x.test", "MX", func(w dns.ResponseWriter, q *dns.Msg) {
			if opt := q.IsEdns0(); opt != nil {
				if opt.UDPSize() != udpSize {
					t.Errorf("got size %d, want %d", opt.UDPSize(), udpSize)
				}
				rcode(code)(w, q)
				return
			}
			reply(t, []string{"x.test. 60 IN MX 1 a.test."}, nil, nil)(w, q)
		})
		hosts, err := r.MX(t.Context(), "x.test")
		if err != nil || show(hosts) != "{a.test 1}" {
			t.Errorf("got %v, %v", hosts, err)
		}
	}
}

// The next server answers when one does not, and is asked first from then on.
func TestServers(t *testing.T) {
	for _, fault := range []func(dns.ResponseWriter, *dns.Msg){rcode(dns.RcodeServerFailure), silent} {
		bad, good := newServer(t), newServer(t)
		r, _ := bad.resolver(t, func(c *ResolverConfig) {
			c.Servers = []string{bad.addr, good.addr}
			c.Timeout = 200 * time.Millisecond
		})
		for _, name := range []string{"a.test", "b.test"} {
			bad.script(name, "MX", fault)
			good.set(name, "MX", "60 IN MX 1 mx.test.")
			if _, err := r.MX(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if got := bad.count("a.test", "MX", "udp"); got != 1 {
			t.Errorf("got %d questions to the first server, want 1", got)
		}
		if got := bad.count("b.test", "MX", "udp"); got != 0 {
			t.Errorf("got %d questions to the server that failed before, want 0", got)
		}
	}
	if _, err := NewResolver(ResolverConfig{Servers: []string{"192.0.2.1"}}); err == nil {
		t.Error("got no error for a server without port")
	}
}

// D-014: how long answers are kept.
func TestTTL(t *testing.T) {
	soa := func(ttl, least int) []string {
		return []string{fmt.Sprintf("test. %d IN SOA ns.test. root.test. 1 1 1 1 %d", ttl, least)}
	}
	tests := []struct {
		name, qtype string
		script      func(dns.ResponseWriter, *dns.Msg)
		want        time.Duration
	}{
		{"as said", "MX", reply(t, []string{"x.test. 100 IN MX 1 a.test."}, nil, nil), 100 * time.Second},
		{"the least of the set", "MX", reply(t, []string{"x.test. 100 IN MX 1 a.test.", "x.test. 50 IN MX 1 b.test."}, nil, nil), 50 * time.Second},
		{"the least of the chain", "MX", reply(t, []string{"x.test. 30 IN CNAME y.test.", "y.test. 50 IN MX 1 b.test."}, nil, nil), 30 * time.Second},
		{"0", "MX", reply(t, []string{"x.test. 0 IN MX 1 a.test."}, nil, nil), 5 * time.Second},
		{"2^31", "MX", reply(t, []string{"x.test. 2147483648 IN MX 1 a.test."}, nil, nil), 5 * time.Second},
		{"2^31-1", "MX", reply(t, []string{"x.test. 2147483647 IN MX 1 a.test."}, nil, nil), time.Hour},
		{"no record", "MX", reply(t, nil, soa(600, 300), nil), 300 * time.Second},
		{"no record, short SOA", "MX", reply(t, nil, soa(60, 300), nil), 60 * time.Second},
		{"no record, no SOA", "MX", reply(t, nil, nil, nil), 5 * time.Second},
		{"no name", "MX", func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetRcode(r, dns.RcodeNameError)
			m.Ns = append(m.Ns, record(t, soa(86400, 86400)[0]))
			send(w, m)
		}, time.Hour},
		{"failed", "MX", rcode(dns.RcodeServerFailure), 5 * time.Second},
		{"TXT", "TXT", reply(t, []string{`x.test. 3600 IN TXT "x"`}, nil, nil), time.Minute},
		{"no TXT", "TXT", reply(t, nil, soa(600, 300), nil), 5 * time.Second},
		{"CNAME", "CNAME", reply(t, []string{"x.test. 10 IN CNAME y.test."}, nil, nil), 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			r, clk := s.resolver(t, nil)
			s.script("x.test", tt.qtype, tt.script)
			ask := func() {
				switch tt.qtype {
				case "MX":
					_, _ = r.MX(t.Context(), "x.test") //nolint:errcheck // counted
				case "TXT":
					_, _ = r.TXT(t.Context(), "x.test") //nolint:errcheck // counted
				default:
					_, _ = r.CNAME(t.Context(), "x.test") //nolint:errcheck // counted
				}
			}
			for _, step := range []struct {
				after time.Duration
				want  int
			}{{0, 1}, {tt.want - time.Second, 1}, {time.Second, 2}} {
				clk.forward(step.after)
				ask()
				if got := s.count("x.test", tt.qtype, "udp"); got != step.want {
					t.Fatalf("got %d questions after %v more, want %d", got, step.after, step.want)
				}
			}
		})
	}
}

// RFC 9520: what fails again and again is asked less and less often.
func TestFailureBackoff(t *testing.T) {
	s := newServer(t)
	r, clk := s.resolver(t, nil)
	s.script("x.test", "MX", rcode(dns.RcodeServerFailure))
	ask := func() int {
		_, _ = r.MX(t.Context(), "x.test") //nolint:errcheck // counted
		return s.count("x.test", "MX", "udp")
	}
	asked := ask()
	for _, wait := range []int{5, 10, 20, 40, 80, 160, 300, 300} {
		clk.forward(time.Duration(wait)*time.Second - time.Millisecond)
		if ask() != asked {
			t.Fatalf("asked again before %d s", wait)
		}
		clk.forward(time.Millisecond)
		if asked++; ask() != asked {
			t.Fatalf("not asked again after %d s", wait)
		}
	}
}

// D-017: with DNS gone, what was known serves for another hour; that there was
// nothing, and records that people wait for, do not.
func TestStale(t *testing.T) {
	s := newServer(t)
	r, clk := s.resolver(t, hurry)
	s.set("x.test", "MX", "60 IN MX 1 a.test.")
	s.set("x.test", "TXT", `60 IN TXT "x"`)
	s.set("a.test", "A", "60 IN A 192.0.2.1")
	ctx := t.Context()
	if _, err := r.MX(ctx, "x.test"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Addrs(ctx, "a.test"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.TXT(ctx, "x.test"); err != nil {
		t.Fatal(err)
	}
	_, err := r.MX(ctx, "gone.test")
	wantKind(t, err, NoName, "")
	s.down.Store(true)
	for _, after := range []time.Duration{301 * time.Second, 50 * time.Minute} {
		clk.forward(after)
		if hosts, err := r.MX(ctx, "x.test"); err != nil || show(hosts) != "{a.test 1}" {
			t.Errorf("MX: got %v, %v, want what was known", hosts, err)
		}
		if addrs, err := r.Addrs(ctx, "a.test"); err != nil || show(addrs) != "192.0.2.1" {
			t.Errorf("Addrs: got %v, %v, want what was known", addrs, err)
		}
		_, err = r.MX(ctx, "gone.test")
		wantKind(t, err, Temporary, "timed out")
		_, err = r.TXT(ctx, "x.test")
		wantKind(t, err, Temporary, "timed out")
	}
	// Within its back-off a failing question is not asked again.
	before := s.count("x.test", "MX", "udp")
	if _, err := r.MX(ctx, "x.test"); err != nil || s.count("x.test", "MX", "udp") != before {
		t.Errorf("got %v and %d more questions, want the known answer and none", err, s.count("x.test", "MX", "udp")-before)
	}
	clk.forward(time.Hour)
	_, err = r.MX(ctx, "x.test")
	wantKind(t, err, Temporary, "timed out")
	s.down.Store(false)
	clk.forward(maxFailure)
	if _, err := r.MX(ctx, "x.test"); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

// D-016: bounded, whatever there is.
func TestBounds(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	var many, long, addrs []string
	for i := range 60 {
		many = append(many, fmt.Sprintf(`60 IN TXT "%d"`, i))
	}
	for range 10 {
		long = append(long, `60 IN TXT`+strings.Repeat(` "`+strings.Repeat("x", 255)+`"`, 40))
	}
	for i := range 100 {
		addrs = append(addrs, fmt.Sprintf("60 IN A 192.0.2.%d", i))
	}
	overTCP := func(key string) func(dns.ResponseWriter, *dns.Msg) {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m := s.answer(q, key)
			if w.LocalAddr().Network() == "udp" {
				m.Truncated, m.Answer = true, nil
			}
			send(w, m)
		}
	}
	for name, data := range map[string][]string{"many.test TXT": many, "long.test TXT": long[:6], "longer.test TXT": long, "addrs.test A": addrs} {
		host, qtype, _ := strings.Cut(name, " ")
		s.set(host, qtype, data...)
		s.script(host, qtype, overTCP(name))
	}
	texts, err := r.TXT(t.Context(), "many.test")
	if err != nil || len(texts) != maxTexts {
		t.Errorf("got %d records, %v, want %d", len(texts), err, maxTexts)
	}
	texts, err = r.TXT(t.Context(), "long.test")
	if err != nil || len(texts) != 6 || len(texts[0]) != 40*255 {
		t.Errorf("got %d records, %v, want 6 of 10,200 octets", len(texts), err)
	}
	impatient, _ := s.resolver(t, hurry)
	_, err = impatient.TXT(t.Context(), "longer.test") // 102,000 octets fit no message
	wantKind(t, err, Temporary, "")
	got, err := r.Addrs(t.Context(), "addrs.test")
	if err != nil || len(got) != maxAddrs {
		t.Errorf("got %d addresses, %v, want %d", len(got), err, maxAddrs)
	}
}

// One question serves all who ask; when the one who asks goes away, another
// does.
func TestSingleFlight(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	release := make(chan struct{})
	s.script("x.test", "MX", func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		reply(t, []string{"x.test. 60 IN MX 1 a.test."}, nil, nil)(w, q)
	})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if hosts, err := r.MX(t.Context(), "x.test"); err != nil || len(hosts) != 1 {
				t.Errorf("got %v, %v", hosts, err)
			}
		})
	}
	for s.count("x.test", "MX", "udp") == 0 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if got := s.count("x.test", "MX", "udp"); got != 1 {
		t.Errorf("got %d questions, want 1", got)
	}
}

func TestSingleFlightCancelled(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	var once sync.Once
	first := make(chan struct{})
	s.script("x.test", "MX", func(w dns.ResponseWriter, q *dns.Msg) {
		silence := false
		once.Do(func() { silence = true; close(first) })
		if !silence {
			reply(t, []string{"x.test. 60 IN MX 1 a.test."}, nil, nil)(w, q)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := r.MX(ctx, "x.test"); !errors.Is(err, context.Canceled) {
			t.Errorf("the first: got %v, want its context's error", err)
		}
	})
	<-first
	wg.Go(func() {
		if _, err := r.MX(t.Context(), "x.test"); err != nil {
			t.Errorf("the second: got %v, want an answer", err)
		}
	})
	gone, stop := context.WithCancel(t.Context())
	stop()
	if _, err := r.MX(gone, "x.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("one who does not wait: got %v, want its context's error", err)
	}
	cancel()
	wg.Wait()
}

// D-010: names that never answer hold up no others, and are bounded.
func TestSlowZone(t *testing.T) {
	s := newServer(t)
	r, _ := s.resolver(t, nil)
	s.set("fast.test", "MX", "60 IN MX 1 a.test.")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 200 {
		name := fmt.Sprintf("n%d.slow.test", i)
		s.script(name, "MX", silent)
		wg.Go(func() { _, _ = r.MX(ctx, name) }) //nolint:errcheck // it hangs
	}
	for len(r.slots) < 200 {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	if _, err := r.MX(t.Context(), "fast.test"); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 400*time.Millisecond {
		t.Errorf("got an answer after %v", took)
	}
	cancel()
	wg.Wait()
	// All places taken: no answer, and nothing is held against the name.
	r.conf.Timeout = 20 * time.Millisecond
	for range maxUnderWay {
		r.slots <- struct{}{}
	}
	_, err := r.MX(t.Context(), "later.test")
	wantKind(t, err, Temporary, errBusy.Error())
	for range maxUnderWay {
		<-r.slots
	}
	_, err = r.MX(t.Context(), "later.test")
	wantKind(t, err, NoName, "")
}

// A family whose question hangs does not hold up the other for long, and the
// next time not at all.
func TestOneFamilyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := NewResolver(ResolverConfig{Servers: []string{"192.0.2.53:53"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				buf := make([]byte, 1024)
				n, err := theirs.Read(buf)
				q := new(dns.Msg)
				if err != nil || q.Unpack(buf[:n]) != nil {
					return
				}
				if q.Question[0].Qtype == dns.TypeAAAA {
					_, _ = theirs.Read(buf) //nolint:errcheck // until the client is gone
					return
				}
				m := new(dns.Msg).SetReply(q)
				m.Answer = append(m.Answer, record(t, "x.test. 60 IN A 192.0.2.1"))
				if b, err := m.Pack(); err == nil {
					_, _ = theirs.Write(b) //nolint:errcheck // the client may be gone
				}
			}()
			return ours, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []time.Duration{oneFamily, 0} {
			start := time.Now()
			addrs, err := r.Addrs(t.Context(), "x.test")
			if err != nil || show(addrs) != "192.0.2.1" {
				t.Fatalf("got %v, %v", addrs, err)
			}
			if got := time.Since(start); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	})
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	c := &resolvConf{path: path}
	now := time.Unix(1000, 0)
	check := func(want string) {
		t.Helper()
		if got := show(c.servers(now)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	write := func(text string, at int64) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	check("127.0.0.1:53") // no file yet
	write("search x.test\nnameserver 192.0.2.1\nnameserver 2001:db8::1 # six\n", 1)
	check("127.0.0.1:53") // not looked at again so soon
	now = now.Add(lookAgain)
	check("192.0.2.1:53 [2001:db8::1]:53")
	write("nameserver 192.0.2.2\n", 2)
	now = now.Add(lookAgain)
	check("192.0.2.2:53")
	write("# empty while the network changes\n", 3)
	now = now.Add(lookAgain)
	check("192.0.2.2:53")
	if r, err := NewResolver(ResolverConfig{}); err != nil || len(r.servers()) == 0 {
		t.Errorf("got no servers of the system, %v", err)
	}
}

func TestLRU(t *testing.T) {
	l := newLRU[string, int](3, 100)
	l.put("a", 1, 10)
	l.put("b", 2, 10)
	l.put("c", 3, 10)
	l.get("a")
	l.put("d", 4, 10) // b goes
	has := func(want string) {
		t.Helper()
		got := ""
		for _, k := range []string{"a", "b", "c", "d", "e"} {
			if _, ok := l.byKey[k]; ok {
				got += k
			}
		}
		if got != want || l.order.Len() != len(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	has("acd")
	l.put("d", 5, 90) // with a alone it fits
	has("ad")
	if v, ok := l.get("d"); !ok || v != 5 || l.size != 100 {
		t.Errorf("got %d, %v, size %d", v, ok, l.size)
	}
	l.put("e", 6, 101) // fits never
	has("")
	if l.size != 0 {
		t.Errorf("got size %d, want 0", l.size)
	}
}

func FuzzAnswer(f *testing.F) {
	q := question{"x.test", dns.TypeMX}
	asked, err := new(dns.Msg).SetQuestion("x.test.", dns.TypeMX).Pack()
	if err != nil {
		f.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(asked); err != nil {
		f.Fatal(err)
	}
	f.Add(damaged(r), uint16(15))
	f.Add(looped(r), uint16(15))
	for _, text := range []string{
		"x.test. 60 IN MX 0 .", "x.test. 60 IN CNAME y.test.", `x.test. 60 IN TXT "\\\"\200" ""`, "x.test. 60 IN A 192.0.2.1", "x.test. 60 IN AAAA ::1",
		"x.test. 60 IN SVCB 1 a.test. alpn=h2 ipv4hint=192.0.2.1", "x.test. 60 IN SOA a. b. 1 1 1 1 4294967295",
	} {
		m := new(dns.Msg).SetReply(r)
		m.Answer, m.Ns = []dns.RR{record(f, text)}, []dns.RR{record(f, text)}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(15))
		f.Add(b, uint16(16))
	}
	f.Fuzz(func(t *testing.T, msg []byte, qtype uint16) {
		q := question{q.name, qtype}
		if len(msg) > 2 {
			answers(msg, msg)
		}
		m, err := parse(msg, q)
		if err != nil {
			return
		}
		a, hops := &answer{ttl: 1<<31 - 1}, 0
		next, err := a.take(q, m, &hops)
		if len(a.hosts) > maxHosts || len(a.addrs) > maxAddrs || len(a.texts) > maxTexts || a.size > maxText+maxHosts*300+maxAddrs*24 || hops > maxChain+1 || a.ttl >= 1<<31 {
			t.Fatalf("got %+v after %d hops", a, hops)
		}
		if err == nil && next == "" && a.absent == nil && len(a.hosts)+len(a.addrs)+len(a.texts) == 0 && qtype != dns.TypeCNAME {
			t.Fatalf("got neither records nor a reason: %v", m)
		}
	})
}
