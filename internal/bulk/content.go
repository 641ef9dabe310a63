package bulk

import (
	"encoding/json"
	"strings"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/submit"
)

// Shared is what all messages of a request have. It is stored as JSON.
type Shared struct {
	From, ReplyTo string
	Tag           string
	TrackOpens    *bool
	TrackLinks    string
	Headers       []submit.Pair
	Metadata      []submit.Pair
	Attachments   []submit.Attachment
	Stream        pennypost.StreamID
	Source        *submit.Source
	InlineCSS     bool
}

// Message is what one message of a request has of its own. It is stored as JSON.
type Message struct {
	To       string          `json:"t"`
	Cc       string          `json:"c,omitempty"`
	Bcc      string          `json:"b,omitempty"`
	Model    json.RawMessage `json:"m,omitempty"`
	Metadata []submit.Pair   `json:"d,omitempty"`
	Headers  []submit.Pair   `json:"h,omitempty"`
}

// submission is the message that is made of both. Entries of the message win
// (contract/sending.md §13).
func (s *Shared) submission(m *Message) *submit.Submission {
	sub := &submit.Submission{
		From: s.From, ReplyTo: s.ReplyTo, Tag: s.Tag, TrackOpens: s.TrackOpens, TrackLinks: s.TrackLinks,
		Attachments: s.Attachments, Stream: string(s.Stream), Metadata: merged(s.Metadata, m.Metadata),
		To: m.To, Cc: m.Cc, Bcc: m.Bcc,
	}
	for _, h := range merged(s.Headers, m.Headers) {
		sub.Headers = append(sub.Headers, eml.Field{Name: h.Key, Value: h.Value})
	}
	return sub
}

// merged gives what is shared, without the names that a message has itself, and
// the message's own.
func merged(shared, own []submit.Pair) []submit.Pair {
	switch {
	case len(own) == 0:
		return shared
	case len(shared) == 0:
		return own
	}
	has := make(map[string]bool, len(own))
	for _, p := range own {
		has[strings.ToLower(p.Key)] = true
	}
	list := make([]submit.Pair, 0, len(shared)+len(own))
	for _, p := range shared {
		if !has[strings.ToLower(p.Key)] {
			list = append(list, p)
		}
	}
	return append(list, own...)
}
