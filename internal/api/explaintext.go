package api

import (
	"fmt"
	"strings"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/submit"
)

// nextReason says why the next step is when it is.
type nextReason string

// The reasons (docs/api.md).
const (
	nextInDelivery nextReason = "InDelivery"       // a worker has it
	nextWaiting    nextReason = "Waiting"          // due, waits for its turn
	nextRests      nextReason = "DestinationRests" // due, but its mail servers could not be reached
	nextSchedule   nextReason = "RetrySchedule"    // our schedule decides
	nextAsked      nextReason = "ServerAsked"      // the server said when to come again
	nextGreylist   nextReason = "Greylisting"      // the server wants to see us again
	nextNoReply    nextReason = "NoReplyToData"    // it may have been delivered: a second copy must wait
	nextSuspended  nextReason = "Suspended"        // held until the server is reactivated
	nextScheduled  nextReason = "Scheduled"        // its sender said when
	nextRelease    nextReason = "BeingReleased"    // the suspension ended, held mail goes slowly
)

// next tells what is planned for a recipient that waits. last is its latest
// attempt, or nil.
func (k *known) next(r *pennypost.Recipient, last *pennypost.Attempt) *explainedNext {
	if r.State == pennypost.Held {
		return k.nextHeld()
	}
	job, found := k.jobs[r.N]
	at := r.NextAt
	if found {
		at = job.RunAt
	}
	switch {
	case found && job.Lease != 0:
		return &explainedNext{
			Reason: nextInDelivery,
			Text:   "A delivery worker has it: it is being tried now, or as soon as a connection to " + r.Address.Domain() + " is free.",
		}
	case k.suspension.Active(): // it is held once it is due
		return k.nextHeld()
	case !at.After(k.now) && k.rests[r.N].After(k.now):
		return &explainedNext{
			At: timeOrNull(k.rests[r.N]), Reason: nextRests,
			Text: "It is due, but mail for " + r.Address.Domain() + " rests until then: its mail servers could not be reached.",
		}
	case !at.After(k.now):
		return &explainedNext{
			At: timeOrNull(at), Reason: nextWaiting,
			Text: "It is due and waits for its turn among the mail for " + r.Address.Domain() + ".",
		}
	}
	if at.Equal(k.message.SendAt) && r.Attempts == 0 {
		return &explainedNext{At: timeOrNull(at), Reason: nextScheduled, Text: "Its sender wants it sent then. Until then it can be cancelled."}
	}
	reason, text := whyThen(r, last)
	return &explainedNext{At: timeOrNull(at), Reason: reason, Text: text}
}

func (k *known) nextHeld() *explainedNext {
	if !k.suspension.Active() {
		return &explainedNext{
			Reason: nextRelease,
			Text:   "The suspension ended. Held mail is released at a tenth of the usual rate, so this takes a while.",
		}
	}
	return &explainedNext{
		Reason: nextSuspended,
		Text:   "Nothing is tried while sending is suspended" + because(k.suspension.Reason) + ". Once it is reactivated the message goes out.",
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// theirs stands in front of a mail server's own words; ours, and nobody else's,
// stand behind another prefix (package deliver).
const theirs = "smtp;"

// whyThen tells what set the time of the next attempt. It asks the same
// verdict as the delivery did.
func whyThen(r *pennypost.Recipient, last *pennypost.Attempt) (nextReason, string) {
	schedule := fmt.Sprintf("Attempt %d by the retry schedule: after 1, 3, 7, 15, 30, 60 minutes, then 2, 4 and every 8 hours, give or take a tenth.", r.Attempts+1)
	switch {
	case last == nil && r.Attempts == 0:
		return nextSchedule, "The first attempt is planned for then."
	case last == nil || r.Reply != last.Reply: // a fault of ours came after it
		return nextSchedule, schedule
	case last.Ambiguous:
		return nextNoReply, "The mail server got the whole message but did not say that it took it. It may have been delivered, so that the next attempt waits at least a quarter of an hour."
	}
	reply := bounce.Reply{Code: last.Code, Enhanced: last.Enhanced, Stage: stage(last.Phase)}
	if strings.HasPrefix(last.Reply, theirs) {
		reply.Text = last.Reply
	}
	switch v := bounce.Classify(reply); {
	case v.Hint > 0:
		return nextAsked, fmt.Sprintf("The mail server asked to come again after %s.", v.Hint)
	case v.Greylist:
		return nextGreylist, "The mail server refuses whom it sees for the first time (greylisting). The same address comes again, after five minutes at least."
	}
	return nextSchedule, schedule
}

// stage gives the name that package bounce has for a phase of an attempt.
func stage(phase string) string {
	switch phase {
	case "dns":
		return bounce.StageConnect
	case "banner":
		return bounce.StageGreeting
	case "body":
		return bounce.StageDot
	}
	return phase
}

// summary is the answer in one or two sentences.
func (k *known) summary(r *pennypost.Recipient, last *pennypost.Attempt, next *explainedNext) string {
	switch r.State {
	case pennypost.Queued, pennypost.Deferred:
		return waitingText(r, last, next)
	case pennypost.Held:
		return "Held since " + timeText(r.ChangedAt) + ". " + next.Text
	case pennypost.Delivered:
		if k.message.Sandbox {
			return "Delivered in the sandbox: nothing left this service."
		}
		return "Delivered to " + peer(last, r) + saying(r.Reply) + "."
	case pennypost.Bounced:
		if r.Rule == submit.RuleTemplate {
			return "Not sent: the template could not be rendered with the model of the message. " + r.Reply
		}
		return "Refused for good" + by(last, r) + saying(r.Reply) + ". It is not tried again."
	case pennypost.Expired:
		return fmt.Sprintf("Given up after %s. The latest was deferred%s%s.", attempts(r.Attempts), by(last, r), saying(r.Reply))
	case pennypost.Suppressed:
		if k.message.SendAt.IsZero() || r.Reply == "" {
			return "Not sent: the address was on the suppression list of the stream when the message was accepted."
		}
		return "Not sent: the address was on the suppression list of the stream when the message was due."
	case pennypost.Cancelled:
		return "Cancelled by its sender before it was due."
	case pennypost.Quarantined:
		return "Kept back because of a fault of this service: the operator has to look at it. Nothing is tried."
	case pennypost.Discarded:
		return "Dropped by the operator while it was held."
	}
	return ""
}

func waitingText(r *pennypost.Recipient, last *pennypost.Attempt, next *explainedNext) string {
	then := "."
	switch {
	case next == nil || next.Reason == nextInDelivery || next.Reason == nextWaiting:
	case next.Reason == nextScheduled:
		return "Scheduled: it is sent at " + *next.At + "."
	case next.Reason == nextSuspended:
		then = ". " + next.Text
	case next.At != nil:
		then = fmt.Sprintf(". Attempt %d at %s.", r.Attempts+1, *next.At)
	}
	if last == nil && r.Reply == "" {
		if then == "." && next != nil {
			return "Accepted. " + next.Text
		}
		return "Accepted, not tried yet" + then
	}
	return "Deferred" + by(last, r) + saying(r.Reply) + then
}

// by names who answered, where somebody did.
func by(last *pennypost.Attempt, r *pennypost.Recipient) string {
	if !strings.HasPrefix(r.Reply, theirs) {
		return ""
	}
	return " by " + peer(last, r)
}

// peer names who answered.
func peer(last *pennypost.Attempt, r *pennypost.Recipient) string {
	if last == nil || last.Host == "" {
		return "the mail system of " + r.Address.Domain()
	}
	if last.IP == "" {
		return last.Host
	}
	return last.Host + " (" + last.IP + ")"
}

// saying gives an answer without its prefix, as the end of a sentence.
func saying(reply string) string {
	if prefix, text, ok := strings.Cut(reply, ";"); ok && !strings.ContainsAny(prefix, " .") {
		reply = text
	}
	if reply = strings.TrimRight(strings.Join(strings.Fields(reply), " "), "."); reply == "" {
		return ""
	}
	return ": " + short(reply)
}

func attempts(n int) string {
	if n == 1 {
		return "one attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}
