package pennypost

import "fmt"

// RecipientState is where one recipient of one message stands.
type RecipientState int8

// The states of a recipient. Queued, Deferred and Held wait; the others are
// final. There is no other way out (docs/lifecycle.md).
const (
	// Queued: accepted, no attempt has ended yet.
	Queued RecipientState = iota + 1
	// Deferred: an attempt failed for now; another is planned.
	Deferred
	// Held: the server or account is suspended; nothing is tried.
	Held
	// Delivered: the recipient's mail server took it (250 after the dot).
	Delivered
	// Bounced: refused for good.
	Bounced
	// Expired: deferred for longer than the stream allows, or past DeliverBy.
	Expired
	// Suppressed: on the stream's suppression list when it was accepted, or when
	// a scheduled message was due.
	Suppressed
	// Quarantined: damaged in the store, or it broke the worker three times;
	// only a person moves it on.
	Quarantined
	// Discarded: dropped by the operator while it was held.
	Discarded
	// Cancelled: called back by its sender before it was due.
	Cancelled
)

// String gives the lower-case name.
func (s RecipientState) String() string {
	switch s {
	case Queued:
		return "queued"
	case Deferred:
		return "deferred"
	case Held:
		return "held"
	case Delivered:
		return "delivered"
	case Bounced:
		return "bounced"
	case Expired:
		return "expired"
	case Suppressed:
		return "suppressed"
	case Quarantined:
		return "quarantined"
	case Discarded:
		return "discarded"
	case Cancelled:
		return "cancelled"
	}
	return fmt.Sprintf("RecipientState(%d)", int8(s))
}

// Final tells whether nothing more will be tried for the recipient.
func (s RecipientState) Final() bool {
	switch s {
	case Queued, Deferred, Held:
		return false
	case Delivered, Bounced, Expired, Suppressed, Quarantined, Discarded, Cancelled:
		return true
	}
	return true
}

// Outcome is what came of handling a recipient's job once.
type Outcome int8

// The outcomes.
const (
	OutcomeDelivered Outcome = iota + 1
	OutcomeDeferred
	OutcomeBounced
	OutcomeExpired
	OutcomeHeld
	OutcomeReleased
	OutcomeQuarantined
	OutcomeDiscarded
	OutcomeCancelled
	OutcomeSuppressed
)

// String gives the lower-case name.
func (o Outcome) String() string {
	switch o {
	case OutcomeDelivered:
		return "delivered"
	case OutcomeDeferred:
		return "deferred"
	case OutcomeBounced:
		return "bounced"
	case OutcomeExpired:
		return "expired"
	case OutcomeHeld:
		return "held"
	case OutcomeReleased:
		return "released"
	case OutcomeQuarantined:
		return "quarantined"
	case OutcomeDiscarded:
		return "discarded"
	case OutcomeCancelled:
		return "cancelled"
	case OutcomeSuppressed:
		return "suppressed"
	}
	return fmt.Sprintf("Outcome(%d)", int8(o))
}

// After gives the state that follows an outcome. An impossible move, such as
// anything after a final state, is an error and a fault of the program.
func (s RecipientState) After(o Outcome) (RecipientState, error) {
	waiting := s == Queued || s == Deferred
	switch o {
	case OutcomeDelivered:
		if waiting {
			return Delivered, nil
		}
	case OutcomeDeferred:
		if waiting {
			return Deferred, nil
		}
	case OutcomeBounced:
		if waiting {
			return Bounced, nil
		}
	case OutcomeExpired:
		if waiting || s == Held {
			return Expired, nil
		}
	case OutcomeHeld:
		if waiting {
			return Held, nil
		}
	case OutcomeReleased:
		if s == Held {
			return Deferred, nil
		}
	case OutcomeQuarantined:
		if waiting || s == Held {
			return Quarantined, nil
		}
	case OutcomeDiscarded:
		if s == Held {
			return Discarded, nil
		}
	case OutcomeCancelled:
		if waiting || s == Held {
			return Cancelled, nil
		}
	case OutcomeSuppressed:
		if waiting {
			return Suppressed, nil
		}
	}
	return 0, fmt.Errorf("recipient state %v cannot follow with %v", s, o)
}
