package deliver

import (
	"context"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/mx"
	"pennypost/internal/smtpc"
)

// errLease says that the lease ended before the last octets went out.
var errLease = errors.New("lease ended before the message did")

// beforeDot is asked right before the last octets of a message.
func (d *Deliverer) beforeDot() error {
	if d.c.Store.LeaseOK() {
		return nil
	}
	return errLease
}

// Prefixes of what is shown as the answer: a server's own words, or ours.
const (
	theirs = "smtp;"
	ours   = "x-pennypost;"
)

// A result is what came of a letter.
type result struct {
	outcome   pennypost.Outcome
	verdict   bounce.Verdict
	text      string // answer or fault, with its prefix
	next      time.Time
	attempt   *pennypost.Attempt // nil: nothing was tried
	fields    []byte             // signature to keep
	quiet     bool               // our own fault: explained, but no event
	ambiguous bool
	simulated bool        // nothing left: a sandbox, or a test address
	back      bounce.Type // of the mail that came back after delivery; 0: none
	dump      string      // of the bounce; "": the conversation
	rests     time.Time   // until when its mail servers are left alone; zero: they are not
}

// judge makes a result of what was said.
func judge(t *talk) result {
	if t.reply != nil {
		return judgeReply(t.reply)
	}
	var reply *smtpc.Reply
	if errors.As(t.err, &reply) {
		return judgeReply(reply)
	}
	var failure *mx.Failure
	if errors.As(t.err, &failure) {
		return judgeRoute(failure)
	}
	return judgeBroken(t)
}

func judgeReply(r *smtpc.Reply) result {
	prefix := theirs
	if r.Local {
		prefix = ours
	}
	text := prefix + r.Error()
	if r.Positive() {
		return result{outcome: pennypost.OutcomeDelivered, text: text, verdict: bounce.Verdict{Rule: "accepted"}}
	}
	return judged(bounce.Reply{Code: r.Code, Enhanced: r.Enhanced, Text: r.Text(), Stage: stage(r.Phase)}, text)
}

// judgeRoute: the words are ours, so that the codes alone decide.
func judgeRoute(f *mx.Failure) result {
	code := f.Code
	if !f.Permanent && code/100 == 5 || f.Permanent && code/100 == 4 {
		code = 0
	}
	return judged(bounce.Reply{Code: code, Enhanced: f.Enhanced, Stage: bounce.StageRcpt}, ours+f.Enhanced+" "+printable(f.Text))
}

// judgeBroken: no reply, so that it is tried again.
func judgeBroken(t *talk) result {
	enhanced := "4.4.2" // RFC 3463 §3.5: bad connection
	var broke *smtpc.Error
	var protocol *smtpc.ProtocolError
	known := errors.As(t.err, &broke)
	switch {
	case errors.As(t.err, &protocol):
		enhanced = "4.5.0"
	case known && broke.Phase == smtpc.PhaseConnect:
		enhanced = "4.4.1" // no answer from host
	case !known:
		enhanced = "4.4.3" // look-up failed
	}
	r := judged(bounce.Reply{Enhanced: enhanced, Stage: stage(t.phase())}, ours+enhanced+" "+printable(t.where()+t.err.Error()))
	if known && broke.Ambiguous {
		r.ambiguous = true
		r.text = ours + enhanced + " no reply to the final dot, the message may have been delivered: " + printable(t.err.Error())
	}
	return r
}

// where names the host for a text.
func (t *talk) where() string {
	if t.host == "" {
		return ""
	}
	return t.host + ": "
}

func judged(r bounce.Reply, text string) result {
	v := bounce.Classify(r)
	out := result{outcome: pennypost.OutcomeDeferred, verdict: v, text: text}
	if v.Class == bounce.Permanent {
		out.outcome = pennypost.OutcomeBounced
	}
	return out
}

// stage is the phase as Classify calls it.
func stage(phase string) string {
	switch phase {
	case smtpc.PhaseBanner:
		return bounce.StageGreeting
	case smtpc.PhaseBody:
		return bounce.StageDot
	case phaseDNS:
		return bounce.StageConnect
	}
	return phase
}

// record fills in the attempt.
func (r *result) record(k *letter, t *talk, began, ended time.Time) {
	a := &pennypost.Attempt{
		MessageID: k.rcpt.MessageID, N: k.rcpt.N, No: k.rcpt.Attempts + 1, StartedAt: began,
		Outcome: r.outcome, Phase: t.phase(), Host: t.host, IP: t.info.IP, Reply: r.text, Rule: r.verdict.Rule,
		TLS: t.info.TLS, TLSNote: t.info.TLSNote, Ambiguous: r.ambiguous, Reused: t.info.Reused, Took: ended.Sub(began),
		Phases: t.phases, Conversation: t.conversation(),
	}
	var failure *mx.Failure
	reply := t.reply
	switch {
	case reply != nil, errors.As(t.err, &reply):
		a.Code, a.Enhanced = reply.Code, reply.Enhanced
	case errors.As(t.err, &failure):
		a.Enhanced = failure.Enhanced
	}
	for _, p := range t.info.Phases {
		a.Phases = append(a.Phases, pennypost.PhaseTime{Phase: p.Phase, Took: p.Took})
	}
	r.attempt = a
}

func (t *talk) conversation() string {
	s := ""
	for _, l := range t.earlier {
		s += l + "\n"
	}
	return s + t.info.Conversation
}

// plan decides when a deferred letter is tried again, or that its time is up.
func (d *Deliverer) plan(ctx context.Context, k *letter, r *result) {
	if r.outcome != pennypost.OutcomeDeferred {
		return
	}
	now, jitter := d.c.Now(), d.c.Rand()
	n := k.rcpt.Attempts + 1
	at, ok := next(now, d.end(ctx, k), max(wait(n, r.verdict, r.ambiguous, jitter), r.rests.Sub(now)))
	if !ok {
		r.outcome = pennypost.OutcomeExpired
		return
	}
	r.next = at
}

// expired is the result of a letter whose time was up before it was tried
// again: its last attempt says why.
func expired(k *letter, last *pennypost.Attempt) result {
	r := result{outcome: pennypost.OutcomeExpired, text: k.rcpt.Reply}
	if last == nil {
		// RFC 3463 §3.5: delivery time expired.
		r.verdict = bounce.Classify(bounce.Reply{Enhanced: "4.4.7"})
	} else {
		text := last.Reply
		if !isTheirs(text) {
			text = "" // the words are ours
		}
		r.verdict = bounce.Classify(bounce.Reply{Code: last.Code, Enhanced: last.Enhanced, Text: text, Stage: stage(last.Phase)})
	}
	if r.text == "" {
		r.text = ours + "4.4.7 not delivered in time"
	}
	return r
}

func isTheirs(text string) bool { return len(text) > len(theirs) && text[:len(theirs)] == theirs }
