package bounce

import (
	"errors"
	"fmt"
	"strings"
)

// Type is a bounce type of the contract; its value is the TypeCode
// (contract/bounces.md §5).
type Type int32

// The bounce types, all of them.
const (
	HardBounce              Type = 1
	Transient               Type = 2
	Unsubscribe             Type = 16
	Subscribe               Type = 32
	AutoResponder           Type = 64
	AddressChange           Type = 128
	DNSError                Type = 256
	SpamNotification        Type = 512
	OpenRelayTest           Type = 1024
	Unknown                 Type = 2048
	SoftBounce              Type = 4096
	VirusNotification       Type = 8192
	ChallengeVerification   Type = 16384
	BadEmailAddress         Type = 100000
	SpamComplaint           Type = 100001
	ManuallyDeactivated     Type = 100002
	Unconfirmed             Type = 100003
	Blocked                 Type = 100006
	SMTPAPIError            Type = 100007
	InboundError            Type = 100008
	DMARCPolicy             Type = 100009
	TemplateRenderingFailed Type = 100010
)

// ErrType says that a name or code is no bounce type.
var ErrType = errors.New("not a bounce type")

// Types gives all types in the order of their codes.
func Types() []Type {
	return []Type{
		HardBounce, Transient, Unsubscribe, Subscribe, AutoResponder, AddressChange, DNSError,
		SpamNotification, OpenRelayTest, Unknown, SoftBounce, VirusNotification, ChallengeVerification,
		BadEmailAddress, SpamComplaint, ManuallyDeactivated, Unconfirmed, Blocked, SMTPAPIError,
		InboundError, DMARCPolicy, TemplateRenderingFailed,
	}
}

// ParseType finds a type by its wire name, in any case and with underscores
// anywhere, as test addresses spell it ("Hard_Bounce", contract/sending.md
// §11). The error is [ErrType].
func ParseType(name string) (Type, error) {
	if len(name) > 64 {
		return 0, ErrType
	}
	bare := strings.ReplaceAll(name, "_", "")
	for _, t := range Types() {
		if strings.EqualFold(bare, t.String()) {
			return t, nil
		}
	}
	return 0, ErrType
}

// TypeOf finds a type by its TypeCode. The error is [ErrType].
func TypeOf(code int) (Type, error) {
	for _, t := range Types() {
		if t.Code() == code {
			return t, nil
		}
	}
	return 0, ErrType
}

// Code gives the TypeCode; it is never 0 for a type of the set.
func (t Type) Code() int { return int(t) }

// String gives the wire name, such as "HardBounce".
func (t Type) String() string { return t.texts().wire }

// Name gives the Name of the wire, such as "Hard bounce".
func (t Type) Name() string { return t.texts().name }

// Description gives the fixed text of the wire.
func (t Type) Description() string { return t.texts().description }

// Inactive tells whether a bounce of this type deactivates the address: it is
// suppressed in the stream.
func (t Type) Inactive() bool {
	return t == HardBounce || t == SpamComplaint || t == ManuallyDeactivated
}

// CanActivate tells whether the customer may reactivate an address after a
// bounce of this type: all but a complaint (contract/bounces.md §4 and §5).
func (t Type) CanActivate() bool { return t != SpamComplaint }

type texts struct{ wire, name, description string }

func (t Type) texts() texts {
	switch t {
	case HardBounce:
		return texts{"HardBounce", "Hard bounce", "The server was unable to deliver your message (ex: unknown user, mailbox not found)."}
	case Transient:
		return texts{"Transient", "Message delayed", "The server could not temporarily deliver your message (ex: Message is delayed due to network troubles)."}
	case Unsubscribe:
		return texts{"Unsubscribe", "Unsubscribe request", "Unsubscribe or Remove request."}
	case Subscribe:
		return texts{"Subscribe", "Subscribe request", "Subscribe request from someone wanting to get added to the mailing list."}
	case AutoResponder:
		return texts{"AutoResponder", "Auto responder", `Automatic email responder (ex: "Out of Office" or "On Vacation").`}
	case AddressChange:
		return texts{"AddressChange", "Address change", "The recipient has requested an address change."}
	case DNSError:
		return texts{"DnsError", "DNS error", "A temporary DNS error."}
	case SpamNotification:
		return texts{"SpamNotification", "Spam notification", "The message was delivered, but was either blocked by the user, or classified as spam, bulk mail, or had rejected content."}
	case OpenRelayTest:
		return texts{"OpenRelayTest", "Open relay test", "The NDR is actually a test email message to see if the mail server is an open relay."}
	case Unknown:
		return texts{"Unknown", "Unknown", "Unable to classify the NDR."}
	case SoftBounce:
		return texts{"SoftBounce", "Soft bounce", "Unable to temporarily deliver message (i.e. mailbox full, account disabled, exceeds quota, out of disk space)."}
	case VirusNotification:
		return texts{"VirusNotification", "Virus notification", "The bounce is actually a virus notification warning about a virus/code infected message."}
	case ChallengeVerification:
		//nolint:misspell // "Typcial" is the contract's
		return texts{"ChallengeVerification", "Spam challenge verification", "The bounce is a challenge asking for verification you actually sent the email. Typcial challenges are made by Spam Arrest, or MailFrontier Matador."}
	case BadEmailAddress:
		return texts{"BadEmailAddress", "Invalid email address", "The address is not a valid email address."}
	case SpamComplaint:
		return texts{"SpamComplaint", "Spam complaint", "The subscriber explicitly marked this message as spam."}
	case ManuallyDeactivated:
		return texts{"ManuallyDeactivated", "Manually deactivated", "The email was manually deactivated."}
	case Unconfirmed:
		return texts{"Unconfirmed", "Registration not confirmed", "The subscriber has not clicked on the confirmation link upon registration or import."}
	case Blocked:
		return texts{"Blocked", "ISP block", "Blocked from this ISP due to content or blacklisting."}
	case SMTPAPIError:
		return texts{"SMTPApiError", "SMTP API error", "An error occurred while accepting an email through the SMTP API."}
	case InboundError:
		return texts{"InboundError", "Processing failed", "Unable to deliver inbound message to destination inbound hook."}
	case DMARCPolicy:
		return texts{"DMARCPolicy", "DMARC Policy", "Email rejected due DMARC Policy."}
	case TemplateRenderingFailed:
		return texts{"TemplateRenderingFailed", "Template rendering failed", "An error occurred while attempting to render your template."}
	}
	return texts{wire: fmt.Sprintf("Type(%d)", int32(t))}
}
