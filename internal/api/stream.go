package api

import (
	"context"

	"pennypost"
	"pennypost/internal/account"
)

// wireStream is the stream object of contract/streams.md §2.
type wireStream struct {
	ID                pennypost.StreamID
	ServerID          pennypost.ServerID
	Name              string
	Description       *string
	MessageStreamType pennypost.StreamType
	CreatedAt         string
	UpdatedAt         *string
	ArchivedAt        *string
	ExpectedPurgeDate *string

	SubscriptionManagementConfiguration struct {
		UnsubscribeHandlingType pennypost.Unsubscribe
	}
}

func newWireStream(s *pennypost.Stream) wireStream {
	w := wireStream{
		ID: s.ID, ServerID: s.ServerID, Name: s.Name, MessageStreamType: s.Type,
		CreatedAt: timeText(s.CreatedAt), UpdatedAt: timeOrNull(s.UpdatedAt), ArchivedAt: timeOrNull(s.ArchivedAt),
	}
	if s.Description != "" {
		w.Description = &s.Description
	}
	if !s.ArchivedAt.IsZero() {
		w.ExpectedPurgeDate = timeOrNull(s.ArchivedAt.Add(pennypost.ArchivedFor))
	}
	w.SubscriptionManagementConfiguration.UnsubscribeHandlingType = s.Unsubscribe
	return w
}

type streamList struct {
	MessageStreams []wireStream
	TotalCount     int
}

// listStreams is GET /message-streams.
func (a *API) listStreams(ctx context.Context, c *call) (any, error) {
	streams, err := a.conf.Accounts.Streams(ctx, c.who.ServerID, account.StreamFilter{
		Type: c.query["messagestreamtype"], Archived: c.query.flag("includearchivedstreams"),
	})
	if err != nil {
		return nil, err
	}
	list := streamList{MessageStreams: make([]wireStream, len(streams)), TotalCount: len(streams)}
	for n := range streams {
		list.MessageStreams[n] = newWireStream(&streams[n])
	}
	return list, nil
}

// getStream is GET /message-streams/{id}; an archived one answers too.
func (a *API) getStream(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.Stream(ctx, c.who.ServerID, pennypost.StreamID(c.ids[0]))
	if err != nil {
		return nil, err
	}
	return newWireStream(s), nil
}
