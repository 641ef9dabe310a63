package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

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
	if s.newBody(); s.tx.body.short {
		s.reset()
		return s.idle(replyNoMemory)
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
	defer s.reset()
	stats, way := s.c.srv.stats, s.way()
	if r := s.tx.body.verdict(s.lim, s.authed); r != "" {
		stats.messages.Add(1, way, "refused")
		if r == replyBareAny {
			return s.close(r)
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
	srv := s.c.srv
	if !s.authed {
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
