package api

import (
	"context"

	"pennypost"
	"pennypost/internal/account"
)

// wireStreamInput is the body of POST and PATCH. What else a client sends along
// is ignored: Java's sends the whole object back (contract/streams.md §1).
type wireStreamInput struct {
	ID, Name, Description, MessageStreamType *string
	SubscriptionManagementConfiguration      *struct{ UnsubscribeHandlingType *string }
}

func (c *call) stream() pennypost.StreamID { return pennypost.StreamID(c.ids[0]) }

func (w *wireStreamInput) input() *account.StreamInput {
	in := &account.StreamInput{ID: w.ID, Name: w.Name, Description: w.Description, Type: w.MessageStreamType}
	if w.SubscriptionManagementConfiguration != nil {
		in.Unsubscribe = w.SubscriptionManagementConfiguration.UnsubscribeHandlingType
	}
	return in
}

// createStream is POST /message-streams.
func (a *API) createStream(ctx context.Context, c *call) (any, error) {
	var w wireStreamInput
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	return streamAnswer(a.conf.Accounts.CreateStream(ctx, c.who.AccountID, c.who.ServerID, w.input()))
}

func streamAnswer(s *pennypost.Stream, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return newWireStream(s), nil
}

// editStream is PATCH /message-streams/{id}. Fields of the object that cannot
// be changed are not even read.
func (a *API) editStream(ctx context.Context, c *call) (any, error) {
	var w struct {
		Name, Description                   *string
		SubscriptionManagementConfiguration *struct{ UnsubscribeHandlingType *string }
	}
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	in := (&wireStreamInput{Name: w.Name, Description: w.Description, SubscriptionManagementConfiguration: w.SubscriptionManagementConfiguration}).input()
	return streamAnswer(a.conf.Accounts.EditStream(ctx, c.who.AccountID, c.who.ServerID, c.stream(), in))
}

// archivedStream is the answer to archiving (contract/streams.md §2).
type archivedStream struct {
	ID                pennypost.StreamID
	ServerID          pennypost.ServerID
	ExpectedPurgeDate string
}

// archiveStream is POST /message-streams/{id}/archive.
func (a *API) archiveStream(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.ArchiveStream(ctx, c.who.ServerID, c.stream())
	if err != nil {
		return nil, err
	}
	return archivedStream{ID: s.ID, ServerID: s.ServerID, ExpectedPurgeDate: timeText(s.ArchivedAt.Add(pennypost.ArchivedFor))}, nil
}

// unarchiveStream is POST /message-streams/{id}/unarchive.
func (a *API) unarchiveStream(ctx context.Context, c *call) (any, error) {
	return streamAnswer(a.conf.Accounts.UnarchiveStream(ctx, c.who.ServerID, c.stream()))
}
