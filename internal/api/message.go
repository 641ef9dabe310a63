package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

// Codes of message searches (contract/messages.md §10).
const (
	codeMessageSearch  pennypost.Code = 700
	codeMessageUnknown pennypost.Code = 701
)

func errMessageUnknown() error {
	return pennypost.Refuse(codeMessageUnknown, "This message was not found.")
}

// outboundItem is one message of the list (contract/messages.md §3).
type outboundItem struct {
	Tag           string `json:",omitempty"`
	MessageID     string
	MessageStream pennypost.StreamID
	To, Cc, Bcc   []wireMailbox
	Recipients    []string
	ReceivedAt    string
	From          string
	Subject       string
	Attachments   []string
	Status        string
	TrackOpens    bool
	TrackLinks    pennypost.TrackLinks
	Metadata      map[string]string
	Sandboxed     bool
}

type wireMailbox struct{ Email, Name string }

// outboundPage is the answer of the search.
type outboundPage struct {
	TotalCount int
	Messages   []outboundItem
}

// outboundDetails is contract/messages.md §4. A body that the message had not
// is left out.
type outboundDetails struct {
	outboundItem
	TextBody      *string `json:",omitempty"`
	HtmlBody      *string `json:",omitempty"`
	Body          string
	MessageEvents []messageEvent
}

// messageEvent has strings alone in its Details (contract/clients.md 2.4).
type messageEvent struct {
	Recipient  pennypost.Address
	Type       pennypost.EventType
	ReceivedAt string
	Details    map[string]string
}

func newOutboundItem(m *pennypost.Message, list []pennypost.Recipient, now time.Time) outboundItem {
	item := outboundItem{
		Tag: m.Tag, MessageID: m.ID.String(), MessageStream: m.Stream,
		To: wireMailboxes(m.To), Cc: wireMailboxes(m.Cc), Bcc: wireMailboxes(m.Bcc),
		Recipients: make([]string, len(list)),
		ReceivedAt: timeText(m.ReceivedAt), From: mailboxText(m.From), Subject: m.Subject,
		Attachments: notNil(m.Attachments), Status: messageStatus(m, list, now),
		TrackOpens: m.TrackOpens, TrackLinks: m.TrackLinks, Metadata: m.Metadata, Sandboxed: m.Sandbox,
	}
	for n := range list {
		item.Recipients[n] = string(list[n].Address)
	}
	if item.TrackLinks == "" {
		item.TrackLinks = pennypost.TrackNone
	}
	if item.Metadata == nil {
		item.Metadata = map[string]string{}
	}
	return item
}

// notNil keeps an empty list from being null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func wireMailboxes(list []pennypost.Mailbox) []wireMailbox {
	out := make([]wireMailbox, len(list))
	for n, m := range list {
		out[n] = wireMailbox{Email: string(m.Address), Name: m.Name}
	}
	return out
}

// mailboxText is the full form of From: "Ann" <ann@acme.example>.
func mailboxText(m pennypost.Mailbox) string {
	if m.Name == "" {
		return string(m.Address)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.Name) + `" <` + string(m.Address) + `>`
}

// messageStatus is Queued while a recipient waits that nothing was tried for
// yet (contract/messages.md §5), and Scheduled before that is due
// (contract/clients.md 2.16). For what was cancelled, always as a whole, clients
// have no word but Failed.
func messageStatus(m *pennypost.Message, list []pennypost.Recipient, now time.Time) string {
	if m.SendAt.After(now) {
		for n := range list {
			if !list[n].State.Final() {
				return "Scheduled"
			}
		}
	}
	for n := range list {
		switch {
		case list[n].State == pennypost.Cancelled:
			return "Failed"
		case list[n].State == pennypost.Queued && list[n].Attempts == 0:
			return "Queued"
		}
	}
	return "Sent"
}

// listOutbound is GET /messages/outbound.
func (a *API) listOutbound(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.paging(codeMessageSearch, maxWindow)
	if err != nil {
		return nil, err
	}
	f, err := a.messageFilter(c)
	if err != nil {
		return nil, err
	}
	if _, err := a.conf.Accounts.Stream(ctx, f.Server, f.Stream); err != nil {
		return nil, err // 1226 (contract/messages.md §10)
	}
	page := outboundPage{Messages: []outboundItem{}}
	err = a.conf.Store.Browse(ctx, func(tx *store.Tx) error {
		list, total, err := tx.SearchMessages(ctx, f, count, offset)
		if err != nil {
			return err
		}
		page.TotalCount = total
		for n := range list {
			recipients, err := tx.Recipients(ctx, list[n].ID)
			if err != nil {
				return err
			}
			page.Messages = append(page.Messages, newOutboundItem(&list[n], recipients, a.now()))
		}
		return nil
	})
	return page, err
}

const metadataPrefix = "metadata_"

// messageFilter reads the parameters of contract/messages.md §2. An empty one
// is not given.
func (a *API) messageFilter(c *call) (store.MessageFilter, error) {
	q := c.query
	f := store.MessageFilter{
		Server: c.who.ServerID, Stream: pennypost.StreamID(q["messagestream"]),
		Recipient: addressFilter(q["recipient"]), From: addressFilter(q["fromemail"]),
		Tag: q["tag"], Subject: q["subject"],
	}
	if f.Stream == "" {
		f.Stream = pennypost.StreamOutbound
	}
	switch strings.ToLower(q["status"]) {
	case "":
	case "queued":
		f.Status = "queued"
	case "sent", "processed":
		f.Status = "sent"
	case "scheduled":
		f.Status = "scheduled"
	case "failed":
		f.Status = "failed"
	default:
		return f, pennypost.Refuse(codeMessageSearch, "Parameter 'status' must be one of: queued, sent, processed, scheduled, failed.")
	}
	for name, value := range q {
		key, ok := strings.CutPrefix(name, metadataPrefix)
		if !ok || key == "" {
			continue
		}
		if f.MetadataKey != "" {
			return f, pennypost.Refuse(codeMessageSearch, "Only one metadata field can be searched for in a request.")
		}
		f.MetadataKey, f.MetadataValue = key, value
	}
	return f, a.filterTimes(q, &f)
}

func (a *API) filterTimes(q query, f *store.MessageFilter) error {
	var ok bool
	if s := q["fromdate"]; s != "" {
		if f.After, _, ok = parseQueryTime(s, a.eastern); !ok {
			return pennypost.Refuse(codeMessageSearch, "Parameter 'fromdate' is not a valid date.")
		}
	}
	if s := q["todate"]; s != "" {
		if _, f.Before, ok = parseQueryTime(s, a.eastern); !ok {
			return pennypost.Refuse(codeMessageSearch, "Parameter 'todate' is not a valid date.")
		}
	}
	return nil
}

// addressFilter gives an address the form in which it is stored. What is no
// address finds nothing as it is.
func addressFilter(s string) string {
	m, err := eml.ParseMailbox(s)
	if err != nil {
		return s
	}
	return m.Addr()
}

// message finds the message that the path names, on the caller's server.
func (c *call) message(ctx context.Context, tx *store.Tx) (*pennypost.Message, error) {
	id, err := pennypost.ParseMessageID(c.ids[0])
	if err != nil {
		return nil, errMessageUnknown()
	}
	m, err := tx.Message(ctx, c.who.ServerID, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errMessageUnknown()
	}
	return m, err
}

// source reads the raw source of a message, once there is room for it, its
// copies as text and the answer made of them.
func (a *API) source(ctx context.Context, c *call, m *pennypost.Message) ([]byte, error) {
	release, err := a.bodies.Reserve(ctx, 4*m.Size)
	if err != nil {
		return nil, err
	}
	c.done = release
	var raw []byte
	err = a.conf.Store.View(ctx, func(tx *store.Tx) error {
		raw, err = tx.Content(ctx, m.ID)
		if errors.Is(err, store.ErrNotFound) {
			return errMessageUnknown()
		}
		return err
	})
	return raw, err
}

// outboundDetails is GET /messages/outbound/{id}/details.
func (a *API) outboundDetails(ctx context.Context, c *call) (any, error) {
	var m *pennypost.Message
	d := outboundDetails{MessageEvents: []messageEvent{}}
	err := a.conf.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		if m, err = c.message(ctx, tx); err != nil {
			return err
		}
		recipients, err := tx.Recipients(ctx, m.ID)
		if err != nil {
			return err
		}
		d.outboundItem = newOutboundItem(m, recipients, a.now())
		events, err := tx.Events(ctx, m.ID)
		if err != nil {
			return err
		}
		d.addEvents(events)
		return nil
	})
	if err != nil {
		return nil, err
	}
	raw, err := a.source(ctx, c, m)
	if err != nil {
		return nil, err
	}
	return d, d.addBodies(raw)
}

// addEvents takes the events that the contract knows, oldest first. Clients
// cannot read a Type of our own.
func (d *outboundDetails) addEvents(list []pennypost.Event) {
	for n := range list {
		e := &list[n]
		switch e.Type {
		case pennypost.EventDelivered, pennypost.EventTransient, pennypost.EventBounced, pennypost.EventOpened,
			pennypost.EventClicked, pennypost.EventSubscriptionChanged:
		case pennypost.EventHeld, pennypost.EventReleased, pennypost.EventCancelled, pennypost.EventSuppressed:
			continue
		default:
			continue
		}
		details := make(map[string]string, len(e.Details)+1)
		for k, v := range e.Details {
			details[k] = v
		}
		if e.Bounce != nil {
			details["Summary"] = e.Bounce.Details
			details["BounceID"] = strconv.FormatInt(e.Bounce.ID, 10)
		}
		d.MessageEvents = append(d.MessageEvents, messageEvent{
			Recipient: e.Recipient, Type: e.Type, ReceivedAt: timeText(e.At), Details: details,
		})
	}
}

// addBodies reads the bodies out of the source.
func (d *outboundDetails) addBodies(raw []byte) error {
	p, err := eml.Parse(raw, eml.Limits{})
	if err != nil {
		return fmt.Errorf("read stored message: %w", err)
	}
	d.Body = string(raw)
	if t := p.Root.TextBody(); t != nil {
		d.TextBody = bodyText(t, t == p.Root)
	}
	if h := p.Root.HTMLBody(); h != nil {
		d.HtmlBody = bodyText(h, h == p.Root)
	}
	return nil
}

// maxShownBody is where a body is cut (contract/messages.md §4).
const maxShownBody = 1 << 20

// bodyText gives a body with the line ends that most callers wrote. whole says
// that it is the whole content, to which the end of the last line was added.
func bodyText(p *eml.Part, whole bool) *string {
	s := strings.ReplaceAll(p.Text(), "\r\n", "\n")
	if whole {
		s = strings.TrimSuffix(s, "\n")
	}
	s = truncated(s)
	return &s
}

func truncated(s string) string {
	if len(s) <= maxShownBody {
		return s
	}
	n := maxShownBody
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "[Message Truncated]"
}

// outboundDump is GET /messages/outbound/{id}/dump.
func (a *API) outboundDump(ctx context.Context, c *call) (any, error) {
	var m *pennypost.Message
	err := a.conf.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		m, err = c.message(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := a.source(ctx, c, m)
	if err != nil {
		return nil, err
	}
	return struct{ Body string }{string(raw)}, nil
}
