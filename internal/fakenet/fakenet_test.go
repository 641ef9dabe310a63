package fakenet

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// start runs a net until the test ends.
func start(t *testing.T, c Config) *Net {
	t.Helper()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return n
}

func ask(t *testing.T, n *Net, network, name string, qtype uint16) (*dns.Msg, error) {
	t.Helper()
	return askFor(t, n, network, name, qtype, 10*time.Second)
}

// askFor waits for an answer no longer than it is told.
func askFor(t *testing.T, n *Net, network, name string, qtype uint16, wait time.Duration) (*dns.Msg, error) {
	t.Helper()
	c, err := n.Dial(t.Context(), network, n.DNSAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	co := &dns.Conn{Conn: c}
	if err := co.WriteMsg(q); err != nil {
		return nil, err
	}
	return co.ReadMsg()
}

// answers gives the records of a reply without their TTL.
func answers(m *dns.Msg) []string {
	var list []string
	for _, rr := range m.Answer {
		list = append(list, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return list
}

func TestDNS(t *testing.T) {
	for _, memory := range []bool{false, true} {
		n := start(t, Config{Memory: memory, Hosts: 1})
		for _, line := range []string{
			"shop.test. 60 IN MX 20 b.shop.test.",
			"shop.test. 60 IN MX 10 a.shop.test.",
			"k1._domainkey.shop.test. 60 IN TXT \"k=rsa; \" \"p=AAAA\"",
			"pm-bounces.shop.test. 60 IN CNAME pm.service.example.",
			"pm.service.example. 60 IN A 127.0.0.1",
		} {
			if err := n.Record(line); err != nil {
				t.Fatal(err)
			}
		}
		n.Fail("*.dead.test", ServFail)
		tests := []struct {
			name  string
			qtype uint16
			rcode int
			want  []string
		}{
			{"d7.test", dns.TypeMX, dns.RcodeSuccess, []string{"10 mx.d7.test."}},
			{"MX.d7.TEST", dns.TypeA, dns.RcodeSuccess, []string{"127.0.0.2"}},
			{"d7.test", dns.TypeTXT, dns.RcodeSuccess, nil},
			{"d7.test", dns.TypeA, dns.RcodeSuccess, nil},
			{"a.b.d7.test", dns.TypeA, dns.RcodeNameError, nil},
			{"shop.test", dns.TypeMX, dns.RcodeSuccess, []string{"20 b.shop.test.", "10 a.shop.test."}},
			{"k1._domainkey.shop.test", dns.TypeTXT, dns.RcodeSuccess, []string{`"k=rsa; " "p=AAAA"`}},
			{"_domainkey.shop.test", dns.TypeTXT, dns.RcodeSuccess, nil},
			{"pm-bounces.shop.test", dns.TypeCNAME, dns.RcodeSuccess, []string{"pm.service.example."}},
			{"pm-bounces.shop.test", dns.TypeA, dns.RcodeSuccess, []string{"pm.service.example.", "127.0.0.1"}},
			{"elsewhere.example", dns.TypeMX, dns.RcodeNameError, nil},
			{"nullmx.test", dns.TypeMX, dns.RcodeSuccess, []string{"0 ."}},
			{"gone.test", dns.TypeMX, dns.RcodeNameError, nil},
			{"servfail.test", dns.TypeMX, dns.RcodeServerFailure, nil},
			{"x.dead.test", dns.TypeMX, dns.RcodeServerFailure, nil},
		}
		for _, network := range []string{"udp", "tcp"} {
			for _, tt := range tests {
				m, err := ask(t, n, network, tt.name, tt.qtype)
				if err != nil {
					t.Errorf("memory %v, %s %s: %v", memory, network, tt.name, err)
					continue
				}
				if m.Rcode != tt.rcode || !slices.Equal(answers(m), tt.want) {
					t.Errorf("memory %v, %s %s: got %s %q, want %s %q", memory, network, tt.name,
						dns.RcodeToString[m.Rcode], answers(m), dns.RcodeToString[tt.rcode], tt.want)
				}
			}
		}
		n.Fail("d1.test", Timeout)
		if m, err := askFor(t, n, "udp", "d1.test", dns.TypeMX, 50*time.Millisecond); err == nil {
			t.Errorf("memory %v: got %v for a name that is not answered", memory, m)
		}
		n.Fail("d1.test", Truncate)
		if m, err := ask(t, n, "udp", "d1.test", dns.TypeMX); err != nil || !m.Truncated {
			t.Errorf("memory %v: got %v, %v; want a truncated answer", memory, m, err)
		}
		n.Fail("d1.test", "")
		if m, err := ask(t, n, "udp", "d1.test", dns.TypeMX); err != nil || len(m.Answer) != 1 {
			t.Errorf("memory %v: got %v, %v after the fault ended", memory, m, err)
		}
		n.Forget("shop.test")
		if m, err := ask(t, n, "tcp", "shop.test", dns.TypeMX); err != nil || !slices.Equal(answers(m), []string{"10 mx.shop.test."}) {
			t.Errorf("memory %v: got %v, %v after the records went", memory, m, err)
		}
	}
}

// peer is a client that says what it is told.
type peer struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

// connect finds the mail server of a domain as a sender does.
func connect(t *testing.T, n *Net, domain string) *peer {
	t.Helper()
	m, err := ask(t, n, "udp", "mx."+domain, dns.TypeA)
	if err != nil || len(m.Answer) != 1 {
		t.Fatalf("mx.%s: %v, %v", domain, m, err)
	}
	c, err := n.Dial(t.Context(), "tcp", net.JoinHostPort(answers(m)[0], fmt.Sprint(n.MXPort())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t: t, c: c, r: bufio.NewReader(c)}
}

func (p *peer) send(text string) {
	p.t.Helper()
	if _, err := p.c.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// want reads a whole reply and compares its beginning.
func (p *peer) want(prefix string) string {
	p.t.Helper()
	var all strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("got %q and %v, want %q", all.String(), err, prefix)
		}
		all.WriteString(line)
		if len(line) > 3 && line[3] == ' ' {
			break
		}
	}
	if !strings.HasPrefix(all.String(), prefix) {
		p.t.Fatalf("got %q, want %q", all.String(), prefix)
	}
	return all.String()
}

func (p *peer) wantEnd() {
	p.t.Helper()
	if line, err := p.r.ReadString('\n'); err == nil {
		p.t.Fatalf("got %q, want the end", line)
	}
}

func (p *peer) startTLS() {
	p.t.Helper()
	p.send("STARTTLS\r\n")
	p.want("220 ")
	c := tls.Client(p.c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // G402: self-signed
	p.c, p.r = c, bufio.NewReader(c)
}

// deliver sends one message up to its answer; the first refusal is returned.
func (p *peer) deliver(from, to, msg, want string) {
	p.t.Helper()
	p.send("MAIL FROM:<" + from + "> SIZE=10\r\n")
	p.want("250 ")
	p.send("RCPT TO:<" + to + ">\r\n")
	if want[0] != '2' {
		p.want(want)
		p.send("RSET\r\n")
		p.want("250 ")
		return
	}
	p.want("250 ")
	p.send("DATA\r\n")
	p.want("354 ")
	p.send(msg + ".\r\n")
	p.want(want)
}

func TestTakesMail(t *testing.T) {
	for _, memory := range []bool{false, true} {
		var arrived []Mail
		n := start(t, Config{Memory: memory, Arrived: func(m Mail) { arrived = append(arrived, m) }})
		p := connect(t, n, "d1.test")
		p.want("220 ")
		p.send("EHLO sender.example\r\n")
		if got := p.want("250-"); !strings.Contains(got, "STARTTLS") || !strings.Contains(got, "PIPELINING") {
			t.Errorf("EHLO: got %q", got)
		}
		p.startTLS()
		p.send("EHLO sender.example\r\n")
		if got := p.want("250-"); strings.Contains(got, "STARTTLS") {
			t.Errorf("EHLO inside TLS: got %q", got)
		}
		p.deliver("a@sender.example", `"odd> \" one"@d1.test`, "Subject: x\r\n\r\n..dot\r\n", "250 ")
		p.send("QUIT\r\n")
		p.want("221 ")
		got, err := n.Box().WaitFor(t.Context(), `"Odd> \" one"@D1.test`, 1)
		if err != nil {
			t.Fatal(err)
		}
		m := got[0]
		if m.From != "a@sender.example" || m.Params != "SIZE=10" || m.Helo != "sender.example" ||
			!strings.HasPrefix(m.TLS, "TLS 1.3 ") || string(m.Data) != "Subject: x\r\n\r\n.dot\r\n" || m.Faults != nil {
			t.Errorf("memory %v: got %+v", memory, m)
		}
		if n.Box().Total() != 1 {
			t.Errorf("got %d mails", n.Box().Total())
		}
	}
}

func TestNotesFaults(t *testing.T) {
	n := start(t, Config{Memory: true})
	if _, err := n.Host("old.test", Script{NoPipelining: true, NoTLS: true, NoUTF8: true}); err != nil {
		t.Fatal(err)
	}
	p := connect(t, n, "old.test")
	p.want("220 ")
	p.send("EHLO x\r\n")
	if got := p.want("250-"); strings.Contains(got, "PIPELINING") || strings.Contains(got, "TLS") || strings.Contains(got, "UTF8") {
		t.Errorf("EHLO: got %q", got)
	}
	p.send("NOOP\r\nNOOP\r\n")
	p.want("250 ")
	p.want("250 ")
	p.deliver("", "a@old.test", strings.Repeat("x", 999)+"\r\nbare\nline\x00\r\n", "250 ")
	got := n.Box().All()[0].Faults
	want := []string{
		"commands sent before the reply, without PIPELINING", "line over 998 octets",
		"bare CR or LF in the message", "NUL in the message",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLocalPartsPlayTheirPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var refused []string
		n := start(t, Config{Memory: true, Refused: func(r Refusal) {
			mu.Lock()
			defer mu.Unlock()
			refused = append(refused, string(r.Stage)+" "+r.Reply)
		}})
		p := connect(t, n, "sim.test")
		p.want("220 ")
		p.send("EHLO x\r\n")
		p.want("250-")
		const msg = "Subject: x\r\n\r\nx\r\n"
		p.deliver("v1@x", "bounce+550@sim.test", msg, "550 5.1.1 User unknown")
		p.deliver("v1@x", "bounce+552@any.test", msg, "552 5.2.2 Mailbox full")
		p.deliver("v1@x", "defer+451@sim.test", msg, "451 4.3.0 Local error in processing, try again in 5 seconds")
		p.deliver("v1@x", "defer+451@sim.test", msg, "250 ")
		p.deliver("v2@x", "defer+450+2@sim.test", msg, "450 4.2.1 ")
		p.deliver("v2@x", "defer+450+2@sim.test", msg, "450 4.2.1 ")
		p.deliver("v2@x", "defer+450+2@sim.test", msg, "250 ")
		p.deliver("v3@x", "greylist+300@sim.test", msg, "450 4.2.0 Greylisted, try again in 300 seconds")
		time.Sleep(299 * time.Second)
		p.deliver("v3@x", "greylist+300@sim.test", msg, "450 4.2.0 Greylisted, try again in 1 seconds")
		time.Sleep(time.Second)
		p.deliver("v3@x", "greylist+300@sim.test", msg, "250 ")
		before := time.Now()
		p.deliver("v4@x", "slow+60@sim.test", msg, "250 ")
		if took := time.Since(before); took != time.Minute {
			t.Errorf("slow took %v", took)
		}
		p.deliver("v5@x", "complain@sim.test", msg, "250 ")
		if got := n.Box().Total(); got != 5 {
			t.Errorf("got %d mails, want 5", got)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(refused) != 7 || refused[0] != "rcpt 550 5.1.1 User unknown" {
			t.Errorf("got refusals %q", refused)
		}
	})
}

func TestDropsAndMutes(t *testing.T) {
	n := start(t, Config{Memory: true})
	hello := func() *peer {
		p := connect(t, n, "sim.test")
		p.want("220 ")
		p.send("EHLO x\r\n")
		p.want("250-")
		p.send("MAIL FROM:<v@x>\r\n")
		p.want("250 ")
		return p
	}
	p := hello()
	p.send("RCPT TO:<drop+rcpt@sim.test>\r\n")
	p.wantEnd()
	p = hello()
	p.send("RCPT TO:<drop@sim.test>\r\n")
	p.want("250 ")
	p.send("DATA\r\n")
	p.want("354 ")
	p.send("x: y\r\n\r\n.\r\n")
	p.wantEnd()
	if got := n.Box().All(); len(got) != 1 || !got[0].Unanswered {
		t.Errorf("got %+v, want one mail without an answer", got)
	}
	p = hello()
	p.send("RCPT TO:<bounce+421@sim.test>\r\n")
	p.want("421 ")
	p.wantEnd()

	quiet := func(p *peer) {
		t.Helper()
		if err := p.c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		line, err := p.r.ReadString('\n')
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("got %q, %v; want silence", line, err)
		}
	}
	p = hello()
	p.send("RCPT TO:<mute@sim.test>\r\n")
	quiet(p)
	quiet(connect(t, n, "silent.test"))
}

func TestScript(t *testing.T) {
	n := start(t, Config{Memory: true})
	if _, err := n.Host("busy.test", Script{Act: func(m Moment) Act {
		if m.Stage == Connect && m.Before == 0 {
			return Act{Reply: "421 4.7.0 Too many connections"}
		}
		if m.Stage == Dot {
			return Act{Reply: "552 5.3.4 Too big"}
		}
		return Act{}
	}}); err != nil {
		t.Fatal(err)
	}
	p := connect(t, n, "busy.test")
	p.want("421 ")
	p.wantEnd()
	p = connect(t, n, "busy.test")
	p.want("220 ")
	p.send("HELO x\r\n")
	p.want("250 ")
	for range 2 { // the transaction is over after a refusal
		p.send("MAIL FROM:<>\r\nRCPT TO:<a@busy.test>\r\nDATA\r\n")
		p.want("250 ")
		p.want("250 ")
		p.want("354 ")
		p.send("x: y\r\n\r\n.\r\n")
		p.want("552 5.3.4 Too big")
	}
	if got := n.Box().Total(); got != 0 {
		t.Errorf("got %d mails", got)
	}

	if _, err := n.Host("crypt.test", Script{BrokenTLS: true}); err != nil {
		t.Fatal(err)
	}
	p = connect(t, n, "crypt.test")
	p.want("220 ")
	p.send("EHLO x\r\n")
	p.want("250-")
	p.send("STARTTLS\r\n")
	p.want("220 ")
	p.wantEnd()
}

func TestBoxIsBounded(t *testing.T) {
	b := newBox(3)
	for i := range 10 {
		b.add(Mail{From: fmt.Sprint(i)})
	}
	got := b.All()
	if b.Total() != 10 || len(got) != 3 || got[0].From != "7" {
		t.Errorf("got %d, %+v", b.Total(), got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Wait(ctx, 11); err == nil {
		t.Error("Wait for a mail that never came gave no error")
	}
	if _, err := b.WaitFor(ctx, "nobody@x", 1); err == nil {
		t.Error("WaitFor a mail that never came gave no error")
	}
}

func TestEndsWithConnectionsOpen(t *testing.T) {
	for _, memory := range []bool{false, true} {
		n, err := New(Config{Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		p := connect(t, n, "d1.test")
		p.want("220 ")
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		p.wantEnd()
		if c, err := n.Dial(t.Context(), "tcp", n.DNSAddr()); err == nil {
			_ = c.Close()
			t.Error("a connection was made after the end")
		}
	}
}
