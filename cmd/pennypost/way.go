package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// way is what GET /messages/outbound/{id}/explain says, as far as we show it.
type way struct {
	MessageID        string
	From             string
	Subject          string
	Source           string
	AcceptedAt       string
	Size             int64
	SignedBy         string
	ReturnPathDomain string
	Recipients       []wayRecipient
}

type wayRecipient struct {
	Recipient string
	State     string
	Summary   string
	Attempts  []wayAttempt
}

type wayAttempt struct {
	Number     int
	StartedAt  string
	DurationMs float64
	Outcome    string
	Phase      string
	Host       string
	IP         string
	TLS        string
	Reply      string
	Rule       string
	Code       int
}

// final tells whether nothing more will happen to a recipient.
func (r *wayRecipient) final() bool {
	switch strings.ToLower(r.State) {
	case "queued", "deferred", "held":
		return false
	}
	return true
}

func (w *way) final() bool {
	for i := range w.Recipients {
		if !w.Recipients[i].final() {
			return false
		}
	}
	return len(w.Recipients) > 0
}

// wayOf asks for the way of a message.
func wayOf(ctx context.Context, c *client, id string) (*way, error) {
	w := &way{}
	if err := c.call(ctx, "GET", "/messages/outbound/"+id+"/explain", nil, w); err != nil {
		return nil, fmt.Errorf("way of %s: %w", id, err)
	}
	return w, nil
}

// print shows a way for people to read.
func (w *way) print(out io.Writer) {
	_, _ = fmt.Fprintf(out, "%s  %q  from %s by %s, accepted %s, %d octets, signed by %s\n",
		w.MessageID, w.Subject, w.From, w.Source, clock(w.AcceptedAt), w.Size, w.SignedBy)
	for _, r := range w.Recipients {
		_, _ = fmt.Fprintf(out, "    %s: %s\n", r.Recipient, strings.ToLower(r.State))
		for _, a := range r.Attempts {
			via := ""
			if a.Host != "" {
				via = fmt.Sprintf(" at %s (%s)", a.Host, a.IP)
			}
			secure := ", in the clear"
			if a.TLS != "" {
				secure = ", " + a.TLS
			}
			_, _ = fmt.Fprintf(out, "        %s%s%s, %.1f ms: %s %s\n",
				clock(a.StartedAt), via, secure, a.DurationMs, strings.ToLower(a.Outcome), strings.TrimSpace(fmt.Sprintf("(%s: %s)", a.Phase, a.Reply)))
		}
	}
}

// clock is the time of day of a wire time.
func clock(at string) string {
	if _, time, ok := strings.Cut(at, "T"); ok {
		time = strings.TrimSuffix(time, "Z")
		return time[:min(len(time), 12)]
	}
	return at
}
