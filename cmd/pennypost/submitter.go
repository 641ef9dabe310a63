package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"time"
)

// submitter is an SMTP client as an application has one: the demonstration
// sends through it. It is none of the product's own SMTP code.
type submitter struct {
	conn net.Conn
	text *textproto.Conn
}

// submitWithin bounds one conversation.
const submitWithin = 30 * time.Second

// dialSMTP connects and says EHLO; with conf TLS comes first.
func dialSMTP(ctx context.Context, addr string, conf *tls.Config) (*submitter, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(submitWithin)); err != nil {
		return nil, err
	}
	if conf != nil {
		conn = tls.Client(conn, conf)
	}
	s := &submitter{conn: conn, text: textproto.NewConn(conn)}
	if _, _, err := s.text.ReadResponse(220); err != nil {
		return nil, errors.Join(err, s.text.Close())
	}
	if err := s.cmd(250, "EHLO demo.client.test"); err != nil {
		return nil, errors.Join(err, s.text.Close())
	}
	return s, nil
}

// cmd sends a command. A reply with another code is a *textproto.Error.
func (s *submitter) cmd(code int, format string, args ...any) error {
	if err := s.text.PrintfLine(format, args...); err != nil {
		return err
	}
	_, _, err := s.text.ReadResponse(code)
	return err
}

func (s *submitter) startTLS(ctx context.Context, conf *tls.Config) error {
	if err := s.cmd(220, "STARTTLS"); err != nil {
		return err
	}
	c := tls.Client(s.conn, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	s.conn, s.text = c, textproto.NewConn(c)
	return s.cmd(250, "EHLO demo.client.test")
}

func (s *submitter) authPlain(user, password string) error {
	return s.cmd(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
}

func (s *submitter) authLogin(user, password string) error {
	if err := s.cmd(334, "AUTH LOGIN"); err != nil {
		return err
	}
	if err := s.cmd(334, "%s", base64.StdEncoding.EncodeToString([]byte(user))); err != nil {
		return err
	}
	return s.cmd(235, "%s", base64.StdEncoding.EncodeToString([]byte(password)))
}

// send submits one message and gives the text of the last reply.
func (s *submitter) send(from string, to []string, msg []byte) (string, error) {
	if err := s.cmd(250, "MAIL FROM:<%s>", from); err != nil {
		return "", err
	}
	for _, t := range to {
		if err := s.cmd(250, "RCPT TO:<%s>", t); err != nil {
			return "", err
		}
	}
	if err := s.cmd(354, "DATA"); err != nil {
		return "", err
	}
	w := s.text.DotWriter()
	if _, err := w.Write(msg); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	_, text, err := s.text.ReadResponse(250)
	return text, err
}

func (s *submitter) quit() error {
	err := s.cmd(221, "QUIT")
	return errors.Join(err, s.text.Close())
}

// smtpReply is the reply that an error of a submitter holds, or its text.
func smtpReply(err error) string {
	var r *textproto.Error
	if errors.As(err, &r) {
		return fmt.Sprintf("%d %s", r.Code, r.Msg)
	}
	return err.Error()
}
