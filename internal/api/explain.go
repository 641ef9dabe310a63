package api

import (
	"context"
	"errors"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// explanation says of every recipient of a message where it is, what happened,
// and what happens next and when (docs/api.md).
type explanation struct {
	MessageID        string
	MessageStream    pennypost.StreamID
	From             string
	Subject          string
	Source           string // HTTP, SMTP, System
	Sandboxed        bool
	AcceptedAt       string
	Size             int64
	SendAt           *string
	DeliverBy        *string
	SignedBy         string // d= of the DKIM signature
	ReturnPathDomain string
	Suspended        *wireSuspension
	Recipients       []explainedRecipient
}

type explainedRecipient struct {
	Recipient   pennypost.Address
	State       string
	Since       string
	Summary     string
	Rule        *string // what decided the latest outcome
	Reply       *string // the latest reply or error
	HeldSeconds int64
	GivesUpAt   *string // null once the state is final
	Next        *explainedNext
	Attempts    []explainedAttempt
}

// explainedNext is what is planned; At is null when that depends on something
// else than time.
type explainedNext struct {
	At     *string
	Reason nextReason
	Text   string
}

type explainedAttempt struct {
	Number           int
	StartedAt        string
	DurationMs       float64
	Outcome          string
	Phase            string // the phase that decided
	Host             string
	IP               string
	TLS              string
	TLSNote          string
	ReusedConnection bool
	Code             int
	Enhanced         string
	Reply            string
	Rule             string
	Ambiguous        bool
	Phases           []explainedPhase
	Conversation     []string
}

type explainedPhase struct {
	Phase      string
	DurationMs float64
}

// known is all that is known of a message.
type known struct {
	message    *pennypost.Message
	recipients []pennypost.Recipient
	attempts   []pennypost.Attempt
	jobs       map[int]pennypost.Job // by recipient
	rests      map[int]time.Time     // until when their destinations are left alone
	suspension pennypost.Suspension
	retryFor   time.Duration // lifetime of the stream
	now        time.Time
}

// explainOutbound is GET /messages/outbound/{id}/explain.
func (a *API) explainOutbound(ctx context.Context, c *call) (any, error) {
	k := known{now: a.now(), jobs: map[int]pennypost.Job{}, rests: map[int]time.Time{}}
	err := a.conf.Store.View(ctx, func(tx *store.Tx) error { return k.load(ctx, tx, c) })
	if err != nil {
		return nil, err
	}
	return k.explain(a.conf.BounceDomain), nil
}

func (k *known) load(ctx context.Context, tx *store.Tx, c *call) (err error) {
	if k.message, err = c.message(ctx, tx); err != nil {
		return err
	}
	if k.recipients, err = tx.Recipients(ctx, k.message.ID); err != nil {
		return err
	}
	if k.attempts, err = tx.Attempts(ctx, k.message.ID); err != nil {
		return err
	}
	if k.suspension, err = tx.Suspension(ctx, k.message.ServerID); err != nil {
		return err
	}
	stream, err := tx.Stream(ctx, k.message.ServerID, k.message.Stream)
	switch {
	case err == nil:
		k.retryFor = stream.RetryFor
	case !errors.Is(err, store.ErrNotFound): // a purged stream leaves its mail behind
		return err
	}
	return k.loadJobs(ctx, tx)
}

func (k *known) loadJobs(ctx context.Context, tx *store.Tx) error {
	jobs, err := tx.JobsOf(ctx, k.message.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		_, n, err := store.ParseJobRef(j.Ref)
		if err != nil {
			continue // damaged: its worker finds out
		}
		k.jobs[n] = j
		if j.Lease != 0 || j.RunAt.After(k.now) {
			continue
		}
		next, err := tx.DestNext(ctx, j.Kind, j.Dest)
		if err != nil {
			return err
		}
		k.rests[n] = next
	}
	return nil
}

func (k *known) explain(instanceDomain string) explanation {
	m := k.message
	e := explanation{
		MessageID: m.ID.String(), MessageStream: m.Stream, From: mailboxText(m.From), Subject: m.Subject,
		Source: sourceText(m.Source), Sandboxed: m.Sandbox, AcceptedAt: timeText(m.ReceivedAt), Size: m.Size,
		SendAt: timeOrNull(m.SendAt), DeliverBy: timeOrNull(m.DeliverBy), SignedBy: m.SignDomain, ReturnPathDomain: m.ReturnDomain,
		Suspended: newWireSuspension(k.suspension), Recipients: []explainedRecipient{},
	}
	if e.SignedBy == "" {
		e.SignedBy = instanceDomain
	}
	for n := range k.recipients {
		e.Recipients = append(e.Recipients, k.recipient(&k.recipients[n]))
	}
	return e
}

func sourceText(s pennypost.Source) string {
	switch s {
	case pennypost.SourceHTTP:
		return "HTTP"
	case pennypost.SourceSMTP:
		return "SMTP"
	case pennypost.SourceSystem:
		return "System"
	}
	return string(s)
}

func (k *known) recipient(r *pennypost.Recipient) explainedRecipient {
	e := explainedRecipient{
		Recipient: r.Address, State: title(r.State.String()), Since: timeText(r.ChangedAt),
		Rule: textOrNull(r.Rule), Reply: textOrNull(r.Reply), HeldSeconds: int64(r.HeldFor / time.Second),
		Attempts: []explainedAttempt{},
	}
	var last *pennypost.Attempt
	for n := range k.attempts {
		if k.attempts[n].N == r.N {
			last = &k.attempts[n]
			e.Attempts = append(e.Attempts, newExplainedAttempt(last))
		}
	}
	if !r.State.Final() {
		e.GivesUpAt = timeOrNull(k.givesUp(r))
		e.Next = k.next(r, last)
	}
	e.Summary = k.summary(r, last, e.Next)
	return e
}

// givesUp is when delivery ends: held time does not count towards the lifetime
// of the stream, but towards DeliverBy (design: Suspension).
func (k *known) givesUp(r *pennypost.Recipient) time.Time {
	by := k.message.DeliverBy
	if k.retryFor <= 0 {
		return by
	}
	end := k.message.Begins().Add(k.retryFor + r.HeldFor)
	if r.State == pennypost.Held {
		since := r.ChangedAt
		if k.message.SendAt.After(since) {
			since = k.message.SendAt
		}
		end = end.Add(max(k.now.Sub(since), 0))
	}
	if !by.IsZero() && by.Before(end) {
		return by
	}
	return end
}

func newExplainedAttempt(t *pennypost.Attempt) explainedAttempt {
	e := explainedAttempt{
		Number: t.No, StartedAt: timeText(t.StartedAt), DurationMs: milliseconds(t.Took), Outcome: title(t.Outcome.String()),
		Phase: t.Phase, Host: t.Host, IP: t.IP, TLS: t.TLS, TLSNote: t.TLSNote, ReusedConnection: t.Reused,
		Code: t.Code, Enhanced: t.Enhanced, Reply: t.Reply, Rule: t.Rule, Ambiguous: t.Ambiguous,
		Phases: make([]explainedPhase, len(t.Phases)), Conversation: []string{},
	}
	for n, p := range t.Phases {
		e.Phases[n] = explainedPhase{Phase: p.Phase, DurationMs: milliseconds(p.Took)}
	}
	for line := range strings.Lines(t.Conversation) {
		e.Conversation = append(e.Conversation, strings.TrimRight(line, "\r\n"))
	}
	return e
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// title writes a state or outcome as the contract writes such names.
func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
