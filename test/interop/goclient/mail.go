package main

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/mrz1836/postmark"
)

// mail sends, alone and in a batch, and looks at what became of it.
func (s *session) mail(ctx context.Context) error {
	to := func(name string) string { return name + "@" + s.Customers }
	one, err := s.client.SendEmail(ctx, postmark.Email{
		From: s.From, To: "Ann <" + to("go") + ">", Cc: to("go-cc"), Bcc: to("go-bcc"), ReplyTo: "help@shop.test",
		Subject: "from Go", Tag: "go", HTMLBody: `<p>Hello, <img src="cid:dot"></p>`, TextBody: "Hello from Go",
		Headers:    []postmark.Header{{Name: "X-Order", Value: "9"}},
		TrackOpens: true, TrackLinks: "HtmlAndText",
		Attachments: []postmark.Attachment{
			{Name: "a.txt", Content: base64.StdEncoding.EncodeToString([]byte("hi")), ContentType: "text/plain"},
			{Name: "dot.gif", Content: "R0lGODlhAQABAAAAACw=", ContentType: "image/gif", ContentID: "cid:dot"},
		},
		Metadata: map[string]string{"order": "9"}, MessageStream: "outbound",
	})
	if _, err := keep(s, "one", one, err); err != nil {
		return err
	}
	batch, err := s.client.SendEmailBatch(ctx, []postmark.Email{
		{From: s.From, To: to("go-batch"), Subject: "from Go batch", TextBody: "one"},
		{From: s.From, To: "nobody", Subject: "bad", TextBody: "two"},
	})
	if _, err := keep(s, "batch", batch, err); err != nil {
		return err
	}
	tested, err := s.dial("POSTMARK_API_TEST", "").SendEmail(ctx, postmark.Email{From: "x@anywhere.test", To: to("go-never"), Subject: "x", TextBody: "x"})
	if _, err := keep(s, "tested", tested, err); err != nil {
		return err
	}

	_, err = s.client.SendEmail(ctx, postmark.Email{From: "x@elsewhere.test", To: to("go"), Subject: "x", TextBody: "x"})
	s.failed("foreign sender", err)
	_, err = s.client.SendEmail(ctx, postmark.Email{From: s.From, To: to("go"), Subject: "x"})
	s.failed("no body", err)
	_, err = s.client.SendEmail(ctx, postmark.Email{From: s.From, To: to("go"), Subject: "x", TextBody: "x", MessageStream: "unknown-stream"})
	s.failed("no stream", err)
	_, err = s.dial("0b5c9f62-3a6f-4a2c-9a0e-6f5a3a1c7d10", "").SendEmail(ctx, postmark.Email{From: s.From, To: to("go"), Subject: "x", TextBody: "x"})
	s.failed("wrong token", err)

	details, err := s.delivered(ctx, one.MessageID)
	if _, err := keep(s, "details", details, err); err != nil {
		return err
	}
	list, total, err := s.client.GetOutboundMessages(ctx, 10, 0, map[string]any{"tag": "go", "recipient": to("go"), "metadata_order": "9"})
	if err := keepPage(s, "list", list, total, err); err != nil {
		return err
	}
	dump, err := s.client.GetOutboundMessageDump(ctx, one.MessageID)
	_, err = keep(s, "dump", dump, err)
	return err
}

// delivered waits until all three recipients have the message.
func (s *session) delivered(ctx context.Context, id string) (postmark.OutboundMessage, error) {
	for {
		m, err := s.client.GetOutboundMessage(ctx, id)
		if err != nil || len(m.MessageEvents) >= 3 {
			return m, err
		}
		select {
		case <-ctx.Done():
			return m, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
