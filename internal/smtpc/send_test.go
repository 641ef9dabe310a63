package smtpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// One write for the commands, one for the text with its dot, and the next
// message goes straight to MAIL.
func TestSendPipelined(t *testing.T) {
	c := greeted(t, Config{}, pipelines, func(p *peer) {
		for range 2 {
			p.expect(group)
			p.say("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go on\r\n")
			p.expect(body + ".\r\n")
			p.say("250 2.0.0 Ok: queued as 4Zx9\r\n")
		}
		p.expect("QUIT\r\n")
		p.say("221 bye\r\n")
		p.gone()
	})
	for i := range 2 {
		r, err := c.Send(t.Context(), letter())
		want(t, r, err, "250 2.0.0 Ok: queued as 4Zx9", PhaseDot)
		if r.Enhanced != "2.0.0" || r.Local || !r.Positive() {
			t.Errorf("got enhanced %q, local %v, want 2.0.0, false", r.Enhanced, r.Local)
		}
		wantReusable(t, c, true)
		if got := c.Info().Reused; got != (i == 1) {
			t.Errorf("message %d: got Reused %v", i, got)
		}
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Errorf("Quit: %v", err)
	}
	wantReusable(t, c, false)
	r, err := c.Send(t.Context(), letter())
	if e := gotError(t, r, err, PhaseMail, "", false); !errors.Is(e, ErrBroken) {
		t.Errorf("got %v, want ErrBroken", err)
	}
}

func TestSendStepwise(t *testing.T) {
	c := greeted(t, Config{}, plainest, func(p *peer) {
		p.expect("MAIL FROM:<bounce@sender.test>\r\n")
		p.say("250 Ok\r\n")
		p.expect("RCPT TO:<jane@rcpt.test>\r\n")
		p.say("550 5.1.1 no such user\r\n")
		p.expect("RSET\r\n")
		p.say("250 Ok\r\n")
		p.expect("MAIL FROM:<>\r\n")
		p.say("250 Ok\r\n")
		p.expect("RCPT TO:<jane@rcpt.test>\r\n")
		p.say("251 will forward\r\n")
		p.expect("DATA\r\n")
		p.say("354 go on\r\n")
		p.expect(body + ".\r\n")
		p.say("250 done\r\n")
	})
	r, err := c.Send(t.Context(), letter())
	want(t, r, err, "550 5.1.1 no such user", PhaseRcpt)
	wantReusable(t, c, true)
	e := letter()
	e.From = ""
	r, err = c.Send(t.Context(), e)
	want(t, r, err, "250 done", PhaseDot)
}

// O-011, O-012, O-013, O-014: whichever reply refuses decides, and the
// connection goes on when it can.
func TestRefusals(t *testing.T) {
	const mail5 = "550 5.7.1 you again"
	tests := []struct {
		name     string
		replies  string
		dot      string // reply to a lone dot, when one is wanted
		want     string
		phase    string
		reusable bool
	}{
		{"MAIL, all refused", mail5 + "\r\n503 no MAIL\r\n503 no RCPT\r\n", "", mail5, PhaseMail, true},
		{"MAIL for now", "451 4.3.0 later\r\n503 x\r\n503 x\r\n", "", "451 4.3.0 later", PhaseMail, true},
		{"MAIL, yet 354", mail5 + "\r\n503 no MAIL\r\n354 go on\r\n", "554 no recipients\r\n", mail5, PhaseMail, true},
		{"MAIL, yet RCPT taken and 354", mail5 + "\r\n250 Ok\r\n354 go on\r\n", "", mail5, PhaseMail, false},
		{"RCPT", "250 Ok\r\n550 5.1.1 who\r\n554 no recipients\r\n", "", "550 5.1.1 who", PhaseRcpt, true},
		{"RCPT for now", "250 Ok\r\n450 4.2.1 busy\r\n503 x\r\n", "", "450 4.2.1 busy", PhaseRcpt, true},
		{"RCPT, yet 354", "250 Ok\r\n550 5.1.1 who\r\n354 go on\r\n", "554 no recipients\r\n", "550 5.1.1 who", PhaseRcpt, true},
		{"RCPT, yet 354, yet 250", "250 Ok\r\n550 5.1.1 who\r\n354 go on\r\n", "250 queued\r\n", "550 5.1.1 who", PhaseRcpt, true},
		{"DATA", "250 Ok\r\n250 Ok\r\n554 5.7.0 no\r\n", "", "554 5.7.0 no", PhaseData, true},
		{"421 to MAIL", "421 4.3.2 closing\r\n", "", "421 4.3.2 closing", PhaseMail, false},
		{"421 to RCPT", "250 Ok\r\n421 4.3.2 closing\r\n", "", "421 4.3.2 closing", PhaseRcpt, false},
		{"421 to DATA", "250 Ok\r\n250 Ok\r\n421 4.3.2 closing\r\n", "", "421 4.3.2 closing", PhaseData, false},
		{"MAIL, then 421", mail5 + "\r\n421 bye\r\n", "", mail5, PhaseMail, false},
		{"RCPT, then 421", "250 Ok\r\n550 5.1.1 who\r\n421 bye\r\n", "", "550 5.1.1 who", PhaseRcpt, false},
		{"RCPT, then nonsense", "250 Ok\r\n550 5.1.1 who\r\nhello\r\n", "", "550 5.1.1 who", PhaseRcpt, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := greeted(t, Config{}, pipelines, func(p *peer) {
				p.expect(group)
				p.say(tt.replies)
				if tt.dot != "" {
					p.expect(".\r\n")
					p.say(tt.dot)
				}
				if !tt.reusable {
					p.gone()
					return
				}
				// The next message begins with RSET, in the same write.
				p.expect("RSET\r\n" + group)
				p.say("250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go on\r\n")
				p.expect(body + ".\r\n")
				p.say("250 Ok\r\n")
			})
			r, err := c.Send(t.Context(), letter())
			want(t, r, err, tt.want, tt.phase)
			wantReusable(t, c, tt.reusable)
			if tt.reusable {
				r, err = c.Send(t.Context(), letter())
				want(t, r, err, "250 Ok", PhaseDot)
			}
		})
	}
}

// The peer closes right after a refusal that decides.
func TestRefusedThenClosed(t *testing.T) {
	c := greeted(t, Config{}, pipelines, func(p *peer) {
		p.expect(group)
		p.say("250 Ok\r\n550 5.1.1 who\r\n")
	})
	r, err := c.Send(t.Context(), letter())
	want(t, r, err, "550 5.1.1 who", PhaseRcpt)
	wantReusable(t, c, false)
}

// O-014, O-017, O-023: replies that no command may get.
func TestProtocolErrors(t *testing.T) {
	tests := []struct {
		name, replies, dot string
		phase, text        string
		ambiguous          bool
	}{
		{"354 to MAIL", "354 go\r\n250 x\r\n250 x\r\n", "", PhaseMail, "unexpected reply: 354 go", false},
		{"221 to RCPT", "250 x\r\n221 x\r\n250 x\r\n", "", PhaseRcpt, "unexpected reply: 221 x", false},
		{"250 instead of 354", "250 x\r\n250 x\r\n250 x\r\n", "", PhaseData, "unexpected reply: 250 x", false},
		{"354 twice", "250 x\r\n250 x\r\n354 x\r\n354 x\r\n", "", PhaseData, "text after the reply to DATA", false},
		{"354 after the dot", "250 x\r\n250 x\r\n354 x\r\n", "354 x\r\n", PhaseDot, "unexpected reply: 354 x", true},
		{"221 after the dot", "250 x\r\n250 x\r\n354 x\r\n", "221 x\r\n", PhaseDot, "unexpected reply: 221 x", true},
		{"nonsense after the dot", "250 x\r\n250 x\r\n354 x\r\n", "2500 x\r\n", PhaseDot, "not a reply: 2500 x", true},
		{"one short", "250 x\r\n250 x\r\n", "", PhaseData, "EOF", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := greeted(t, Config{}, pipelines, func(p *peer) {
				p.expect(group)
				p.say(tt.replies)
				if tt.dot != "" {
					p.expect(body + ".\r\n")
					p.say(tt.dot)
					p.gone()
				}
			})
			r, err := c.Send(t.Context(), letter())
			wantError(t, r, err, tt.phase, tt.text, tt.ambiguous)
			wantReusable(t, c, false)
		})
	}
}

// O-016, O-017, O-018: what comes after the final dot.
func TestAfterTheDot(t *testing.T) {
	tests := []struct {
		name, reply, want string
		ambiguous         bool
		reusable          bool
	}{
		{"close", "", "EOF", true, false},
		{"half a reply", "250 2.0.0 O", "unexpected EOF", true, false},
		{"4yz", "452 4.2.2 full\r\n", "452 4.2.2 full", false, true},
		{"5yz", "554 5.7.1 spam\r\n", "554 5.7.1 spam", false, true},
		{"421", "421 4.3.2 closing\r\n", "421 4.3.2 closing", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := greeted(t, Config{}, pipelines, func(p *peer) {
				p.expect(group)
				p.say("250 x\r\n250 x\r\n354 x\r\n")
				p.expect(body + ".\r\n")
				if tt.reply != "" {
					p.say(tt.reply)
				}
				if tt.reusable {
					p.expect("RSET\r\n" + group)
				}
			})
			r, err := c.Send(t.Context(), letter())
			if tt.ambiguous {
				wantError(t, r, err, PhaseDot, tt.want, true)
			} else {
				want(t, r, err, tt.want, PhaseDot)
			}
			wantReusable(t, c, tt.reusable)
			if tt.reusable {
				_, _ = c.Send(t.Context(), letter()) //nolint:errcheck // the script looks at what is sent
			}
		})
	}
}

// O-018: delivered is delivered, whatever QUIT comes to.
func TestResetBeforeQuit(t *testing.T) {
	c := greeted(t, Config{}, pipelines, func(p *peer) {
		p.expect(group)
		p.say("250 x\r\n250 x\r\n354 x\r\n")
		p.expect(body + ".\r\n")
		p.say("250 2.0.0 queued\r\n")
	})
	r, err := c.Send(t.Context(), letter())
	want(t, r, err, "250 2.0.0 queued", PhaseDot)
	if err := c.Quit(t.Context()); err == nil {
		t.Error("Quit: got no error, want that of the closed connection")
	}
	if err := c.Quit(t.Context()); err != nil {
		t.Errorf("second Quit: %v", err)
	}
}

// O-015: a connection that breaks while the text is written cannot have
// brought the dot.
func TestCutInMidBody(t *testing.T) {
	big := letter()
	big.Parts = append(big.Parts, bytes.Repeat([]byte("0123456789\r\n"), 20_000))
	c := greeted(t, Config{}, pipelines, func(p *peer) {
		p.read()
		p.say("250 x\r\n250 x\r\n354 x\r\n")
		for got := 0; got < 100_000; {
			got += len(p.read())
		}
	})
	r, err := c.Send(t.Context(), big)
	wantError(t, r, err, PhaseBody, "closed pipe", false)
	wantReusable(t, c, false)
}

// A server that refuses in mid-text and closes: its reply counts when it can
// still be read.
func TestEarlyRefusal(t *testing.T) {
	nc := &halfConn{replies: strings.NewReader("220 x\r\n" + plainest + "250 x\r\n250 x\r\n354 x\r\n552 5.3.4 too big\r\n")}
	c := New(nc, "mx.test", Config{Hostname: "client.test"})
	if err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := c.Send(t.Context(), letter())
	want(t, r, err, "552 5.3.4 too big", PhaseBody)
	wantReusable(t, c, false)
}

// halfConn gives replies one at a time and takes commands, but no message.
type halfConn struct {
	net.Conn
	replies *strings.Reader
}

func (h *halfConn) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		b, err := h.replies.ReadByte()
		if err != nil {
			return n, err
		}
		p[n] = b
		if n++; b == '\n' {
			break
		}
	}
	return n, nil
}

func (h *halfConn) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("Subject")) {
		return 5, syscall.EPIPE
	}
	return len(p), nil
}
func (h *halfConn) SetDeadline(time.Time) error { return nil }
func (h *halfConn) Close() error                { return nil }

// The lease is asked right before the last write; refused, nothing is
// delivered.
func TestBeforeDot(t *testing.T) {
	lost := errors.New("lease lost")
	big := bytes.Repeat([]byte("0123456789\r\n"), 20_000)
	for _, tt := range []struct {
		name string
		text []byte
	}{{"small", nil}, {"large", big}} {
		t.Run(tt.name, func(t *testing.T) {
			e := letter()
			e.Parts = append(e.Parts, tt.text)
			var got bytes.Buffer
			done := make(chan struct{})
			asked := 0
			c := greeted(t, Config{}, pipelines, func(p *peer) {
				p.read()
				p.say("250 x\r\n250 x\r\n354 x\r\n")
				_, _ = got.ReadFrom(p.nc) //nolint:errcheck // up to the end
				close(done)
			})
			e.BeforeDot = func() error { asked++; return lost }
			r, err := c.Send(t.Context(), e)
			if e := gotError(t, r, err, PhaseBody, "lease lost", false); !errors.Is(e, lost) || asked != 1 {
				t.Errorf("got %v after %d questions", err, asked)
			}
			wantReusable(t, c, false)
			<-done
			if bytes.Contains(got.Bytes(), []byte("\r\n.\r\n")) {
				t.Error("the final dot went out")
			}
			if tt.text != nil && got.Len() < len(tt.text)-chunk {
				t.Errorf("got %d octets before the question, want all but the last write of %d", got.Len(), len(tt.text))
			}
		})
	}
	c := greeted(t, Config{}, pipelines, func(p *peer) {
		p.read()
		p.say("250 x\r\n250 x\r\n354 x\r\n")
		p.read()
		p.say("250 done\r\n")
	})
	e := letter()
	e.BeforeDot = func() error { return nil }
	r, err := c.Send(t.Context(), e)
	want(t, r, err, "250 done", PhaseDot)
}

// A message of several writes arrives whole, its dots stuffed at every place.
func TestLargeMessage(t *testing.T) {
	for _, size := range []int{1000, chunk - 2, chunk, chunk + 1, 3 * chunk, 300_001} {
		for _, dots := range []bool{false, true} {
			line := "0123456789abcdef\r\n"
			if dots {
				line = ".\r\n..x\r\nabc.\r\n"
			}
			text := strings.Repeat(line, size/len(line)+1)
			text = text[:size-2] // the cut may fall anywhere
			text = strings.TrimRight(text, "\r\n") + "\r\n"
			e := letter()
			// In parts that end in the middle of lines.
			e.Parts = [][]byte{[]byte("A: b\r\n\r"), []byte("\n"), nil, []byte(text[:size/3]), []byte(text[size/3:])}
			var got string
			c := greeted(t, Config{}, plainest, func(p *peer) {
				for _, r := range []string{"250 x\r\n", "250 x\r\n", "354 x\r\n"} {
					p.read()
					p.say(r)
				}
				for !strings.HasSuffix(got, "\r\n.\r\n") {
					got += p.read()
				}
				p.say("250 done\r\n")
			})
			r, err := c.Send(t.Context(), e)
			want(t, r, err, "250 done", PhaseDot)
			if want := stuff("A: b\r\n\r\n"+text) + ".\r\n"; got != want {
				t.Fatalf("size %d, dots %v: got %d octets, want %d", size, dots, len(got), len(want))
			}
			if cap(c.out) > keptOut {
				t.Errorf("got %d octets kept for an idle connection, want at most %d", cap(c.out), keptOut)
			}
		}
	}
}

// stuff is dot stuffing said in another way.
func stuff(s string) string {
	return strings.TrimPrefix(strings.ReplaceAll("\r\n"+s, "\r\n.", "\r\n.."), "\r\n")
}

// O-036: what was closed in between is no attempt.
func TestStale(t *testing.T) {
	first := func(p *peer) {
		p.expect(group)
		p.say("250 x\r\n250 x\r\n354 x\r\n")
		p.expect(body + ".\r\n")
		p.say("250 done\r\n")
	}
	tests := []struct {
		name string
		then func(p *peer)
	}{
		{"closed", func(*peer) {}},
		{"closed on MAIL", func(p *peer) { p.expect(group) }},
		{"421 to MAIL", func(p *peer) { p.expect(group); p.say("421 4.4.2 idle\r\n"); p.gone() }},
		{"nonsense to MAIL", func(p *peer) { p.expect(group); p.say("354 go\r\n"); p.gone() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := greeted(t, Config{}, pipelines, func(p *peer) {
				first(p)
				tt.then(p)
			})
			r, err := c.Send(t.Context(), letter())
			want(t, r, err, "250 done", PhaseDot)
			r, err = c.Send(t.Context(), letter())
			if e := gotError(t, r, err, PhaseMail, "", false); !errors.Is(e, ErrStale) {
				t.Errorf("got %v, want ErrStale", err)
			}
			wantReusable(t, c, false)
		})
	}
}

// On a real connection the farewell, or a reset, crosses with MAIL.
func TestStaleTCP(t *testing.T) {
	for _, farewell := range []string{"", "421 4.4.2 idle\r\n"} {
		done := make(chan struct{})
		c := dialPeer(t, Config{}, func(p *peer) {
			p.greet(pipelines)
			p.expect(group)
			p.say("250 x\r\n250 x\r\n354 x\r\n")
			p.expect(body + ".\r\n")
			p.say("250 done\r\n" + farewell)
			_ = p.nc.Close() // the point of the test
			close(done)
		})
		if err := c.Hello(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := c.Send(t.Context(), letter())
		want(t, r, err, "250 done", PhaseDot)
		<-done
		r, err = c.Send(within(t, 5*time.Second), letter())
		if e := gotError(t, r, err, PhaseMail, "", false); !errors.Is(e, ErrStale) {
			t.Errorf("farewell %q: got %v, want ErrStale", farewell, err)
		}
	}
}

// The farewell may have been read together with the reply to the last message.
func TestStaleBuffered(t *testing.T) {
	c := greeted(t, Config{}, pipelines, func(p *peer) {
		p.expect(group)
		p.say("250 x\r\n250 x\r\n354 x\r\n")
		p.expect(body + ".\r\n")
		p.say("250 done\r\n421 4.4.2 enough for today\r\n")
		p.gone()
	})
	r, err := c.Send(t.Context(), letter())
	want(t, r, err, "250 done", PhaseDot)
	r, err = c.Send(t.Context(), letter())
	if e := gotError(t, r, err, PhaseMail, "", false); !errors.Is(e, ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
}

// RSET that is refused or cut off: nothing of the message was heard.
func TestStaleReset(t *testing.T) {
	for _, ext := range []string{pipelines, plainest} {
		for _, reply := range []string{"", "500 what\r\n", "421 bye\r\n"} {
			c := greeted(t, Config{}, ext, func(p *peer) {
				if ext == pipelines {
					p.read()
					p.say("250 x\r\n550 x\r\n503 x\r\n")
				} else {
					p.read()
					p.say("550 x\r\n")
				}
				p.read()
				if reply != "" {
					p.say(reply)
				}
			})
			if r, err := c.Send(t.Context(), letter()); err != nil || r.Code != 550 {
				t.Fatalf("got %v, %v, want 550", r, err)
			}
			r, err := c.Send(t.Context(), letter())
			if e := gotError(t, r, err, PhaseMail, "", false); !errors.Is(e, ErrStale) {
				t.Errorf("reply %q: got %v, want ErrStale", reply, err)
			}
		}
	}
}

// A break on the connection's first message is an attempt.
func TestFirstIsNotStale(t *testing.T) {
	c := greeted(t, Config{}, pipelines, func(p *peer) { p.expect(group) })
	r, err := c.Send(t.Context(), letter())
	if e := gotError(t, r, err, PhaseMail, "EOF", false); errors.Is(e, ErrStale) {
		t.Errorf("got %v, want no ErrStale", err)
	}
}

// RFC 5321 §4.5.3.2, in fake time: how long each phase waits (O-020, O-035).
func TestTimeouts(t *testing.T) {
	replies := []string{"220 x\r\n", plainest, "250 x\r\n", "250 x\r\n", "354 x\r\n"}
	for i, tt := range []struct {
		phase     string
		after     time.Duration
		ambiguous bool
	}{
		{PhaseBanner, 5 * time.Minute, false},
		{PhaseEHLO, 5 * time.Minute, false},
		{PhaseMail, 5 * time.Minute, false},
		{PhaseRcpt, 5 * time.Minute, false},
		{PhaseData, 2 * time.Minute, false},
		{PhaseDot, 10 * time.Minute, true},
	} {
		t.Run(tt.phase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := begin(t, Config{}, func(p *peer) {
					for n, r := range replies[:i] {
						if n > 0 {
							p.read()
						}
						p.say(r)
					}
					if i > 0 {
						p.read()
					}
					p.gone()
				})
				start := time.Now()
				err := c.Hello(t.Context())
				var r *Reply
				if err == nil {
					r, err = c.Send(t.Context(), letter())
				}
				if e := gotError(t, r, err, tt.phase, "timeout", tt.ambiguous); !e.Timeout() {
					t.Errorf("got Timeout false of %v", err)
				}
				if got := time.Since(start); got != tt.after {
					t.Errorf("got %v, want %v", got, tt.after)
				}
			})
		})
	}
	t.Run("write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := greeted(t, Config{}, pipelines, func(p *peer) {
				p.read()
				p.say("250 x\r\n250 x\r\n354 x\r\n")
				time.Sleep(time.Hour) // takes nothing
			})
			start := time.Now()
			r, err := c.Send(t.Context(), letter())
			wantError(t, r, err, PhaseBody, "timeout", false)
			if got := time.Since(start); got != 3*time.Minute {
				t.Errorf("got %v, want 3m0s", got)
			}
		})
	})
}

// O-020: one octet at a time does not stretch a phase, and phases that each
// keep their time do not stretch the session.
func TestTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, Config{}, func(p *peer) {
			for {
				if _, err := p.nc.Write([]byte("2")); err != nil {
					return
				}
				time.Sleep(20 * time.Second)
			}
		})
		start := time.Now()
		wantError(t, nil, c.Hello(t.Context()), PhaseBanner, "timeout", false)
		if got := time.Since(start); got != 5*time.Minute {
			t.Errorf("got %v, want 5m0s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		slow := func(p *peer, text string) {
			time.Sleep(time.Minute)
			p.say(text)
		}
		c := begin(t, Config{Timeouts: Timeouts{Session: 4*time.Minute + 30*time.Second}}, func(p *peer) {
			slow(p, "220 x\r\n")
			for _, r := range []string{plainest, "250 x\r\n", "250 x\r\n"} {
				p.read()
				slow(p, r)
			}
			p.read()
			p.gone()
		})
		start := time.Now()
		if err := c.Hello(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := c.Send(t.Context(), letter())
		wantError(t, r, err, PhaseData, "timeout", false)
		if got := time.Since(start); got != 4*time.Minute+30*time.Second {
			t.Errorf("got %v, want 4m30s", got)
		}
	})
}

// A refusal decides at once; what is left to read is not waited for long.
func TestCleanupIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := greeted(t, Config{}, pipelines, func(p *peer) {
			p.read()
			p.say("250 x\r\n550 who\r\n")
			p.gone()
		})
		start := time.Now()
		r, err := c.Send(t.Context(), letter())
		want(t, r, err, "550 who", PhaseRcpt)
		wantReusable(t, c, false)
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("got %v, want 10s", got)
		}
	})
}

// The caller's context ends whatever is waited for.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stopping")
		ctx, cancel := context.WithCancelCause(t.Context())
		c := greeted(t, Config{}, pipelines, func(p *peer) {
			p.read()
			p.say("250 x\r\n250 x\r\n354 x\r\n")
			p.read()
			time.Sleep(time.Second)
			cancel(stop)
			p.gone()
		})
		start := time.Now()
		r, err := c.Send(ctx, letter())
		if e := gotError(t, r, err, PhaseDot, "stopping", true); !errors.Is(e, stop) {
			t.Errorf("got %v, want the cause", err)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("got %v, want 1s", got)
		}
		wantReusable(t, c, false)
	})
	t.Run("before", func(t *testing.T) {
		c := greeted(t, Config{}, pipelines, func(p *peer) { p.gone() })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, err := c.Send(ctx, letter())
		if e := gotError(t, r, err, PhaseMail, "", false); !errors.Is(e, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

// RFC 9422: the server says after how many messages it is enough.
func TestMailMax(t *testing.T) {
	c := greeted(t, Config{}, "250-mx.test\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=5 MAILMAX=2\r\n", func(p *peer) {
		for range 2 {
			p.read()
			p.say("250 x\r\n250 x\r\n354 x\r\n")
			p.read()
			p.say("250 done\r\n")
		}
	})
	for i := range 2 {
		r, err := c.Send(t.Context(), letter())
		want(t, r, err, "250 done", PhaseDot)
		wantReusable(t, c, i == 0)
	}
}

func TestInfo(t *testing.T) {
	now := time.Unix(1000, 0)
	cfg := Config{Now: func() time.Time { now = now.Add(time.Second); return now }}
	c := greeted(t, cfg, pipelines, func(p *peer) {
		for range 2 {
			p.read()
			p.say("250 a\x1b[2J\r\n250 b\r\n354 c\r\n")
			p.read()
			p.say("250-one\r\n250 two\r\n")
		}
	})
	if r, err := c.Send(t.Context(), letter()); err != nil || len(r.Lines) != 2 || r.Text() != "one two" {
		t.Fatal(r, err)
	}
	i := c.Info()
	const dialogue = "C: MAIL FROM:<bounce@sender.test> SIZE=36\nC: RCPT TO:<jane@rcpt.test>\nC: DATA\n" +
		"S: 250 a\\x1b[2J\nS: 250 b\nS: 354 c\nC: 36 octets of message\nS: 250-one\nS: 250 two\n"
	if want := "S: 220 mx.test ESMTP\nC: EHLO client.test\nS: 250-mx.test\nS: 250-PIPELINING\nS: 250-SIZE 1000000\n" +
		"S: 250-8BITMIME\nS: 250 SMTPUTF8\n" + dialogue; i.Conversation != want {
		t.Errorf("got conversation\n%s\nwant\n%s", i.Conversation, want)
	}
	if got, want := phases(i), "banner ehlo mail rcpt data body dot"; got != want {
		t.Errorf("got phases %q, want %q", got, want)
	}
	if got, want := strings.Join(i.Extensions, ","), "PIPELINING,SIZE 1000000,8BITMIME,SMTPUTF8"; got != want {
		t.Errorf("got extensions %q, want %q", got, want)
	}
	if i.Host != "mx.test" || i.TLS != "" || i.TLSNote != "not offered" || i.Reused {
		t.Errorf("got %+v", i)
	}
	if r, err := c.Send(t.Context(), letter()); err != nil || len(r.Lines) != 2 || r.Text() != "one two" {
		t.Fatal(r, err)
	}
	i = c.Info()
	if i.Conversation != dialogue || !i.Reused || phases(i) != "mail rcpt data body dot" {
		t.Errorf("got %+v, want that of the second message alone", i)
	}
}

func phases(i Info) string {
	var names []string
	for _, p := range i.Phases {
		names = append(names, p.Phase)
		if p.Took <= 0 {
			names = append(names, p.Took.String())
		}
	}
	return strings.Join(names, " ")
}
