package smtpd

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"pennypost/internal/auth"
)

func (s *session) authOffered() bool {
	return s.tls != nil || s.c.srv.cfg.AuthOnLoopback && s.c.ip.IsLoopback()
}

// doAuth is RFC 4954 with PLAIN (RFC 4616) and LOGIN.
func (s *session) doAuth(ctx context.Context, arg string) error {
	mechanism, initial, has := strings.Cut(arg, " ")
	switch {
	case s.helo == "":
		return s.wrong(replyHeloFirst)
	case s.authed:
		return s.wrong(replyAuthTwice)
	case s.tx.begun:
		return s.wrong(replyAuthInMail)
	case !s.authOffered():
		// What came with it is not looked at, and logged nowhere.
		return s.wrong(replyAuthNeedsTLS)
	case mechanism == "":
		return s.wrong(replyAuthSyntax)
	}
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		return s.authPlain(ctx, initial, has)
	case "LOGIN":
		return s.authLogin(ctx, initial, has)
	}
	return s.wrong(replyAuthMechanism)
}

func (s *session) authPlain(ctx context.Context, initial string, has bool) error {
	msg, r, err := s.response(initial, has, "334 ")
	if err != nil || r != "" {
		return s.noLogin(r, err)
	}
	// RFC 4616 §2: [authzid] NUL authcid NUL passwd.
	parts := bytes.Split(msg, []byte{0})
	if len(parts) != 3 {
		return s.wrong(replyAuthMalformed)
	}
	return s.login(ctx, string(parts[0]), string(parts[1]), string(parts[2]))
}

func (s *session) authLogin(ctx context.Context, initial string, has bool) error {
	user, r, err := s.response(initial, has, "334 VXNlcm5hbWU6")
	if err != nil || r != "" {
		return s.noLogin(r, err)
	}
	name := string(user)
	password, r, err := s.response("", false, "334 UGFzc3dvcmQ6")
	if err != nil || r != "" {
		return s.noLogin(r, err)
	}
	if bytes.IndexByte(user, 0) >= 0 || bytes.IndexByte(password, 0) >= 0 {
		return s.wrong(replyAuthMalformed)
	}
	return s.login(ctx, "", name, string(password))
}

func (s *session) noLogin(r reply, err error) error {
	if err != nil {
		return err
	}
	return s.wrong(r)
}

// response gives the client's answer, decoded: the initial one, or that to our
// challenge. The next line is the answer, whatever it looks like. A reply says
// what is wrong with it.
func (s *session) response(initial string, has bool, challenge reply) ([]byte, reply, error) {
	if has {
		return decode([]byte(initial), true)
	}
	s.text = append(append(s.text[:0], challenge...), "\r\n"...)
	s.write("3", s.text)
	s.until = s.now().Add(s.lim.Command)
	line, fault, err := s.readLine()
	switch {
	case err != nil && fault == lineBareLF:
		return nil, "", s.close(replyBareLF)
	case err != nil:
		return nil, "", err
	case fault == lineHuge:
		return nil, "", s.close(replyAuthLong)
	case fault == lineLong:
		return nil, replyAuthLong, nil
	case fault == lineBareLF:
		return nil, replyBareLF, nil
	case string(line) == "*":
		return nil, replyAuthCancelled, nil
	}
	return decode(line, false)
}

func decode(line []byte, initial bool) ([]byte, reply, error) {
	// RFC 4954 §4: "=" is an initial response without octets.
	if initial && string(line) == "=" {
		return nil, "", nil
	}
	if initial && len(line) == 0 || bytes.IndexFunc(line, isControl) >= 0 {
		return nil, replyAuthMalformed, nil
	}
	msg := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Strict().Decode(msg, line)
	if err != nil || !utf8.Valid(msg[:n]) {
		return nil, replyAuthMalformed, nil //nolint:nilerr // the reply is the error
	}
	return msg[:n], "", nil
}

// login asks who it is. An authorisation identity other than the user is
// refused like a wrong password: nobody acts for somebody else here.
func (s *session) login(ctx context.Context, authz, user, password string) error {
	srv := s.c.srv
	if authz != "" && authz != user {
		srv.log.InfoContext(ctx, "login refused", "ip", s.c.ip.String(), "reason", "acts for another user")
		return s.loginFailed(ctx, auth.ErrCredentials)
	}
	ctx, cancel := context.WithTimeout(ctx, s.lim.Accept)
	defer cancel()
	caller, err := srv.cfg.Authenticate(ctx, user, password, s.c.ip)
	if err != nil {
		return s.loginFailed(ctx, err)
	}
	caller.IP = s.c.ip.String()
	s.caller, s.authed = caller, true
	s.c.wrong = 0
	srv.follow(caller.TokenID, s.c)
	srv.stats.auth.Add(1, "ok")
	s.send(replyAuth)
	return nil
}

func (s *session) loginFailed(ctx context.Context, err error) error {
	srv := s.c.srv
	r, ours := refusal(err)
	switch {
	case ours:
		srv.stats.auth.Add(1, "fault")
		srv.log.WarnContext(ctx, "login could not be checked", "ip", s.c.ip.String(), "err", err)
		return s.idle(r)
	case r.code() == "421":
		srv.stats.auth.Add(1, "throttled")
		return s.close(r)
	}
	srv.stats.auth.Add(1, "failed")
	s.send(r)
	if s.c.failed++; s.c.failed >= s.lim.AuthFailure {
		return s.close(replyThrottled)
	}
	return nil
}
