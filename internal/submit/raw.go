package submit

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"pennypost"
	"pennypost/internal/eml"
)

// AcceptRaw takes a message from an SMTP session. When it returns nil the
// message is on stable storage, or, on a server that accepts what it refuses,
// the record of its refusal. A refusal is a *pennypost.Error and has been
// recorded as SMTPApiError if it concerns the message.
func (d *Door) AcceptRaw(ctx context.Context, c pennypost.Caller, r *Raw) (*Accepted, error) {
	room, err := d.letIn(ctx, int64(len(r.Data)))
	if err != nil {
		return nil, err
	}
	defer room.close()
	coming := d.conf.Store.Expect()
	dr, err := d.draftRaw(c, r)
	if err == nil && c.Kind != pennypost.CallerTest {
		err = d.dress(ctx, dr, d.expected(dr), room)
	}
	if err == nil {
		err = d.render(dr)
	}
	d.conf.Store.Met(&coming)
	e := &entry{draft: dr, raw: r}
	switch {
	case err != nil:
	case c.Kind == pennypost.CallerTest:
		return e.testAccepted(), nil
	default:
		err = d.store(ctx, c, e, room)
	}
	if err == nil {
		return e.result(), nil
	}
	d.count(pennypost.SourceSMTP, err)
	var refusal *pennypost.Error
	if dr == nil || !errors.As(err, &refusal) || !recorded(refusal) {
		return nil, err
	}
	return d.refuse(ctx, c, e, refusal)
}

// draftRaw parses and checks a message from SMTP. Beside a refusal it returns
// the draft as far as it came, for the record.
func (d *Door) draftRaw(c pennypost.Caller, r *Raw) (*draft, error) {
	dr, err := d.newRaw(c, r)
	if err != nil {
		return nil, err
	}
	data, err := eml.NormalizeLines(r.Data)
	if err != nil {
		dr.glance(c, r)
		return dr, pennypost.Invalid("The message has a CR that no LF follows, or a NUL.")
	}
	p, err := eml.Parse(data, eml.Limits{})
	if err != nil {
		err = parseRefusal(err)
	}
	// The record of a refusal wants all that can be read, so each step is taken
	// whatever came of the one before.
	h, headErr := dr.readHeader(c, p)
	fromErr := dr.setRawOriginator(h.from)
	rcptErr := dr.setRawDestinations(r.Recipients)
	textErr := dr.setRawTexts(h)
	treeErr := dr.setTree(p.Root)
	for _, err := range []error{err, fromErr, headErr, rcptErr, textErr, treeErr} {
		if err != nil {
			return dr, err
		}
	}
	if !h.keepID {
		dr.headerID = ""
	}
	return dr, nil
}

// parseRefusal words what no message can be made of. Sizes give 552 5.3.4
// (S-041).
func parseRefusal(err error) *pennypost.Error {
	switch {
	case errors.Is(err, eml.ErrHeaderTooLarge):
		return tooLarge("Message header too large. It is limited to 262144 bytes.")
	case errors.Is(err, eml.ErrTooManyFields):
		return tooLarge("Message header too large. It is limited to 1000 fields.")
	case errors.Is(err, eml.ErrTooManyParts):
		return pennypost.Invalid("The message has too many parts. It is limited to 1000.")
	case errors.Is(err, eml.ErrTooDeep):
		return pennypost.Invalid("The parts of the message are nested too deeply. It is limited to 20 levels.")
	}
	return pennypost.Invalid("The message header has a line that is no header field.")
}

// tooLarge is a refusal that SMTP words as 552 5.3.4.
func tooLarge(text string) *pennypost.Error {
	return &pennypost.Error{Code: pennypost.CodeInvalid, Text: text, Status: http.StatusRequestEntityTooLarge}
}

// invalidFrom refuses what is no single From address. Its code gives 550 5.7.1
// (S-071): whoever is not named cannot have been verified.
func invalidFrom(text string) *pennypost.Error {
	return pennypost.Refuse(pennypost.CodeSenderUnknown, "%s", text)
}

// setRawOriginator reads From: one field with one address, the one that the
// receiver will see.
func (dr *draft) setRawOriginator(fields []string) error {
	switch len(fields) {
	case 0:
		return invalidFrom("Invalid 'From' value. The message has no 'From' header.")
	case 1:
	default:
		return invalidFrom("Invalid 'From' value. The message has more than one 'From' header.")
	}
	dr.fromText = eml.DecodeHeader(fields[0])
	if units(dr.fromText, maxFrom) > maxFrom {
		return invalidFrom("Invalid 'From' value. It is limited to 255 characters.")
	}
	list, err := eml.ParseHeaderMailboxes(fields[0])
	var bad *eml.AddressError
	switch {
	case errors.As(err, &bad):
		return invalidFrom(bad.Text("From"))
	case err != nil:
		return err
	case hasGroup(fields[0]):
		return invalidFrom("Invalid 'From' value. It must be one address, not a group.")
	case len(list) == 0:
		return invalidFrom("Invalid 'From' value.")
	case len(list) > 1:
		return invalidFrom("Invalid 'From' value. It must be one address.")
	}
	dr.from = list[0]
	dr.needsUTF8 = dr.needsUTF8 || dr.from.NeedsUTF8()
	return nil
}

// hasGroup tells whether an address field has a group (RFC 5322 §3.4): a colon
// or semicolon outside quotes, comments and angle brackets.
func hasGroup(v string) bool {
	quoted, angle, comments := false, false, 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\' && (quoted || comments > 0):
			i++
		case c == '"' && comments == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			comments++
		case c == ')' && comments > 0:
			comments--
		case comments > 0:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case (c == ':' || c == ';') && !angle:
			return true
		}
	}
	return false
}

// setRawDestinations takes the envelope for what it is: the recipients
// (contract/smtp.md §4).
func (dr *draft) setRawDestinations(envelope []eml.Mailbox) error {
	dr.setRecipients(envelope)
	switch n := len(dr.recipients); {
	case n == 0:
		return errNoRecipients()
	case n > maxRecipients:
		return errRecipients()
	}
	visible := make(map[string]bool, len(dr.to)+len(dr.cc))
	for _, list := range [][]eml.Mailbox{dr.to, dr.cc} {
		for _, m := range list {
			visible[strings.ToLower(m.Addr())] = true
		}
	}
	unique := dr.recipients // in the order of the envelope
	for _, m := range envelope {
		if len(unique) == 0 || string(unique[0]) != m.Addr() {
			continue
		}
		if !visible[unique[0].Key()] {
			dr.bcc = append(dr.bcc, m)
		}
		unique = unique[1:]
	}
	return nil
}

// setTree takes the content as parsed, once no file in it is forbidden and it
// is not too big (contract/smtp.md §5).
func (dr *draft) setTree(root *eml.Part) error {
	size := 0
	for p := range root.All() {
		switch {
		case p.Filename != "" && eml.ForbiddenExtension(p.Filename):
			return errAttachmentType()
		case p.IsMultipart():
		case p.IsAttachment():
			size += encoded(len(p.Content))
		default:
			size += len(p.Content)
		}
	}
	if size > maxMessage {
		return tooLarge(errTooBig().Text)
	}
	dr.root = root
	dr.files = root.AttachmentNames()
	return nil
}
