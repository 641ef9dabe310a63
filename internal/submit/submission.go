package submit

import (
	"time"

	"pennypost"
	"pennypost/internal/eml"
)

// Submission is a message as the HTTP API names its fields
// (contract/sending.md §1). Nothing in it has been checked yet.
type Submission struct {
	From, To, Cc, Bcc, ReplyTo string
	Subject                    string
	TextBody, HTMLBody         string
	Tag                        string
	Headers                    []eml.Field
	Attachments                []Attachment
	Metadata                   []Pair    // in the order given, so that keys equal but for case are seen
	TrackOpens                 *bool     // nil: the server's setting
	TrackLinks                 string    // "": the server's setting
	Stream                     string    // "": outbound, or the token's own
	SendAt                     time.Time // not before; zero or past: at once
	DeliverBy                  time.Time
	Template                   *Template // in place of Subject, TextBody and HTMLBody; nil: there is none
	// Item is its place in the request, from 1; AcceptBatch takes that in its
	// list when it is 0. A repeated request finds its messages by it.
	Item int
	// Answer gives the body of the answer to a request with a key that is this
	// submission alone, so that it is kept in the accepting transaction. Nil:
	// whoever answers keeps it.
	Answer func(*Accepted) ([]byte, error)
}

// Pair is one entry of the metadata.
type Pair struct{ Key, Value string }

// Attachment is one file of a Submission, its content decoded.
type Attachment struct {
	Name        string
	ContentType string // may carry parameters
	ContentID   string // with or without "cid:"
	Content     []byte
}

// Raw is a message as SMTP hands it over.
type Raw struct {
	From       string        // envelope sender, for the record only
	Recipients []eml.Mailbox // accepted at RCPT, at most 50
	Surplus    []eml.Mailbox // refused at RCPT because there were too many
	Data       []byte        // as received, dots unstuffed, CRLF or bare LF; Accept keeps no reference
	UTF8       bool          // MAIL had SMTPUTF8
	Helo       string
	TLS        bool
}

// System is a message of our own, such as the confirmation of a sender
// signature. It comes from postmaster@ our bounce domain, belongs to no server
// and is signed with the instance's key.
type System struct {
	FromName   string // display name; "" is none
	To         eml.Mailbox
	Subject    string
	Text, HTML string
}

// Accepted is what became of a submission that was stored.
type Accepted struct {
	ID          pennypost.MessageID
	SubmittedAt time.Time
	Inactive    []pennypost.Address // suppressed recipients, lower case; the others got their jobs
	Test        bool                // POSTMARK_API_TEST: checked, not stored
	// Unrendered says that its template could not be rendered: nothing is sent, and
	// there is a bounce of type TemplateRenderingFailed for each recipient.
	Unrendered bool
}

// Result is the outcome of one item of a batch: either Accepted or Err is set.
type Result struct {
	Accepted *Accepted
	Err      error
}
