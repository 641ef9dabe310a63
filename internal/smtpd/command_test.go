package smtpd

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What EHLO offers is exactly this (design §8, dependencies §2).
func TestExtensions(t *testing.T) {
	const always = "250-mail.pp.example\n250-PIPELINING\n250-SIZE 20480000\n250-8BITMIME\n250-SMTPUTF8\n" +
		"250-ENHANCEDSTATUSCODES\n250-CHUNKING\n"
	w := start(t)
	for _, c := range []struct {
		name           string
		l              *pipes
		clear, secured string
	}{
		{"submission", w.submission, "250-STARTTLS\n250 LIMITS RCPTMAX=50", "250-AUTH PLAIN LOGIN\n250 LIMITS RCPTMAX=50"},
		{"port 25", w.mx, "250-STARTTLS\n250 LIMITS RCPTMAX=100", "250-AUTH PLAIN LOGIN\n250 LIMITS RCPTMAX=50"},
	} {
		p := w.dial(c.l)
		p.want("220 " + hostname + " ESMTP Pennypost")
		p.send("EHLO client.example\r\n")
		if got := p.reply(); got != always+c.clear {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, always+c.clear)
		}
		p.say("STARTTLS", replyStartTLS)
		p.upgrade(w.tls)
		p.send("EHLO client.example\r\n")
		if got := p.reply(); got != always+c.secured {
			t.Errorf("%s with TLS: got\n%s\nwant\n%s", c.name, got, always+c.secured)
		}
		p.login()
		p.send("EHLO client.example\r\n")
		if got := p.reply(); got != always+"250 LIMITS RCPTMAX=50" {
			t.Errorf("%s after AUTH: got\n%s", c.name, got)
		}
		p.say("HELO client.example", "250 "+hostname)
	}
}

func TestS036BareLFInCommand(t *testing.T) {
	w := start(t)
	p := w.dial(w.mx).hello()
	p.send("MAIL FROM:<a@b.example>\nRCPT TO:<abuse@" + hostname + ">\r\n")
	p.want(replyBareLF)
	p.say("DATA", replyNoMail)
	// In pieces, and with the LF at the borders of the reader's buffer.
	for _, n := range []int{1, 2, inBuffer - 1, inBuffer, inBuffer + 1} {
		p.send("NOOP " + strings.Repeat("x", max(n-5, 0)))
		p.send("\n")
		p.send("RSET\r\n")
		p.want(replyBareLF)
	}
	p.say("NOOP", replyOK)
}

// A client that never sends CRLF gets an answer before the time is up.
func TestBareLFAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		p := w.dial(w.mx)
		p.want("220")
		begin := time.Now()
		p.send("EHLO client.example\n")
		p.want(replyBareLF)
		p.closed()
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestS037ControlCharacters(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.dial(w.mx).hello()
	for line, want := range map[string]reply{
		"NOOP\rQUIT":                           replyControl,
		"NOOP \x00":                            replyControl,
		"NO\x1b[31mOP":                         replyControl,
		"MAIL FROM:<a\x00b@c.example>":         replyControl,
		"MAIL FROM:<a@c.example>\tSIZE=1":      replyControl,
		"EHLO m\xc3\xbcnchen.example":          replyNotASCII,
		"NOOP \xff":                            replyNotASCII,
		"QU\xc4\xb1T":                          replyNotASCII,
		"MA\xc4\xb1L FROM:<a@c.example>":       replyNotASCII,
		"R\xc5\xbfET":                          replyNotASCII,
		"MAIL FROM:<a\xff@c.example> SMTPUTF8": replyNotUTF8,
		"MAIL FROM:<a@c.example> SMTPUTF8\xff": replyNotUTF8,
		"MAIL FROM:<a@c.example>\u00a0SIZE=1":  replyMailSyntax,
		"MAIL FROM:<a@c.example> SIZE=1\u00a0": replyParamValue,
	} {
		p.send(line + "\r\n")
		if got := p.reply(); got != string(want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	for _, line := range []string{"NOOP", "noop", "nOoP x", "NOOP   "} {
		p.say(line, replyOK)
	}
	if log := w.log(); strings.ContainsAny(log, "\x00\x1b\r") {
		t.Errorf("log has control characters: %q", log)
	}
}

func TestS038LongLines(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.dial(w.mx).hello()
	for _, n := range []int{512, 1000} {
		p.say("NOOP "+strings.Repeat("x", n-5), replyOK)
	}
	for _, n := range []int{1001, 1002, 2048, inBuffer - 2, inBuffer - 1, inBuffer, 3 * inBuffer, 40000, maxDiscard - 2} {
		p.say("NOOP "+strings.Repeat("x", n-5), replyLineLong)
	}
	p.say("NOOP", replyOK)
	p.say("NOOP "+strings.Repeat("x", maxDiscard), replyLineLong)
	p.closed()
}

// S-038: what never ends is not kept.
func TestS038MemoryIsFlat(t *testing.T) {
	w := start(t)
	nc := w.mx.from("192.0.2.1")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	go func() { _, _ = bytes.NewBuffer(nil).ReadFrom(nc) }() //nolint:errcheck // until the end
	chunk := []byte(strings.Repeat("x", 64<<10))
	for range 1000 {
		if _, err := nc.Write(chunk); err != nil {
			break // closed, as it should be
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 1<<20 {
		t.Errorf("a line without end took %d octets", grown)
	}
}

func TestS052IdleCommands(t *testing.T) {
	for _, cmd := range []string{"NOOP", "RSET", "HELP", "EHLO x", "HELO x", "VRFY <a>", "MAIL FROM:<bad>", "BDAT 0"} {
		t.Run(cmd, func(t *testing.T) {
			w := start(t)
			p := w.dial(w.mx)
			p.want("220")
			p.say("EHLO client.example", "250")
			if cmd == "BDAT 0" {
				p.say("MAIL FROM:<a@b.example>", replySender)
				p.say("RCPT TO:<abuse@"+hostname+">", replyRcpt)
			}
			for n := 1; ; n++ {
				p.send(cmd + "\r\n")
				if last := p.reply(); strings.HasPrefix(last, "421") {
					t.Fatalf("command %d: %q", n, last)
				}
				if n == w.srv.lim.Idle {
					p.want(replyTooIdle)
					p.closed()
					return
				}
			}
		})
	}
}

// A message that was taken buys a new allowance, and the same recipient over
// and over does not go on for ever.
func TestS052AndWhoSendsMail(t *testing.T) {
	w := start(t)
	p := w.client()
	for range 4 {
		for range 50 {
			p.say("NOOP", replyOK)
		}
		p.delivers("to@client.example")
	}
	p.say("MAIL FROM:<a@b.example>", replySender)
	for range maxAsked {
		p.say("RCPT TO:<to@client.example>", replyRcpt)
	}
	p.say("RCPT TO:<to@client.example>", replyTooManyRcpt)
}

func TestS053UnknownCommands(t *testing.T) {
	w := start(t)
	p := w.dial(w.mx).hello()
	for range 9 {
		p.say("FOO", replyUnknown)
	}
	p.say("", replyUnknown, replyTooWrong)
	p.closed()
}

func TestS054OutOfOrder(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.dial(w.mx)
	p.want("220")
	p.say("MAIL FROM:<a@b.example>", replyHeloFirst)
	p.say("EHLO x", "250")
	p.say("RCPT TO:<abuse@"+hostname+">", replyNoMail)
	p.say("DATA", replyNoMail)
	p.send("BDAT 4\r\nQUIT")
	p.want(replyNoMail)
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("MAIL FROM:<c@d.example>", replyNested)
	p.say("DATA", replyNoRcpt)
	p.send("BDAT 4\r\nQUIT")
	p.want(replyNoRcpt)
	p.say("RCPT TO:<nobody@"+hostname+">", replyNoMailbox)
	p.say("DATA", replyNoGoodRcpt)
	p.send("BDAT 4 LAST\r\nQUIT")
	p.want(replyNoGoodRcpt)
	p.say("RCPT TO:<abuse@"+hostname+">", replyRcpt)
	p.say("DATA now", replyNoArgument)
	p.say("RSET now", replyNoArgument)
	p.say("QUIT now", replyNoArgument)
	p.say("DATA", replyData)
	p.say(letter+".", "250 2.0.0 Ok: queued as")
	p.say("DATA", replyNoMail)
	// EHLO within a transaction ends it (RFC 5321 §4.1.4).
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("EHLO x", "250")
	p.say("RCPT TO:<abuse@"+hostname+">", replyNoMail)
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("RSET", replyOK)
	p.say("RCPT TO:<abuse@"+hostname+">", replyNoMail)
	p.say("QUIT", replyBye)
	p.closed()
}

func TestS076OldCommands(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.dial(w.mx).hello()
	p.say("VRFY root", replyVerify)
	p.say("VRFY nobody@nowhere.example", replyVerify)
	p.say("VRFY j\u00f8rn SMTPUTF8", replyVerify)
	p.say("HELP", replyHelp)
	p.say("HELP MAIL", replyHelp)
	for _, cmd := range []string{
		"EXPN list", "ETRN x", "TURN", "ATRN", "DEBUG", "WIZ", "SEND FROM:<a@b.example>",
		"SAML FROM:<a@b.example>", "SOML FROM:<a@b.example>", "XCLIENT ADDR=192.0.2.9 NAME=spoofed", "XFORWARD ADDR=192.0.2.9",
	} {
		p.say(cmd, replyNotHere)
	}
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("RCPT TO:<abuse@"+hostname+">", replyRcpt)
	p.say("DATA", replyData)
	p.say(letter+".", "250")
	if _, boxed := w.messages(); len(boxed) != 1 || !strings.HasPrefix(boxed[0].IP, "127.1.") {
		t.Errorf("the address is %+v", boxed)
	}
}

// S-077: a header of the PROXY protocol is garbage, and the address stays.
func TestS077ProxyHeader(t *testing.T) {
	w := start(t)
	for _, header := range []string{
		"PROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\n",
		"PROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\nPROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", 900) + "\r\n",
	} {
		p := w.dial(w.mx)
		p.want("220")
		p.send(header)
		p.want(replyNotSMTP)
		p.closed()
	}
	p := w.dial(w.mx).hello()
	p.say("PROXY TCP4 192.0.2.9 192.0.2.1 1 25", replyNotSMTP)
	p.closed()

	p = w.dial(w.mx) // version 2
	p.want("220")
	p.send("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x09\xc0\x00\x02\x01\x00\x01\x00\x19\r\n")
	p.want(replyUnknown, replyUnknown, replyControl, replyBareLF)
}

func TestS058OtherProtocols(t *testing.T) {
	w := start(t)
	for _, l := range []*pipes{w.submission, w.mx} {
		for _, hello := range []string{
			"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.example>\r\n",
			"CONNECT mail:25 HTTP/1.1\r\n\r\n", "Host: x\r\nEHLO y\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		} {
			p := w.dial(l)
			p.want("220")
			p.send(hello)
			p.want(replyNotSMTP)
			p.closed() // nothing after it was read as a command
		}
	}
	// Within TLS likewise.
	p := w.dial(w.secure).upgrade(w.tls)
	p.want("220")
	p.send("GET / HTTP/1.1\r\nEHLO x\r\n")
	p.want(replyNotSMTP)
	p.closed()
}

func TestS086PipelinedWithoutReading(t *testing.T) {
	w := start(t, loopback, limits(func(l *Limits) { l.Idle, l.Refused = 1<<30, 1<<30 }))
	p := w.clear()
	var b strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&b, "MAIL FROM:<s%d@client.example>\r\nRCPT TO:<nobody>\r\nRSET\r\n", n)
	}
	p.send(b.String())
	for range 1000 {
		p.want(replySender, replyBadRcpt, replyOK)
	}
}

// S-086: a peer that takes no replies is left after Limits.Write.
func TestS086PeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		nc := w.mx.from("192.0.2.1")
		defer nc.Close()
		begin := time.Now()
		for {
			if _, err := nc.Write([]byte("NOOP\r\n")); err != nil {
				break
			}
		}
		synctest.Wait()
		if took := time.Since(begin); took != w.srv.lim.Write {
			t.Errorf("left after %v, want %v", took, w.srv.lim.Write)
		}
		if open := w.srv.open.Load(); open != 0 {
			t.Errorf("%d connections open", open)
		}
	})
}

func TestS087Hello(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.dial(w.mx)
	p.want("220")
	for line, want := range map[string]reply{
		"EHLO":                                replyHelo,
		"HELO ":                               replyHelo,
		"EHLO " + strings.Repeat("x", 256):    replyHelo,
		"EHLO " + strings.Repeat("x", 10<<10): replyHelo,
		"EHLO \x1b[2Jx":                       replyControl,
		"EHLO " + strings.Repeat("x", 255):    "250-",
		"EHLO <script>alert(1)</script>":      "250-",
		"EHLO %s%n%d":                         "250-",
		"EHLO " + hostname:                    "250-",
		"EHLO [192.0.2.1]":                    "250-",
		"HELO localhost":                      "250 ",
		"EHLO client.example with more":       "250-",
		"ehlo Client.Example   ":              "250-",
	} {
		p.send(line + "\r\n")
		if got := p.reply(); !strings.HasPrefix(got, string(want)) {
			t.Errorf("%.40q: got %q, want %q", line, got, want)
		}
	}
}

// counter counts the writes of the server.
type counter struct {
	net.Conn
	mu sync.Mutex
	n  int
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *counter) writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.n = 0 }()
	return c.n
}

// A pipelined group costs one write, and its replies come in order (RFC 2920;
// dependencies §2 no. 4).
func TestPipelinedGroupIsOneWrite(t *testing.T) {
	w := start(t, loopback)
	c := &counter{}
	p := w.talk(w.submission.from("127.0.0.1", func(nc net.Conn) net.Conn {
		c.Conn = nc
		return c
	}))
	p.hello().login()
	c.writes()
	var group strings.Builder
	group.WriteString("MAIL FROM:<s@client.example>\r\n")
	for n := range 50 {
		fmt.Fprintf(&group, "RCPT TO:<r%d@x.example>\r\n", n)
	}
	group.WriteString("DATA\r\n")
	p.send(group.String())
	p.want(replySender)
	for range 50 {
		p.want(replyRcpt)
	}
	p.want(replyData)
	if n := c.writes(); n != 1 {
		t.Errorf("52 commands cost %d writes, want 1", n)
	}
	// The reply to the message, and a whole group of the next one behind it.
	p.send(letter + ".\r\nMAIL FROM:<s@client.example>\r\nRCPT TO:<r@x.example>\r\nDATA\r\n")
	p.want("250 2.0.0 Ok: queued as", replySender, replyRcpt, replyData)
	if n := c.writes(); n != 1 {
		t.Errorf("the next message cost %d writes, want 1", n)
	}
	p.send(letter + ".\r\nQUIT\r\n")
	p.want("250 2.0.0 Ok: queued as", replyBye)
	if n := c.writes(); n != 1 {
		t.Errorf("the end cost %d writes, want 1", n)
	}
	if taken, _ := w.messages(); len(taken) != 2 || len(taken[0].raw.Recipients) != 50 {
		t.Errorf("taken %d", len(taken))
	}
}
