package smtpd

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pennypost/internal/eml"
)

// transaction is one message on its way in: RFC 5321 §3.3. Its zero value is
// none.
type transaction struct {
	begun   bool
	from    string
	utf8    bool
	asked   int // RCPT commands
	rcpts   []eml.Mailbox
	surplus []eml.Mailbox
	refused bool // a recipient was
	body    *buffer
	spoilt  reply // an earlier BDAT was refused with it
}

// quickly is how soon after a message the next one comes from a client that has
// many: there will be another.
const quickly = 5 * time.Millisecond

// expect announces the message that has begun.
func (s *session) expect() {
	s.quick = !s.took.IsZero() && s.now().Sub(s.took) < quickly
	s.arrived()
	if expect := s.c.srv.cfg.Expect; expect != nil && s.authed {
		s.met = expect()
	}
}

// expectNext announces the next message of a client that was quick before.
func (s *session) expectNext() {
	s.took = s.now()
	if expect := s.c.srv.cfg.Expect; expect != nil && s.quick && s.authed {
		s.met = expect()
	}
}

// arrived ends the expectation of a message.
func (s *session) arrived() {
	if s.met != nil {
		s.met()
		s.met = nil
	}
}

// midBDAT: a part of the message is in.
func (t *transaction) midBDAT() bool { return t.body != nil || t.spoilt != "" }

// maxAsked bounds the RCPT commands of one transaction, those that repeat a
// recipient included.
const maxAsked = 2000

// reset ends the transaction, whatever ended it.
func (s *session) reset() {
	s.tx.body.free()
	s.arrived()
	s.tx = transaction{}
	s.busy = false
}

func (s *session) doMail(ctx context.Context, arg string) error {
	switch {
	case s.helo == "":
		return s.wrong(replyHeloFirst)
	case s.tx.begun:
		return s.wrong(replyNested)
	case !s.authed && !s.c.lis.Inbound:
		return s.wrong(replyAuthFirst)
	}
	path, rest, ok := cutPath(arg, "FROM:")
	if !ok {
		return s.wrong(replyMailSyntax)
	}
	if !utf8.ValidString(arg) {
		return s.wrong(replyNotUTF8)
	}
	p, r := s.mailParams(rest)
	if r != "" {
		return s.wrong(r)
	}
	if r := checkSender(path, p.utf8); r != "" {
		return s.idle(r)
	}
	if p.size > s.lim.Size {
		return s.idle(replyTooLarge)
	}
	if r := s.shut(ctx); r != "" {
		return s.idle(r)
	}
	if r := s.mayMail(ctx); r != "" {
		return s.idle(r)
	}
	// Refused early, before the client sends it all: RFC 1870 §6.1.
	if from := s.c.srv.mem.budgets(s.c.place, s.authed); !from.room(max(p.size, firstBuffer)) {
		return s.noMemory(ctx)
	}
	s.tx = transaction{begun: true, from: path, utf8: p.utf8}
	s.expect()
	s.send(replySender)
	return nil
}

// shut says why no message is taken now, "" when it is. It is no fault of the
// client's and says so: 4yz (RFC 5321 §4.2.1).
func (s *session) shut(ctx context.Context) reply {
	open := s.c.srv.cfg.Open
	if open == nil {
		return ""
	}
	err := open(ctx)
	if err == nil {
		return ""
	}
	r, _ := refusal(err)
	return r
}

// mayMail asks whether the caller may send at all.
func (s *session) mayMail(ctx context.Context) reply {
	srv := s.c.srv
	if !s.authed || srv.cfg.MailAllowed == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, s.lim.Accept)
	defer cancel()
	err := srv.cfg.MailAllowed(ctx, s.caller)
	if err == nil {
		return ""
	}
	r, ours := refusal(err)
	if ours {
		srv.log.WarnContext(ctx, "server state could not be read", "server", int64(s.caller.ServerID), "err", err)
	}
	return r
}

// checkSender is lenient where it costs nothing: the null path, and a host
// without dot as many programs have, since the sender is replaced when the
// message leaves.
func checkSender(path string, hasUTF8 bool) reply {
	if path == "" {
		return ""
	}
	_, needsUTF8, err := eml.ParsePath(path)
	if needsUTF8 && !hasUTF8 {
		return replyNeedsUTF8
	}
	var bad *eml.AddressError
	if errors.As(err, &bad) && bad.Kind != eml.AddressSingleLabel {
		return replyBadSender
	}
	return ""
}

// params are those of MAIL that we take.
type params struct {
	size int64
	utf8 bool
}

func (s *session) mailParams(rest string) (params, reply) {
	var p params
	if rest == "" {
		return p, ""
	}
	if !isASCII(rest) {
		return p, replyParamValue
	}
	seen := make([]string, 0, 4)
	for word := range strings.FieldsSeq(rest) {
		if !s.esmtp {
			return p, replyParamHelo
		}
		key, value, has := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		if slices.Contains(seen, key) {
			return p, replyParamTwice
		}
		seen = append(seen, key)
		var ok bool
		switch key {
		case "SIZE":
			p.size, ok = parseSize(value)
		case "BODY": // RFC 6152; BINARYMIME (RFC 3030) is not offered
			value = strings.ToUpper(value)
			ok = value == "7BIT" || value == "8BITMIME"
		case "SMTPUTF8": // RFC 6531 §3.4
			p.utf8, ok = true, !has
		case "AUTH": // RFC 4954 §5: taken, and not believed
			ok = value != "" && (s.authed || s.authOffered() || s.c.lis.Inbound)
		default:
			return p, replyParam
		}
		if !ok {
			return p, replyParamValue
		}
	}
	return p, ""
}

// parseSize reads the size-value of RFC 1870 §5: one to twenty digits. What
// does not fit an int64 is a size like any other that is too large.
func parseSize(v string) (int64, bool) {
	if len(v) < 1 || len(v) > 20 || strings.Trim(v, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// cutPath reads "FROM:<path> parameters"; a blank after the colon is tolerated.
func cutPath(arg, word string) (path, rest string, ok bool) {
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return "", "", false
	}
	arg = strings.TrimLeft(arg[len(word):], " ")
	if arg == "" || arg[0] != '<' {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(arg); i++ {
		switch {
		case quoted && arg[i] == '\\':
			i++
		case arg[i] == '"':
			quoted = !quoted
		case arg[i] == '>' && !quoted:
			path, rest = arg[1:i], arg[i+1:]
			return path, rest, rest == "" || rest[0] == ' '
		}
	}
	return "", "", false
}

func (s *session) doRcpt(ctx context.Context, arg string) error {
	switch {
	case !s.tx.begun:
		return s.wrong(replyNoMail)
	case s.tx.midBDAT():
		return s.wrong(replyMidBDAT)
	}
	path, rest, ok := cutPath(arg, "TO:")
	switch {
	case !ok:
		return s.wrong(replyRcptSyntax)
	case !utf8.ValidString(arg):
		return s.wrong(replyNotUTF8)
	case strings.TrimLeft(rest, " ") != "":
		return s.wrong(replyParam)
	}
	to, r := s.recipient(ctx, path)
	if r != "" {
		return s.refuse(r)
	}
	// What pennypost.Address.Key makes equal, and nothing else: EqualFold knows
	// letters that lower case keeps apart.
	key := strings.ToLower(to.Local)
	same := func(m eml.Mailbox) bool { return m.Domain == to.Domain && strings.ToLower(m.Local) == key }
	s.tx.asked++
	switch {
	case s.tx.asked > maxAsked:
		return s.refuse(replyTooManyRcpt)
	case slices.ContainsFunc(s.tx.rcpts, same): // one copy is enough
	case len(s.tx.rcpts) >= s.maxRcpt():
		if s.authed && !slices.ContainsFunc(s.tx.surplus, same) {
			s.tx.surplus = append(s.tx.surplus, to)
		}
		return s.refuse(replyTooManyRcpt)
	default:
		s.tx.rcpts = append(s.tx.rcpts, to)
	}
	s.send(replyRcpt)
	return nil
}

// recipient reads a path and, without AUTH, says whether it is ours.
func (s *session) recipient(ctx context.Context, path string) (eml.Mailbox, reply) {
	srv := s.c.srv
	to, needsUTF8, err := eml.ParsePath(path)
	if !s.authed && strings.EqualFold(path, "postmaster") {
		// RFC 5321 §4.5.1: without a domain it is ours, as Inbound knows.
		to, err = eml.Mailbox{Local: "postmaster"}, nil
	}
	switch {
	case needsUTF8 && !s.tx.utf8:
		return to, replyNeedsUTF8
	case err != nil:
		return to, replyBadRcpt
	case s.authed:
		return to, ""
	case srv.cfg.Inbound == nil:
		return to, replyRelay
	}
	ctx, cancel := context.WithTimeout(ctx, s.lim.Accept)
	defer cancel()
	if err := srv.cfg.Inbound.Check(ctx, to); err != nil {
		r, ours := refusal(err)
		if ours {
			srv.log.WarnContext(ctx, "recipient could not be checked", "err", err)
		}
		return to, r
	}
	return to, ""
}

// refuse answers a recipient; whoever collects too many refusals is guessing.
func (s *session) refuse(r reply) error {
	s.tx.refused = true
	s.send(r)
	if s.c.refused++; s.c.refused >= s.lim.Refused {
		return s.close(replyTooRefused)
	}
	return nil
}
