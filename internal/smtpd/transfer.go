package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
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
		return s.lost(ctx, err)
	}
	return s.finish(ctx)
}

// lost ends the session after a message that did not come whole. Its octets
// must never be read as commands.
func (s *session) lost(ctx context.Context, err error) error {
	if errors.Is(err, errTooMuch) {
		return s.farTooLarge(ctx)
	}
	return err
}

// farTooLarge ends the session because of a message whose end is not waited for.
func (s *session) farTooLarge(ctx context.Context) error {
	if s.noMessage() == "" && s.tx.spoilt == "" {
		s.refused(ctx, replyTooLarge)
	}
	return s.close(replyTooLarge)
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
		return s.farTooLarge(ctx)
	}
	last := strings.EqualFold(flag, "LAST")
	r := s.noMessage()
	if flag != "" && !last {
		// The message lacks these octets: it is lost.
		r, s.tx.spoilt = replyBDAT, replyBDAT
	}
	if r != "" {
		if err := s.readChunk(n, &buffer{short: true}); err != nil {
			return s.lost(ctx, err)
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
		return s.lost(ctx, err)
	}
	return s.chunk(ctx, n, last)
}

// chunk answers a BDAT whose octets are in.
func (s *session) chunk(ctx context.Context, n int64, last bool) error {
	body := s.tx.body
	switch {
	case body.tooMuch():
		return s.farTooLarge(ctx)
	case s.tx.spoilt == "" && (body.tooLarge() || body.short):
		s.tx.spoilt = body.verdict(s.lim, s.authed)
		s.c.srv.stats.messages.Add(1, s.way(), "refused")
		if body.tooLarge() {
			s.tx.spoilt, _ = s.refused(ctx, s.tx.spoilt)
		}
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
		if r, taken = s.refused(ctx, r); taken {
			s.mayStay(r)
			return nil
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
	s.mayStay(queued(id))
	taken = true
	return nil
}

// mayStay answers a message that was taken: whoever sends mail may stay.
func (s *session) mayStay(r reply) {
	s.c.wrong, s.c.idle, s.c.refused = 0, 0, 0
	s.c.since = s.now()
	s.hard = s.c.since.Add(s.lim.Session)
	s.send(r)
}

// refused tells of a message that is refused for its octets, and gives the
// reply to it; taken is that it is a good one, on a server that accepts what it
// refuses (contract/smtp.md §5). What is over the announced size is refused
// there too.
func (s *session) refused(ctx context.Context, r reply) (answer reply, taken bool) {
	tell := s.c.srv.cfg.Refused
	if tell == nil || !s.authed {
		return r, false
	}
	ctx, cancel := context.WithTimeout(ctx, s.lim.Accept)
	defer cancel()
	why := reason(r)
	a, err := tell(ctx, s.caller, s.raw(), why)
	switch {
	case err == nil && r != replyTooLarge:
		return queued(a.ID), true
	case err == nil, errors.Is(err, why):
		return r, false
	}
	answer, ours := refusal(err)
	s.logRefused(ctx, answer, ours, err)
	return answer, false
}

// reason words a reply to the octets of a message as a refusal.
func reason(r reply) *pennypost.Error {
	_, text, _ := strings.Cut(string(r), "Error: ")
	e := &pennypost.Error{Code: pennypost.CodeInvalid, Text: "The " + text + "."}
	if strings.HasPrefix(string(r), "552") {
		e.Status = http.StatusRequestEntityTooLarge
	}
	return e
}

// raw is the message as it is handed over.
func (s *session) raw() *submit.Raw {
	return &submit.Raw{
		From: s.tx.from, Recipients: s.tx.rcpts, Surplus: s.tx.surplus, Data: s.tx.body.octets(),
		UTF8: s.tx.utf8, Helo: s.helo, TLS: s.tls != nil,
	}
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
	a, err := srv.cfg.Accept(ctx, s.caller, s.raw())
	if err != nil {
		return pennypost.MessageID{}, err
	}
	return a.ID, nil
}
