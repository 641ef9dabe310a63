package submit

import (
	"errors"
	"strings"

	"pennypost"
	"pennypost/internal/eml"
)

// draft checks a submission of the HTTP API in the order of
// contract/sending.md §8.
func (d *Door) draft(c pennypost.Caller, s *Submission) (*draft, error) {
	dr := &draft{
		account: c.AccountID, server: c.ServerID, stream: streamOf(c, s.Stream),
		source: pennypost.SourceHTTP, trace: "HTTP", at: d.conf.Now(),
	}
	var err error
	if dr.id, err = d.newID(dr.at); err != nil {
		return nil, err
	}
	if err := otherStream(c, s.Stream); err != nil {
		return nil, err
	}
	for _, check := range []func(*Submission) error{
		dr.setOriginator, dr.setDestinations, dr.checkBodies, dr.setTexts, dr.setHeaders, dr.setFiles, dr.checkTemplate,
	} {
		if err := check(s); err != nil {
			return nil, err
		}
	}
	return dr, nil
}

// addressText gives a refusal in the contract's words.
func addressText(err error, field string) error {
	var bad *eml.AddressError
	switch {
	case !errors.As(err, &bad):
		return err
	case bad.Kind == eml.AddressTooMany && field != "Reply-To":
		return errRecipients()
	}
	return pennypost.Invalid("%s", bad.Text(field))
}

// setOriginator takes the first address of From; the others are dropped
// (contract/sending.md §1).
func (dr *draft) setOriginator(s *Submission) error {
	dr.fromText = s.From
	if units(s.From, maxFrom) > maxFrom {
		return pennypost.Invalid("Invalid 'From' value. It is limited to 255 characters.")
	}
	from, err := eml.ParseMailbox(firstItem(s.From))
	if err != nil {
		return addressText(err, "From")
	}
	dr.from, dr.needsUTF8 = from, from.NeedsUTF8()
	return nil
}

// firstItem is the first item of a comma list that is not empty; commas in
// quotes are none.
func firstItem(s string) string {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ',':
			if quoted {
				continue
			}
			if strings.Trim(s[:i], " \t,") != "" {
				return s[:i]
			}
			s, i = s[i+1:], -1
		}
	}
	return s
}

func (dr *draft) setDestinations(s *Submission) error {
	for _, f := range []struct {
		name, value string
		list        *[]eml.Mailbox
	}{{"To", s.To, &dr.to}, {"Cc", s.Cc, &dr.cc}, {"Bcc", s.Bcc, &dr.bcc}} {
		list, err := eml.ParseMailboxes(f.value, maxRecipients)
		if err != nil {
			return addressText(err, f.name)
		}
		*f.list = list
	}
	if err := dr.setReplyTo(s); err != nil {
		return err
	}
	switch n := len(dr.to) + len(dr.cc) + len(dr.bcc); {
	case n == 0:
		return errNoRecipients()
	case n > maxRecipients:
		return errRecipients()
	}
	dr.setRecipients(dr.to, dr.cc, dr.bcc)
	return nil
}

func (dr *draft) setReplyTo(s *Submission) error {
	reply := s.ReplyTo
	if strings.TrimSpace(reply) == "" {
		reply = headerValue(s.Headers, "Reply-To")
	}
	list, err := eml.ParseMailboxes(reply, maxReplyTo)
	if err != nil {
		return addressText(err, "Reply-To")
	}
	dr.replyTo = list
	return nil
}

func (dr *draft) checkBodies(s *Submission) error {
	switch {
	case s.Template != nil: // checkTemplate
	case s.TextBody == "" && s.HTMLBody == "":
		return pennypost.Invalid("Provide either email TextBody or HtmlBody or both.")
	case len(s.TextBody) > maxBody:
		return pennypost.Invalid("Invalid 'TextBody' value. It is limited to 5242880 bytes.")
	case len(s.HTMLBody) > maxBody:
		return pennypost.Invalid("Invalid 'HtmlBody' value. It is limited to 5242880 bytes.")
	}
	return nil
}

func (dr *draft) setTexts(s *Submission) error {
	if err := dr.setSubject(s.Subject); err != nil {
		return err
	}
	if err := dr.setTag(s.Tag); err != nil {
		return err
	}
	if err := dr.setMetadata(s.Metadata); err != nil {
		return err
	}
	dr.trackOpens = s.TrackOpens != nil && *s.TrackOpens
	if err := dr.setTrackLinks(s.TrackLinks); err != nil {
		return err
	}
	if err := dr.setSendAt(s.SendAt); err != nil {
		return err
	}
	return dr.setDeliverBy(s.DeliverBy)
}

// setHeaders checks all entries and keeps those that a client may set
// (contract/sending.md §4).
func (dr *draft) setHeaders(s *Submission) error {
	if err := headersFit(len(s.Headers), headersSize(s.Headers)); err != nil {
		return err
	}
	for _, f := range s.Headers {
		var bad *eml.FieldError
		if err := f.Check(); errors.As(err, &bad) {
			return pennypost.Invalid("Invalid header '%s': %s.", short(bad.Name), bad.Reason)
		}
		switch classify(f.Name) {
		case headerPlain:
			dr.headers = append(dr.headers, eml.RawField(f.Name, f.Value))
		case headerMessageID:
			if dr.headerID == "" {
				dr.headerID = messageID(f.Value)
			}
		case headerControl:
			if strings.EqualFold(f.Name, bounceTypeField) {
				first(&dr.bounceType, strings.TrimSpace(f.Value))
			}
		case headerFrom, headerTo, headerCc, headerReplyTo, headerSubject, headerOurs:
		}
	}
	return nil
}

func headersSize(list []eml.Field) int {
	size := 0
	for _, f := range list {
		size += len(f.Name) + len(f.Value)
	}
	return size
}

// headersFit refuses more headers than a message may have.
func headersFit(n, size int) error {
	switch {
	case n > maxHeaderFields:
		return pennypost.Invalid("Invalid 'Headers' value. A message is limited to 1000 headers.")
	case size > maxHeaderBytes:
		return pennypost.Invalid("Invalid 'Headers' value. Headers are limited to 262144 bytes in all.")
	}
	return nil
}

func headerValue(list []eml.Field, name string) string {
	for _, f := range list {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

func (dr *draft) setFiles(s *Submission) error {
	if len(s.Attachments) > maxAttachments {
		return pennypost.Invalid("Too many attachments. A message is limited to 1000 attachments.")
	}
	size := len(s.TextBody) + len(s.HTMLBody)
	for i := range s.Attachments {
		if eml.ForbiddenExtension(s.Attachments[i].Name) {
			return errAttachmentType()
		}
		size += encoded(len(s.Attachments[i].Content))
	}
	if size > maxMessage {
		return errTooBig()
	}
	for i := range s.Attachments {
		a := &s.Attachments[i]
		dr.parts = append(dr.parts, eml.NewAttachment(a.Name, a.ContentType, a.ContentID, a.Content))
	}
	if s.Template == nil {
		dr.compose(s.TextBody, s.HTMLBody)
	}
	return nil
}
