package deliver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/store"
)

// Which address acts which part (contract/sending.md §11), on a host that is
// called mail.test.
func TestDest(t *testing.T) {
	const theirs = "@bounce-testing.postmarkapp.com"
	tests := []struct {
		to, asked string
		sandbox   bool
		want      string
	}{
		{"ann@a.test", "", false, "a.test"},
		{"ann@a.test", "HardBounce", false, "a.test"}, // for the test domain alone
		{"ann@a.test", "", true, "sandbox"},
		{"ann@a.test", "HardBounce", true, "sandbox"},
		{"HardBounce" + theirs, "", false, "bounce HardBounce"},
		{"hardbounce" + theirs, "", false, "bounce HardBounce"},
		{"Soft_Bounce" + theirs, "", false, "bounce SoftBounce"},
		{"SMTPApiError" + theirs, "", false, "bounce SMTPApiError"},
		{"dnserror" + theirs, "", false, "bounce DnsError"},
		{"who" + theirs, "", false, "bounce HardBounce"},
		{"hardbounce+7" + theirs, "", false, "bounce HardBounce"},
		{"SpamComplaint" + theirs, "", false, "bounce HardBounce"},
		{"anyone" + theirs, "Transient", false, "bounce Transient"},
		{"softbounce" + theirs, " auto_responder ", false, "bounce AutoResponder"},
		{"softbounce" + theirs, "no such", false, "bounce HardBounce"},
		{"softbounce" + theirs, "SpamComplaint", false, "bounce HardBounce"},
		{"softbounce" + theirs, "", true, "bounce SoftBounce"}, // in a sandbox too
		{"softbounce@bounce-testing.mail.test", "", false, "bounce SoftBounce"},
		{"test@blackhole.postmarkapp.com", "", false, "blackhole"},
		{"test@blackhole.postmarkapp.com", "HardBounce", true, "blackhole"},
		{"test@blackhole.mail.test", "", false, "blackhole"},
		{"hardbounce@x.bounce-testing.postmarkapp.com", "", false, "x.bounce-testing.postmarkapp.com"},
		{"hardbounce@bounce-testing.a.test", "", false, "bounce-testing.a.test"},
		{"hardbounce@postmarkapp.com", "", false, "postmarkapp.com"},
	}
	names := NewTestNames("Mail.TEST.")
	for _, tt := range tests {
		got := names.Dest(&pennypost.Message{Sandbox: tt.sandbox}, pennypost.Address(tt.to), tt.asked)
		if got != tt.want {
			t.Errorf("%s, asked for %q, sandbox %v: %q, want %q", tt.to, tt.asked, tt.sandbox, got, tt.want)
		}
		if leaves := strings.Contains(tt.want, "."); goesNowhere(got) == leaves {
			t.Errorf("%q goes nowhere: %v", got, !leaves)
		}
	}
}

// Each type of the contract comes of its address at once, recorded like a real
// one, and nothing leaves the machine.
func TestTestAddresses(t *testing.T) {
	// Those that are told of by a mail that comes back were delivered before.
	back := map[bounce.Type]bool{
		bounce.Unsubscribe: true, bounce.Subscribe: true, bounce.AutoResponder: true, bounce.AddressChange: true,
		bounce.OpenRelayTest: true, bounce.ChallengeVerification: true,
	}
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		sent := 0
		for _, typ := range bounce.Types() {
			to := pennypost.Address(typ.String() + "@bounce-testing.postmarkapp.com")
			sent++
			m := x.accept(draft{to: []string{string(to)}, content: content, tag: "test", sandbox: typ == bounce.Unknown})
			if typ == bounce.SpamComplaint {
				typ = bounce.HardBounce
			}
			inactive := typ == bounce.HardBounce || typ == bounce.ManuallyDeactivated
			state, events := pennypost.Bounced, []pennypost.EventType{pennypost.EventBounced}
			if back[typ] {
				state, events = pennypost.Delivered, []pennypost.EventType{pennypost.EventDelivered, pennypost.EventBounced}
			}
			if inactive {
				events = append(events, pennypost.EventSubscriptionChanged)
			}
			s := x.want(m, 0, state, 1, events...)
			if s.Rule != TestRule || s.attempts[0].Rule != TestRule || s.attempts[0].Host != "bounce-testing.postmarkapp.com" {
				t.Errorf("%v: rules %q %q, host %q", typ, s.Rule, s.attempts[0].Rule, s.attempts[0].Host)
			}
			if x.suppressed(to) != inactive {
				t.Errorf("%v: suppressed %v, want %v", typ, !inactive, inactive)
			}
			x.wantBounce(m, s, typ, inactive)
		}
		if x.dialled() != 0 || x.net.Queries() != 0 {
			t.Errorf("%d connections, %d questions", x.dialled(), x.net.Queries())
		}
		if got := x.stats(); got.Sent != int64(sent) || got.Bounced != int64(sent-1) || got.SMTPErrors != 1 || got.Delivered != int64(len(back)) || got.Deferred != 0 {
			t.Errorf("counted %+v of %d", got, sent)
		}
	})
}

// wantBounce checks the record that came of a test address.
func (x *world) wantBounce(m *pennypost.Message, s story, typ bounce.Type, inactive bool) {
	x.t.Helper()
	id := int64(0)
	for _, e := range s.events {
		if e.Type == pennypost.EventBounced && e.Bounce != nil {
			id = e.Bounce.ID
		}
	}
	ctx := x.t.Context()
	err := x.st.View(ctx, func(tx *store.Tx) error {
		b, err := tx.Bounce(ctx, x.server, id)
		if err != nil {
			return err
		}
		if b.Type != typ.String() || b.TypeCode != typ.Code() || b.MessageID != m.ID || b.Recipient != s.Address || b.Tag != "test" ||
			b.Inactive != inactive || !b.Simulated || b.Details == "" || b.Dump == "" || b.N != s.N || b.Rule != TestRule {
			x.t.Errorf("%v: bounce %+v", typ, b)
		}
		if typ == bounce.SMTPAPIError && (!strings.Contains(b.Dump, "\r\nError code: 300\r\n\r\n") || !strings.HasSuffix(b.Dump, content)) {
			x.t.Errorf("dump %q", b.Dump)
		}
		return nil
	})
	if err != nil {
		x.t.Errorf("%v: bounce %d: %v", typ, id, err)
	}
}

// stats sums up what was counted.
func (x *world) stats() store.StatCount {
	x.t.Helper()
	var sum store.StatCount
	ctx := x.t.Context()
	err := x.st.View(ctx, func(tx *store.Tx) error {
		hours, err := tx.StatsHours(ctx, x.server, pennypost.StreamOutbound, time.Now().Add(-24*time.Hour), time.Now().Add(time.Hour))
		for _, h := range hours {
			sum.Sent += h.Sent
			sum.Delivered += h.Delivered
			sum.Deferred += h.Deferred
			sum.Bounced += h.Bounced
			sum.SMTPErrors += h.SMTPErrors
		}
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return sum
}

// The blackhole takes all and keeps nothing; the header asks for a bounce of
// any address of the test domain, and of no other.
func TestBlackholeAndHeader(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		m := x.accept(draft{
			to:      []string{"test@blackhole.postmarkapp.com", "x@blackhole.mail.test", "x@bounce-testing.mail.test", "ann@a.test"},
			content: content, tag: "test", asked: "Blocked",
		})
		for i := range 2 {
			s := x.want(m, i, pennypost.Delivered, 1, delivered)
			if got := s.events[0].Details["DeliveryMessage"]; got != "smtp;250 2.0.0 OK dropped by the blackhole" {
				t.Errorf("DeliveryMessage %q", got)
			}
		}
		x.wantBounce(m, x.want(m, 2, pennypost.Bounced, 1, pennypost.EventBounced), bounce.Blocked, false)
		x.want(m, 3, pennypost.Delivered, 1, delivered)
		x.got("ann@a.test", 1)
	})
}

// It takes less than a second, also for many and after a restart; what was
// accepted for a test domain before it was one does not leave either.
func TestTestAddressesComeSoon(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		var list []*pennypost.Message
		for i := range 200 {
			list = append(list, x.accept(draft{to: []string{fmt.Sprintf("softbounce%d@bounce-testing.mail.test", i)}, content: content, asked: "SoftBounce", unplaced: i%2 == 0}))
		}
		m, recips := x.message(draft{to: []string{"dnserror@bounce-testing.mail.test"}})
		old := pennypost.Job{
			ID: x.st.NextID(), Kind: pennypost.JobDeliver, Dest: "bounce-testing.mail.test", Tenant: m.ServerID,
			Priority: pennypost.PriorityTransactional, RunAt: time.Now(), Ref: store.JobRef(m.ID, 0),
		}
		ctx := t.Context()
		err := x.st.Update(ctx, func(tx *store.Tx) error {
			return tx.AddMessage(ctx, &store.NewMessage{Message: m, Content: []byte(content), Recipients: recips, Jobs: []pennypost.Job{old}})
		})
		if err != nil {
			t.Fatal(err)
		}
		x.run()
		time.Sleep(900 * time.Millisecond)
		for _, m := range append(list, m) {
			x.want(m, 0, pennypost.Bounced, 1, pennypost.EventBounced)
		}
		if x.dialled() != 0 || x.net.Queries() != 0 {
			t.Errorf("%d connections, %d questions", x.dialled(), x.net.Queries())
		}
	})
}
