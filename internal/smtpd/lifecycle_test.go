package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/eml"
	"pennypost/internal/inbound"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// revocable gives a channel that a test closes to revoke the token.
func revocable() (func(*Config), func()) {
	ch := make(chan struct{})
	return func(c *Config) { c.Revoked = func(pennypost.TokenID) <-chan struct{} { return ch } }, func() { close(ch) }
}

// S-069: all sessions of a revoked token end at once, wherever they are.
func TestS069Revoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, revoke := revocable()
		w := start(t, loopback, set)
		idle := w.clear()
		mail := w.clear()
		mail.say("MAIL FROM:<s@client.example>", replySender)
		rcpt := w.clear()
		rcpt.say("MAIL FROM:<s@client.example>", replySender)
		rcpt.say("RCPT TO:<to@client.example>", replyRcpt)
		data := w.clear()
		data.begin("to@client.example")
		data.send("Subject: half")
		stranger := w.dial(w.mx).hello()
		secure := w.dial(w.submission).hello().startTLS(w.tls).login()
		synctest.Wait()
		begin := time.Now()
		revoke()
		for _, p := range []*peer{idle, mail, rcpt, data, secure} {
			p.want(replyRevoked)
			p.closed()
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v", took)
		}
		stranger.say("NOOP", replyOK)
		if taken, _ := w.messages(); len(taken) > 0 {
			t.Errorf("taken %d", len(taken))
		}
		// Who gets in nevertheless, since AUTH and revocation crossed, is out at
		// once.
		p := w.clear()
		p.want(replyRevoked)
		p.closed()
	})
}

// S-069, S-070: what MAIL and the message are refused with.
func TestS069S070Refusals(t *testing.T) {
	suspended := pennypost.Refuse(pennypost.CodeNotApproved, "This account is not approved to send email. Too many bounces.")
	for _, c := range []struct {
		err  error
		want reply
		logs bool
	}{
		{suspended, "550 5.7.1 This account is not approved to send email. Too many bounces.", false},
		{fmt.Errorf("deep down: %w", suspended), "550 5.7.1 This account is not approved to send email. Too many bounces.", false},
		{&pennypost.Error{Code: pennypost.CodeToken, Text: "No longer valid.", Status: 401}, "554 5.7.1 No longer valid.", false},
		{pennypost.Refuse(pennypost.CodeOverLimit, "You are not allowed to send: the monthly limit of 100 is used up until 1 December 2026."), "452 4.7.1 You are not allowed to send: the monthly limit of 100 is used up until 1 December 2026.", false},
		{pennypost.Refuse(pennypost.CodeSenderUnknown, "unknown"), "550 5.7.1 unknown", false},
		{pennypost.Refuse(pennypost.CodeSenderUnconfirmed, "unconfirmed"), "550 5.7.1 unconfirmed", false},
		{pennypost.Refuse(pennypost.CodeInactive, "inactive"), "550 5.7.1 inactive", false},
		{pennypost.Refuse(pennypost.CodePendingDomain, "pending"), "550 5.7.1 pending", false},
		{pennypost.Refuse(pennypost.CodeServerUnusable, "Invalid Server or Account."), "550 5.7.1 Invalid Server or Account.", false},
		{pennypost.Refuse(pennypost.CodeStreamUnknown, "stream"), "550 5.7.1 stream", false},
		{pennypost.Refuse(pennypost.CodeStreamType, "type"), "550 5.7.1 type", false},
		{pennypost.Refuse(pennypost.CodeAttachmentType, "type"), "554 5.7.1 type", false},
		{pennypost.Refuse(1460, "SMTP is not activated."), "550 5.7.1 SMTP is not activated.", false},
		{pennypost.Invalid("Zero recipients specified"), "554 5.6.0 Zero recipients specified", false},
		{&pennypost.Error{Code: pennypost.CodeInvalid, Text: "big", Status: 413}, "552 5.3.4 big", false},
		{&pennypost.Error{Code: 999, Text: "big", Status: 413}, "552 5.3.4 big", false},
		{&pennypost.Error{Code: 999, Text: "fault", Status: 500}, "451 4.3.0 fault", false},
		{pennypost.Refuse(999, "unheard of"), "554 5.7.1 unheard of", false},
		{pennypost.Refuse(pennypost.CodeTooManyRequests, "slower"), "451 4.7.1 slower", false},
		{pennypost.Refuse(pennypost.CodeMaintenance, "closed"), "451 4.3.2 closed", false},
		{pennypost.Refuse(pennypost.CodeFault, "fault"), "451 4.3.0 fault", false},
		{pennypost.Invalid("two\r\nlines \x1b[0m of j\u00f8rn"), `554 5.6.0 two  lines  [0m of j\x{F8}rn`, false},
		// S-090: what is ours is never final.
		{fmt.Errorf("store message: %w", store.ErrUnavailable), replyNoStorage, true},
		{errors.New("out of ideas"), replyFault, true},
		{context.DeadlineExceeded, replyFault, true},
		{fmt.Errorf("write: %w", os.ErrPermission), replyFault, true},
	} {
		for _, at := range []string{"MAIL", "message", "stranger"} {
			w := start(t, loopback, func(cfg *Config) {
				switch at {
				case "MAIL":
					cfg.MailAllowed = func(context.Context, pennypost.Caller) error { return c.err }
				case "message":
					cfg.Accept = func(context.Context, pennypost.Caller, *submit.Raw) (*submit.Accepted, error) { return nil, c.err }
				case "stranger":
					cfg.Inbound = failing{c.err}
				}
			})
			var p *peer
			switch at {
			case "MAIL":
				p = w.clear()
				p.send("MAIL FROM:<s@client.example>\r\n")
			case "message":
				p = w.clear()
				p.begin("to@client.example")
				p.send(letter + ".\r\n")
			case "stranger":
				p = w.dial(w.mx).hello()
				p.say("MAIL FROM:<s@client.example>", replySender)
				p.send("RCPT TO:<postmaster>\r\n")
			}
			if got := p.reply(); got != string(c.want) {
				t.Errorf("%v at %s: got %q, want %q", c.err, at, got, c.want)
			}
			p.say("RSET", replyOK) // and the session goes on
			if logged := strings.Contains(w.log(), "level=WARN"); logged != c.logs {
				t.Errorf("%v at %s: warned %v, want %v", c.err, at, logged, c.logs)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Check(context.Context, eml.Mailbox) error { return f.err }
func (f failing) Store(context.Context, *inbound.Mail) (pennypost.MessageID, error) {
	return pennypost.MessageID{}, f.err
}

// S-070: a long refusal takes several lines, each with its codes, none longer
// than 512 octets (RFC 5321 §4.5.3.1.5, RFC 2034 §4).
func TestLongRefusal(t *testing.T) {
	text := "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: "
	for n := range 50 {
		text += fmt.Sprintf("address%d@a-rather-long-domain.example, ", n)
	}
	text = strings.TrimSuffix(text, ", ") + ". Inactive recipients are ones that have generated a hard bounce."
	w := start(t, loopback, func(c *Config) {
		c.Accept = func(context.Context, pennypost.Caller, *submit.Raw) (*submit.Accepted, error) {
			return nil, pennypost.Refuse(pennypost.CodeInactive, "%s", text)
		}
	})
	p := w.clear()
	p.begin("to@client.example")
	p.send(letter + ".\r\n")
	var whole []string
	lines := strings.Split(p.reply(), "\n")
	for n, line := range lines {
		sep := "-"
		if n == len(lines)-1 {
			sep = " "
		}
		rest, ok := strings.CutPrefix(line, "550"+sep+"5.7.1 ")
		if !ok || len(line) > 510 {
			t.Errorf("line %q", line)
		}
		whole = append(whole, rest)
	}
	if got := strings.Join(whole, " "); got != text {
		t.Errorf("got %q", got)
	}
	// A text without end is cut, and one without blanks is broken.
	for _, s := range []string{strings.Repeat("word ", 2000), strings.Repeat("x", 10000)} {
		b := reply("554 5.6.0 " + s).appendTo(nil)
		if n := strings.Count(string(b), "\r\n"); n != maxReplyLines || len(b) > maxReplyLines*512 {
			t.Errorf("%d lines, %d octets", n, len(b))
		}
	}
}

// A slow store is waited for no longer than Limits.Accept.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, loopback, func(c *Config) { c.Accept = waits })
		p := w.clear()
		p.begin("to@client.example")
		begin := time.Now()
		p.send(letter + ".\r\n")
		p.want(replyFault)
		if took := time.Since(begin); took != w.srv.lim.Accept {
			t.Errorf("took %v", took)
		}
	})
}

func waits(ctx context.Context, _ pennypost.Caller, _ *submit.Raw) (*submit.Accepted, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// S-085: the client goes away.
func TestS085ClientGoes(t *testing.T) {
	w := start(t, loopback)
	addr := w.tcp(nil, Listener{})[0]
	script := []string{
		"EHLO x\r\n", "AUTH PLAIN " + plain("", user, password) + "\r\n", "MAIL FROM:<s@client.example>\r\n",
		"RCPT TO:<to@client.example>\r\n", "DATA\r\n", "Subject: x\r\n\r\nbody", "\r\n", ".", "\r", "\n",
	}
	for n := range script {
		for _, reset := range []bool{false, true} {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Write([]byte(strings.Join(script[:n+1], ""))); err != nil {
				t.Fatal(err)
			}
			tcp := nc.(*net.TCPConn)
			if reset {
				err = tcp.SetLinger(0)
			} else {
				err = tcp.CloseWrite()
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reset { // reads our replies to the end
				buf := make([]byte, 4096)
				for err == nil {
					_, err = nc.Read(buf)
				}
			}
			_ = nc.Close() //nolint:errcheck // a reset is what is wanted
			w.eventually("the connection is gone", func() bool { return w.srv.open.Load() == 0 })
			taken, _ := w.messages()
			whole := n == len(script)-1
			switch {
			case !whole && len(taken) > 0:
				t.Errorf("stored after %q", script[n])
			case whole && !reset && len(taken) != 1:
				t.Errorf("stored %d times, want once", len(taken))
			case len(taken) > 1:
				t.Errorf("stored %d times", len(taken))
			}
		}
	}
}

// S-085: the client resets while its message is being stored: once, and the
// reply goes nowhere.
func TestS085ResetBeforeReply(t *testing.T) {
	stored := make(chan struct{})
	goOn := make(chan struct{})
	w := start(t, loopback, func(c *Config) {
		real := c.Accept
		c.Accept = func(ctx context.Context, caller pennypost.Caller, r *submit.Raw) (*submit.Accepted, error) {
			close(stored)
			<-goOn
			return real(ctx, caller, r)
		}
	})
	p := w.call(w.tcp(nil, Listener{})[0]).hello().login()
	p.begin("to@client.example")
	p.send(letter + ".\r\n")
	<-stored
	if err := p.raw.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	p.close()
	close(goOn)
	w.eventually("the connection is gone", func() bool { return w.srv.open.Load() == 0 })
	if taken, _ := w.messages(); len(taken) != 1 {
		t.Errorf("stored %d times, want once", len(taken))
	}
}

// S-089: a panic ends its session and no other.
func TestS089Panic(t *testing.T) {
	w := start(t, loopback, func(c *Config) {
		real := c.Accept
		c.Accept = func(ctx context.Context, caller pennypost.Caller, r *submit.Raw) (*submit.Accepted, error) {
			if r.From == "panic@client.example" {
				panic("on purpose")
			}
			return real(ctx, caller, r)
		}
	})
	other := w.clear()
	p := w.clear()
	p.say("MAIL FROM:<panic@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	p.say("DATA", replyData)
	p.say(letter+".", replyPanic)
	p.closed()
	other.delivers("to@client.example")
	w.eventually("its memory is free", func() bool { return w.srv.mem.all.Load() == w.srv.lim.Memory })
	if log := w.log(); !strings.Contains(log, "level=ERROR msg=\"session panicked\"") {
		t.Errorf("log: %s", log)
	}
}

// S-090: no room for the message at MAIL.
func TestS090NoRoomAtMail(t *testing.T) {
	w := start(t, loopback, limits(func(l *Limits) { l.Memory, l.Size = 1<<20, 1<<20 }))
	w.srv.mem.all.Store(firstBuffer - 1)
	defer w.srv.mem.all.Store(w.srv.lim.Memory)
	p := w.clear()
	p.say("MAIL FROM:<s@client.example>", replyNoMemory)
	w.srv.mem.all.Store(firstBuffer)
	p.say("MAIL FROM:<s@client.example> SIZE=100000", replyNoMemory)
	p.say("MAIL FROM:<s@client.example>", replySender)
	p.say("RCPT TO:<to@client.example>", replyRcpt)
	w.srv.mem.all.Store(0)
	p.say("DATA", replyNoMemory)
	p.say("RCPT TO:<to@client.example>", replyNoMail)
}

// Shutdown: sessions without a transaction get 421 4.3.2 at once, transactions
// are finished within the grace time.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, loopback)
		idle, silent := w.clear(), w.dial(w.mx)
		silent.want("220")
		mail, never := w.clear(), w.clear()
		mail.begin("to@client.example")
		mail.send("Subject: x\r\n\r\n")
		never.begin("to@client.example")
		synctest.Wait()
		begin := time.Now()
		w.stop()
		for _, p := range []*peer{idle, silent} {
			p.want(replyStopping)
			p.closed()
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("idle sessions ended after %v", took)
		}
		late := w.dial(w.mx)
		late.closed() // nobody comes in any more
		time.Sleep(w.srv.lim.Grace / 2)
		mail.send("body\r\n.\r\nMAIL FROM:<s@client.example>\r\n")
		mail.want("250 2.0.0 Ok: queued as", replyStopping)
		mail.closed()
		never.want(replyStopping)
		never.closed()
		if err := <-w.end; err != nil {
			t.Errorf("Serve: %v", err)
		}
		w.end <- nil
		if took := time.Since(begin); took != w.srv.lim.Grace {
			t.Errorf("ended after %v, want %v", took, w.srv.lim.Grace)
		}
		if taken, _ := w.messages(); len(taken) != 1 {
			t.Errorf("taken %d, want 1", len(taken))
		}
	})
}

// A store that answers no more and a peer that takes no reply do not hold the
// server up beyond the grace time.
func TestShutdownOfTheStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, loopback, func(c *Config) { c.Accept = waits })
		p := w.clear()
		p.begin("to@client.example")
		p.send(letter + ".\r\n")
		deaf := w.mx.from("192.0.2.1") // its banner is never read
		defer deaf.Close()
		synctest.Wait()
		begin := time.Now()
		w.stop()
		p.want(replyFault, replyStopping)
		if err := <-w.end; err != nil {
			t.Errorf("Serve: %v", err)
		}
		w.end <- nil
		if took := time.Since(begin); took > w.srv.lim.Grace+lastWord {
			t.Errorf("ended after %v", took)
		}
	})
}

// Serve says which listener failed, and nothing when it was asked to stop.
func TestServeErrors(t *testing.T) {
	w := start(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	l, other := newPipes(), newPipes()
	var end sync.WaitGroup
	end.Go(func() {
		if err := w.srv.Serve(ctx, Listener{Listener: l}); err != nil {
			t.Errorf("asked to stop: %v", err)
		}
	})
	cancel(errors.New("interrupt"))
	end.Wait()
	end.Go(func() {
		if err := w.srv.Serve(context.Background(), Listener{Listener: l}, Listener{Listener: other}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listener closed: %v", err)
		}
	})
	end.Wait()
	for what, cfg := range map[string]Config{
		"no host name": {TLS: w.cfg.TLS, Authenticate: w.authenticate, Accept: w.accept},
		"no TLS":       {Hostname: hostname, Authenticate: w.authenticate, Accept: w.accept},
		"must be set":  {Hostname: hostname, TLS: w.cfg.TLS},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// hiccup fails some times, as a listener without file descriptors does.
type hiccup struct {
	*pipes
	fails int
}

func (h *hiccup) Accept() (net.Conn, error) {
	if h.fails--; h.fails >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.ErrDeadlineExceeded}
	}
	return h.pipes.Accept()
}

func TestAcceptGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		ctx, cancel := context.WithCancel(context.Background())
		h := &hiccup{pipes: newPipes(), fails: 5}
		end := make(chan error)
		go func() { end <- w.srv.Serve(ctx, Listener{Listener: h}) }()
		p := w.talk(h.from("127.0.0.1"))
		p.hello()
		cancel()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
}

// The errors of Authenticate are auth's own, so that no wiring can lose them.
func TestRefusalKnowsAuth(t *testing.T) {
	for err, want := range map[error]reply{
		auth.ErrCredentials:                      replyAuthWrong,
		fmt.Errorf("x: %w", auth.ErrCredentials): replyAuthWrong,
		auth.ErrThrottled:                        replyThrottled,
		badReplyError(0):                         replyFault, badReplyError(250): replyFault, badReplyError(600): replyFault,
	} {
		if got, _ := refusal(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

type badReplyError int

func (b badReplyError) Error() string                    { return "no refusal" }
func (b badReplyError) SMTPReply() (int, string, string) { return int(b), "2.0.0", "fine" }

// late is a listener whose connections lie with the system until it is told to
// end.
type late struct {
	*net.TCPListener
	ends chan struct{}
	once sync.Once
}

func (l *late) Accept() (net.Conn, error) {
	<-l.ends
	return l.TCPListener.Accept()
}

func (l *late) SetDeadline(at time.Time) error {
	defer l.once.Do(func() { close(l.ends) })
	return l.TCPListener.SetDeadline(at.Add(time.Second)) // this machine may be busy
}

func (l *late) Close() error {
	defer l.once.Do(func() { close(l.ends) })
	return l.TCPListener.Close()
}

// Who has connected when the server stops is told so, even if the system alone
// knew of him.
func TestStopAnswersWhoWaits(t *testing.T) {
	w := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	tcp := &late{TCPListener: l.(*net.TCPListener), ends: make(chan struct{})}
	go func() { end <- w.srv.Serve(ctx, Listener{Listener: tcp}) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	cancel()
	if err := nc.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(nc)
	if err != nil || !strings.HasPrefix(string(text), "421 4.3.2") {
		t.Errorf("got %q, %v", text, err)
	}
	if err := <-end; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
