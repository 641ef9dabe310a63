package smtpc

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Send hands over one message for one recipient. The reply is the one that
// decides; the error is an *[Error], and with it there is none. A connection
// is worth another message when [Client.Reusable] says so.
func (c *Client) Send(ctx context.Context, e *Envelope) (*Reply, error) {
	f, err := e.inspect()
	if err == nil && (!c.greeted || c.broken) {
		err = ErrBroken
	}
	if err != nil {
		return nil, &Error{Phase: PhaseMail, Err: err}
	}
	if c.messages++; c.messages > 1 {
		c.reused, c.phases = true, c.phases[:0]
		c.log.reset()
	}
	if r := c.ext.refuse(e, f); r != nil {
		return r, nil
	}
	stop := c.start(ctx, c.reused)
	defer stop()
	refused, err := c.envelope(ctx, e, f)
	if refused != nil || err != nil {
		return refused, err
	}
	return c.message(ctx, e, f)
}

// envelope names sender and recipient and asks for the go-ahead. A reply is a
// refusal; neither reply nor error means that the message may follow.
func (c *Client) envelope(ctx context.Context, e *Envelope, f facts) (*Reply, error) {
	if c.in.Buffered() > 0 {
		// Text that answers nothing: a farewell, most likely.
		c.abandon()
		return nil, c.stale(&Error{Phase: PhaseMail, Err: &ProtocolError{"text before MAIL"}})
	}
	if c.ext.pipelining {
		return c.group(ctx, e, f)
	}
	return c.stepwise(ctx, e, f)
}

// group sends all commands in one write (RFC 2920 §3.1) and reads the replies
// in their order. Once one of them decides, the others only matter to the
// state of the connection.
func (c *Client) group(ctx context.Context, e *Envelope, f facts) (*Reply, error) {
	t := &c.cfg.Timeouts
	reset := c.dirty
	c.out = c.out[:0]
	if reset {
		c.out = append(c.out, "RSET\r\n"...)
	}
	c.out = append(appendRcpt(c.ext.appendMail(c.out, e, f), e), "DATA\r\n"...)
	if err := c.command(ctx, PhaseMail, t.Mail); err != nil {
		return nil, c.stale(err)
	}
	if reset {
		if err := c.wasReset(ctx); err != nil {
			return nil, err
		}
	}
	mail, err := c.mailReply(ctx)
	if err != nil || c.broken {
		return mail, err
	}
	wait, goAhead := t.Rcpt, t.Data
	if mail != nil {
		wait, goAhead = t.Cleanup, t.Cleanup
	}
	rcpt, err := c.accept(ctx, PhaseRcpt, wait)
	refused := mail
	if refused == nil {
		refused = rcpt
	}
	if err != nil || c.broken {
		if mail != nil {
			err = nil
		}
		return refused, err
	}
	if refused != nil {
		goAhead = t.Cleanup
	}
	data, err := c.accept(ctx, PhaseData, goAhead)
	if refused == nil {
		return data, err
	}
	if err == nil && data == nil {
		c.noMessage(ctx, rcpt)
	}
	return refused, nil
}

// noMessage answers a 354 that came although nobody is to get the message.
// RFC 2920 §3.1: the client sends a message of nothing but the dot, to which
// the server must say no.
func (c *Client) noMessage(ctx context.Context, rcpt *Reply) {
	if rcpt == nil {
		// MAIL was refused but RCPT was not: the dot might deliver an empty
		// message. Without it nothing is delivered (RFC 5321 §4.1.1.4).
		c.abandon()
		return
	}
	c.out = append(c.out[:0], ".\r\n"...)
	err := c.command(ctx, PhaseData, c.cfg.Timeouts.Cleanup)
	if err == nil {
		err = c.answer(ctx, PhaseData, c.cfg.Timeouts.Cleanup)
	}
	if err != nil {
		c.abandon() // the recipient's reply has decided
	}
}

// stepwise waits for each reply before the next command.
func (c *Client) stepwise(ctx context.Context, e *Envelope, f facts) (*Reply, error) {
	t := &c.cfg.Timeouts
	if c.dirty {
		c.out = append(c.out[:0], "RSET\r\n"...)
		if err := c.command(ctx, PhaseMail, t.Mail); err != nil {
			return nil, c.stale(err)
		}
		if err := c.wasReset(ctx); err != nil {
			return nil, err
		}
	}
	c.out = c.ext.appendMail(c.out[:0], e, f)
	if err := c.command(ctx, PhaseMail, t.Mail); err != nil {
		return nil, c.stale(err)
	}
	if refused, err := c.mailReply(ctx); refused != nil || err != nil {
		return refused, err
	}
	c.out = appendRcpt(c.out[:0], e)
	if err := c.command(ctx, PhaseRcpt, t.Rcpt); err != nil {
		return nil, err
	}
	if refused, err := c.accept(ctx, PhaseRcpt, t.Rcpt); refused != nil || err != nil {
		return refused, err
	}
	c.out = append(c.out[:0], "DATA\r\n"...)
	if err := c.command(ctx, PhaseData, t.Data); err != nil {
		return nil, err
	}
	return c.accept(ctx, PhaseData, t.Data)
}

// wasReset reads the reply to RSET, which a server that is well never refuses
// (RFC 5321 §4.1.1.5).
func (c *Client) wasReset(ctx context.Context) error {
	refused, err := c.accept(ctx, PhaseMail, c.cfg.Timeouts.Mail)
	if refused != nil {
		c.abandon()
		err = &Error{Phase: PhaseMail, Err: ErrStale}
	}
	return c.stale(err)
}

// mailReply reads the reply to MAIL. From here on a transaction may be open.
func (c *Client) mailReply(ctx context.Context) (*Reply, error) {
	refused, err := c.accept(ctx, PhaseMail, c.cfg.Timeouts.Mail)
	c.dirty = true
	if c.reused && refused != nil && refused.Code == 421 {
		// It was said before MAIL came, or means the connection, not the
		// message: on a new one the server may say it again.
		return nil, &Error{Phase: PhaseMail, Err: ErrStale}
	}
	return refused, c.stale(err)
}

// stale makes ErrStale of an error that shows that the peer had left before
// the message on a kept connection began, or was leaving.
func (c *Client) stale(err error) error {
	var p *ProtocolError
	if err != nil && c.reused && (cutOff(err) || errors.As(err, &p)) {
		return &Error{Phase: PhaseMail, Err: ErrStale}
	}
	return err
}

// accept reads the reply to a command: nothing when it says yes, the reply
// when it says no, an error when it says what it may not (RFC 5321 §4.3.2).
// After 421 the server closes (RFC 5321 §3.8), and so do we.
func (c *Client) accept(ctx context.Context, phase string, d time.Duration) (*Reply, error) {
	if err := c.answer(ctx, phase, d); err != nil {
		return nil, err
	}
	code := c.raw.code
	if phase == PhaseData && code == 354 || phase != PhaseData && positive(code) {
		return nil, nil //nolint:nilnil // nothing was refused
	}
	if code == 421 || (code/100 != 4 && code/100 != 5) {
		c.abandon()
	}
	var refused *Reply
	err := c.refusal(phase)
	if errors.As(err, &refused) {
		return refused, nil
	}
	return nil, err
}

// positive tells whether a code says yes to a command of a transaction: 220
// and 221 belong to the start and the end of a session.
func positive(code int) bool { return code/100 == 2 && code != 220 && code != 221 }

// message writes the text and waits for what the server makes of it.
func (c *Client) message(ctx context.Context, e *Envelope, f facts) (*Reply, error) {
	if c.in.Buffered() > 0 {
		c.abandon()
		return nil, &Error{Phase: PhaseData, Err: &ProtocolError{"text after the reply to DATA"}}
	}
	if r, err := c.body(ctx, e, f); r != nil || err != nil {
		return r, err
	}
	err := c.answer(ctx, PhaseDot, c.cfg.Timeouts.Dot)
	var broke *Error
	if errors.As(err, &broke) {
		broke.Ambiguous = true
		return nil, err
	}
	switch code := c.raw.code; {
	case positive(code):
		c.dirty = false
	case code == 421:
		c.abandon()
	case code/100 != 4 && code/100 != 5:
		// Whatever it means, the server has the message.
		c.abandon()
		text := "unexpected reply: " + c.raw.reply(PhaseDot).Error()
		return nil, &Error{Phase: PhaseDot, Err: &ProtocolError{text}, Ambiguous: true}
	}
	return c.raw.reply(PhaseDot), nil
}

// body writes the text and the final dot: in one write, or in several of which
// the dot is in the last.
func (c *Client) body(ctx context.Context, e *Envelope, f facts) (*Reply, error) {
	defer func() {
		if cap(c.out) > keptOut {
			c.out = nil
		}
	}()
	c.out = slices.Grow(c.out[:0], int(min(f.size, chunk))+len(".\r\n"))
	t := text{rest: e.Parts, dots: f.dots}
	for last := false; !last; {
		c.out, last = t.next(c.out[:0], chunk)
		if last {
			c.out = append(c.out, ".\r\n"...)
			if err := beforeDot(e); err != nil {
				return nil, c.failed(ctx, PhaseBody, err)
			}
		}
		if err := c.write(ctx, c.cfg.Timeouts.Block); err != nil {
			return c.cutShort(ctx, err)
		}
	}
	c.log.message(f.size)
	c.took(PhaseBody)
	return nil, nil //nolint:nilnil // nothing was refused
}

func beforeDot(e *Envelope) error {
	if e.BeforeDot == nil {
		return nil
	}
	return e.BeforeDot()
}

// cutShort handles a write that failed. The final dot is at the end of what
// was to be written last, so that the server cannot have it. It may have said
// why it does not want to go on, which is worth a short look.
func (c *Client) cutShort(ctx context.Context, err error) (*Reply, error) {
	c.took(PhaseBody)
	if cutOff(err) && c.allow(ctx, time.Second) == nil && c.raw.read(c.in) == nil {
		if class := c.raw.code / 100; class == 4 || class == 5 {
			c.log.reply(&c.raw)
			c.abandon()
			return c.raw.reply(PhaseBody), nil
		}
	}
	return nil, c.failed(ctx, PhaseBody, err)
}
