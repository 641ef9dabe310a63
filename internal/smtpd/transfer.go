package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/inbound"
	"pennypost/internal/submit"
)

// noMessage says why no message can come now, "" when it can.
func (s *session) noMessage() reply {
	switch {
	case !s.tx.begun:
		return replyNoMail
	case len(s.tx.rcpts) == 0 && s.tx.refused:
		return replyNoGoodRcpt
	case len(s.tx.rcpts) == 0:
		return replyNoRcpt
	}
	return ""
}

// notNow answers with what noMessage said. Clients that pipeline ask for a
// message after refused recipients without fault (RFC 5321 §4.1.1.4).
func (s *session) notNow(r reply) error {
	if r == replyNoGoodRcpt {
		return s.idle(r)
	}
	return s.wrong(r)
}

// newBody makes room for the message.
func (s *session) newBody() {
	mem := &s.c.srv.mem
	s.tx.body = mem.buffer(mem.budgets(s.c.place, s.authed), s.lim.Size)
	if s.authed {
		s.tx.body.wait = s.forMemory
	}
}

// lookForMemory is how often who waits for memory tries again.
const lookForMemory = 20 * time.Millisecond

// beyondWithin is how long the message may take that goes beyond the memory.
const beyondWithin = time.Minute

// noMemory refuses a message for want of memory. That it happens is logged now
// and then, not each time.
func (s *session) noMemory(ctx context.Context) error {
	const every = 30 * time.Second
	srv := s.c.srv
	srv.stats.noMemory.Add(1)
	now, said := s.now().UnixMicro(), srv.said.Load()
	if now-said >= every.Microseconds() && srv.said.CompareAndSwap(said, now) {
		srv.log.WarnContext(ctx, "mail is refused for now: messages on their way in have taken all memory for them", "octets", s.lim.Memory)
	}
	return s.idle(replyNoMemory)
}

// forMemory waits until there is memory for the rest of a message. The peer is
// not to blame for the time.
func (s *session) forMemory(try func() bool) bool {
	for end := s.now().Add(s.lim.Patience); ; time.Sleep(lookForMemory) {
		ok := try()
		if !ok && s.ended() == nil && s.now().Before(end) {
			continue
		}
		s.from = s.now()
		// Who goes beyond the memory keeps all others from it.
		if soon := s.from.Add(beyondWithin); s.tx.body.last && soon.Before(s.hard) {
			s.hard = soon
		}
		return ok
	}
}

func (s *session) doData(ctx context.Context, arg string) error {
	switch {
	case arg != "":
		return s.wrong(replyNoArgument)
	case s.tx.midBDAT():
		return s.wrong(replyMidBDAT)
	}
	if r := s.noMessage(); r != "" {
		return s.notNow(r)
	}
	if r := s.shut(ctx); r != "" {
		s.reset()
		return s.idle(r)
	}
	if s.newBody(); s.tx.body.short {
		s.reset()
		return s.noMemory(ctx)
	}
	s.write("3", append(append(s.text[:0], replyData...), "\r\n"...))
	if err := s.readData(s.tx.body); err != nil {
		return s.lost(err)
	}
	return s.finish(ctx)
}

// lost ends the session after a message that did not come whole. Its octets
// must never be read as commands.
func (s *session) lost(err error) error {
	if errors.Is(err, errTooMuch) {
		return s.close(replyTooLarge)
	}
	return err
}

// doBDAT is RFC 3030 §2. The octets that follow are consumed before anything
// is answered; when their number is unknown, or CHUNKING was not offered, there
// is no way on.
func (s *session) doBDAT(ctx context.Context, arg string) error {
	if !s.esmtp {
		return s.close(replyNoBDAT)
	}
	number, flag, _ := strings.Cut(arg, " ")
	n, ok := parseSize(number)
	switch {
	case !ok:
		return s.close(replyBDAT)
	case n > overshoot*s.lim.Size:
		return s.close(replyTooLarge)
	}
	last := strings.EqualFold(flag, "LAST")
	r := s.noMessage()
	if flag != "" && !last {
		// The message lacks these octets: it is lost.
		r, s.tx.spoilt = replyBDAT, replyBDAT
	}
	if r != "" {
		if err := s.readChunk(n, &buffer{short: true}); err != nil {
			return s.lost(err)
		}
		return s.notNow(r)
	}
	if s.tx.body == nil {
		s.newBody()
		if r := s.shut(ctx); r != "" {
			s.tx.spoilt = r
			s.tx.body.free()
		}
	}
	if err := s.readChunk(n, s.tx.body); err != nil {
		return s.lost(err)
	}
	return s.chunk(ctx, n, last)
}

// chunk answers a BDAT whose octets are in.
func (s *session) chunk(ctx context.Context, n int64, last bool) error {
	body := s.tx.body
	switch {
	case body.tooMuch():
		return s.close(replyTooLarge)
	case s.tx.spoilt == "" && (body.tooLarge() || body.short):
		s.tx.spoilt = body.verdict(s.lim, s.authed)
		s.c.srv.stats.messages.Add(1, s.way(), "refused")
	}
	switch r := s.tx.spoilt; {
	case r != "" && last:
		s.reset()
		return s.idle(r)
	case r != "":
		body.free()
		return s.idle(r)
	case last:
		return s.finish(ctx)
	}
	r := reply("250 2.0.0 Ok: " + strconv.FormatInt(n, 10) + " octets received")
	if n == 0 {
		return s.idle(r)
	}
	s.send(r)
	return nil
}

// way names what the message is, for records.
func (s *session) way() string {
	if s.authed {
		return "submission"
	}
	return "inbound"
}

// finish stores a message that came whole, answers, and ends the transaction.
func (s *session) finish(ctx context.Context) error {
	taken := false
	defer func() {
		if s.reset(); taken {
			s.expectNext()
		}
	}()
	stats, way := s.c.srv.stats, s.way()
	if r := s.tx.body.verdict(s.lim, s.authed); r != "" {
		stats.messages.Add(1, way, "refused")
		if r == replyBareAny {
			return s.close(r)
		}
		if r == replyNoMemory {
			return s.noMemory(ctx)
		}
		return s.idle(r)
	}
	begin := s.now()
	id, err := s.store(ctx)
	stats.accept.Observe(s.now().Sub(begin), way)
	if err != nil {
		r, ours := refusal(err)
		s.logRefused(ctx, r, ours, err)
		return s.idle(r)
	}
	stats.messages.Add(1, way, "accepted")
	// The activity of the server tells it to everybody else.
	if log := s.c.srv.log; log.Enabled(ctx, slog.LevelDebug) {
		log.DebugContext(ctx, "message taken", "way", way, "message_id", id.String(), "server", int64(s.caller.ServerID),
			"ip", s.c.ip.String(), "recipients", len(s.tx.rcpts), "octets", len(s.tx.body.b))
	}
	// Whoever sends mail may stay.
	s.c.wrong, s.c.idle, s.c.refused = 0, 0, 0
	s.c.since = s.now()
	s.hard = s.c.since.Add(s.lim.Session)
	s.send(queued(id))
	taken = true
	return nil
}

func (s *session) logRefused(ctx context.Context, r reply, ours bool, err error) {
	srv, way := s.c.srv, s.way()
	if ours {
		srv.stats.messages.Add(1, way, "fault")
		srv.log.WarnContext(ctx, "message could not be stored", "way", way, "code", r.code(),
			"server", int64(s.caller.ServerID), "ip", s.c.ip.String(), "err", err)
		return
	}
	srv.stats.messages.Add(1, way, "refused")
	srv.log.InfoContext(ctx, "message refused", "way", way, "code", r.code(),
		"server", int64(s.caller.ServerID), "ip", s.c.ip.String(), "reason", shown(err.Error()))
}

// store hands the message over. When it returns without error it is on stable
// storage.
func (s *session) store(ctx context.Context) (pennypost.MessageID, error) {
	ctx, cancel := context.WithTimeout(ctx, s.lim.Accept)
	defer cancel()
	s.arrived()
	srv := s.c.srv
	if !s.authed {
		if srv.cfg.Open != nil { // Accept asks for itself
			if err := srv.cfg.Open(ctx); err != nil {
				return pennypost.MessageID{}, err
			}
		}
		return srv.cfg.Inbound.Store(ctx, &inbound.Mail{
			From: s.tx.from, Recipients: s.tx.rcpts, Data: s.tx.body.b,
			Helo: s.helo, IP: s.c.ip.String(), TLS: s.tls != nil,
		})
	}
	a, err := srv.cfg.Accept(ctx, s.caller, &submit.Raw{
		From: s.tx.from, Recipients: s.tx.rcpts, Surplus: s.tx.surplus, Data: s.tx.body.b,
		UTF8: s.tx.utf8, Helo: s.helo, TLS: s.tls != nil,
	})
	if err != nil {
		return pennypost.MessageID{}, err
	}
	return a.ID, nil
}
