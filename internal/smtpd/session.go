package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"pennypost"
)

// Why a session's loop ended, beside errors of wire.
var (
	errUpgrade = errors.New("TLS handshake follows")
	errQuit    = errors.New("session is over")
)

// session is the state of RFC 5321 §3, from the greeting to its end or to
// STARTTLS.
type session struct {
	c *conn
	wire
	tls *tls.Conn // nil without

	helo   string // "" before EHLO or HELO
	esmtp  bool
	authed bool
	caller pennypost.Caller
	tx     transaction
	met    func()    // ends the expectation of a message; nil: none is expected
	took   time.Time // when the last message was taken
	quick  bool      // the message before came right after the one before it
	text   []byte    // for replies
}

func newSession(c *conn, nc net.Conn, secure *tls.Conn) *session {
	s := &session{c: c, tls: secure}
	s.wire = wire{nc: nc, secure: secure != nil, lim: &c.srv.lim, now: c.srv.now, end: &c.end, grace: &c.srv.grace}
	s.init()
	s.hard = c.since.Add(c.srv.lim.Session)
	return s
}

func (s *session) greet() {
	s.send("220 " + reply(s.c.srv.cfg.Hostname) + " ESMTP Pennypost")
}

// send puts a reply into the buffer; wire flushes it before it waits.
func (s *session) send(r reply) {
	s.text = r.appendTo(s.text[:0])
	s.write(r.code()[:1], s.text)
}

func (s *session) write(class string, b []byte) {
	s.c.srv.stats.replies.Add(1, class)
	// An error stays in the writer and ends the session at the next flush.
	_, _ = s.out.Write(b) //nolint:errcheck // see above
}

// wrong answers a command that is no SMTP, and counts it.
func (s *session) wrong(r reply) error {
	s.send(r)
	if s.c.wrong++; s.c.wrong >= s.lim.Wrong {
		return s.close(replyTooWrong)
	}
	return nil
}

// idle answers what brings no message nearer, and counts it.
func (s *session) idle(r reply) error {
	s.c.idle++
	s.send(r)
	return nil
}

// close says a last word.
func (s *session) close(r reply) error {
	s.send(r)
	return errQuit
}

// recordHandshake begins a TLS ClientHello (RFC 8446 §5.1), in which no line
// need end.
const recordHandshake = 22

// run reads and obeys commands until the session ends; the error says why.
func (s *session) run(ctx context.Context) error {
	for {
		s.busy = s.tx.begun
		wait := s.lim.Wait
		switch {
		case s.authed:
			wait = s.lim.AuthWait
		case s.c.srv.crowded():
			wait /= 6
		}
		s.until = s.now().Add(wait)
		// RFC 5321 §4.5.3.2.7: the time to the next command, and then the time for
		// all of its line.
		first, err := s.in.Peek(1)
		if err != nil {
			return err
		}
		if err := s.ended(); err != nil {
			return err
		}
		if first[0] == recordHandshake {
			return s.close(replyNotSMTP)
		}
		s.until = s.now().Add(s.lim.Command)
		line, fault, err := s.readLine()
		if err != nil {
			if fault == lineBareLF {
				return s.close(replyBareLF)
			}
			return err
		}
		if err := s.command(ctx, line, fault); err != nil {
			return err
		}
		if s.c.idle > s.lim.Idle {
			return s.close(replyTooIdle)
		}
	}
}

// command obeys one line.
func (s *session) command(ctx context.Context, line []byte, fault lineFault) error {
	verb, arg := split(line)
	switch {
	case fault == lineHuge:
		return s.close(replyLineLong)
	case fault == lineBareLF:
		return s.wrong(replyBareLF)
	case fault == lineLong && verb == "AUTH":
		return s.wrong(replyAuthLong)
	case fault == lineLong || len(line) > maxCommand && verb != "AUTH":
		if verb == "EHLO" || verb == "HELO" {
			return s.wrong(replyHelo)
		}
		return s.wrong(replyLineLong)
	case bytes.IndexFunc(line, isControl) >= 0:
		return s.wrong(replyControl)
	case !isASCII(line) && verb != "MAIL" && verb != "RCPT" && verb != "VRFY":
		return s.wrong(replyNotASCII)
	}
	return s.obey(ctx, verb, arg)
}

func (s *session) obey(ctx context.Context, verb, arg string) error {
	switch verb {
	case "EHLO", "HELO":
		return s.doHelo(verb == "EHLO", arg)
	case "MAIL":
		return s.doMail(ctx, arg)
	case "RCPT":
		return s.doRcpt(ctx, arg)
	case "DATA":
		return s.doData(ctx, arg)
	case "BDAT":
		return s.doBDAT(ctx, arg)
	case "RSET":
		if arg != "" {
			return s.wrong(replyNoArgument)
		}
		s.reset()
		return s.idle(replyOK)
	case "NOOP": // RFC 5321 §4.1.1.9: its argument is ignored
		return s.idle(replyOK)
	case "HELP":
		return s.idle(replyHelp)
	case "VRFY":
		return s.idle(replyVerify)
	case "QUIT":
		if arg != "" {
			return s.wrong(replyNoArgument)
		}
		return s.close(replyBye)
	case "AUTH":
		return s.doAuth(ctx, arg)
	case "STARTTLS":
		return s.doStartTLS(arg)
	case "EXPN", "ETRN", "TURN", "ATRN", "DEBUG", "WIZ", "SEND", "SAML", "SOML", "XCLIENT", "XFORWARD":
		return s.wrong(replyNotHere)
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI", "HOST:", "PROXY":
		// Another protocol, perhaps from a browser that was led here: what
		// follows is not for us to obey.
		return s.close(replyNotSMTP)
	}
	return s.wrong(replyUnknown)
}

func (s *session) doHelo(esmtp bool, arg string) error {
	const maxHelo = 255
	if arg == "" || len(arg) > maxHelo {
		return s.wrong(replyHelo)
	}
	// RFC 5321 §4.1.4: EHLO in the middle does what RSET does.
	s.reset()
	s.helo, s.esmtp = strings.Clone(arg), esmtp
	s.c.idle++
	if !esmtp {
		s.send("250 " + reply(s.c.srv.cfg.Hostname))
		return nil
	}
	s.write("2", s.extensions(s.text[:0]))
	return nil
}

// extensions is the answer to EHLO.
func (s *session) extensions(b []byte) []byte {
	b = append(append(append(b, "250-"...), s.c.srv.cfg.Hostname...), "\r\n"...)
	b = append(b, "250-PIPELINING\r\n250-SIZE "...)
	b = strconv.AppendInt(b, s.lim.Size, 10)
	b = append(b, "\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n"...)
	if s.tls == nil {
		b = append(b, "250-STARTTLS\r\n"...)
	}
	if s.authOffered() && !s.authed {
		b = append(b, "250-AUTH PLAIN LOGIN\r\n"...)
	}
	// RFC 9422 §3. Whoever may yet log in is told the number of those who have:
	// it need not say EHLO again after AUTH, and a stranger is not harmed.
	most := s.maxRcpt()
	if s.authOffered() {
		most = min(most, s.lim.Recipients)
	}
	b = append(b, "250 LIMITS RCPTMAX="...)
	b = strconv.AppendInt(b, int64(most), 10)
	return append(b, "\r\n"...)
}

func (s *session) maxRcpt() int {
	if s.c.lis.Inbound && !s.authed {
		return s.lim.Strangers
	}
	return s.lim.Recipients
}

func (s *session) doStartTLS(arg string) error {
	switch {
	case s.tls != nil:
		return s.wrong(replyTwiceTLS)
	case arg != "":
		return s.wrong(replyNoArgument)
	}
	s.reset()
	s.send(replyStartTLS)
	if err := s.out.Flush(); err != nil {
		return err
	}
	return errUpgrade
}

// leave ends what the session holds: the transaction and the watch of its token.
func (s *session) leave() {
	if s == nil {
		return
	}
	s.reset()
	s.c.srv.unfollow(s.caller.TokenID, s.c)
	s.caller, s.authed = pennypost.Caller{}, false
}

// bye tells the peer why the session ends, as far as it can still hear.
func (s *session) bye(ctx context.Context, why error) {
	last := reply("")
	switch {
	case errors.Is(why, errTooSlow):
		last = replyTimeout
	case errors.Is(why, errStopping):
		last = replyStopping
	case errors.Is(why, errRevoked):
		last = replyRevoked
	case errors.Is(why, errQuit):
	default:
		s.c.srv.log.DebugContext(ctx, "connection lost", "ip", s.c.ip.String(), "err", why)
		return
	}
	s.abandon(last)
}

// abandon writes a last reply, if there is one, and what was not flushed yet.
func (s *session) abandon(last reply) {
	if s == nil {
		return
	}
	if last != "" {
		s.send(last)
	}
	if err := s.out.Flush(); err == nil {
		s.c.linger(s.nc)
	}
}

// split gives the verb in upper case and what follows the first blank. Blanks
// at the end are tolerated (RFC 5321 §4.1.1), but not in AUTH.
func split(line []byte) (verb, arg string) {
	v, rest, _ := bytes.Cut(line, []byte(" "))
	const longest = 16
	if len(v) > longest {
		return "", ""
	}
	verb = upper(v)
	if verb == "AUTH" {
		return verb, string(rest)
	}
	return verb, strings.Trim(string(rest), " ")
}

// upper changes ASCII letters only: other letters that look like the verb's in
// upper case do not make it.
func upper(v []byte) string {
	var b [16]byte
	n := copy(b[:], v)
	for i, c := range b[:n] {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
	return string(b[:n])
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
