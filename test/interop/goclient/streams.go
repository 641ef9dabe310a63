package main

import (
	"context"

	"github.com/mrz1836/postmark"
)

func (s *session) streams(ctx context.Context) error {
	const id = "go-news"
	text, other := "x", "y"
	created, err := s.client.CreateMessageStream(ctx, postmark.CreateMessageStreamRequest{
		ID: id, Name: "From Go", Description: &text, MessageStreamType: postmark.BroadcastMessageStreamType,
		SubscriptionManagementConfiguration: postmark.MessageStreamSubscriptionManagementConfiguration{UnsubscribeHandlingType: postmark.PostmarkUnsubscribeHandlingType},
	})
	if _, err := keep(s, "stream created", created, err); err != nil {
		return err
	}
	edited, err := s.client.EditMessageStream(ctx, id, postmark.EditMessageStreamRequest{
		Name: "Edited", Description: &other,
		SubscriptionManagementConfiguration: postmark.MessageStreamSubscriptionManagementConfiguration{UnsubscribeHandlingType: postmark.PostmarkUnsubscribeHandlingType},
	})
	if _, err := keep(s, "stream edited", edited, err); err != nil {
		return err
	}
	archived, err := s.client.ArchiveMessageStream(ctx, id)
	if _, err := keep(s, "stream archived", archived, err); err != nil {
		return err
	}
	read, err := s.client.GetMessageStream(ctx, id)
	if _, err := keep(s, "stream read", read, err); err != nil {
		return err
	}
	for name, archived := range map[string]bool{"broadcasts": false, "broadcasts with archived": true} {
		list, err := s.client.ListMessageStreams(ctx, "Broadcasts", archived)
		if err := keepPage(s, name, list, int64(len(list)), err); err != nil {
			return err
		}
	}
	all, err := s.client.ListMessageStreams(ctx, "", true)
	if err := keepPage(s, "all streams", all, int64(len(all)), err); err != nil {
		return err
	}
	unarchived, err := s.client.UnarchiveMessageStream(ctx, id)
	if _, err := keep(s, "stream unarchived", unarchived, err); err != nil {
		return err
	}
	_, err = s.client.GetMessageStream(ctx, "nope")
	s.failed("unknown stream", err)
	return nil
}

// suppressions takes an address out of the mail, and lets it in again.
func (s *session) suppressions(ctx context.Context) error {
	left := "go-left@" + s.Customers
	suppressed, err := s.client.CreateSuppressions(ctx, "outbound", []postmark.Suppression{{EmailAddress: "Go-Left@" + s.Customers}, {EmailAddress: "nonsense"}})
	if _, err := keep(s, "suppressed", suppressed, err); err != nil {
		return err
	}
	dump, err := s.client.GetSuppressions(ctx, "outbound", map[string]any{
		"emailaddress": left, "suppressionreason": postmark.ManualSuppressionReason, "origin": postmark.CustomerOrigin,
	})
	if _, err := keep(s, "suppressions", dump, err); err != nil {
		return err
	}
	_, err = s.client.SendEmail(ctx, postmark.Email{From: s.From, To: left, Subject: "x", TextBody: "x"})
	s.failed("inactive", err)
	partly, err := s.client.SendEmail(ctx, postmark.Email{From: s.From, To: left + ", go-part@" + s.Customers, Subject: "from Go partly", TextBody: "x"})
	if _, err := keep(s, "partly", partly, err); err != nil {
		return err
	}
	reactivated, err := s.client.DeleteSuppressions(ctx, "outbound", []postmark.Suppression{{EmailAddress: left}})
	if _, err := keep(s, "reactivated", reactivated, err); err != nil {
		return err
	}
	none, err := s.client.GetSuppressions(ctx, "outbound", nil)
	if err := keepPage(s, "no suppressions", none, int64(len(none)), err); err != nil {
		return err
	}
	_, err = s.client.GetSuppressions(ctx, "nope", nil)
	s.failed("suppressions of no stream", err)
	return nil
}
