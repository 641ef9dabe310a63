package pennypost

import "time"

// TrackLinks says in which parts links are tracked (contract/tracking.md).
type TrackLinks string

// The values of the contract.
const (
	TrackNone        TrackLinks = "None"
	TrackHTMLAndText TrackLinks = "HtmlAndText"
	TrackHTMLOnly    TrackLinks = "HtmlOnly"
	TrackTextOnly    TrackLinks = "TextOnly"
)

// Source says which edge a message came through.
type Source string

// The edges.
const (
	SourceHTTP   Source = "http"
	SourceSMTP   Source = "smtp"
	SourceSystem Source = "system" // our own mail: confirmations, notices
)

// Message is an accepted message without its content.
type Message struct {
	ID        MessageID
	AccountID AccountID
	ServerID  ServerID
	Stream    StreamID
	Broadcast bool // the stream is of type Broadcasts: it goes behind transactional mail
	Sandbox   bool // the server is a sandbox: full processing, nothing leaves
	Source    Source

	From          Mailbox
	To, Cc, Bcc   []Mailbox // as given; Recipients decide delivery
	ReplyTo       []Mailbox
	Subject       string
	Tag           string
	Metadata      map[string]string
	Attachments   []string // file names
	TrackOpens    bool
	TrackLinks    TrackLinks
	Links         int    // unique links that are tracked, in the copy of each recipient
	HeaderID      string // Message-ID field of the mail, with angle brackets
	SignDomain    string // domain whose DKIM key signs; "" when only ours does
	ReturnDomain  string // domain of the Return-Path
	ReceivedAt    time.Time
	SendAt        time.Time // not before; zero: at once
	DeliverBy     time.Time // zero: the stream's lifetime decides
	Size          int64     // octets of the rendered content
	NeedsSMTPUTF8 bool      // an address has a local part outside ASCII
	Personal      bool      // each recipient gets a copy of its own: the content has tokens (package track)
	Recipients    int       // number of recipients, suppressed ones included
}

// Begins is when delivery of the message begins, from which its lifetime
// counts.
func (m *Message) Begins() time.Time {
	if m.SendAt.IsZero() {
		return m.ReceivedAt
	}
	return m.SendAt
}

// Recipient is one envelope recipient of a message.
type Recipient struct {
	MessageID MessageID
	N         int // position in the message, from 0
	Address   Address
	State     RecipientState
	Attempts  int       // attempts that were begun
	NextAt    time.Time // next attempt; zero when none is planned
	Rule      string    // the rule that decided the latest outcome
	Reply     string    // the latest reply or error, for people
	ChangedAt time.Time
	// HeldFor is how long the recipient was held; held time does not count
	// towards the lifetime.
	HeldFor time.Duration
}

// Attempt is one try to hand one recipient's copy to a mail server. It is kept
// so that each delivery can be explained.
type Attempt struct {
	MessageID MessageID
	N         int // recipient
	No        int // from 1
	StartedAt time.Time
	Outcome   Outcome
	Phase     string // the phase that decided: dns, connect, banner, ehlo, starttls, mail, rcpt, data, body, dot
	Host      string // MX host name
	IP        string // address connected to
	Code      int    // SMTP reply code; 0 when there was no reply
	Enhanced  string // enhanced status code, such as 5.1.1
	Reply     string // text of the reply or of the error
	Rule      string // the rule of bounce.Classify that decided
	TLS       string // version and cipher, "" when in the clear
	TLSNote   string // whether the certificate verified, and why not; why TLS was not used
	Ambiguous bool   // the final dot may have arrived but no reply came
	Reused    bool   // on a connection kept from an earlier message
	Took      time.Duration
	Phases    []PhaseTime // duration per phase, in order
	// Conversation is the dialogue without the message, one line each; cut at
	// a bound.
	Conversation string
}

// PhaseTime is how long one phase of an attempt took.
type PhaseTime struct {
	Phase string
	Took  time.Duration
}

// EventType is what happened.
type EventType string

// The events (contract/messages.md §4).
const (
	EventDelivered           EventType = "Delivered"
	EventTransient           EventType = "Transient"
	EventBounced             EventType = "Bounced"
	EventOpened              EventType = "Opened"
	EventClicked             EventType = "LinkClicked"
	EventSubscriptionChanged EventType = "SubscriptionChanged"
	EventHeld                EventType = "Held"
	EventReleased            EventType = "Released"
	EventCancelled           EventType = "Cancelled"
	EventSuppressed          EventType = "Suppressed" // when a scheduled message was due
)

// Event is one thing that happened to a recipient, or to a submission that was
// refused (SMTPApiError, which has a Bounce and no stored message).
type Event struct {
	ID        int64 // grows with time
	At        time.Time
	AccountID AccountID
	ServerID  ServerID
	Stream    StreamID
	MessageID MessageID
	N         int // recipient
	Recipient Address
	Type      EventType
	Tag       string
	// Details are the strings that the contract shows for the event
	// (contract/messages.md §4), such as DeliveryMessage.
	Details map[string]string
	// Bounce is set for EventBounced.
	Bounce *Bounce
}

// Bounce is the record of contract/bounces.md §4.
type Bounce struct {
	ID        int64 // below 2^53, so that every client can hold it
	Type      string
	TypeCode  int
	AccountID AccountID
	ServerID  ServerID
	Stream    StreamID
	MessageID MessageID
	N         int // recipient; -1 when the message was never stored
	Recipient Address
	From      string
	Subject   string
	Tag       string
	Details   string // such as "smtp;550 5.1.1 user unknown"
	Rule      string // the rule that decided
	Dump      string // raw conversation or message, bounded
	Inactive  bool   // the address was suppressed because of it
	Simulated bool   // a test address made it: it says nothing of the sender's mail
	At        time.Time
}

// Suppression is an address that a stream does not send to.
type Suppression struct {
	ServerID ServerID
	Stream   StreamID
	Address  Address
	Reason   string // HardBounce, SpamComplaint, ManualSuppression
	Origin   string // Recipient, Customer, Admin
	At       time.Time
}
