package smtpc

import (
	"errors"
	"strings"
	"testing"
)

// O-009, O-010: what may come before any message.
func TestHello(t *testing.T) {
	tests := []struct {
		name   string
		script func(p *peer)
		reply  string // the *Reply
		err    string // the *Error's text
		phase  string
	}{
		{"long greeting", func(p *peer) {
			p.say("220-mx.test\r\n220-no spam\r\n220 ready\r\n")
			p.expect("EHLO client.test\r\n")
			p.say(plainest)
		}, "", "", ""},
		{"HELO", func(p *peer) {
			p.say("220 x\r\n")
			p.expect("EHLO client.test\r\n")
			p.say("502 what?\r\n")
			p.expect("HELO client.test\r\n")
			p.say("250 hello\r\n")
			p.expect("MAIL FROM:<bounce@sender.test>\r\n") // nothing is offered
			p.say("550 x\r\n")
		}, "", "", ""},
		{"554 greeting", func(p *peer) { p.say("554 5.7.1 go away\r\n"); p.gone() }, "554 5.7.1 go away", "", PhaseBanner},
		{"421 greeting", func(p *peer) { p.say("421 4.3.2 busy\r\n"); p.gone() }, "421 4.3.2 busy", "", PhaseBanner},
		{"250 greeting", func(p *peer) { p.say("250 hello\r\n"); p.gone() }, "", "unexpected reply: 250 hello", PhaseBanner},
		{"HTTP", func(p *peer) { p.say("HTTP/1.1 400 Bad Request\r\n"); p.gone() }, "", "not a reply: HTTP/1.1 400 Bad Request", PhaseBanner},
		{"close", func(*peer) {}, "", "EOF", PhaseBanner},
		{"close after the greeting", func(p *peer) { p.say("220 x\r\n"); p.read() }, "", "EOF", PhaseEHLO},
		{"EHLO for now", func(p *peer) { p.say("220 x\r\n"); p.read(); p.say("451 4.7.1 later\r\n"); p.gone() }, "451 4.7.1 later", "", PhaseEHLO},
		{"421 to EHLO", func(p *peer) { p.say("220 x\r\n"); p.read(); p.say("421 4.7.0 bye\r\n"); p.gone() }, "421 4.7.0 bye", "", PhaseEHLO},
		{"EHLO and HELO refused", func(p *peer) {
			p.say("220 x\r\n")
			p.read()
			p.say("550 no\r\n")
			p.read()
			p.say("550 5.7.1 not you\r\n")
			p.gone()
		}, "550 5.7.1 not you", "", PhaseEHLO},
		{"354 to EHLO", func(p *peer) { p.say("220 x\r\n"); p.read(); p.say("354 go\r\n"); p.gone() }, "", "unexpected reply: 354 go", PhaseEHLO},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := begin(t, Config{}, tt.script)
			err := c.Hello(t.Context())
			var r *Reply
			switch {
			case tt.reply != "":
				if !errors.As(err, &r) {
					t.Fatalf("got %v, want a *Reply", err)
				}
				want(t, r, nil, tt.reply, tt.phase)
			case tt.err != "":
				wantError(t, nil, err, tt.phase, tt.err, false)
			case err != nil:
				t.Fatal(err)
			}
			wantReusable(t, c, err == nil)
			if strings.Contains(tt.name, "HELO") && err == nil {
				r, err := c.Send(t.Context(), letter())
				want(t, r, err, "550 x", PhaseMail)
			}
		})
	}
}

// Many odd extensions are no harm.
func TestExtensions(t *testing.T) {
	var b strings.Builder
	b.WriteString("250-mx.test PIPELINING\r\n250-\r\n250-  \r\n250-" + strings.Repeat("X", 600) + "\r\n")
	for range 400 {
		b.WriteString("250-X\x01 y\r\n")
	}
	b.WriteString("250-PIPELININGS\r\n250-SIZE x\r\n250 LIMITS MAILMAX=0 MAILMAX MAILMAX=x\r\n")
	c := greeted(t, Config{}, b.String(), func(p *peer) {
		p.expect("MAIL FROM:<bounce@sender.test> SIZE=36\r\n")
		p.say("550 x\r\n")
	})
	wantReusable(t, c, true)
	if got := c.Info().Extensions; len(got) != 64 || got[10] != `X\x01 y` || len(got[2]) > 160 {
		t.Errorf("got %q", got)
	}
	r, err := c.Send(t.Context(), letter())
	want(t, r, err, "550 x", PhaseMail)
}
