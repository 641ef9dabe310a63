package submit

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/eml"
)

// draft is a message that passed every check that needs no database, and then
// its rendered form.
type draft struct {
	id      pennypost.MessageID
	account pennypost.AccountID
	server  pennypost.ServerID
	stream  pennypost.StreamID
	source  pennypost.Source
	trace   string // protocol in Received; "" for our own mail
	at      time.Time

	from         eml.Mailbox
	fromText     string // as it was sent
	to, cc, bcc  []eml.Mailbox
	replyTo      []eml.Mailbox
	recipients   []pennypost.Address // who gets a copy, each once
	subject, tag string
	headerID     string // Message-ID of the client with angle brackets, "" for ours
	headers      []eml.Field
	root         *eml.Part
	metadata     map[string]string
	files        []string
	trackOpens   bool
	trackLinks   pennypost.TrackLinks // "": the server's setting
	sendAt       time.Time            // zero: at once
	deliverBy    time.Time
	bounceType   string // what test addresses are asked for (contract/sending.md §11)
	needsUTF8    bool
	parts        []*eml.Part // the files, until there are bodies
	unrendered   string      // why the template could not be rendered
	grown        int64       // of its share of the memory, when it was filled and dressed
	wardrobe
	content []byte
}

// Limits of a message (contract/common.md §8).
const (
	maxRecipients   = 50
	maxReplyTo      = 50
	maxFrom         = 255     // UTF-16 units
	maxSubject      = 2000    // UTF-16 units
	maxTag          = 1000    // characters
	maxBody         = 5 << 20 // octets of TextBody and of HtmlBody
	maxMessage      = 10 << 20
	maxAttachments  = 1000
	maxHeaderFields = 1000
	maxHeaderBytes  = 256 << 10
	maxDeadline     = 366 * 24 * time.Hour
	maxAhead        = 30 * 24 * time.Hour // of SendAt
)

// streamOf is the stream that a message goes by: the token's own, the one it
// names, or the first (contract/sending.md §7, contract/smtp.md §2).
func streamOf(c pennypost.Caller, named string) pennypost.StreamID {
	if c.Stream != "" {
		return c.Stream
	}
	if named = strings.TrimSpace(named); named != "" {
		return pennypost.StreamID(named)
	}
	return pennypost.StreamOutbound
}

// otherStream refuses an API token that is bound to one stream and names
// another. Over SMTP the token's is taken (contract/smtp.md §2).
func otherStream(c pennypost.Caller, named string) error {
	named = strings.TrimSpace(named)
	if c.Kind != pennypost.CallerAPI || c.Stream == "" || named == "" || pennypost.StreamID(named) == c.Stream {
		return nil
	}
	return pennypost.Refuse(pennypost.CodeStreamUnknown,
		"The stream provided: '%s' cannot be used with this token, which is bound to the stream '%s'.", short(named), c.Stream)
}

// setRecipients decides who gets a copy: everyone once, however often and in
// whichever case an address was given.
func (dr *draft) setRecipients(lists ...[]eml.Mailbox) {
	n := 0
	for _, list := range lists {
		n += len(list)
	}
	dr.recipients = make([]pennypost.Address, 0, n)
	var seen map[string]bool
	if n > 1 {
		seen = make(map[string]bool, n)
	}
	for _, list := range lists {
		for _, m := range list {
			a := pennypost.Address(m.Addr())
			dr.needsUTF8 = dr.needsUTF8 || m.NeedsUTF8()
			if seen != nil {
				if seen[a.Key()] {
					continue
				}
				seen[a.Key()] = true
			}
			dr.recipients = append(dr.recipients, a)
		}
	}
}

// setMetadata checks the metadata. Names that are equal but for case are
// refused over HTTP and get a number over SMTP (contract/sending.md §6).
func (dr *draft) setMetadata(pairs []Pair) error {
	const (
		most     = 10
		maxKey   = 20
		maxValue = 80
	)
	if len(pairs) == 0 {
		return nil
	}
	seen := make(map[string]bool, min(len(pairs), most))
	dr.metadata = make(map[string]string, min(len(pairs), most))
	for _, p := range pairs {
		key := p.Key
		switch {
		case len(dr.metadata) >= most:
			return pennypost.Invalid("Invalid metadata content. A message is limited to 10 metadata fields.")
		case key == "":
			return pennypost.Invalid("Invalid metadata content. A field name is empty.")
		case hasControl(key) || !utf8.ValidString(key):
			return pennypost.Invalid("Invalid metadata content. A field name has a character that is not allowed.")
		case strings.IndexByte(p.Value, 0) >= 0 || !utf8.ValidString(p.Value):
			return pennypost.Invalid("Invalid metadata content. The value of field '%s' has a character that is not allowed.", short(key))
		case utf8.RuneCountInString(p.Value) > maxValue:
			return pennypost.Invalid("Invalid metadata content. Field values are limited to 80 characters.")
		}
		if seen[strings.ToLower(key)] && utf8.RuneCountInString(key) <= maxKey {
			if dr.source != pennypost.SourceSMTP {
				return pennypost.Invalid("Invalid metadata content. Field name '%s' was given more than once; letter case makes no difference.", short(key))
			}
			key = numbered(key, maxKey, seen)
		}
		if utf8.RuneCountInString(key) > maxKey {
			return pennypost.Invalid("Invalid metadata content. Field names are limited to 20 characters.")
		}
		seen[strings.ToLower(key)] = true
		dr.metadata[key] = p.Value
	}
	return nil
}

// setTag checks the tag.
func (dr *draft) setTag(tag string) error {
	tag = strings.TrimSpace(tag)
	switch {
	case hasControl(tag) || !utf8.ValidString(tag):
		return pennypost.Invalid("Invalid 'Tag' value. It must be one line of text.")
	case utf8.RuneCountInString(tag) > maxTag:
		return pennypost.Invalid("Invalid 'Tag' value. It is limited to 1000 characters.")
	}
	dr.tag = tag
	return nil
}

// setSubject checks the subject. Line ends in it are blanks, as mail programs
// show them.
func (dr *draft) setSubject(subject string) error {
	if units(subject, maxSubject) > maxSubject {
		return pennypost.Invalid("Invalid 'Subject' value. It is limited to 2000 characters.")
	}
	dr.subject = oneLine(subject)
	return nil
}

// setTrackLinks reads where links are tracked; blank leaves it to the server.
func (dr *draft) setTrackLinks(v string) error {
	if v = strings.TrimSpace(v); v == "" {
		return nil
	}
	for _, t := range []pennypost.TrackLinks{
		pennypost.TrackNone, pennypost.TrackHTMLAndText, pennypost.TrackHTMLOnly, pennypost.TrackTextOnly,
	} {
		if strings.EqualFold(v, string(t)) {
			dr.trackLinks = t
			return nil
		}
	}
	return pennypost.Invalid("Invalid 'TrackLinks' value. It must be 'None', 'HtmlAndText', 'HtmlOnly' or 'TextOnly'.")
}

// setSendAt checks when a message is to be sent. What lies in the past is sent at
// once: clocks differ, and a client that was late must not lose its mail.
func (dr *draft) setSendAt(at time.Time) error {
	switch ahead := at.Sub(dr.at); {
	case at.IsZero() || ahead <= 0:
		return nil
	case ahead > maxAhead:
		return pennypost.Invalid("Invalid 'SendAt' value. It is limited to 30 days ahead.")
	}
	dr.sendAt = at.UTC().Truncate(time.Microsecond)
	return nil
}

// begins is when delivery begins.
func (dr *draft) begins() time.Time {
	if dr.sendAt.IsZero() {
		return dr.at
	}
	return dr.sendAt
}

// setDeliverBy checks the deadline of design §4.
func (dr *draft) setDeliverBy(at time.Time) error {
	if from := dr.begins(); !at.IsZero() && (!at.After(from) || at.Sub(from) > maxDeadline) {
		return pennypost.Invalid("Invalid 'DeliverBy' value.")
	}
	dr.deliverBy = at
	return nil
}

// errAttachmentType and errTooBig are the contract's (contract/common.md §6.2
// and §8).
func errAttachmentType() *pennypost.Error {
	return pennypost.Refuse(pennypost.CodeAttachmentType, "Attachment file type not allowed.")
}

func errTooBig() *pennypost.Error {
	return pennypost.Invalid("Attachments too big. The total size should be less than 10485760 bytes.")
}

func errRecipients() *pennypost.Error {
	return pennypost.Invalid("Too many recipients. A message is limited to a maximum of 50 recipients in 'To', 'Cc' and 'Bcc' together.")
}

func errNoRecipients() *pennypost.Error { return pennypost.Invalid("Zero recipients specified") }

// encoded is the size of a file once it is in base64, by which the limit
// counts (contract/common.md §8).
func encoded(n int) int { return (n + 2) / 3 * 4 }

// units counts UTF-16 units, and stops once they are more than enough.
func units(s string, enough int) int {
	if len(s) <= enough {
		return len(s) // a character has at least as many octets as units
	}
	n := 0
	for _, r := range s {
		if n += utf16.RuneLen(r); n > enough {
			break
		}
	}
	return n
}

// isControl counts the separators in that some programs take for line ends, as
// package eml does.
func isControl(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

func hasControl(s string) bool { return strings.IndexFunc(s, isControl) >= 0 }

// oneLine makes valid text of one line.
func oneLine(s string) string {
	s = strings.TrimSpace(s)
	if !hasControl(s) && utf8.ValidString(s) {
		return s
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", " ")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s))
}

// short bounds a value that an error text repeats.
func short(s string) string {
	const most = 320
	s = oneLine(s)
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// numbered appends the first number from 2 on that makes a name new. A name that
// is so long that there is no room for it loses its end: the client did not
// make it too long.
func numbered(key string, most int, seen map[string]bool) string {
	runes := []rune(key)
	for n := 2; ; n++ {
		number := itoa(n)
		name := string(runes[:min(len(runes), most-len(number))]) + number
		if !seen[strings.ToLower(name)] {
			return name
		}
	}
}
