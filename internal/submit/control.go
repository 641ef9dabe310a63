package submit

import (
	"strconv"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/eml"
)

// rawHeader is what the header of an SMTP message says beside its addresses:
// From as it stands, and the control fields of contract/smtp.md §3.
type rawHeader struct {
	from       []string
	subject    string
	hasSubject bool
	stream     string
	tag        string
	metadata   []Pair
	trackOpens string
	trackLinks string
	sendAt     string
	deliverBy  string
	bounceType string
	keepID     bool
}

const (
	metadataPrefix  = "X-PM-Metadata-"
	bounceTypeField = "X-PM-Bounce-Type"
)

// readHeader goes over the header once. The error is the first refusal; what
// can be read is read in spite of it.
func (dr *draft) readHeader(c pennypost.Caller, p *eml.Parsed) (*rawHeader, error) {
	h := &rawHeader{}
	var failed error
	note := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	for _, f := range p.Header {
		switch classify(f.Name) {
		case headerPlain:
			dr.headers = append(dr.headers, f)
		case headerFrom:
			h.from = append(h.from, f.Value)
		case headerTo:
			note(addAddresses(&dr.to, "To", f.Value))
		case headerCc:
			note(addAddresses(&dr.cc, "Cc", f.Value))
		case headerReplyTo:
			note(addAddresses(&dr.replyTo, "Reply-To", f.Value))
		case headerSubject:
			if !h.hasSubject {
				h.subject, h.hasSubject = f.Text(), true
			}
		case headerMessageID:
			if dr.headerID == "" {
				dr.headerID = messageID(f.Value)
			}
		case headerControl:
			h.control(f)
		case headerOurs:
		}
	}
	dr.stream, dr.bounceType = streamOf(c, h.stream), h.bounceType
	return h, failed
}

func addAddresses(list *[]eml.Mailbox, field, value string) error {
	more, err := eml.ParseHeaderMailboxes(value)
	*list = append(*list, more...)
	if err != nil {
		return addressText(err, field)
	}
	return nil
}

// control reads a control field. Unknown ones are dropped like the others.
func (h *rawHeader) control(f eml.Field) {
	value := strings.TrimSpace(f.Text())
	if hasPrefixFold(f.Name, metadataPrefix) {
		h.metadata = append(h.metadata, Pair{Key: f.Name[len(metadataPrefix):], Value: value})
		return
	}
	switch strings.ToLower(f.Name) {
	case "x-pm-message-stream":
		first(&h.stream, value)
	case "x-pm-tag":
		first(&h.tag, value)
	case "x-pm-trackopens", "x-pm-track-opens":
		first(&h.trackOpens, value)
	case "x-pm-tracklinks", "x-pm-track-links":
		first(&h.trackLinks, value)
	case "x-pm-send-at":
		first(&h.sendAt, value)
	case "x-pm-deliver-by":
		first(&h.deliverBy, value)
	case "x-pm-bounce-type":
		first(&h.bounceType, value)
	case "x-pm-keepid":
		h.keepID = strings.EqualFold(value, "true")
	}
}

// first keeps the first value that is not blank.
func first(v *string, value string) {
	if *v == "" {
		*v = value
	}
}

// setRawTexts checks subject and control fields by the rules of HTTP.
func (dr *draft) setRawTexts(h *rawHeader) error {
	if err := dr.setSubject(h.subject); err != nil {
		return err
	}
	if err := dr.setTag(h.tag); err != nil {
		return err
	}
	if err := dr.setMetadata(h.metadata); err != nil {
		return err
	}
	switch {
	case h.trackOpens == "", strings.EqualFold(h.trackOpens, "false"):
	case strings.EqualFold(h.trackOpens, "true"):
		dr.trackOpens = true
	default:
		return pennypost.Invalid("Invalid 'TrackOpens' value. It must be 'true' or 'false'.")
	}
	if err := dr.setTrackLinks(h.trackLinks); err != nil {
		return err
	}
	at, err := moment(h.sendAt, dr.at)
	if err != nil {
		return err
	}
	if err := dr.setSendAt(at); err != nil {
		return err
	}
	by, err := deadline(h.deliverBy, dr.begins())
	if err != nil {
		return err
	}
	return dr.setDeliverBy(by)
}

// moment reads X-PM-Send-At: seconds from now, or a time (RFC 3339).
func moment(v string, now time.Time) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		// Too far is too far: the bound keeps it from wrapping around.
		return now.Add(time.Duration(min(max(n, 0), int64(maxDeadline/time.Second))) * time.Second), nil
	}
	at, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return at, pennypost.Invalid("Invalid 'SendAt' value.")
	}
	return at.UTC(), nil
}

// deadline reads X-PM-Deliver-By: seconds from the beginning of delivery, or a
// time (RFC 3339).
func deadline(v string, from time.Time) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n > 0 && n <= int64(maxDeadline/time.Second) {
		return from.Add(time.Duration(n) * time.Second), nil
	}
	at, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return at, pennypost.Invalid("Invalid 'DeliverBy' value.")
	}
	return at.UTC(), nil
}
