package smtpd

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/auth"
)

func TestLogin(t *testing.T) {
	w := start(t)
	for _, c := range []struct{ name, first, second, third string }{
		{"PLAIN, initial response", "AUTH PLAIN " + plain("", user, password), "", ""},
		{"PLAIN, authorisation id is the user", "AUTH PLAIN " + plain(user, user, password), "", ""},
		{"PLAIN, challenge", "AUTH PLAIN", plain("", user, password), ""},
		{"LOGIN", "AUTH LOGIN", b64(user), b64(password)},
		{"LOGIN, initial response", "AUTH LOGIN " + b64(user), b64(password), ""},
		{"lower case", "auth login", b64(user), b64(password)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := w.dial(w.submission).hello().startTLS(w.tls)
			p.send(c.first + "\r\n")
			for _, line := range []string{c.second, c.third} {
				if line != "" {
					p.want("334 ")
					p.send(line + "\r\n")
				}
			}
			p.want(replyAuth)
			p.say("MAIL FROM:<s@client.example>", replySender)
		})
	}
	if log := w.log(); strings.Contains(log, password) || strings.Contains(log, b64(password)) {
		t.Errorf("O9: the log has the secret: %s", log)
	}
}

func TestLoginChallenges(t *testing.T) {
	w := start(t)
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.send("AUTH LOGIN\r\n")
	if got := p.reply(); got != "334 VXNlcm5hbWU6" {
		t.Errorf("got %q", got)
	}
	p.send(b64(user) + "\r\n")
	if got := p.reply(); got != "334 UGFzc3dvcmQ6" {
		t.Errorf("got %q", got)
	}
	p.say("*", replyAuthCancelled)
	p.send("AUTH PLAIN\r\n")
	if got := p.reply(); got != "334 " {
		t.Errorf("got %q", got)
	}
}

func TestS060LoginBeforeTLS(t *testing.T) {
	asked := 0
	w := start(t, func(c *Config) {
		real := c.Authenticate
		c.Authenticate = func(ctx context.Context, u, p string, ip netip.Addr) (pennypost.Caller, error) {
			asked++
			return real(ctx, u, p, ip)
		}
	})
	for _, l := range []*pipes{w.submission, w.mx} {
		p := w.dial(l).hello()
		p.say("AUTH PLAIN "+plain("", user, password), replyAuthNeedsTLS)
		p.say("AUTH LOGIN", replyAuthNeedsTLS)
		p.say(b64(user), replyUnknown)
		p.say(b64(password), replyUnknown)
		p.say("AUTH CRAM-MD5", replyAuthNeedsTLS)
	}
	if asked != 0 {
		t.Errorf("the credentials were looked at %d times", asked)
	}
	for _, s := range []string{plain("", user, password), b64(password), password} {
		if strings.Contains(w.log(), s) {
			t.Errorf("O9: the log has %q", s)
		}
	}
}

// The setting allows AUTH in the clear on loopback, and only there.
func TestAuthOnLoopback(t *testing.T) {
	w := start(t, loopback)
	for addr, offered := range map[string]bool{"127.0.0.1": true, "::1": true, "192.0.2.1": false, "2001:db8::1": false} {
		p := w.talk(w.submission.from(addr))
		p.want("220")
		p.send("EHLO x\r\n")
		if got := p.reply(); strings.Contains(got, "AUTH PLAIN LOGIN") != offered {
			t.Errorf("%s: %q", addr, got)
		}
		p.send("AUTH PLAIN " + plain("", user, password) + "\r\n")
		if got := p.reply(); (got == string(replyAuth)) != offered {
			t.Errorf("%s: %q", addr, got)
		}
	}
}

func TestS061MailBeforeLogin(t *testing.T) {
	w := start(t)
	for _, secure := range []bool{false, true} {
		p := w.dial(w.submission).hello()
		if secure {
			p.startTLS(w.tls)
		}
		p.say("MAIL FROM:<s@client.example>", replyAuthFirst)
		p.say("RCPT TO:<to@client.example>", replyNoMail)
		p.say("DATA", replyNoMail)
	}
	p := w.dial(w.secure).upgrade(w.tls).hello()
	p.say("MAIL FROM:<s@client.example>", replyAuthFirst)
}

// S-062, S-064: everything that is no well-formed exchange.
func TestS062MalformedLogin(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong, l.AuthFailure = 1000, 1000 }))
	p := w.dial(w.submission).hello().startTLS(w.tls)
	long := strings.Repeat("A", maxAuthLine) // its line is longer
	for _, c := range []struct {
		line string // commands and answers, separated by |
		want reply
	}{
		{"AUTH", replyAuthSyntax},
		{"AUTH ", replyAuthSyntax},
		{"AUTH  PLAIN", replyAuthSyntax},
		{"AUTH \v", replyControl},
		{"AUTH\tPLAIN", replyControl},
		{"AUTH FOO", replyAuthMechanism},
		{"AUTH CRAM-MD5", replyAuthMechanism},
		{"AUTH DIGEST-MD5", replyAuthMechanism},
		{"AUTH XOAUTH2 " + b64("user=a\x01auth=Bearer b\x01\x01"), replyAuthMechanism},
		{"AUTH PLAINX", replyAuthMechanism},
		{"AUTH PLAIN =", replyAuthMalformed},
		{"AUTH PLAIN *", replyAuthMalformed},
		{"AUTH PLAIN ", replyAuthMalformed},
		{"AUTH PLAIN  " + plain("", user, password), replyAuthMalformed},
		{"AUTH PLAIN " + plain("", user, password) + " ", replyAuthMalformed},
		{"AUTH PLAIN " + plain("", user, password) + " x", replyAuthMalformed},
		{"AUTH PLAIN " + strings.TrimRight(plain("", user, password+"x"), "="), replyAuthMalformed},
		{"AUTH PLAIN " + strings.TrimRight(plain("", user, password+"xy"), "=") + "===", replyAuthMalformed},
		{"AUTH PLAIN !!!!", replyAuthMalformed},
		{"AUTH PLAIN -_-_", replyAuthMalformed},
		{"AUTH PLAIN AHVzZXIAcGFzcx==", replyAuthMalformed}, // bits beyond the last octet
		{"AUTH PLAIN " + b64(""), replyAuthMalformed},
		{"AUTH PLAIN " + b64("user"), replyAuthMalformed},
		{"AUTH PLAIN " + b64("user\x00password"), replyAuthMalformed},
		{"AUTH PLAIN " + b64("a\x00user\x00pass\x00word"), replyAuthMalformed},
		{"AUTH PLAIN " + b64("\x00us\xffer\x00password"), replyAuthMalformed},
		{"AUTH PLAIN " + b64("\x00\x00"), replyAuthWrong},
		{"AUTH PLAIN " + plain("", "", password), replyAuthWrong},
		{"AUTH PLAIN " + plain("", user, ""), replyAuthWrong},
		{"AUTH PLAIN " + long, replyAuthLong},
		{"AUTH PLAIN|" + long, replyAuthLong},
		{"AUTH PLAIN|*", replyAuthCancelled},
		{"AUTH PLAIN|", replyAuthMalformed},
		{"AUTH PLAIN|=", replyAuthMalformed},
		{"AUTH PLAIN|* ", replyAuthMalformed},
		{"AUTH PLAIN|" + plain("", user, password) + " ", replyAuthMalformed},
		{"AUTH PLAIN|a\x00b", replyAuthMalformed},
		{"AUTH LOGIN|*", replyAuthCancelled},
		{"AUTH LOGIN|" + b64(user) + "|*", replyAuthCancelled},
		{"AUTH LOGIN|" + user, replyAuthMalformed},
		{"AUTH LOGIN " + user + "!", replyAuthMalformed},
		{"AUTH LOGIN|" + b64(user) + "|" + password + "!", replyAuthMalformed},
		{"AUTH LOGIN|" + b64(user) + "|" + long, replyAuthLong},
		{"AUTH LOGIN|" + b64("us\x00er") + "|" + b64(password), replyAuthMalformed},
		{"AUTH LOGIN|" + b64(user) + "|" + b64("pass\x00word"), replyAuthMalformed},
		{"AUTH LOGIN||" + b64(password), replyAuthWrong},
		{"AUTH LOGIN =|" + b64(password), replyAuthWrong},
		{"AUTH LOGIN|" + b64(user) + "|", replyAuthWrong},
	} {
		lines := strings.Split(c.line, "|")
		for n, line := range lines {
			if n > 0 {
				p.want("334 ")
			}
			p.send(line + "\r\n")
		}
		if got := p.reply(); got != string(c.want) {
			t.Fatalf("%.60q: got %q, want %q", c.line, got, c.want)
		}
	}
	p.say("NOOP", replyOK)
	p.login() // and after all that
}

// S-039: the limit is 12288 octets with the CRLF (RFC 4954 §4).
func TestS039LongestAuthLine(t *testing.T) {
	w := start(t)
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN", "334 ")
	p.say(strings.Repeat("A", maxAuthLine-2), replyAuthMalformed) // all NUL, but read
	p.say("AUTH PLAIN", "334 ")
	p.say(strings.Repeat("A", maxAuthLine-1), replyAuthLong)
	p.say("AUTH PLAIN", "334 ")
	p.say(strings.Repeat("A", maxDiscard), replyAuthLong)
	p.closed()
}

// An answer that ends in a bare LF is none.
func TestS064BareLFInAnswer(t *testing.T) {
	w := start(t)
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN", "334 ")
	p.send(plain("", user, password) + "\nNOOP\r\n")
	p.want(replyBareLF)
	p.say("MAIL FROM:<s@client.example>", replyAuthFirst)
}

func TestS063OtherAuthorisation(t *testing.T) {
	w := start(t)
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN "+plain("admin", user, password), replyAuthWrong)
	p.say("MAIL FROM:<s@client.example>", replyAuthFirst)
}

func TestS065EndWithinLogin(t *testing.T) {
	w := start(t)
	for _, lines := range [][]string{
		{"AUTH LOGIN"}, {"AUTH LOGIN", b64(user)}, {"AUTH PLAIN"}, {"AUTH PLAIN", plain("", user, password)[:8]},
	} {
		p := w.dial(w.submission).hello().startTLS(w.tls)
		for n, line := range lines {
			p.send(line + "\r\n")
			if n < len(lines)-1 {
				p.want("334 ")
			}
		}
		p.close()
	}
	// What is pipelined behind AUTH is the answer, whatever it looks like.
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.send("AUTH PLAIN\r\nQUIT\r\nNOOP\r\n")
	p.want("334 ", replyAuthMalformed, replyOK)
	p.send("AUTH LOGIN\r\nRSET\r\nVRFY\r\n")
	p.want("334 ", "334 ", replyAuthWrong) // both are base64
}

func TestS066LoginTwice(t *testing.T) {
	w := start(t)
	p := w.client()
	p.say("AUTH PLAIN "+plain("", user, password), replyAuthTwice)
	p.delivers("to@client.example")
	p = w.dial(w.mx).hello().startTLS(w.tls)
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("AUTH PLAIN "+plain("", user, password), replyAuthInMail)
	p.say("RCPT TO:<to@client.example>", replyRelay)
	p.say("RSET", replyOK)
	p.login().delivers("to@client.example") // submission on port 25
	if taken, _ := w.messages(); len(taken) != 2 {
		t.Errorf("taken %d", len(taken))
	}
}

// S-067: one text for all that is wrong, but for the holder of an API token.
func TestS067OneText(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.AuthFailure = 1000 }))
	p := w.dial(w.submission).hello().startTLS(w.tls)
	for _, login := range [][2]string{
		{user, "wrong"},
		{"78", password},
		{"nobody", "nothing"},
		{"POSTMARK_API_TEST", "POSTMARK_API_TEST"},
		{strings.Repeat("u", 4000), strings.Repeat("p", 4000)},
		{"j\u00f8rn", "\u6f22"},
	} {
		p.send("AUTH PLAIN " + plain("", login[0], login[1]) + "\r\n")
		if got := p.reply(); got != string(replyAuthWrong) {
			t.Errorf("%.20q: got %q", login, got)
		}
	}
	p.send("AUTH PLAIN " + plain("", "api", "api") + "\r\n")
	if got, want := p.reply(), "535 5.7.8 "+(&auth.APITokenError{ServerID: 77}).Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestS068Guessing(t *testing.T) {
	w := start(t)
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN "+plain("", user, "a"), replyAuthWrong)
	p.say("AUTH PLAIN "+plain("", user, "b"), replyAuthWrong)
	p.say("AUTH PLAIN "+plain("", user, "c"), replyAuthWrong, replyThrottled)
	p.closed()
	w.client().delivers("to@client.example")

	p = w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN "+plain("", "throttled", "x"), replyThrottled)
	p.closed()
}

// S-090: a login that cannot be checked is our fault, and no guess.
func TestS090LoginFault(t *testing.T) {
	w := start(t)
	p := w.dial(w.submission).hello().startTLS(w.tls)
	for range 5 {
		p.say("AUTH PLAIN "+plain("", "fault", "x"), replyFault)
	}
	p.login()
	if !strings.Contains(w.log(), "login could not be checked") {
		t.Error("the log says nothing")
	}
}
