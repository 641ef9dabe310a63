package smtpd

import (
	"fmt"
	"strings"
	"testing"

	"pennypost/internal/eml"
)

// lookAlike are the ends of data that are none (S-001…S-032), by number.
func lookAlike() []string {
	return []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\n", "\n.\r", "\r.\r\n", "\r\n.\r",
		"\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\x00\n.\r\n", "\r\n.\r\x00\n",
		"\r\n .\r\n", "\r\n. \r\n", "\r\n\t.\r\n", "\r\n.\t\r\n", "\v.\v", "\r\n.\v", "\f.\f", "\r\n\f.\f\r\n",
		"\u0085.\u0085", "\x85.\x85", "\u2028.\u2028", "\r\n.\u2028", "\r\n\x1a\r\n", "\r\n..\r\n", "\r\n...\r\n",
		"\n\n.\n\n", "\r\n.\n\r\n", "\r\n\uff0e\r\n",
	}
}

// smuggle is a message with a look-alike and a whole transaction behind it; the
// CRLF.CRLF after that is the one true end.
func smuggle(end string) (message string) {
	return "Subject: s\r\n\r\nbody" + end +
		"MAIL FROM:<evil@evil.example>\r\nRCPT TO:<postmaster@" + hostname + ">\r\nDATA\r\nSubject: smuggled\r\n\r\nboo"
}

const endOfData = "\r\n.\r\n"

// unstuffed is RFC 5321 §4.5.2 in one line.
func unstuffed(data string) string {
	return strings.ReplaceAll("\r\n"+data, "\r\n.", "\r\n")[2:]
}

// verdictOf says what must come of octets, and whether the session goes on.
func verdictOf(data string, stranger bool) (r reply, goesOn bool) {
	rest := strings.ReplaceAll(data, "\r\n", "")
	switch {
	case stranger && strings.ContainsAny(rest, "\r\n\x00"):
		return replyBareAny, false
	case strings.ContainsAny(rest, "\r\x00"):
		return replyBareData, true
	}
	return "250 2.0.0 Ok: queued as", true
}

// try sends a message cut in pieces, and checks reply and store.
func (p *peer) try(w *world, data string, stranger bool, pieces ...string) (goesOn bool) {
	p.t.Helper()
	want, goesOn := verdictOf(data, stranger)
	for _, s := range pieces {
		p.send(s)
	}
	p.want(want)
	stored := strings.HasPrefix(string(want), "250")
	taken, boxed := w.messages()
	var got []string
	for _, m := range taken {
		got = append(got, string(m.raw.Data))
		wantAddresses(p.t, m.raw.Recipients, "to@client.example")
	}
	for _, m := range boxed {
		got = append(got, string(m.Data))
		wantAddresses(p.t, m.Recipients, "abuse@"+hostname)
	}
	switch {
	case !stored && len(got) > 0:
		p.t.Fatalf("stored %q after %q", got, want)
	case stored && (len(got) != 1 || got[0] != unstuffed(data+"\r\n")):
		p.t.Fatalf("stored %q\nwant %q", got, unstuffed(data+"\r\n"))
	}
	return goesOn
}

// enter opens a transaction with one write, up to the 354.
func (p *peer) enter(to string) {
	p.t.Helper()
	p.send("MAIL FROM:<s@client.example>\r\nRCPT TO:<" + to + ">\r\nDATA\r\n")
	p.want(replySender, replyRcpt, replyData)
}

// TestS001 to S-032: look-alikes of the end of data, each followed by a
// transaction, from strangers and after AUTH, whole and (S-033) cut in two at
// every position, in TCP segments and in TLS records.
func TestS001(t *testing.T) {
	for n, end := range lookAlike() {
		data := smuggle(end)
		whole := data + endOfData
		for _, secure := range []bool{false, true} {
			// What is far from the look-alike and from the end is cut only in the
			// clear: a stranger's TLS costs a handshake for each position.
			near := len("Subject: s\r\n\r\nbody") - 2
			t.Run(fmt.Sprintf("S-%03d/stranger/tls=%v", n+1, secure), func(t *testing.T) {
				w := start(t)
				p := strangerInData(w, secure)
				if !p.try(w, data, true, whole) {
					p.closed()
				}
				for cut := 1; cut < len(whole); cut++ {
					if secure && (cut < near || cut > near+len(end)+4) && cut < len(whole)-6 {
						continue
					}
					p := strangerInData(w, secure)
					if !p.try(w, data, true, whole[:cut], whole[cut:]) {
						p.closed()
					}
					p.close()
				}
			})
			t.Run(fmt.Sprintf("S-%03d/client/tls=%v", n+1, secure), func(t *testing.T) {
				w := start(t, loopback, limits(func(l *Limits) { l.Idle = 10000 }))
				p := w.dial(w.submission).hello()
				if secure {
					p.startTLS(w.tls)
				}
				p.login().enter("to@client.example")
				p.try(w, data, false, whole)
				for cut := 1; cut < len(whole); cut++ {
					p.enter("to@client.example")
					p.try(w, data, false, whole[:cut], whole[cut:])
				}
				p.say("QUIT", replyBye)
			})
		}
	}
}

func strangerInData(w *world, secure bool) *peer {
	p := w.dial(w.mx).hello()
	if secure {
		p.startTLS(w.tls)
	}
	p.enter("abuse@" + hostname)
	return p
}

// The reader sees one octet at a time, in the clear and in TLS.
func TestS033EveryOctetAlone(t *testing.T) {
	w := start(t, loopback)
	for _, secure := range []bool{false, true} {
		p := w.dial(w.submission).hello()
		if secure {
			p.startTLS(w.tls)
		}
		p.login()
		for _, end := range lookAlike() {
			data := smuggle(end)
			p.enter("to@client.example")
			p.try(w, data, false, strings.Split(data+endOfData, "")...)
			p.delivers("to@client.example")
			w.messages()
		}
	}
}

// CR CR LF . CR LF ends the data, since its last five octets do (S-010); the
// message is refused for its bare CR, and what follows are commands, which a
// stranger has lost the connection for.
func TestCRBeforeTheEnd(t *testing.T) {
	w := start(t)
	p := strangerInData(w, false)
	p.send("Subject: s\r\n\r\nx\r\r\n.\r\nNOOP\r\n")
	p.want(replyBareAny)
	p.closed()

	p = w.client()
	p.begin("to@client.example")
	p.send("Subject: s\r\n\r\nx\r\r\n.\r\nNOOP\r\n")
	p.want(replyBareData, replyOK)
	if taken, boxed := w.messages(); len(taken)+len(boxed) > 0 {
		t.Errorf("stored %v %v", taken, boxed)
	}
}

func TestS035DotsAndEmptyBodies(t *testing.T) {
	w := start(t)
	p := w.client()
	for _, want := range []string{
		"", "\r\n", ".\r\n", "..\r\n", "...\r\n", "a\r\n.\r\nb\r\n", "a\r\n..b\r\n.", "Subject: x\r\n\r\n.\r\n..\r\n...\r\n",
		"\r\n" + strings.Repeat(".\r\n", 5000), strings.Repeat(".", 100000) + "\r\n", "x\r\n." + strings.Repeat("y", inBuffer) + "\r\n",
		strings.Repeat("x", inBuffer-1) + "\r\n.\r\n", strings.Repeat("x", inBuffer-2) + "\r\n.y\r\n",
	} {
		wire := want
		if wire != "" && !strings.HasSuffix(wire, "\r\n") {
			wire += "\r\n" // a last line without its end cannot be sent by DATA
			want = wire
		}
		wire = strings.ReplaceAll("\r\n"+wire, "\r\n.", "\r\n..")[2:]
		p.begin("to@client.example")
		p.send(wire + ".\r\n")
		p.want("250 2.0.0 Ok: queued as")
		taken, _ := w.messages()
		if len(taken) != 1 || string(taken[0].raw.Data) != want {
			t.Errorf("%.40q… arrived as %d messages or not identical", want, len(taken))
		}
	}
}

// Bare LF after AUTH is passed on as it came; submit writes CRLF.
func TestBareLFAfterLogin(t *testing.T) {
	w := start(t)
	p := w.client()
	p.begin("to@client.example")
	p.send("Subject: x\n\nline\n.\nline\r\n.\r\n")
	p.want("250 2.0.0 Ok: queued as")
	taken, _ := w.messages()
	if len(taken) != 1 || string(taken[0].raw.Data) != "Subject: x\n\nline\n.\nline\r\n" {
		t.Errorf("got %+v", taken)
	}
}

func TestS040LongLines(t *testing.T) {
	w := start(t)
	p := w.client()
	for _, n := range []int{999, 2000, 10 << 20} {
		data := "Subject: x\r\n\r\n" + strings.Repeat("y", n) + "\r\n"
		p.begin("to@client.example")
		p.send(data + ".\r\n")
		p.want("250 2.0.0 Ok: queued as")
		if taken, _ := w.messages(); len(taken) != 1 || string(taken[0].raw.Data) != data {
			t.Errorf("a line of %d octets did not arrive", n)
		}
	}
}

func TestS041HeaderBlock(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Idle = 10000 }))
	p := w.client()
	for _, c := range []struct {
		what, data string
		want       reply
	}{
		{"1 MB of header", strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 1100) + "\r\nbody", replyHeaderSize},
		{"one field of 1 MB", "X: " + strings.Repeat("y", 1<<20) + "\r\n\r\nbody", replyHeaderSize},
		{"10,000 lines", strings.Repeat("X: y\r\n", 10000) + "\r\nbody", replyHeaderSize},
		{"folded 100,000 times", "X: y\r\n" + strings.Repeat(" z\r\n", 100000) + "\r\nbody", replyHeaderSize},
		{"1,001 lines", strings.Repeat("X: y\r\n", 1001) + "\r\nbody", replyHeaderSize},
		{"no end of the header", strings.Repeat("X: y\r\n", 1001), replyHeaderSize},
		{"one line without end of the header", strings.Repeat("y", 300<<10), replyHeaderSize},
		{"1,000 lines", strings.Repeat("X: y\r\n", 1000) + "\r\nbody", "250"},
		{"long body", "X: y\r\n\r\n" + strings.Repeat("z\r\n", 10000), "250"},
		{"name of 10 KB", strings.Repeat("n", 10<<10) + ": y\r\n\r\nbody", "250"},
		{"no colon", "nothing\r\n\r\nbody", "250"},
		{"continuation first", " x\r\n\r\nbody", "250"},
		{"bare LF lines", strings.Repeat("X: y\n", 1001) + "\nbody", replyHeaderSize},
	} {
		p.begin("to@client.example")
		p.send(c.data + "\r\n.\r\n")
		if got := p.reply(); !strings.HasPrefix(got, string(c.want)) {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

func TestS044MoreThanDeclared(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Size = 10000 }))
	p := w.client()
	p.say("MAIL FROM:<s@client.example> SIZE=10", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	p.say("DATA", replyData)
	p.send(strings.Repeat("x\r\n", 5000) + ".\r\n")
	p.want(replyTooLarge)
	p.delivers("to@client.example") // the session goes on

	p.begin("to@client.example")
	for range 20 {
		p.send(strings.Repeat("x\r\n", 5000))
	}
	p.want(replyTooLarge)
	p.closed()
	if taken, _ := w.messages(); len(taken) != 1 {
		t.Errorf("stored %d, want 1", len(taken))
	}
	w.eventually("all memory is free", func() bool { return w.srv.mem.all.Load() == w.srv.lim.Memory })
}

// S-044: exactly the limit is taken, one octet more is not.
func TestSizeLimitIsExact(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Size = 100 }))
	p := w.client()
	p.begin("to@client.example")
	p.send(strings.Repeat("x", 98) + "\r\n.\r\n")
	p.want("250 2.0.0 Ok: queued as")
	p.begin("to@client.example")
	p.send(strings.Repeat("x", 99) + "\r\n.\r\n")
	p.want(replyTooLarge)
	p.say("BDAT 1\r\nx", replyNoMail)
}

func TestS080EightBits(t *testing.T) {
	w := start(t)
	p := w.client()
	data := "From: J\xf8rn <j@client.example>\r\nSubject: \xe9t\xe9\r\n\r\n\xe6\xf8\xe5\r\n"
	for _, param := range []string{"", " BODY=7BIT", " BODY=8bitmime"} {
		p.say("MAIL FROM:<s@client.example>"+param, replySender)
		p.say("RCPT TO:<to@client.example>", replyRcpt)
		p.say("DATA", replyData)
		p.send(data + ".\r\n")
		p.want("250 2.0.0 Ok: queued as")
		if taken, _ := w.messages(); len(taken) != 1 || string(taken[0].raw.Data) != data {
			t.Errorf("%s: not identical", param)
		}
	}
}

// What the message came with is handed over.
func TestWhatAcceptGets(t *testing.T) {
	w := start(t)
	p := w.client()
	p.say("MAIL FROM:<Sender@Client.Example> SMTPUTF8", replySender)
	p.say("RCPT TO:<B@client.example>", replyRcpt)
	p.say("RCPT TO:<a@client.example>", replyRcpt)
	p.say("DATA", replyData)
	p.say(letter+".", "250 2.0.0 Ok: queued as 00000000-0000-0000-0000-000000000001")
	taken, _ := w.messages()
	if len(taken) != 1 {
		t.Fatalf("taken %d", len(taken))
	}
	m := taken[0]
	wantAddresses(t, m.raw.Recipients, "B@client.example", "a@client.example")
	if m.raw.From != "Sender@Client.Example" || !m.raw.UTF8 || !m.raw.TLS || m.raw.Helo != "client.example" {
		t.Errorf("got %+v", m.raw)
	}
	if m.caller.TokenID != theToken || !strings.HasPrefix(m.caller.IP, "127.1.") {
		t.Errorf("caller %+v", m.caller)
	}

	q := w.dial(w.mx).hello()
	q.say("MAIL FROM:<>", replySender)
	q.say("RCPT TO:<Postmaster>", replyRcpt)
	q.say("DATA", replyData)
	q.say(letter+".", "250 2.0.0 Ok: queued as 00000000-0000-0000-0000-000000000101")
	_, boxed := w.messages()
	if len(boxed) != 1 || boxed[0].From != "" || boxed[0].TLS || boxed[0].Helo != "client.example" ||
		boxed[0].Recipients[0] != (eml.Mailbox{Local: "postmaster"}) || !strings.HasPrefix(boxed[0].IP, "127.1.") {
		t.Errorf("boxed %+v", boxed)
	}
}
