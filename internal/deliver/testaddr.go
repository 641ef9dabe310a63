package deliver

import (
	"strings"

	"pennypost"
	"pennypost/internal/bounce"
	"pennypost/internal/smtpc"
)

// TestRule is the rule of what a test address made happen.
const TestRule = "test-address"

// Destinations of what never leaves; none is a domain name. That of a test
// address says what is to come of it, so that the job alone decides, whatever
// the settings are by then.
const (
	sandboxDest   = "sandbox"
	blackholeDest = "blackhole"
	bounceDest    = "bounce " // and a bounce type
)

// TestNames are the domains whose addresses act a part: those of the contract,
// and our own under the host name (contract/sending.md §11).
type TestNames struct{ bounce, blackhole string }

const (
	bounceLabel    = "bounce-testing."
	blackholeLabel = "blackhole."
	theirHost      = "postmarkapp.com"
)

// NewTestNames makes the names of an instance.
func NewTestNames(hostname string) TestNames {
	host := strings.ToLower(strings.TrimSuffix(hostname, "."))
	return TestNames{bounce: bounceLabel + host, blackhole: blackholeLabel + host}
}

// Dest is the destination that the job of a message's recipient is queued for:
// the domain, or one of no network. asked is the bounce type that the message
// asks test addresses for (X-PM-Bounce-Type), or "".
func (n TestNames) Dest(m *pennypost.Message, a pennypost.Address, asked string) string {
	domain := a.Domain()
	switch {
	case domain == n.bounce, domain == bounceLabel+theirHost:
		name := string(a[:len(a)-len(domain)-1])
		if asked != "" {
			name = asked
		}
		return bounceDest + testType(name).String()
	case domain == n.blackhole, domain == blackholeLabel+theirHost:
		return blackholeDest
	case m.Sandbox:
		return sandboxDest
	}
	return domain
}

// has tells whether a domain is one of test addresses.
func (n TestNames) has(domain string) bool {
	return domain == n.bounce || domain == n.blackhole || domain == bounceLabel+theirHost || domain == blackholeLabel+theirHost
}

// testType is what a name asks for: what is no bounce type is a HardBounce,
// and so is a complaint, which cannot be made.
func testType(name string) bounce.Type {
	t, err := bounce.ParseType(strings.TrimSpace(name))
	if err != nil || t == bounce.SpamComplaint {
		return bounce.HardBounce
	}
	return t
}

// goesNowhere tells whether a destination is one of no network.
func goesNowhere(dest string) bool {
	return dest == sandboxDest || dest == blackholeDest || strings.HasPrefix(dest, bounceDest)
}

// fate is the destination of a letter that never leaves; "" for all others. A
// job that was accepted before its domain was known for one of test addresses
// has the domain.
func (d *Deliverer) fate(k *letter) string {
	dest := k.job.Dest
	if !goesNowhere(dest) {
		dest = d.names.Dest(k.m, k.rcpt.Address, "")
	}
	if !goesNowhere(dest) {
		return ""
	}
	return dest
}

// An act is what comes of a letter that never leaves.
type act struct {
	host  string
	rule  string
	reply smtpc.Reply
	// back is the type of the mail that comes back after it was delivered; 0:
	// none.
	back bounce.Type
	// refused is the type of the bounce when it is not delivered.
	refused bounce.Type
}

// actOf gives the act of a destination that goes nowhere.
func actOf(dest, domain string) act {
	a := act{host: domain, rule: TestRule}
	switch dest {
	case sandboxDest:
		a.host, a.rule = sandboxDest, sandboxDest
		a.reply = said(250, "2.0.0", "OK sandbox")
	case blackholeDest:
		a.reply = said(250, "2.0.0", "OK dropped by the blackhole")
	default:
		t := testType(strings.TrimPrefix(dest, bounceDest))
		a.reply = replyFor(t)
		if a.reply.Positive() {
			a.back = t
		} else {
			a.refused = t
		}
	}
	return a
}

func said(code int, enhanced, text string) smtpc.Reply {
	r := smtpc.Reply{Code: code, Enhanced: enhanced, Lines: []string{enhanced + " " + text}, Phase: smtpc.PhaseDot}
	if !r.Positive() {
		r.Phase = smtpc.PhaseRcpt
	}
	return r
}

// found is like said what no mail server says: what we, or the customer, found
// out.
func found(enhanced, text string) smtpc.Reply {
	r := said(550, enhanced, text)
	r.Local = true
	return r
}

// replyFor gives the reply that a test address of a type gets. A type that is
// told of by a mail that comes back, and not by a mail server's reply, has one
// that takes the message (contract/bounces.md §5 and §6).
func replyFor(t bounce.Type) smtpc.Reply {
	const test = ", says the test address"
	switch t {
	case bounce.HardBounce, bounce.SpamComplaint:
		return said(550, "5.1.1", "user unknown"+test)
	case bounce.Transient:
		return said(451, "4.4.1", "message is delayed due to network troubles"+test)
	case bounce.DNSError:
		return said(451, "4.4.3", "a temporary DNS error"+test)
	case bounce.SpamNotification:
		return said(554, "5.7.1", "message looks like spam"+test)
	case bounce.Unknown:
		return said(550, "5.0.0", "no reason is given"+test)
	case bounce.SoftBounce:
		return said(552, "5.2.2", "mailbox is full"+test)
	case bounce.VirusNotification:
		return said(554, "5.7.0", "message contains a virus"+test)
	case bounce.BadEmailAddress:
		return said(553, "5.1.3", "the address is not valid"+test)
	case bounce.Blocked:
		return said(554, "5.7.1", "blocked using a blocklist"+test)
	case bounce.DMARCPolicy:
		return said(550, "5.7.1", "rejected due to the DMARC policy of the sender's domain"+test)
	case bounce.ManuallyDeactivated:
		return found("5.7.1", "the address was deactivated manually"+test)
	case bounce.Unconfirmed:
		return found("5.7.1", "the registration was not confirmed"+test)
	case bounce.SMTPAPIError:
		return found("5.6.0", "an error while accepting the message"+test)
	case bounce.InboundError:
		return found("5.3.0", "the inbound message could not be processed"+test)
	case bounce.TemplateRenderingFailed:
		return found("5.6.0", "the template could not be rendered"+test)
	case bounce.Unsubscribe, bounce.Subscribe, bounce.AutoResponder, bounce.AddressChange, bounce.OpenRelayTest,
		bounce.ChallengeVerification:
	}
	return said(250, "2.0.0", "OK, an answer follows"+test)
}

// conversation is what would have been said.
func (a *act) conversation(to pennypost.Address) string {
	switch {
	case a.rule == sandboxDest, a.reply.Local:
		return ""
	case a.reply.Positive():
		return "C: .\nS: " + a.reply.Error() + "\n"
	}
	return "C: RCPT TO:<" + string(to) + ">\nS: " + a.reply.Error() + "\n"
}

// maxTestDump bounds what is kept of a message for the record of an error.
const maxTestDump = 64 << 10

// refusalDump is what a record of type SMTPApiError holds: the long error, its
// code and the message (contract/smtp.md §5).
func refusalDump(text string, content []byte) string {
	cut := ""
	if len(content) > maxTestDump {
		content, cut = content[:maxTestDump], "\r\n[Message Truncated]"
	}
	return text + "\r\nError code: 300\r\n\r\n" + strings.ToValidUTF8(string(content), "\uFFFD") + cut
}
