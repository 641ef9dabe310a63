package smtpc

import (
	"errors"
	"strings"
	"testing"
)

// O-021, O-022: what the server's offers rule out is not sent.
func TestOffers(t *testing.T) {
	eight := [][]byte{[]byte("Subject: größer\r\n\r\n\r\n")}
	tests := []struct {
		name, ext string
		change    func(e *Envelope)
		want      string // the local reply, or
		mail      string // the MAIL command
	}{
		{"too big", "250-x\r\n250 SIZE 35\r\n", nil, "552 5.3.4 message of 36 octets is larger than the server takes (SIZE 35)", ""},
		{"just fits", "250-x\r\n250 SIZE 36\r\n", nil, "", "MAIL FROM:<bounce@sender.test> SIZE=36\r\n"},
		{"announced size", "250-x\r\n250 SIZE 36\r\n", func(e *Envelope) { e.Size = 37 }, "552 5.3.4 message of 37 octets is larger than the server takes (SIZE 36)", ""},
		{"no limit", "250-x\r\n250 SIZE 0\r\n", nil, "", "MAIL FROM:<bounce@sender.test> SIZE=36\r\n"},
		{"limit not named", "250-x\r\n250 size\r\n", nil, "", "MAIL FROM:<bounce@sender.test> SIZE=36\r\n"},
		{"absurd limit", "250-x\r\n250 SIZE 99999999999999999999\r\n", nil, "", "MAIL FROM:<bounce@sender.test> SIZE=36\r\n"},
		{"UTF-8 not offered", "250-x\r\n250 8BITMIME\r\n", func(e *Envelope) { e.UTF8 = true; e.To = "jürgen@rcpt.test" }, "550 5.6.7 address or header field outside of ASCII, and the server does not offer SMTPUTF8", ""},
		{"UTF-8", "250-x\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n", func(e *Envelope) { e.UTF8 = true; e.Parts = eight }, "", "MAIL FROM:<bounce@sender.test> BODY=8BITMIME SMTPUTF8\r\n"},
		{"8-bit text not offered", plainest, func(e *Envelope) { e.Parts = eight }, "554 5.6.3 message has 8-bit text, and the server does not offer 8BITMIME", ""},
		{"8-bit text", "250-x\r\n250 8bitmime\r\n", func(e *Envelope) { e.Parts = eight }, "", "MAIL FROM:<bounce@sender.test> BODY=8BITMIME\r\n"},
		{"7-bit text", "250-x\r\n250 8BITMIME\r\n", nil, "", "MAIL FROM:<bounce@sender.test>\r\n"},
		{"quoted", plainest, func(e *Envelope) { e.From = `"a b>\" c"@sender.test` }, "", "MAIL FROM:<\"a b>\\\" c\"@sender.test>\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := greeted(t, Config{}, tt.ext, func(p *peer) {
				if tt.mail != "" {
					p.expect(tt.mail)
					p.say("550 enough\r\n")
				}
			})
			e := letter()
			if tt.change != nil {
				tt.change(e)
			}
			r, err := c.Send(t.Context(), e)
			if tt.mail != "" {
				want(t, r, err, "550 enough", PhaseMail)
				return
			}
			want(t, r, err, tt.want, PhaseMail)
			if !r.Local {
				t.Error("got Local false of a reply that is ours")
			}
			wantReusable(t, c, true)
		})
	}
}

// dependencies.md §2: a path never brings a parameter or a command along.
func TestPaths(t *testing.T) {
	for _, path := range []string{
		"a@b> ORCPT=x@c", "a b@c.test", "a@b.test\r\nDATA", "a\x00@b.test", `"a@b.test`, `"a\`, `a\"@b.test`, "<a@b.test",
		"\"a\x01\"@b.test", "\"a\\\r\"@b.test", "jürgen@b.test", strings.Repeat("a", 600) + "@b.test", "a@b.test\x7f",
	} {
		for _, e := range []*Envelope{{From: path, To: "c@d.test"}, {From: "c@d.test", To: path}} {
			e.Parts = letter().Parts
			c := greeted(t, Config{}, pipelines, func(p *peer) { p.gone() })
			r, err := c.Send(t.Context(), e)
			if got := gotError(t, r, err, PhaseMail, "", false); !errors.Is(got, ErrPath) {
				t.Errorf("%q: got %v, want ErrPath", path, err)
			}
		}
	}
	c := greeted(t, Config{}, pipelines, func(p *peer) { p.gone() })
	r, err := c.Send(t.Context(), &Envelope{Parts: letter().Parts})
	wantError(t, r, err, PhaseMail, "no recipient", false)
}
