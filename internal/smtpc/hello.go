package smtpc

import (
	"bytes"
	"context"
	"strconv"
	"strings"
)

// extensions are what a server offers (RFC 5321 §2.2).
type extensions struct {
	lines      []string // as offered, escaped
	pipelining bool     // RFC 2920
	eightBit   bool     // RFC 6152
	utf8       bool     // RFC 6531
	startTLS   bool     // RFC 3207
	size       bool     // RFC 1870
	maxSize    int64    // 0: none is named
	mailMax    int      // RFC 9422 MAILMAX: transactions on a connection; 0: any number
}

// Hello waits for the greeting, says EHLO, or HELO where that is not known,
// begins TLS where it is offered, and says EHLO again. A refusal is a *[Reply],
// anything else an *[Error]; the connection is closed then.
func (c *Client) Hello(ctx context.Context) error {
	stop := c.start(ctx, true)
	defer stop()
	err := c.hello(ctx)
	if err != nil {
		c.abandon()
		return err
	}
	c.greeted = true
	return nil
}

func (c *Client) hello(ctx context.Context) error {
	if err := c.answer(ctx, PhaseBanner, c.cfg.Timeouts.Banner); err != nil {
		return err
	}
	if c.raw.code != 220 {
		return c.refusal(PhaseBanner)
	}
	if err := c.ehlo(ctx); err != nil {
		return err
	}
	switch {
	case c.cfg.NoTLS:
		c.note = "not used"
		if c.cfg.Why != "" {
			c.note += ": " + c.cfg.Why
		}
		return nil
	case !c.ext.startTLS:
		c.note = "not offered"
		return nil
	}
	return c.startTLS(ctx)
}

// ehlo greets the server and learns what it offers.
func (c *Client) ehlo(ctx context.Context) error {
	// RFC 3207 §4.2: what was offered before TLS counts for nothing.
	c.ext = extensions{}
	if err := c.greet(ctx, "EHLO "); err != nil {
		return err
	}
	if c.raw.code == 250 {
		c.ext = parseExtensions(&c.raw)
		return nil
	}
	if c.raw.code/100 != 5 {
		return c.refusal(PhaseEHLO)
	}
	// RFC 5321 §3.2: a server that does not know EHLO may know HELO.
	if err := c.greet(ctx, "HELO "); err != nil {
		return err
	}
	if c.raw.code == 250 {
		return nil
	}
	return c.refusal(PhaseEHLO)
}

func (c *Client) greet(ctx context.Context, verb string) error {
	c.out = append(append(append(c.out[:0], verb...), c.cfg.Hostname...), "\r\n"...)
	if err := c.command(ctx, PhaseEHLO, c.cfg.Timeouts.Hello); err != nil {
		return err
	}
	return c.answer(ctx, PhaseEHLO, c.cfg.Timeouts.Hello)
}

// refusal gives the reply that was read last as an error: a Reply when it says
// no, else a protocol error.
func (c *Client) refusal(phase string) error {
	if class := c.raw.code / 100; class == 4 || class == 5 {
		return c.raw.reply(phase)
	}
	return &Error{Phase: phase, Err: &ProtocolError{"unexpected reply: " + c.raw.reply(phase).Error()}}
}

// parseExtensions reads the reply to EHLO (RFC 5321 §4.1.1.1): its first line
// names the server. What cannot be read is passed over.
func parseExtensions(r *rawReply) extensions {
	var e extensions
	first := true
	for line := range r.each() {
		if first {
			first = false
			continue
		}
		if len(e.lines) < 64 {
			e.lines = append(e.lines, escape(line, 128))
		}
		e.add(line)
	}
	return e
}

func (x *extensions) add(line []byte) {
	if len(line) > 512 {
		return
	}
	words := bytes.Fields(line)
	if len(words) == 0 {
		return
	}
	switch strings.ToUpper(string(words[0])) {
	case "PIPELINING":
		x.pipelining = true
	case "8BITMIME":
		x.eightBit = true
	case "SMTPUTF8":
		x.utf8 = true
	case "STARTTLS":
		x.startTLS = true
	case "SIZE":
		x.size = true
		if len(words) > 1 {
			// RFC 1870 §4: up to 20 digits. More than fits is no limit to us.
			if n, err := strconv.ParseInt(string(words[1]), 10, 64); err == nil && n > 0 {
				x.maxSize = n
			}
		}
	case "LIMITS":
		for _, w := range words[1:] {
			name, value, _ := strings.Cut(string(w), "=")
			if n, err := strconv.Atoi(value); err == nil && n > 0 && strings.EqualFold(name, "MAILMAX") {
				x.mailMax = n
			}
		}
	}
}
