package smtpd

import (
	"context"
	"errors"
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
	return s.tx.spoilt
}

func (s *session) doData(ctx context.Context, arg string) error {
	switch {
	case arg != "":
		return s.wrong(replyNoArgument)
	case s.tx.body != nil || s.tx.spoilt != "":
		return s.wrong(replyMidBDAT)
	}
	switch r := s.noMessage(); r {
	case "":
	case replyNoGoodRcpt: // RFC 5321 §4.1.1.4; pipelining clients do it without fault
		s.send(r)
		return nil
	default:
		return s.wrong(r)
	}
	s.tx.body = s.c.srv.mem.buffer(s.lim.Size)
	if s.tx.body.short {
		s.reset()
		s.send(replyNoMemory)
		return nil
	}
	s.text = append(append(s.text[:0], replyData...), "\r\n"...)
	s.write("3", s.text)
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
	refused := s.noMessage()
	counts := refused != s.tx.spoilt && refused != replyNoGoodRcpt
	if flag != "" && !last {
		refused, counts = replyBDAT, true
	}
	if refused != "" {
		if err := s.readChunk(n, &buffer{short: true}); err != nil {
			return s.lost(err)
		}
		if last && s.tx.spoilt != "" {
			s.reset()
		}
		if counts {
			return s.wrong(refused)
		}
		s.send(refused)
		return nil
	}
	if s.tx.body == nil {
		s.tx.body = s.c.srv.mem.buffer(s.lim.Size)
	}
	if err := s.readChunk(n, s.tx.body); err != nil {
		return s.lost(err)
	}
	switch {
	case s.tx.body.tooMuch():
		return s.close(replyTooLarge)
	case last:
		return s.finish(ctx)
	case s.tx.body.tooLarge() || s.tx.body.short:
		s.tx.spoilt = s.tx.body.verdict(s.lim, s.authed)
		s.tx.body.free()
		s.tx.body = nil
		s.send(s.tx.spoilt)
		return nil
	}
	s.send(reply("250 2.0.0 Ok: " + strconv.FormatInt(n, 10) + " octets received"))
	return nil
}

// finish stores a message that came whole, answers, and ends the transaction.
func (s *session) finish(ctx context.Context) error {
	defer s.reset()
	way := "inbound"
	if s.authed {
		way = "submission"
	}
	stats := s.c.srv.stats
	if r := s.tx.body.verdict(s.lim, s.authed); r != "" {
		stats.messages.Add(1, way, "refused")
		if r == replyBareAny {
			return s.close(r)
		}
		s.send(r)
		return nil
	}
	begin := s.now()
	id, err := s.store(ctx)
	stats.accept.Observe(s.now().Sub(begin), way)
	if err != nil {
		r, ours := refusal(err)
		s.logRefused(ctx, way, r, ours, err)
		s.send(r)
		return nil
	}
	stats.messages.Add(1, way, "accepted")
	s.c.srv.log.InfoContext(ctx, "message taken", "way", way, "message_id", id.String(), "server", int64(s.caller.ServerID),
		"ip", s.c.ip.String(), "recipients", len(s.tx.rcpts), "octets", len(s.tx.body.b))
	// Whoever sends mail may stay.
	s.c.wrong, s.c.idle, s.c.refused = 0, 0, 0
	s.c.since = s.now()
	s.hard = s.c.since.Add(s.lim.Session)
	s.send(queued(id))
	return nil
}

func (s *session) logRefused(ctx context.Context, way string, r reply, ours bool, err error) {
	srv := s.c.srv
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
