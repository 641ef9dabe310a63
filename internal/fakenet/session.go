package fakenet

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// Bounds of what a client may send.
const (
	maxCommand = 4096
	maxMessage = 64 << 20
)

// errEnd says that a session is over.
var errEnd = errors.New("session ends")

// session is one SMTP conversation from the server's side (RFC 5321).
type session struct {
	host *host
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer

	tls    string
	helo   string
	from   string
	params string
	begun  bool
	to     []string
	faults []string
}

func newSession(h *host, c net.Conn) *session {
	s := &session{host: h}
	s.wire(c)
	return s
}

func (s *session) wire(c net.Conn) {
	s.conn, s.r, s.w = c, bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
}

func (s *session) run() {
	err := s.say(Connect, "", "220 mx.test ESMTP pretend")
	for err == nil {
		var line string
		if line, err = s.line(); err == nil {
			err = s.command(line)
		}
	}
	_ = s.w.Flush() // the last reply, if the client still listens
}

// line reads a command. Replies are sent before we wait (RFC 2920 §3.2).
func (s *session) line() (string, error) {
	if s.r.Buffered() == 0 {
		if err := s.w.Flush(); err != nil {
			return "", err
		}
	} else if s.host.script.NoPipelining {
		s.fault("commands sent before the reply, without PIPELINING")
	}
	if err := s.conn.SetDeadline(s.host.net.conf.Now().Add(idle)); err != nil {
		return "", err
	}
	b, err := s.r.ReadSlice('\n')
	if err != nil || len(b) > maxCommand {
		return "", errors.Join(err, errEnd)
	}
	line, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		s.fault("command without CRLF")
	}
	return line, nil
}

func (s *session) fault(text string) {
	for _, f := range s.faults {
		if f == text {
			return
		}
	}
	s.faults = append(s.faults, text)
}

func (s *session) command(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		return s.ehlo(arg, true)
	case "HELO":
		return s.ehlo(arg, false)
	case "STARTTLS":
		return s.startTLS()
	case "MAIL":
		return s.mail(arg)
	case "RCPT":
		return s.rcpt(arg)
	case "DATA":
		return s.data()
	case "RSET":
		s.reset()
		return s.reply("250 2.0.0 Flushed")
	case "NOOP":
		return s.reply("250 2.0.0 Ok")
	case "QUIT":
		return errors.Join(s.reply("221 2.0.0 Bye"), errEnd)
	}
	return s.reply("502 5.5.1 Command not known")
}

func (s *session) reset() { s.from, s.params, s.begun, s.to = "", "", false, nil }

func (s *session) reply(text string) error {
	_, err := s.w.WriteString(text + "\r\n")
	return err
}

// say answers at a stage, as the script and the local part want it. A refusal
// is an answer as well; only an end is an error.
func (s *session) say(stage Stage, to, usual string) error {
	a, err := s.perform(stage, to)
	if err != nil {
		return err
	}
	if a.Reply == "" {
		return s.reply(usual)
	}
	return s.refuse(stage, to, a.Reply)
}

// perform waits, drops or falls silent, and leaves the reply to the caller.
func (s *session) perform(stage Stage, to string) (Act, error) {
	h := s.host
	now := h.net.conf.Now()
	before, since := h.net.seen.note(now, stage, s.from, to)
	a := h.act(Moment{Stage: stage, Helo: s.helo, From: s.from, To: to, Before: before, Since: since})
	if a.Delay > 0 && !s.sleep(a.Delay) {
		return a, errEnd
	}
	switch {
	case a.Mute:
		s.refused(stage, to, "")
		_ = s.w.Flush()                 // what was said before
		_, _ = io.Copy(io.Discard, s.r) //nolint:errcheck // until the client has enough
		return a, errEnd
	case a.Drop && stage != Dot:
		s.refused(stage, to, "")
		s.w.Reset(io.Discard)
		return a, errEnd
	}
	return a, nil
}

// sleep waits, unless the net is shut meanwhile.
func (s *session) sleep(d time.Duration) bool {
	if s.w.Flush() != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return s.conn.SetDeadline(s.host.net.conf.Now().Add(idle)) == nil
	case <-s.host.net.ctx.Done():
		return false
	}
}

func (s *session) refused(stage Stage, to, reply string) {
	s.host.net.conf.Refused(Refusal{
		At: s.host.net.conf.Now(), Host: s.host.addr, Stage: stage, From: s.from, To: to, Reply: reply,
	})
}

// refuse sends a reply out of the ordinary; 421 ends the session (RFC 5321
// §3.8).
func (s *session) refuse(stage Stage, to, reply string) error {
	if reply[0] == '4' || reply[0] == '5' {
		s.refused(stage, to, reply)
	}
	if err := s.reply(reply); err != nil {
		return err
	}
	if strings.HasPrefix(reply, "421") {
		return errEnd
	}
	return nil
}

func (s *session) ehlo(name string, extended bool) error {
	s.reset()
	s.helo = name
	if !extended {
		return s.say(Hello, "", "250 mx.test")
	}
	lines := []string{"mx.test", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES"}
	sc := s.host.script
	if !sc.NoPipelining {
		lines = append(lines, "PIPELINING")
	}
	if !sc.NoUTF8 {
		lines = append(lines, "SMTPUTF8")
	}
	if !sc.NoTLS && s.tls == "" {
		lines = append(lines, "STARTTLS")
	}
	last := len(lines) - 1
	return s.say(Hello, "", "250-"+strings.Join(lines[:last], "\r\n250-")+"\r\n250 "+lines[last])
}

func (s *session) startTLS() error {
	if s.tls != "" || s.host.script.NoTLS {
		return s.reply("503 5.5.1 Not now")
	}
	a, err := s.perform(StartTLS, "")
	switch {
	case err != nil:
		return err
	case a.Reply != "":
		return s.refuse(StartTLS, "", a.Reply)
	}
	if err := errors.Join(s.reply("220 2.0.0 Go ahead"), s.w.Flush()); err != nil {
		return err
	}
	if s.r.Buffered() > 0 {
		// RFC 3207 §4.2: what came before the handshake is nobody's.
		return errEnd
	}
	if s.host.script.BrokenTLS {
		return errEnd
	}
	c := tls.Server(s.conn, s.host.net.tls)
	if err := c.HandshakeContext(s.host.net.ctx); err != nil {
		return err
	}
	st := c.ConnectionState()
	s.tls = tls.VersionName(st.Version) + " " + tls.CipherSuiteName(st.CipherSuite)
	s.helo = ""
	s.reset()
	s.wire(c)
	return nil
}

// path reads what follows FROM: or TO:.
func path(arg, prefix string) (address, params string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", "", false
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(arg[len(prefix):], " "), "<")
	if !ok {
		return "", "", false
	}
	// A quoted local part may hold the bracket (RFC 5321 §4.1.2).
	quoted, escaped := false, false
	for i := range len(rest) {
		switch c := rest[i]; {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = quoted
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return rest[:i], strings.TrimSpace(rest[i+1:]), true
		}
	}
	return "", "", false
}

func (s *session) mail(arg string) error {
	from, params, ok := path(arg, "FROM:")
	switch {
	case s.helo == "":
		return s.reply("503 5.5.1 EHLO first")
	case s.begun:
		return s.reply("503 5.5.1 Nested MAIL")
	case !ok:
		return s.reply("501 5.5.4 Syntax error")
	}
	s.from = from
	a, err := s.perform(MailFrom, "")
	switch {
	case err != nil:
		return err
	case a.Reply != "" && a.Reply[0] != '2':
		return s.refuse(MailFrom, "", a.Reply)
	}
	s.begun, s.params = true, params
	return s.reply("250 2.1.0 Ok")
}

func (s *session) rcpt(arg string) error {
	to, _, ok := path(arg, "TO:")
	switch {
	case !s.begun:
		return s.reply("503 5.5.1 MAIL first")
	case !ok || to == "":
		return s.reply("501 5.5.4 Syntax error")
	}
	a, err := s.perform(RcptTo, to)
	switch {
	case err != nil:
		return err
	case a.Reply != "" && a.Reply[0] != '2':
		return s.refuse(RcptTo, to, a.Reply)
	}
	s.to = append(s.to, to)
	return s.reply("250 2.1.5 Ok")
}

func (s *session) data() error {
	if len(s.to) == 0 {
		return s.reply("503 5.5.1 No recipients")
	}
	for _, to := range s.to {
		a, err := s.perform(Data, to)
		switch {
		case err != nil:
			return err
		case a.Reply != "" && a.Reply[0] != '3':
			return s.refuse(Data, to, a.Reply)
		}
	}
	if s.r.Buffered() > 0 {
		s.fault("message sent before 354")
	}
	if err := errors.Join(s.reply("354 Go ahead"), s.w.Flush()); err != nil {
		return err
	}
	msg, err := s.message()
	if err != nil {
		return err
	}
	return s.dot(msg)
}

// dot answers the whole message: the first recipient's act counts.
func (s *session) dot(msg []byte) error {
	for _, to := range s.to {
		a, err := s.perform(Dot, to)
		switch {
		case err != nil:
			return err
		case a.Drop:
			s.take(msg, true)
			s.refused(Dot, to, "")
			s.w.Reset(io.Discard)
			return errEnd
		case a.Reply != "" && a.Reply[0] != '2':
			s.reset()
			return s.refuse(Dot, to, a.Reply)
		}
	}
	s.take(msg, false)
	s.reset()
	return s.reply("250 2.0.0 Ok: taken")
}

// take puts the message into the box before it is answered, so that whoever
// was told finds it there.
func (s *session) take(msg []byte, unanswered bool) {
	n := s.host.net
	m := Mail{
		At: n.conf.Now(), Host: s.host.addr, Helo: s.helo, TLS: s.tls, From: s.from, To: s.to,
		Params: s.params, Data: msg, Unanswered: unanswered, Faults: s.faults,
	}
	s.faults = nil
	n.box.add(m)
	n.conf.Arrived(m)
}

// message reads up to CRLF.CRLF and takes the dots out (RFC 5321 §4.5.2).
func (s *session) message() ([]byte, error) {
	var msg []byte
	for {
		if err := s.conn.SetDeadline(s.host.net.conf.Now().Add(idle)); err != nil {
			return nil, err
		}
		line, err := s.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return msg, nil
		}
		s.checkLine(line)
		if line[0] == '.' {
			line = line[1:]
		}
		if msg = append(msg, line...); len(msg) > maxMessage {
			return nil, errEnd
		}
	}
}

// checkLine notes what RFC 5321 §2.3.8 and §4.5.3.1.6 forbid.
func (s *session) checkLine(line []byte) {
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.IndexByte(text, '\r') >= 0 {
		s.fault("bare CR or LF in the message")
	}
	if len(text) > 998 {
		s.fault("line over 998 octets")
	}
	if bytes.IndexByte(text, 0) >= 0 {
		s.fault("NUL in the message")
	}
}
