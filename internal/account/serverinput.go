package account

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/eml"
)

// ServerInput is what a call says of a server; nil: it says nothing, and the
// field stays as it is. A nil *ServerInput is a call without a body.
type ServerInput struct {
	Name, Color, DeliveryType *string

	SMTPActivated    *bool
	SMTPAPITokenAuth *bool   // ours: the API token opens SMTP too
	SMTPRejection    *string // ours: Immediate or Accept

	RawEmail       *bool
	InboundDomain  *string
	InboundHookURL *string
	SpamThreshold  *int64

	BounceHookURL, OpenHookURL, DeliveryHookURL, ClickHookURL *string

	PostFirstOpenOnly, TrackOpens *bool
	TrackLinks                    *string
	BounceContent, SMTPErrorHooks *bool

	AllowedIPs *[]string // ours: addresses and CIDRs from which mail is taken over HTTP; empty: any
}

const (
	maxServerName = 255
	maxSpamScore  = 30
	defaultColor  = "blue" // unpublished (contract/servers.md §6)
)

// colorOf gives a colour of the contract as it is stored. One client has a
// spelling of its own (contract/servers.md §3).
func colorOf(s string) (string, bool) {
	if strings.EqualFold(s, "turqoise") {
		return "turquoise", true
	}
	return oneOf(s, "purple", "blue", "turquoise", "green", "red", "yellow", "grey", "orange")
}

// applyServer checks the input and puts it into s. The type of delivery is
// fixed when a server is made; later it is checked and passed over.
func (a *Accounts) applyServer(s *pennypost.Server, in *ServerInput, create bool) error {
	if in.Name != nil {
		name := strings.TrimSpace(*in.Name)
		if !validLine(name, maxServerName) {
			return errServerName()
		}
		s.Name = name
	}
	if given(in.Color) {
		color, ok := colorOf(*in.Color)
		if !ok {
			return pennypost.Refuse(codeColor, "Invalid server color.")
		}
		s.Color = color
	}
	if given(in.DeliveryType) {
		typ, ok := oneOf(*in.DeliveryType, "Live", "Sandbox")
		if !ok {
			return pennypost.Refuse(codeDeliveryType, "The supplied 'DeliveryType' option is not valid.")
		}
		if create {
			s.Sandbox = typ == "Sandbox"
		}
	}
	if err := applySMTP(s, in); err != nil {
		return err
	}
	if err := applyAllowedIPs(s, in); err != nil {
		return err
	}
	if err := a.applyInbound(s, in); err != nil {
		return err
	}
	return a.applyHooks(s, in)
}

func errServerName() *pennypost.Error {
	return pennypost.Refuse(codeServerName, "A valid 'Name' of up to %d characters must be provided.", maxServerName)
}

func applySMTP(s *pennypost.Server, in *ServerInput) error {
	set(&s.SMTPActivated, in.SMTPActivated)
	set(&s.SMTPAPITokenAuth, in.SMTPAPITokenAuth)
	if given(in.SMTPRejection) {
		v, ok := oneOf(*in.SMTPRejection, string(pennypost.RejectImmediate), string(pennypost.RejectAccept))
		if !ok {
			return pennypost.Refuse(codeNotSupported, "The supplied 'SmtpRejection' option is not valid. Use Immediate or Accept.")
		}
		s.SMTPRejection = pennypost.SMTPRejection(v)
	}
	if given(in.TrackLinks) {
		v, ok := oneOf(*in.TrackLinks, string(pennypost.TrackNone), string(pennypost.TrackHTMLAndText),
			string(pennypost.TrackHTMLOnly), string(pennypost.TrackTextOnly))
		if !ok {
			return pennypost.Refuse(codeTrackLinks, "The supplied 'TrackLinks' option is not valid.")
		}
		s.TrackLinks = pennypost.TrackLinks(v)
	}
	set(&s.TrackOpens, in.TrackOpens)
	set(&s.SMTPErrorHooks, in.SMTPErrorHooks)
	set(&s.BounceContent, in.BounceContent)
	set(&s.PostFirstOpenOnly, in.PostFirstOpenOnly)
	return nil
}

func (a *Accounts) applyInbound(s *pennypost.Server, in *ServerInput) error {
	set(&s.RawEmail, in.RawEmail)
	if in.SpamThreshold != nil {
		if *in.SpamThreshold < 0 || *in.SpamThreshold > maxSpamScore {
			return pennypost.Refuse(codeSpamThreshold, "InboundSpamThreshold value is invalid. Use a number between 0 and 30.")
		}
		s.SpamThreshold = int(*in.SpamThreshold)
	}
	if in.InboundDomain == nil {
		return nil
	}
	if *in.InboundDomain == "" {
		s.InboundDomain = ""
		return nil
	}
	// A wildcard stands for all subdomains (contract/inbound.md §2).
	name, wild := strings.CutPrefix(*in.InboundDomain, "*.")
	domain, err := eml.CanonicalDomain(name)
	if err != nil {
		return pennypost.Refuse(codeServerName, "The inbound domain is not valid.")
	}
	if a.conf.InboundDomain == "" || isWithin(domain, a.conf.InboundDomain) || isWithin(domain, a.conf.BounceDomain) {
		return pennypost.Refuse(codeServerName, "The inbound domain must not contain a domain of this service.")
	}
	if wild {
		domain = "*." + domain
	}
	s.InboundDomain = domain
	return nil
}

func (a *Accounts) applyHooks(s *pennypost.Server, in *ServerInput) error {
	for _, h := range []struct {
		field string
		to    *string
		given *string
	}{
		{"InboundHookUrl", &s.InboundHookURL, in.InboundHookURL},
		{"BounceHookUrl", &s.BounceHookURL, in.BounceHookURL},
		{"OpenHookUrl", &s.OpenHookURL, in.OpenHookURL},
		{"DeliveryHookUrl", &s.DeliveryHookURL, in.DeliveryHookURL},
		{"ClickHookUrl", &s.ClickHookURL, in.ClickHookURL},
	} {
		if h.given == nil {
			continue
		}
		if *h.given != "" && !validHook(*h.given, a.conf.AllowPrivateHooks) {
			return pennypost.Refuse(codeHookURL, "The '%s' is not a valid URL, or its host is an internal address.", h.field)
		}
		*h.to = *h.given
	}
	return nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// given tells whether an optional text says anything: "" is as good as left out
// (contract/common.md §3).
func given(s *string) bool { return s != nil && *s != "" }

// oneOf finds a value without regard to case.
func oneOf(s string, values ...string) (string, bool) {
	n := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, s) })
	if n < 0 {
		return "", false
	}
	return values[n], true
}

// validLine tells whether a text is one line of 1 to most characters.
func validLine(s string, most int) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= most &&
		strings.IndexFunc(s, unicode.IsControl) < 0
}

// isWithin tells whether a domain is another or below it.
func isWithin(domain, of string) bool {
	return of != "" && (domain == of || strings.HasSuffix(domain, "."+of))
}

// sameName compares host names as DNS does.
func sameName(a, b string) bool {
	return b != "" && strings.EqualFold(strings.TrimSuffix(a, "."), b)
}
