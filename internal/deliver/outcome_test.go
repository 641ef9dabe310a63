package deliver

import (
	"errors"
	"syscall"
	"testing"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/mx"
	"pennypost/internal/smtpc"
)

func reply(code int, phase, text string) *smtpc.Reply {
	return &smtpc.Reply{Code: code, Phase: phase, Lines: []string{text}}
}

func TestJudge(t *testing.T) {
	broken := func(phase string, err error) talk {
		return talk{host: "mx.spf.example", err: &smtpc.Error{Phase: phase, Err: err}}
	}
	tests := []struct {
		name    string
		t       talk
		outcome pennypost.Outcome
		typ     bounce.Type // of a bounce, or when it expires
		text    string
	}{
		{"250", talk{reply: reply(250, "dot", "2.0.0 OK q1")}, pennypost.OutcomeDelivered, 0, "smtp;250 2.0.0 OK q1"},
		{"unknown user", talk{reply: reply(550, "rcpt", "5.1.1 no such user")}, pennypost.OutcomeBounced, bounce.HardBounce, "smtp;550 5.1.1 no such user"},
		{"O-011 MAIL for good", talk{reply: reply(550, "mail", "5.1.1 user unknown")}, pennypost.OutcomeBounced, bounce.SoftBounce, "smtp;550 5.1.1 user unknown"},
		{"O-010 banner 554", talk{err: reply(554, "banner", "5.7.1 no")}, pennypost.OutcomeDeferred, bounce.Blocked, "smtp;554 5.7.1 no"},
		{"O-010 EHLO 5yz", talk{err: reply(550, "ehlo", "5.5.0 no")}, pennypost.OutcomeDeferred, bounce.SoftBounce, "smtp;550 5.5.0 no"},
		{"O-009 421", talk{reply: reply(421, "rcpt", "4.3.2 closing")}, pennypost.OutcomeDeferred, bounce.SoftBounce, "smtp;421 4.3.2 closing"},
		{"O-021 SIZE", talk{reply: &smtpc.Reply{Code: 552, Enhanced: "5.3.4", Lines: []string{"5.3.4 too large"}, Phase: "mail", Local: true}}, pennypost.OutcomeBounced, bounce.SoftBounce, "x-pennypost;552 5.3.4 too large"},
		{"O-001 refused", broken("connect", syscall.ECONNREFUSED), pennypost.OutcomeDeferred, bounce.SoftBounce, "x-pennypost;4.4.1 mx.spf.example: connect: connection refused"},
		{"O-004 reset", broken("ehlo", syscall.ECONNRESET), pennypost.OutcomeDeferred, bounce.SoftBounce, "x-pennypost;4.4.2 mx.spf.example: ehlo: connection reset by peer"},
		{"O-014 protocol", broken("data", &smtpc.ProtocolError{Text: "unexpected reply: 250 ok"}), pennypost.OutcomeDeferred, bounce.SoftBounce, "x-pennypost;4.5.0 mx.spf.example: data: protocol error: unexpected reply: 250 ok"},
		{"no such domain", talk{err: &mx.Failure{Permanent: true, Code: 550, Enhanced: "5.1.2", Text: "no such domain: blocked.spf.example"}}, pennypost.OutcomeBounced, bounce.HardBounce, "x-pennypost;5.1.2 no such domain: blocked.spf.example"},
		{"null MX", talk{err: &mx.Failure{Permanent: true, Code: 556, Enhanced: "5.1.10", Text: "takes no mail"}}, pennypost.OutcomeBounced, bounce.HardBounce, "x-pennypost;5.1.10 takes no mail"},
		{"private MX", talk{err: &mx.Failure{Permanent: true, Code: 550, Enhanced: "5.4.4", Text: "private"}}, pennypost.OutcomeBounced, bounce.DNSError, "x-pennypost;5.4.4 private"},
		{"ourselves", talk{err: &mx.Failure{Permanent: true, Code: 550, Enhanced: "5.4.6", Text: "loop"}}, pennypost.OutcomeBounced, bounce.DNSError, "x-pennypost;5.4.6 loop"},
		{"DNS for now", talk{err: &mx.Failure{Code: 451, Enhanced: "4.4.3", Text: "SERVFAIL"}}, pennypost.OutcomeDeferred, bounce.DNSError, "x-pennypost;4.4.3 SERVFAIL"},
		{"other", talk{err: errors.New("what\never")}, pennypost.OutcomeDeferred, bounce.DNSError, "x-pennypost;4.4.3 what?ever"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := judge(&tt.t)
			if r.outcome != tt.outcome || r.text != tt.text || r.verdict.Final != tt.typ {
				t.Errorf("got  %v %v %q\nwant %v %v %q", r.outcome, r.verdict.Final, r.text, tt.outcome, tt.typ, tt.text)
			}
			if r.verdict.Final.Inactive() && tt.outcome != pennypost.OutcomeBounced {
				t.Error("a deferral would suppress the address")
			}
		})
	}
}

func TestDecides(t *testing.T) {
	local := &smtpc.Reply{Code: 552, Phase: "mail", Local: true}
	tests := []struct {
		name             string
		t                talk
		decides, reached bool
	}{
		{"MAIL 4yz: the next host may differ", talk{reply: reply(451, "mail", "later")}, false, true},
		{"MAIL 421", talk{reply: reply(421, "mail", "busy")}, false, false},
		{"MAIL 5yz", talk{reply: reply(550, "mail", "no")}, true, true},
		{"RCPT 4yz", talk{reply: reply(450, "rcpt", "later")}, true, true},
		{"not to be sent", talk{reply: local}, true, true},
		{"banner", talk{err: reply(554, "banner", "no")}, false, false},
		{"refused", talk{err: &smtpc.Error{Phase: "connect", Err: syscall.ECONNREFUSED}}, false, false},
		{"reset at RCPT", talk{err: &smtpc.Error{Phase: "rcpt", Err: syscall.ECONNRESET}}, false, true},
		{"reset in the text", talk{err: &smtpc.Error{Phase: "body", Err: syscall.ECONNRESET}}, true, true},
		{"silence after the dot", talk{err: &smtpc.Error{Phase: "dot", Err: syscall.ETIMEDOUT, Ambiguous: true}}, true, true},
		{"lease lost", talk{err: &smtpc.Error{Phase: "body", Err: errLease}}, true, true},
		{"no address", talk{err: &mx.Failure{Enhanced: "4.4.3"}}, false, false},
	}
	for _, tt := range tests {
		if got := tt.t.decides(); got != tt.decides {
			t.Errorf("%s: decides %v, want %v", tt.name, got, tt.decides)
		}
		if got := tt.t.reached(); got != tt.reached {
			t.Errorf("%s: reached %v, want %v", tt.name, got, tt.reached)
		}
	}
}

// A failure for good of one host is not that of the site while another host
// could not be asked.
func TestRoundKeepsTheFailureThatMayPass(t *testing.T) {
	gone := &talk{host: "a", err: &mx.Failure{Permanent: true, Enhanced: "5.4.4"}}
	down := &talk{host: "b", err: &smtpc.Error{Phase: "connect", Err: syscall.ECONNREFUSED}}
	for _, order := range [][]*talk{{gone, down}, {down, gone}, {down, gone, gone}} {
		r := &round{}
		for _, x := range order {
			r.failed(x)
		}
		if r.last.host != "b" {
			t.Errorf("%v decides", r.last.err)
		}
		if len(r.lines) != len(order) {
			t.Errorf("%d lines, want %d", len(r.lines), len(order))
		}
	}
}

func TestExpired(t *testing.T) {
	tests := []struct {
		name  string
		last  *pennypost.Attempt
		reply string
		want  bounce.Type
		text  string
	}{
		{"never tried", nil, "", bounce.SoftBounce, "x-pennypost;4.4.7 not delivered in time"},
		{"connection refused", &pennypost.Attempt{Phase: "connect", Enhanced: "", Reply: "x-pennypost;4.4.1 refused"}, "x-pennypost;4.4.1 refused", bounce.SoftBounce, "x-pennypost;4.4.1 refused"},
		{"DNS", &pennypost.Attempt{Phase: "dns", Enhanced: "4.4.3", Reply: "x-pennypost;4.4.3 SERVFAIL"}, "x-pennypost;4.4.3 SERVFAIL", bounce.DNSError, "x-pennypost;4.4.3 SERVFAIL"},
		{"full", &pennypost.Attempt{Phase: "rcpt", Code: 452, Reply: "smtp;452 4.2.2 mailbox full"}, "smtp;452 4.2.2 mailbox full", bounce.SoftBounce, "smtp;452 4.2.2 mailbox full"},
		{"blocked", &pennypost.Attempt{Phase: "rcpt", Code: 421, Reply: "smtp;421 4.7.0 listed at spamhaus"}, "smtp;421 4.7.0 listed at spamhaus", bounce.Blocked, "smtp;421 4.7.0 listed at spamhaus"},
	}
	for _, tt := range tests {
		r := expired(&letter{rcpt: pennypost.Recipient{Reply: tt.reply}}, tt.last)
		if r.verdict.Final != tt.want || r.text != tt.text {
			t.Errorf("%s: %v %q, want %v %q", tt.name, r.verdict.Final, r.text, tt.want, tt.text)
		}
	}
}
