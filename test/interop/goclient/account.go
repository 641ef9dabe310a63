package main

import (
	"context"

	"github.com/mrz1836/postmark"
)

// account makes and removes a server.
func (s *session) account(ctx context.Context) error {
	made, err := s.client.CreateServer(ctx, postmark.ServerCreateRequest{
		Name: "Go", Color: "Red", SMTPAPIActivated: true, DeliveryType: "Sandbox", TrackOpens: true, TrackLinks: "HtmlOnly", InboundSpamThreshold: 5,
	})
	if _, err := keep(s, "server made", made, err); err != nil {
		return err
	}
	edited, err := s.client.EditServer(ctx, made.ID, postmark.ServerEditRequest{
		Name: "Go 2", Color: "Blue", SMTPAPIActivated: true, TrackLinks: "None", InboundSpamThreshold: 5,
	})
	if _, err := keep(s, "server edited", edited, err); err != nil {
		return err
	}
	read, err := s.client.GetServer(ctx, made.ID)
	if _, err := keep(s, "server read", read, err); err != nil {
		return err
	}
	list, err := s.client.GetServers(ctx, 10, 0, "Go 2")
	if _, err := keep(s, "servers", list, err); err != nil {
		return err
	}
	// The token works at once.
	own, err := s.dial(made.APITokens[0], "").GetCurrentServer(ctx)
	if _, err := keep(s, "server by its token", own, err); err != nil {
		return err
	}
	if err := s.done("server removed", s.client.DeleteServer(ctx, made.ID)); err != nil {
		return err
	}
	_, err = s.client.GetServer(ctx, made.ID)
	s.failed("no server", err)
	return nil
}

// server reads the server of the token. To edit it, the client sends no body.
func (s *session) server(ctx context.Context) error {
	own, err := s.client.GetCurrentServer(ctx)
	if _, err := keep(s, "server", own, err); err != nil {
		return err
	}
	_, err = s.client.EditCurrentServer(ctx, postmark.Server{Name: "Lost"})
	s.failed("server edited empty", err)
	return nil
}
