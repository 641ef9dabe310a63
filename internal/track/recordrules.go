package track

import (
	"time"

	"pennypost"
)

const (
	// early is how soon after its delivery nobody has read a message and asked a
	// program to follow its links.
	early = 2 * time.Second
	// burstLinks links followed by one address within burstTime of each other are
	// more than a person manages.
	burstLinks = 3
	burstTime  = 500 * time.Millisecond
)

// look is what the rules go by.
type look struct {
	hit       *hit
	agent     *agent
	recipient *pennypost.Recipient
}

// rule tells machines from people.
type rule struct {
	name   string
	clicks bool // for clicks alone
	holds  func(l *look) bool
}

// machineRules is the one place where it is decided what no person did. What
// fetches images for the readers of a mailbox provider counts as an open
// (contract/tracking.md §2), and so it is no rule here. A person who is taken
// for a machine costs the sender a click, so that what is doubtful counts: an
// unknown program, a library some time after the delivery, two links at once.
// Who is quick on this machine itself is trying us out.
func machineRules() []rule {
	return []rule{
		{name: "no user agent", holds: func(l *look) bool { return l.hit.agent == "" }},
		{name: "prefetch", holds: func(l *look) bool { return l.hit.prefetch }},
		{name: "scanner", holds: func(l *look) bool { return l.agent.kind == agentScanner }},
		{name: "library at delivery", holds: func(l *look) bool { return l.agent.kind == agentLibrary && atDelivery(l) && outside(l) }},
		{name: "links at once", clicks: true, holds: func(l *look) bool { return l.hit.burst >= burstLinks && outside(l) }},
	}
}

func outside(l *look) bool { return !l.hit.addr.IsLoopback() }

// atDelivery tells whether the copy had just been delivered, or not even that.
// Where an attempt failed for now the mail may have arrived all the same.
func atDelivery(l *look) bool {
	switch l.recipient.State {
	case pennypost.Queued:
		return true
	case pennypost.Delivered:
		return l.hit.at.Before(l.recipient.ChangedAt.Add(early))
	case pennypost.Deferred, pennypost.Held, pennypost.Bounced, pennypost.Expired, pennypost.Suppressed,
		pennypost.Quarantined, pennypost.Discarded, pennypost.Cancelled:
		return false
	}
	return false
}

// machine names the rule by which a hit is a machine's, or "".
func (r *recorder) machine(l *look) string {
	for i := range r.rules {
		rule := &r.rules[i]
		if (!rule.clicks || l.hit.link > 0) && rule.holds(l) {
			return rule.name
		}
	}
	return ""
}
