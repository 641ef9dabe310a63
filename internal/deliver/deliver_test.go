package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"pennypost"
	ourdkim "pennypost/internal/dkim"
	"pennypost/internal/fakenet"
	"pennypost/internal/mx"
	"pennypost/internal/store"
)

const (
	delivered = pennypost.EventDelivered
	transient = pennypost.EventTransient
	bouncing  = pennypost.EventBounced
	changed   = pennypost.EventSubscriptionChanged
)

func TestDelivered(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		m := x.accept(draft{to: []string{"ann@a.test"}, content: content, tag: "receipt"})
		s := x.want(m, 0, pennypost.Delivered, 1, delivered)
		mail := x.got("ann@a.test", 1)[0]

		if !bytes.HasSuffix(mail.Data, []byte(content)) {
			t.Errorf("the content was changed:\n%s", mail.Data)
		}
		head, ok := bytes.CutSuffix(mail.Data, []byte(content))
		if !ok || !strings.HasPrefix(string(head), "DKIM-Signature:") || strings.Count(string(head), "X-PM-RCPT: |") != 1 {
			t.Errorf("before the content:\n%s", head)
		}
		if len(mail.Faults) > 0 {
			t.Errorf("faults: %v", mail.Faults)
		}
		local, domain, _ := strings.Cut(mail.From, "@")
		id, n, err := x.d.c.Verp.Decode(local, time.Now())
		if err != nil || id != m.ID || n != 0 || domain != bounceDomain {
			t.Errorf("return path %s: %x %d %v", mail.From, id, n, err)
		}

		e := s.events[0]
		if got := e.Details["DeliveryMessage"]; !strings.HasPrefix(got, "smtp;250 2.0.0 ") {
			t.Errorf("DeliveryMessage %q", got)
		}
		if ip := mail.Host.String(); e.Details["DestinationIP"] != ip || e.Details["DestinationServer"] != "mx.a.test ("+ip+")" {
			t.Errorf("details %v", e.Details)
		}
		if e.Tag != "receipt" || e.Recipient != "ann@a.test" || e.ServerID != x.server || e.AccountID != x.account {
			t.Errorf("event %+v", e)
		}
		a := s.attempts[0]
		if a.No != 1 || a.Outcome != pennypost.OutcomeDelivered || a.Code != 250 || a.Phase != "dot" || a.Host != "mx.a.test" ||
			a.TLS == "" || !strings.HasPrefix(a.TLSNote, "not verified") || a.Reused || !strings.Contains(a.Conversation, "RCPT TO:<ann@a.test>") {
			t.Errorf("attempt %+v", a)
		}
		var phases []string
		for _, p := range a.Phases {
			phases = append(phases, p.Phase)
		}
		if got, want := strings.Join(phases, " "), "sign dns connect"; !strings.HasPrefix(got, want) {
			t.Errorf("phases %s, want %s …", got, want)
		}
		if s.Rule != "accepted" || !s.NextAt.IsZero() {
			t.Errorf("recipient %+v", s.Recipient)
		}
		if got := x.metric("delivery_outcomes_total"); got != 1 {
			t.Errorf("%v outcomes were counted", got)
		}
	})
}

// Catalogue O-033: two implementations take the signature.
func TestSignatureVerifies(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.key(x.account, senderDomain, "second", pennypost.AlgorithmEd25519)
		x.run()
		x.mail("ann@a.test")
		data := x.got("ann@a.test", 1)[0].Data
		if got := passes(t, x, data); got != "shop.test/rsa-sha256 shop.test/ed25519-sha256" {
			t.Errorf("signatures that pass: %s", got)
		}
		if got := passes(t, x, bytes.Replace(data, []byte("Thank"), []byte("thank"), 1)); got != "" {
			t.Errorf("signatures of a changed body that pass: %s", got)
		}
		if got := passes(t, x, append([]byte("Subject: other\r\n"), data...)); got != "" {
			t.Errorf("signatures that pass with one more Subject: %s", got)
		}
	})
}

// passes gives the signatures that our verifier finds good, and checks that the
// second one agrees.
func passes(t *testing.T, x *world, data []byte) string {
	t.Helper()
	resolver, err := mx.NewResolver(mx.ResolverConfig{Servers: []string{x.net.DNSAddr()}, Dial: x.net.Dial})
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(ctx context.Context, name string) ([]string, error) { return resolver.TXT(ctx, name) }
	v := &ourdkim.Verifier{Lookup: lookup, Now: time.Now}
	results, err := v.Verify(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	var good []string
	for _, r := range results {
		if r.Status == ourdkim.Pass {
			good = append(good, r.Domain+"/"+r.Algorithm)
		}
	}
	others, err := dkim.VerifyWithOptions(bytes.NewReader(data), &dkim.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return resolver.TXT(t.Context(), name) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, o := range others {
		if o.Err == nil {
			n++
		}
	}
	if n != len(good) {
		t.Errorf("go-msgauth passes %d signatures, we pass %d", n, len(good))
	}
	return strings.Join(good, " ")
}

// One signature serves all recipients of a message.
func TestSignsOnce(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		var to []string
		for i := range 50 {
			to = append(to, fmt.Sprintf("ann%d@d%d.test", i, i%10))
		}
		m := x.mail(to...)
		for i := range to {
			x.want(m, i, pennypost.Delivered, 1, delivered)
		}
		if got := x.metric("dkim_signatures_total"); got != 1 {
			t.Errorf("%v signatures were made, want 1", got)
		}
		first := x.got(to[0], 1)[0].Data
		last := x.got(to[49], 1)[0].Data
		if a, b := signaturePart(first), signaturePart(last); a != b || a == "" {
			t.Errorf("signatures differ:\n%s\n%s", a, b)
		}
	})
}

func signaturePart(data []byte) string {
	s, _, _ := strings.Cut(string(data), "X-PM-RCPT")
	return s
}

func TestKeyless(t *testing.T) {
	t.Run("the instance's key", func(t *testing.T) {
		inBubble(t, func(x *world) {
			t := x.t
			x.run()
			x.accept(draft{to: []string{"ann@a.test"}, content: content, noDomain: true})
			if got := passes(t, x, x.got("ann@a.test", 1)[0].Data); got != bounceDomain+"/rsa-sha256" {
				t.Errorf("signatures that pass: %s", got)
			}
		})
	})
	t.Run("no key at all is our fault", func(t *testing.T) {
		inBubble(t, func(x *world) {
			t := x.t
			x.run()
			m := x.accept(draft{to: []string{"ann@a.test"}, content: content, noDomain: true})
			s := x.want(m, 0, pennypost.Deferred, 0)
			if s.Rule != "unsigned" || s.NextAt.IsZero() {
				t.Errorf("rule %q, next at %v", s.Rule, s.NextAt)
			}
			x.key(0, "other.test", "own", pennypost.AlgorithmRSA)
			x.d.KeysChanged(0, "other.test")
			time.Sleep(2 * time.Minute)
			x.want(m, 0, pennypost.Delivered, 1, delivered)
		}, func(c *Config) { c.BounceDomain = "other.test" })
	})
}

// Catalogue O-034: the key is replaced while a message waits.
func TestKeyRotatedWhileMailWaits(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		x.accept(draft{to: []string{"defer+451+3@a.test"}, content: content})
		m := x.mail("defer+451+1@b.test")
		time.Sleep(11 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 2, transient, delivered)
		if got := x.metric("dkim_signatures_total"); got != 2 {
			t.Errorf("%v signatures, want one per message", got)
		}
		x.update(func(ctx context.Context, tx *store.Tx) error {
			keys, err := tx.SigningKeys(ctx, x.account, senderDomain)
			if err != nil {
				return err
			}
			return tx.SetDKIMKeyState(ctx, &keys[0], pennypost.KeyRevoked)
		})
		x.net.Forget("first._domainkey." + senderDomain)
		x.key(x.account, senderDomain, "next", pennypost.AlgorithmRSA)
		x.d.KeysChanged(x.account, senderDomain)
		time.Sleep(time.Hour)
		data := x.got("defer+451+3@a.test", 1)[0].Data
		if got := passes(t, x, data); got != "shop.test/rsa-sha256" || !strings.Contains(string(data), "s=next") {
			t.Errorf("signatures that pass: %s\n%s", got, data)
		}
		if got := x.metric("dkim_signatures_total"); got != 3 {
			t.Errorf("%v signatures, want 3", got)
		}
	})
}

// Catalogue O-012.
func TestThreeRecipientsThreeOutcomes(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		m := x.mail("ann@a.test", "defer+450+1@b.test", "bounce+550@c.test")
		x.want(m, 0, pennypost.Delivered, 1, delivered)
		x.want(m, 1, pennypost.Deferred, 1, transient)
		s := x.want(m, 2, pennypost.Bounced, 1, bouncing, changed)
		b := s.events[0].Bounce
		if b == nil || b.Type != "HardBounce" || b.TypeCode != 1 || !b.Inactive || b.Details != "smtp;550 5.1.1 User unknown" ||
			b.Recipient != "bounce+550@c.test" || b.From != "news@shop.test" || b.Subject != "Your receipt" || b.ID == 0 ||
			!strings.Contains(b.Dump, "550 5.1.1") {
			t.Errorf("bounce %+v", b)
		}
		if !x.suppressed("bounce+550@c.test") || x.suppressed("defer+450+1@b.test") || x.suppressed("ann@a.test") {
			t.Error("wrong addresses are suppressed")
		}
		time.Sleep(11 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 1, delivered)
		x.want(m, 1, pennypost.Delivered, 2, transient, delivered)
		x.got("ann@a.test", 1)
		x.got("defer+450+1@b.test", 1)
		x.got("bounce+550@c.test", 0)
	})
}

// Catalogue O-029: 451 for longer than the lifetime gives one bounce,
// which costs the recipient nothing. The schedule is that of design.md §6.
func TestExpiresAfterItsLifetime(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.answer("busy.test", fakenet.RcptTo, "451 4.3.0 Local error")
		x.run()
		start := time.Now()
		m := x.mail("ann@busy.test")
		time.Sleep(lifetimeOfTests - time.Minute)
		s := x.story(m, 0)
		if s.State != pennypost.Deferred || len(s.attempts) != 8 {
			t.Errorf("shortly before the end: %v, %d attempts", s.State, len(s.attempts))
		}
		time.Sleep(time.Hour)
		s = x.story(m, 0)
		if s.State != pennypost.Expired || s.jobs != 0 {
			t.Errorf("%v, %d jobs", s.State, s.jobs)
		}
		at := time.Duration(0)
		for i, a := range s.attempts[:len(s.attempts)-1] {
			if d := a.StartedAt.Sub(start) - at; d < 0 || d > 5*time.Second {
				t.Errorf("attempt %d came %v after its time %v", a.No, d, at)
			}
			at = a.StartedAt.Sub(start) + Backoff(i+1, .5)
		}
		last := s.attempts[len(s.attempts)-1]
		if d := last.StartedAt.Sub(start); d < lifetimeOfTests-time.Minute || d > lifetimeOfTests {
			t.Errorf("the last attempt came after %v", d)
		}
		bounces := 0
		for _, e := range s.events {
			if e.Type != bouncing {
				continue
			}
			bounces++
			if e.Bounce.Type != "SoftBounce" || e.Bounce.Inactive || e.Bounce.Details != "smtp;451 4.3.0 Local error (given up after 6 hours)" {
				t.Errorf("bounce %+v", e.Bounce)
			}
		}
		if bounces != 1 || len(s.events) != len(s.attempts) {
			t.Errorf("%d bounces, %d events of %d attempts", bounces, len(s.events), len(s.attempts))
		}
		if x.suppressed("ann@busy.test") {
			t.Error("the address is suppressed")
		}
	})
}

func TestDeliverBy(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.answer("busy.test", fakenet.RcptTo, "451 4.3.0 Local error")
		x.run()
		m := x.accept(draft{to: []string{"ann@busy.test"}, content: content, deliverBy: time.Now().Add(5 * time.Minute)})
		time.Sleep(6 * time.Minute)
		s := x.want(m, 0, pennypost.Expired, 4, transient, transient, transient, bouncing)
		if d := s.ChangedAt.Sub(m.ReceivedAt); d < 4*time.Minute || d > 5*time.Minute {
			t.Errorf("given up after %v", d)
		}
		late := x.accept(draft{to: []string{"ann@a.test"}, content: content, deliverBy: time.Now().Add(-time.Second)})
		s = x.want(late, 0, pennypost.Expired, 0, bouncing)
		if b := s.events[0].Bounce; b.Type != "SoftBounce" || !strings.HasPrefix(b.Details, "x-pennypost;4.4.7 ") {
			t.Errorf("bounce %+v", b)
		}
		x.got("ann@a.test", 0)
	})
}

// Hints are taken literally.
func TestHint(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.act("later.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.RcptTo && m.Before == 0 {
				return fakenet.Act{Reply: "451 4.3.2 try again in 40 minutes"}
			}
			return fakenet.Act{}
		})
		x.run()
		m := x.mail("ann@later.test")
		s := x.want(m, 0, pennypost.Deferred, 1, transient)
		if d := s.NextAt.Sub(m.ReceivedAt); d < 40*time.Minute || d > 41*time.Minute {
			t.Errorf("next attempt after %v", d)
		}
		time.Sleep(41 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 2, transient, delivered)
	})
}

// Catalogue O-028: one deferral, then delivery from the same return path.
func TestGreylisting(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		m := x.mail("greylist+300@a.test")
		time.Sleep(16 * time.Minute)
		s := x.want(m, 0, pennypost.Delivered, 2, transient, delivered)
		if d := s.ChangedAt.Sub(m.ReceivedAt); d < 5*time.Minute || d > 15*time.Minute {
			t.Errorf("delivered after %v", d)
		}
	})
}

// Catalogue O-016, O-009: no reply to the final dot.
func TestAmbiguous(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		m := x.mail("drop+dot+1@a.test")
		s := x.want(m, 0, pennypost.Deferred, 1, transient)
		if a := s.attempts[0]; !a.Ambiguous || a.Phase != "dot" || a.Outcome != pennypost.OutcomeDeferred {
			t.Errorf("attempt %+v", a)
		}
		if d := s.NextAt.Sub(m.ReceivedAt); d < 15*time.Minute {
			t.Errorf("next attempt after %v", d)
		}
		if got := x.metric("delivery_ambiguous_total"); got != 1 {
			t.Errorf("%v ambiguous attempts were counted", got)
		}
		time.Sleep(20 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 2, transient, delivered)
		mails := x.got("drop+dot+1@a.test", 2)
		if !bytes.Equal(mails[0].Data, mails[1].Data) || mails[0].From != mails[1].From {
			t.Error("the second copy differs")
		}
	})
}

// Catalogue O-016: silence for as long as RFC 5321 asks us to wait.
func TestSilenceAfterTheDot(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.Dot {
				return fakenet.Act{Delay: 20 * time.Minute}
			}
			return fakenet.Act{}
		})
		x.run()
		m := x.mail("ann@b.test")
		time.Sleep(9 * time.Minute)
		x.want(m, 0, pennypost.Queued, 0)
		time.Sleep(2 * time.Minute)
		s := x.want(m, 0, pennypost.Deferred, 1, transient)
		if !s.attempts[0].Ambiguous {
			t.Errorf("attempt %+v", s.attempts[0])
		}
	})
}

// Catalogue O-017, O-009, O-011: what the reply at a stage makes of a message.
func TestRepliesPerStage(t *testing.T) {
	tests := []struct {
		name  string
		stage fakenet.Stage
		reply string
		state pennypost.RecipientState
		typ   string
	}{
		{"4yz after the dot", fakenet.Dot, "451 4.3.0 later", pennypost.Deferred, ""},
		{"5yz after the dot", fakenet.Dot, "554 5.6.0 no", pennypost.Bounced, "SoftBounce"},
		{"354 after the dot", fakenet.Dot, "354 what", pennypost.Deferred, ""},
		{"5yz at DATA", fakenet.Data, "554 5.7.1 no", pennypost.Bounced, "Blocked"},
		{"421 at RCPT", fakenet.RcptTo, "421 4.3.2 closing", pennypost.Deferred, ""},
		{"4yz at MAIL", fakenet.MailFrom, "451 4.1.8 later", pennypost.Deferred, ""},
		{"5yz at MAIL", fakenet.MailFrom, "550 5.1.1 unknown user", pennypost.Bounced, "SoftBounce"},
		{"554 banner", fakenet.Connect, "554 5.7.1 no service", pennypost.Deferred, ""},
		{"421 banner", fakenet.Connect, "421 4.7.0 too many connections", pennypost.Deferred, ""},
		{"5yz at EHLO", fakenet.Hello, "550 5.7.1 no", pennypost.Deferred, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(x *world) {
				t := x.t
				x.answer("b.test", tt.stage, tt.reply)
				x.run()
				m := x.mail("ann@b.test")
				s := x.story(m, 0)
				if s.State != tt.state || len(s.attempts) != 1 || len(s.events) == 0 {
					t.Fatalf("%v, %d attempts, %d events; want %v\n%s", s.State, len(s.attempts), len(s.events), tt.state, s.Reply)
				}
				if b := s.events[0].Bounce; tt.typ != "" && (b == nil || b.Type != tt.typ) {
					t.Errorf("bounce %+v, want %s", b, tt.typ)
				}
				if x.suppressed("ann@b.test") {
					t.Error("the address is suppressed")
				}
			})
		})
	}
}

// Faults of the name service: some pass, some do not.
func TestRoutes(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		m := x.mail("ann@gone.test", "ann@nullmx.test", "ann@servfail.test")
		time.Sleep(30 * time.Second)
		for i, want := range []string{"5.1.2", "5.1.10"} {
			s := x.want(m, i, pennypost.Bounced, 1, bouncing, changed)
			if a := s.attempts[0]; a.Enhanced != want || a.Phase != "dns" || s.events[0].Bounce.Type != "HardBounce" {
				t.Errorf("attempt %+v", a)
			}
		}
		s := x.want(m, 2, pennypost.Deferred, 1, transient)
		if a := s.attempts[0]; a.Enhanced != "4.4.3" || a.Phase != "dns" {
			t.Errorf("attempt %+v", a)
		}
		x.net.Fail("servfail.test", "")
		time.Sleep(2 * time.Hour)
		s = x.story(m, 2)
		if s.State != pennypost.Delivered {
			t.Errorf("%v: %s", s.State, s.Reply)
		}
	})
}

// Catalogue O-001…008: the next host is tried, and the attempt tells of both.
func TestNextHost(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		for _, line := range []string{
			"two.test. 60 IN MX 10 dead.two.test.", "dead.two.test. 60 IN A 127.9.9.9",
			"two.test. 60 IN MX 20 mx.a.test.",
		} {
			if err := x.net.Record(line); err != nil {
				t.Fatal(err)
			}
		}
		x.run()
		m := x.mail("ann@two.test")
		s := x.want(m, 0, pennypost.Delivered, 1, delivered)
		a := s.attempts[0]
		if a.Host != "mx.a.test" || !strings.HasPrefix(a.Conversation, "* dead.two.test: connect: ") {
			t.Errorf("host %s\n%s", a.Host, a.Conversation)
		}
	})
}

// Catalogue O-036: the other side has closed the kept connection.
func TestStaleConnection(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		var mails atomic.Int64
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage != fakenet.MailFrom {
				return fakenet.Act{}
			}
			if mails.Add(1) == 2 {
				return fakenet.Act{Drop: true}
			}
			return fakenet.Act{}
		})
		x.run()
		first := x.mail("ann@b.test")
		x.want(first, 0, pennypost.Delivered, 1, delivered)
		second := x.mail("bob@b.test")
		s := x.want(second, 0, pennypost.Delivered, 1, delivered)
		if s.attempts[0].Reused {
			t.Error("the attempt is said to have been on the kept connection")
		}
		if got := x.dialled(); got != 2 {
			t.Errorf("%d connections, want 2", got)
		}
	})
}

// Connections are kept for the next message, and not for long without one.
func TestConnectionsAreReused(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		var last *pennypost.Message
		for range 150 {
			last = x.mail("ann@a.test")
			x.story(last, 0)
		}
		if s := x.story(last, 0); !s.attempts[0].Reused {
			t.Errorf("attempt %+v", s.attempts[0])
		}
		x.got("ann@a.test", 150)
		if got := x.dialled(); got != 2 {
			t.Errorf("%d connections for 150 messages, want 2", got)
		}
		time.Sleep(10 * time.Second)
		if s := x.d.Queue().Stats(); s.Workers != 0 {
			t.Errorf("%d workers after 10 s without mail", s.Workers)
		}
	})
}

// Catalogue O-030: a tarpit with a hundred thousand mails.
func TestTarpitDelaysNobody(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		for range tarpitMails / 50 {
			to := make([]string, 50)
			for i := range to {
				to[i] = fmt.Sprintf("a%d@silent.test", i)
			}
			x.mail(to...)
		}
		time.Sleep(time.Minute)
		if s := x.d.Queue().Stats(); s.Tasks > 12_000 || s.Workers > 4 || s.Bytes > 32<<20 {
			t.Errorf("the tarpit holds %d tasks, %d workers, %d octets", s.Tasks, s.Workers, s.Bytes)
		}
		start := time.Now()
		for i := range 10 {
			m := x.mail(fmt.Sprintf("ann@ok%d.test", i))
			s := x.want(m, 0, pennypost.Delivered, 1, delivered)
			if d := s.ChangedAt.Sub(start); d > time.Second {
				t.Errorf("delivered after %v", d)
			}
		}
	})
}

// Catalogue O-031: a site that is down gets few attempts, and its mail flows
// when it is back.
func TestDeadSite(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		var down atomic.Bool
		down.Store(true)
		x.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if down.Load() && strings.HasPrefix(addr, "127.8.8.8:") {
				return nil, errors.New("connection refused")
			}
			return x.net.Dial(ctx, network, strings.Replace(addr, "127.8.8.8:", "127.0.0.2:", 1))
		}
		for _, line := range []string{"dead.test. 60 IN MX 10 mx.dead.test.", "mx.dead.test. 60 IN A 127.8.8.8"} {
			if err := x.net.Record(line); err != nil {
				t.Fatal(err)
			}
		}
		x.run()
		var all []*pennypost.Message
		for i := range 20 {
			to := make([]string, 50)
			for j := range to {
				to[j] = fmt.Sprintf("a%d.%d@dead.test", i, j)
			}
			all = append(all, x.mail(to...))
		}
		time.Sleep(2 * time.Hour)
		if got := x.dialled(); got > 20 {
			t.Errorf("%d connections in 2 hours", got)
		}
		if got := x.metric("dkim_signatures_total"); got != 0 {
			t.Errorf("%v signatures were made for a site that nobody can reach", got)
		}
		down.Store(false)
		time.Sleep(3 * time.Hour)
		if got := x.net.Box().Total(); got != 1000 {
			t.Errorf("%d of 1000 mails arrived", got)
		}
		attempts := 0
		for _, m := range all {
			for n := range 50 {
				s := x.story(m, n)
				if s.State != pennypost.Delivered {
					t.Fatalf("%v: %s", s.State, s.Reply)
				}
				attempts += len(s.attempts)
			}
		}
		if attempts > 1030 {
			t.Errorf("%d attempts for 1000 mails", attempts)
		}
	})
}

// A domain's owner chooses its MX records: a dead host under a provider's name
// does not keep mail from the provider's others.
func TestDeadHostOfASharedSite(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		for _, line := range []string{
			"evil.test. 60 IN MX 10 dead.provider.test.", "dead.provider.test. 60 IN A 127.9.9.9",
			"good.test. 60 IN MX 10 mx.provider.test.", "mx.provider.test. 60 IN A 127.0.0.2",
		} {
			if err := x.net.Record(line); err != nil {
				t.Fatal(err)
			}
		}
		x.run()
		for range 20 {
			x.mail("ann@evil.test")
		}
		settled()
		good := x.mail("bob@good.test")
		x.want(good, 0, pennypost.Delivered, 1, delivered)
		evil, _ := x.d.Queue().LaneOf("evil.test")
		lane, _ := x.d.Queue().LaneOf("good.test")
		if evil.Name != lane.Name || evil.Fails == 0 || lane.Fails != 0 {
			t.Errorf("lanes %+v and %+v", evil, lane)
		}
	})
}

// A provider's hosts share connections when they share an address.
func TestReuseByAddress(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		for i := range 5 {
			for _, line := range []string{
				fmt.Sprintf("c%d.test. 60 IN MX 10 c%d.provider.test.", i, i), fmt.Sprintf("c%d.provider.test. 60 IN A 127.0.0.2", i),
			} {
				if err := x.net.Record(line); err != nil {
					t.Fatal(err)
				}
			}
		}
		x.run()
		for i := range 5 {
			m := x.mail(fmt.Sprintf("ann@c%d.test", i))
			s := x.want(m, 0, pennypost.Delivered, 1, delivered)
			a := s.attempts[0]
			if want := fmt.Sprintf("c%d.provider.test", i); a.Host != want || a.Reused != (i > 0) {
				t.Errorf("host %s, reused %v", a.Host, a.Reused)
			}
			if i > 0 && !strings.HasSuffix(a.TLSNote, " (as c0.provider.test)") {
				t.Errorf("TLS note %q", a.TLSNote)
			}
		}
		if got := x.dialled(); got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
	})
}

// Sandbox mail never touches the network.
func TestSandbox(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		m := x.accept(draft{to: []string{"ann@a.test", "bob@b.test"}, content: content, sandbox: true})
		for i := range 2 {
			s := x.want(m, i, pennypost.Delivered, 1, delivered)
			if got := s.events[0].Details["DeliveryMessage"]; got != "smtp;250 2.0.0 OK sandbox" {
				t.Errorf("DeliveryMessage %q", got)
			}
		}
		if x.dialled() != 0 || x.net.Queries() != 0 {
			t.Errorf("%d connections, %d questions", x.dialled(), x.net.Queries())
		}
	})
}

// Broadcast mail waits while there is transactional mail for the site.
func TestTransactionalBeforeBroadcast(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		for i := range 40 {
			x.accept(draft{to: []string{fmt.Sprintf("b%d@a.test", i)}, content: content, broadcast: true})
		}
		x.mail("t@a.test")
		x.run()
		time.Sleep(time.Second)
		for i, mail := range x.net.Box().All() {
			if mail.To[0] == "t@a.test" && i > 10 {
				t.Errorf("the transactional mail came as number %d", i+1)
			}
		}
		if got := x.net.Box().Total(); got != 41 {
			t.Errorf("%d mails", got)
		}
	})
}

// A provider's rate limit at RCPT lowers the number of connections.
func TestSlowsDown(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		var busy atomic.Bool
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			switch {
			case m.Stage == fakenet.Dot:
				return fakenet.Act{Delay: 50 * time.Millisecond, Reply: "250 2.0.0 ok"}
			case m.Stage == fakenet.RcptTo && busy.Load():
				return fakenet.Act{Reply: "451 4.7.28 too many messages from your network"}
			}
			return fakenet.Act{}
		})
		x.run()
		for i := range 600 {
			x.mail(fmt.Sprintf("a%d@b.test", i))
		}
		time.Sleep(time.Second)
		before, _ := x.d.Queue().LaneOf("b.test")
		busy.Store(true)
		time.Sleep(time.Second)
		after, _ := x.d.Queue().LaneOf("b.test")
		if before.Limit < 4 || after.Limit != 1 {
			t.Errorf("limit %d before, %d after", before.Limit, after.Limit)
		}
	})
}
