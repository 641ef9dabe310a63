package smtpd

import (
	"strings"
	"testing"
)

func TestBDAT(t *testing.T) {
	w := start(t)
	p := w.client()
	data := "Subject: x\r\n\r\nline\r\n.\r\n..dots stay\r\nno end"
	for _, chunks := range [][]string{{data}, {data[:10], data[10:]}, {"", data, ""}, strings.Split(data, "")} {
		p.say("MAIL FROM:<s@client.example>", replySender)
		p.say("RCPT TO:<to@client.example>", replyRcpt)
		for n, c := range chunks {
			last := ""
			want := reply("250 2.0.0 Ok: " + itoa(len(c)) + " octets received")
			if n == len(chunks)-1 {
				last, want = " LAST", "250 2.0.0 Ok: queued as"
			}
			p.send("BDAT " + itoa(len(c)) + last + "\r\n" + c)
			p.want(want)
		}
		if taken, _ := w.messages(); len(taken) != 1 || string(taken[0].raw.Data) != data {
			t.Errorf("%d chunks: got %+v", len(chunks), taken)
		}
	}
	// Pipelined, in one write, with the next transaction behind it.
	p.send("MAIL FROM:<s@client.example>\r\nRCPT TO:<to@client.example>\r\nBDAT 5\r\nab\r\ncBDAT 3 last\r\n\r\ndRSET\r\n")
	p.want(replySender, replyRcpt, "250 2.0.0 Ok: 5 octets received", "250 2.0.0 Ok: queued as", replyOK)
	if taken, _ := w.messages(); len(taken) != 1 || string(taken[0].raw.Data) != "ab\r\nc\r\nd" {
		t.Errorf("got %+v", taken)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestS081BadBDAT(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Size = 1000 }))
	// No number that can be consumed: the end.
	for line, want := range map[string]reply{
		"BDAT": replyBDAT, "BDAT ": replyBDAT, "BDAT -1": replyBDAT, "BDAT x": replyBDAT, "BDAT LAST": replyBDAT,
		"BDAT 0x10": replyBDAT, "BDAT 1e3": replyBDAT, "BDAT 999999999999999999999999": replyBDAT,
		"BDAT 9223372036854775808": replyTooLarge, "BDAT 18446744073709551616": replyTooLarge, "BDAT 4001": replyTooLarge,
	} {
		p := w.client()
		p.say("MAIL FROM:<s@client.example>", replySender)
		p.say("RCPT TO:<to@client.example>", replyRcpt)
		p.send(line + "\r\nMAIL FROM:<evil@evil.example>\r\n")
		if got := p.reply(); got != string(want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
		p.closed()
	}
	// The octets are consumed, and never commands.
	const octets = "MAIL FROM:<evil@evil.example>\r\n"
	n := itoa(len(octets))
	p := w.client()
	for _, line := range []string{"BDAT " + n, "BDAT " + n + " LAST"} {
		p.send(line + "\r\n" + octets)
		p.want(replyNoMail)
	}
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.send("BDAT " + n + "\r\n" + octets)
	p.want(replyNoRcpt)
	p.say("RCPT TO:<bad>", replyBadRcpt)
	p.send("BDAT " + n + " LAST\r\n" + octets)
	p.want(replyNoGoodRcpt)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	for _, flag := range []string{"LAST LAST", "FIRST", "LAST 1"} {
		p.send("BDAT " + n + " " + flag + "\r\n" + octets)
		p.want(replyBDAT)
	}
	// Octets are missing: what comes is no whole message any more.
	p.send("BDAT " + n + " LAST\r\n" + octets)
	p.want(replyBDAT)
	p.say("RCPT TO:<to@client.example>", replyNoMail)
	p.delivers("to@client.example")
	p.send("BDAT " + n + " LAST\r\n" + octets) // after DATA
	p.want(replyNoMail)
	if taken, _ := w.messages(); len(taken) != 1 {
		t.Errorf("taken %d, want 1", len(taken))
	}
}

func TestBDATWithinMessage(t *testing.T) {
	w := start(t)
	p := w.client()
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	p.send("BDAT 3\r\nabc")
	p.want("250 2.0.0 Ok: 3 octets received")
	p.say("RCPT TO:<more@client.example>", replyMidBDAT)
	p.say("DATA", replyMidBDAT)
	p.say("MAIL FROM:<s@client.example>", replyNested)
	p.say("NOOP", replyOK)
	p.say("RSET", replyOK)
	p.send("BDAT 3 LAST\r\nabc")
	p.want(replyNoMail)
	p.close()
	w.eventually("all memory is free", func() bool { return w.srv.mem.all.Load() == w.srv.lim.Memory })
}

func TestS082WhatLooksLikeMore(t *testing.T) {
	w := start(t)
	p := w.client()
	data := "Subject: x\r\n\r\nbody\r\nMAIL FROM:<evil@evil.example>\r\n.\r\nRCPT TO:<x@evil.example>\nbare\n.\nx"
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	p.send("BDAT " + itoa(len(data)) + " LAST\r\n" + data)
	p.want("250 2.0.0 Ok: queued as")
	taken, _ := w.messages()
	if len(taken) != 1 || string(taken[0].raw.Data) != data {
		t.Errorf("got %+v", taken)
	}
	// A stranger's bare LF, a client's bare CR or NUL: as in DATA.
	q := w.dial(w.mx).hello()
	q.say("MAIL FROM:<s@client.example>", replySender)
	q.say("RCPT TO:<abuse@"+hostname+">", replyRcpt)
	q.send("BDAT 3 LAST\r\na\nb")
	q.want(replyBareAny)
	q.closed()
	for _, bad := range []string{"a\rb", "a\x00b"} {
		p.say("MAIL FROM:<s@client.example>", replySender)
		p.say("RCPT TO:<to@client.example>", replyRcpt)
		p.send("BDAT 3 LAST\r\n" + bad)
		p.want(replyBareData)
	}
	// A CRLF that two chunks share is one.
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	p.send("BDAT 2\r\na\rBDAT 2 LAST\r\n\nb")
	p.want("250 2.0.0 Ok: 2 octets received", "250 2.0.0 Ok: queued as")
}

// S-083: the limits of lines are back after BDAT, and over the size limit too.
func TestS083LimitsAfterBDAT(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Size = 1000 }))
	p := w.client()
	long := "NOOP " + strings.Repeat("x", 2000)
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	p.send("BDAT 8\r\n12345678")
	p.want("250 2.0.0 Ok: 8 octets received")
	p.say("RSET", replyOK)
	p.say(long, replyLineLong)

	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	chunk := "BDAT 1001\r\n" + strings.Repeat("x", 1001)
	p.send(chunk)
	p.want(replyTooLarge)
	p.say(long, replyLineLong)
	p.say("RCPT TO:<more@client.example>", replyMidBDAT)
	// Every further chunk likewise, to the last, which ends the transaction.
	p.send(chunk)
	p.want(replyTooLarge)
	p.send("BDAT 3 LAST\r\nabc")
	p.want(replyTooLarge)
	p.delivers("to@client.example")

	// But not for ever: far over the limit is the end.
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	for range 4 {
		p.send(chunk)
		p.want(replyTooLarge)
	}
	p.closed()
	if taken, _ := w.messages(); len(taken) != 1 {
		t.Errorf("taken %d, want 1", len(taken))
	}
}

func TestS084BDATNotOffered(t *testing.T) {
	w := start(t)
	p := w.dial(w.mx)
	p.want("220")
	p.say("HELO client.example", "250")
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<abuse@"+hostname+">", replyRcpt)
	p.send("BDAT 1000\r\n" + strings.Repeat("QUIT\r\nNOOP\r\n", 80))
	p.want(replyNoBDAT)
	p.closed()
}
