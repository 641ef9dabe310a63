package smtpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pennypost/internal/eml"
)

func TestS042S043Size(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.client()
	for param, want := range map[string]reply{
		"SIZE=0":                               replySender,
		"SIZE=20480000":                        replySender,
		"size=1":                               replySender,
		"SIZE=20480001":                        replyTooLarge,
		"SIZE=99999999999999999999":            replyTooLarge, // 20 digits are allowed (RFC 1870 §3)
		"SIZE=1" + strings.Repeat("0", 30):     replyParamValue,
		"SIZE=-1":                              replyParamValue,
		"SIZE=+1":                              replyParamValue,
		"SIZE=":                                replyParamValue,
		"SIZE":                                 replyParamValue,
		"SIZE=0x10":                            replyParamValue,
		"SIZE=1.5":                             replyParamValue,
		"SIZE=1 SIZE=1":                        replyParamTwice,
		"SIZE=1 size=2":                        replyParamTwice,
		"SIZE=1=2":                             replyParamValue,
		"SIZE=1 BODY=8BITMIME SMTPUTF8 AUTH=x": replySender,
	} {
		p.send("MAIL FROM:<s@client.example> " + param + "\r\n")
		if got := p.reply(); got != string(want) {
			t.Errorf("%s: got %q, want %q", param, got, want)
		}
		p.say("RSET", replyOK)
	}
}

func TestS045TooManyRecipients(t *testing.T) {
	w := start(t)
	p := w.client()
	p.say("MAIL FROM:<s@client.example>", replySender)
	for n := range 50 {
		p.say(fmt.Sprintf("RCPT TO:<r%d@x.example>", n), replyRcpt)
	}
	for _, to := range []string{"a", "b", "A", "r0"} {
		want := replyTooManyRcpt
		if to == "r0" {
			want = replyRcpt // it has its copy already
		}
		p.say("RCPT TO:<"+to+"@x.example>", want)
	}
	p.say("DATA", replyData)
	p.say(letter+".", "250 2.0.0 Ok: queued as")
	taken, _ := w.messages()
	if len(taken) != 1 || len(taken[0].raw.Recipients) != 50 {
		t.Fatalf("taken %+v", taken)
	}
	wantAddresses(t, taken[0].raw.Surplus, "a@x.example", "b@x.example")

	// A stranger may have at least a hundred (RFC 5321 §4.5.3.1.8).
	p = w.dial(w.mx).hello()
	p.say("MAIL FROM:<s@client.example>", replySender)
	for n := range 100 {
		p.say(fmt.Sprintf("RCPT TO:<b-%d@%s>", n, bounces), replyRcpt)
	}
	p.say("RCPT TO:<b-100@"+bounces+">", replyTooManyRcpt)
	p.say("DATA", replyData)
	p.say(letter+".", "250 2.0.0 Ok: queued as")
	if _, boxed := w.messages(); len(boxed) != 1 || len(boxed[0].Recipients) != 100 {
		t.Errorf("boxed %d", len(boxed))
	}
}

func TestS045Refused(t *testing.T) {
	w := start(t)
	for _, p := range []*peer{w.client(), w.dial(w.mx).hello()} {
		p.say("MAIL FROM:<s@client.example>", replySender)
		for n := 1; n <= 100; n++ {
			p.say(fmt.Sprintf("RCPT TO:<r%d@[192.0.2.1]>", n), replyBadRcpt)
		}
		p.want(replyTooRefused)
		p.closed()
	}
}

func TestS046SameRecipient(t *testing.T) {
	w := start(t)
	p := w.client()
	p.say("MAIL FROM:<s@client.example>", replySender)
	for range 500 {
		p.say("RCPT TO:<to@client.example>", replyRcpt)
		p.say("RCPT TO:<TO@Client.Example>", replyRcpt)
	}
	// Letters that only Unicode's folding makes equal are another's (U+017F).
	p.say("RSET", replyOK)
	p.say("MAIL FROM:<s@client.example> SMTPUTF8", replySender)
	for _, to := range []string{"sam@x.example", "SAM@x.example", "\u017fam@x.example", `"sam"@x.example`} {
		p.say("RCPT TO:<"+to+">", replyRcpt)
	}
	p.say("DATA", replyData)
	p.say(letter+".", "250 2.0.0 Ok: queued as")
	taken, _ := w.messages()
	if len(taken) != 1 {
		t.Fatalf("taken %d", len(taken))
	}
	wantAddresses(t, taken[0].raw.Recipients, "sam@x.example", "\u017fam@x.example")
}

func TestS072EnvelopeSender(t *testing.T) {
	w := start(t)
	p := w.client()
	for path, want := range map[string]reply{
		"": replySender, "other@tenant.example": replySender, "www@localhost": replySender,
		strings.Repeat("x", 64) + "@" + strings.Repeat("y.", 120) + "example": replyBadSender,
		"<a@b.example>": replyMailSyntax, "root": replyBadSender, "a@b@c.example": replyBadSender,
	} {
		p.send("MAIL FROM:<" + path + ">\r\n")
		if got := p.reply(); got != string(want) {
			t.Errorf("<%s>: got %q, want %q", path, got, want)
		}
		p.say("RSET", replyOK)
	}
}

func TestPathSyntax(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.client()
	for line, want := range map[string]reply{
		"MAIL":                                  replyMailSyntax,
		"MAIL FROM":                             replyMailSyntax,
		"MAIL FROM:":                            replyMailSyntax,
		"MAIL FROM: ":                           replyMailSyntax,
		"MAIL FROM:a@b.example":                 replyMailSyntax,
		"MAIL FROM:<a@b.example":                replyMailSyntax,
		"MAIL FROM <a@b.example>":               replyMailSyntax,
		"MAIL TO:<a@b.example>":                 replyMailSyntax,
		"MAIL FROM:<a@b.example>SIZE=1":         replyMailSyntax,
		"MAIL FROM:Name <a@b.example>":          replyMailSyntax,
		"MAIL FROM:<a@b.example> <c@d.example>": replyParam,
		`MAIL FROM:<"a>b"@c.example>`:           replyBadSender,
		`MAIL FROM:<"a\">b"@c.example>`:         replyBadSender,
		`MAIL FROM:<"a@b.example>`:              replyMailSyntax,
		"MAIL FROM:<a@b.example>":               replySender,
		"mail from: <a@b.example>":              replySender,
		"MAIL FROM:<a@b.example>  ":             replySender,
	} {
		p.send(line + "\r\n")
		if got := p.reply(); got != string(want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
		p.say("RSET", replyOK)
	}
	p.say("MAIL FROM:<a@b.example>", replySender)
	for _, line := range []string{"RCPT", "RCPT TO", "RCPT TO:", "RCPT TO:c@d.example", "RCPT TO:<c@d.example", "RCPT FROM:<c@d.example>"} {
		p.say(line, replyRcptSyntax)
	}
	p.say("RCPT TO:<>", replyBadRcpt)
}

func TestS073OpenRelay(t *testing.T) {
	w := start(t)
	try := func(p *peer) {
		t.Helper()
		p.say("RCPT TO:<victim@elsewhere.example>", replyRelay)
		p.say("RCPT TO:<nobody@"+hostname+">", replyNoMailbox)
		p.say("DATA", replyNoGoodRcpt)
	}
	p := w.dial(w.mx).hello()
	p.say("MAIL FROM:<a@"+hostname+">", replySender)
	try(p)
	p.say("RSET", replyOK)
	p.say("MAIL FROM:<postmaster@"+hostname+">", replySender)
	try(p)
	p.say("EHLO "+hostname, "250")
	p.say("MAIL FROM:<a@b.example>", replySender)
	try(p)
	p.startTLS(w.tls)
	p.say("AUTH PLAIN "+plain("", user, "wrong"), replyAuthWrong)
	p.say("MAIL FROM:<a@b.example> AUTH=<x@"+hostname+">", replySender)
	try(p)
	if taken, boxed := w.messages(); len(taken)+len(boxed) > 0 {
		t.Error("relayed")
	}
	// Without a box nothing is ours.
	w = start(t, func(c *Config) { c.Inbound = nil })
	p = w.dial(w.mx).hello()
	p.say("MAIL FROM:<a@b.example>", replySender)
	p.say("RCPT TO:<postmaster>", replyRelay)
}

// What is ours on port 25 is taken from anybody.
func TestOurOwnAddresses(t *testing.T) {
	w := start(t)
	p := w.dial(w.mx).hello()
	p.say("MAIL FROM:<>", replySender)
	for to, want := range map[string]reply{
		"postmaster@" + hostname: replyRcpt, "abuse@" + bounces: replyRcpt, "PostMaster": replyRcpt,
		"b-00000000@" + bounces: replyRcpt, "B-00000000@" + strings.ToUpper(bounces): replyRcpt,
		"root@" + hostname: replyNoMailbox, "b-00000000@" + hostname: replyNoMailbox, "abuse": replyBadRcpt,
		"postmaster@elsewhere.example": replyRelay,
	} {
		p.send("RCPT TO:<" + to + ">\r\n")
		if got := p.reply(); got != string(want) {
			t.Errorf("<%s>: got %q, want %q", to, got, want)
		}
	}
}

func TestS074Routes(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		to               string
		stranger, client reply
	}{
		{"user%elsewhere.example@" + hostname, replyNoMailbox, replyRcpt},
		{"elsewhere.example!user@" + hostname, replyNoMailbox, replyRcpt},
		{"@a.example,@b.example:c@" + hostname, replyBadRcpt, replyBadRcpt},
		{`"u@evil.example"@` + hostname, replyBadRcpt, replyBadRcpt},
		{"u@evil.example@" + hostname, replyBadRcpt, replyBadRcpt},
		{"u@[127.0.0.1]", replyBadRcpt, replyBadRcpt},
		{"postmaster@[192.0.2.1]", replyBadRcpt, replyBadRcpt},
		{"u@localhost", replyBadRcpt, replyBadRcpt},
		{"postmaster@localhost", replyBadRcpt, replyBadRcpt},
	} {
		p := w.dial(w.mx).hello()
		p.say("MAIL FROM:<a@b.example>", replySender)
		p.say("RCPT TO:<"+c.to+">", c.stranger)
		p = w.client()
		p.say("MAIL FROM:<a@b.example>", replySender)
		p.say("RCPT TO:<"+c.to+">", c.client)
		if c.client != replyRcpt {
			continue
		}
		p.say("DATA", replyData)
		p.say(letter+".", "250")
		if taken, _ := w.messages(); len(taken) != 1 || taken[0].raw.Recipients[0].Domain != hostname {
			t.Errorf("<%s> went to %+v", c.to, taken)
		}
	}
}

// S-075: SMTP takes what the API takes, as the same address. The table is eml's.
func TestS075Addresses(t *testing.T) {
	data, err := os.ReadFile("../eml/testdata/addresses.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		In, Addr, Error string
		UTF8            bool
	}
	if err := json.Unmarshal(data, &rows); err != nil || len(rows) < 60 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	w := start(t, limits(func(l *Limits) { l.Wrong, l.Refused, l.Idle = 10000, 10000, 10000 }))
	p := w.client()
	for _, row := range rows {
		api, apiErr := eml.ParseMailbox(row.In)
		for _, param := range []string{"", " SMTPUTF8"} {
			p.say("MAIL FROM:<s@client.example>"+param, replySender)
			p.send("RCPT TO:<" + row.In + ">\r\n")
			if strings.Contains(row.In, "\r\n") { // two commands
				p.want(replyRcptSyntax, replyUnknown)
			} else if got := p.reply(); (got == string(replyRcpt)) != (apiErr == nil && (!row.UTF8 || param != "")) {
				t.Errorf("%q%s: RCPT %q, API %v", row.In, param, got, apiErr)
			} else if apiErr == nil && param == "" && row.UTF8 && got != string(replyNeedsUTF8) {
				t.Errorf("%q: RCPT %q, want %q", row.In, got, replyNeedsUTF8)
			}
			if apiErr == nil && (!row.UTF8 || param != "") {
				p.say("DATA", replyData)
				p.say(letter+".", "250")
				if taken, _ := w.messages(); len(taken) != 1 || taken[0].raw.Recipients[0] != api {
					t.Errorf("%q: SMTP %+v, API %+v", row.In, taken, api)
				}
			}
			p.say("RSET", replyOK)
			senderAgrees(t, p, row.In, param, row.UTF8, apiErr)
		}
	}
}

// senderAgrees: MAIL takes the same, and beyond it the null path and a host
// without dot, since the sender is replaced.
func senderAgrees(t *testing.T, p *peer, in, param string, needsUTF8 bool, apiErr error) {
	t.Helper()
	var bad *eml.AddressError
	lenient := in == "" || errors.As(apiErr, &bad) && bad.Kind == eml.AddressSingleLabel
	p.send("MAIL FROM:<" + in + ">" + param + "\r\n")
	got := p.reply()
	if strings.Contains(in, "\r\n") {
		p.want(replyUnknown)
	}
	if taken := got == string(replySender); taken != (apiErr == nil && (!needsUTF8 || param != "") || lenient) {
		t.Errorf("%q%s: MAIL %q, API %v", in, param, got, apiErr)
	}
	p.say("RSET", replyOK)
}

func TestS078Parameters(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.client()
	for param, want := range map[string]reply{
		"FOO=bar":                             replyParam,
		"FOO":                                 replyParam,
		"RET=FULL":                            replyParam,
		"RET=HDRS ENVID=x":                    replyParam,
		"ENVID=" + strings.Repeat("x", 900):   replyParam,
		"ENVID=" + strings.Repeat("x", 60000): replyLineLong,
		"BODY=BINARYMIME":                     replyParamValue,
		"BODY=":                               replyParamValue,
		"BODY":                                replyParamValue,
		"BODY=7BIT BODY=8BITMIME":             replyParamTwice,
		"SMTPUTF8=1":                          replyParamValue,
		"SMTPUTF8 SMTPUTF8":                   replyParamTwice,
		"AUTH=":                               replyParamValue,
		"AUTH":                                replyParamValue,
		"AUTH=<>":                             replySender,
		"REQUIRETLS":                          replyParam,
		"MT-PRIORITY=1":                       replyParam,
		"=":                                   replyParam,
		"HOLDFOR=10":                          replyParam,
		"XVERP":                               replyParam,
	} {
		p.send("MAIL FROM:<s@client.example> " + param + "\r\n")
		if got := p.reply(); got != string(want) {
			t.Errorf("%.40s: got %q, want %q", param, got, want)
		}
		p.say("RSET", replyOK)
	}
	p.say("MAIL FROM:<s@client.example>", replySender)
	for _, param := range []string{"NOTIFY=NEVER", "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@b.example", "ORCPT=rfc822;a@b.example", "x"} {
		p.say("RCPT TO:<to@client.example> "+param, replyParam)
	}
}

func TestS079UTF8(t *testing.T) {
	w := start(t, limits(func(l *Limits) { l.Wrong = 1000 }))
	p := w.client()
	p.say("MAIL FROM:<j\u00f8rn@client.example>", replyNeedsUTF8)
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<j\u00f8rn@client.example>", replyNeedsUTF8)
	p.say("RCPT TO:<jorn@kj\u00f8bing.example>", replyNeedsUTF8)
	p.say("RSET", replyOK)
	for _, bad := range []string{"a\xc0\xafb", "a\xed\xa0\x80", "a\xe2\x82", "a\xff", "\xf4\x90\x80\x80"} {
		p.say("MAIL FROM:<"+bad+"@client.example> SMTPUTF8", replyNotUTF8)
		p.say("MAIL FROM:<s@client.example> SMTPUTF8", replySender)
		p.say("RCPT TO:<"+bad+"@client.example>", replyNotUTF8)
		p.say("RSET", replyOK)
	}
	p.say("MAIL FROM:<j\u00f8rn@client.example> SMTPUTF8", replySender)
	p.say("RCPT TO:<j\u00f8rn@kj\u00f8bing.example>", replyRcpt)
	p.say("HELO client.example", "250")
	p.say("MAIL FROM:<s@client.example> SMTPUTF8", replyParamHelo)
	p.say("MAIL FROM:<s@client.example> SIZE=1", replyParamHelo)
	p.say("MAIL FROM:<s@client.example>", replySender)
}
