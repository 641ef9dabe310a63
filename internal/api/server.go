package api

import (
	"context"
	"fmt"
	"strings"

	"pennypost"
	"pennypost/internal/account"
)

// Codes of the lists of servers, and of domains and signatures
// (contract/common.md §6.4).
const (
	codeServerPaging pennypost.Code = 600
	codeSenderPaging pennypost.Code = 500
)

// wireServer is the server object of contract/servers.md §2. The last three
// fields are ours.
type wireServer struct {
	ID                         pennypost.ServerID
	Name                       string
	ApiTokens                  []string
	Color                      string
	SmtpApiActivated           bool
	RawEmailEnabled            bool
	DeliveryType               string
	ServerLink                 string
	InboundAddress             string
	InboundHookUrl             string
	BounceHookUrl              string
	OpenHookUrl                string
	DeliveryHookUrl            string
	ClickHookUrl               string
	PostFirstOpenOnly          bool
	InboundDomain              string
	InboundHash                string
	InboundSpamThreshold       int
	TrackOpens                 bool
	TrackLinks                 pennypost.TrackLinks
	IncludeBounceContentInHook bool
	EnableSmtpApiErrorHooks    bool
	SmtpApiTokenAuth           bool
	SmtpRejection              pennypost.SMTPRejection
	AllowedIps                 []string
}

func (a *API) newWireServer(s *account.Server) wireServer {
	w := wireServer{
		ID: s.ID, Name: s.Name, ApiTokens: make([]string, len(s.Tokens)), Color: s.Color,
		SmtpApiActivated: s.SMTPActivated, RawEmailEnabled: s.RawEmail, DeliveryType: deliveryType(s.Sandbox),
		ServerLink:     fmt.Sprintf("%s/servers/%d/streams", strings.TrimSuffix(a.conf.ConsoleURL, "/"), s.ID),
		InboundAddress: s.InboundHash + "@" + a.conf.InboundDomain,
		InboundHookUrl: s.InboundHookURL, BounceHookUrl: s.BounceHookURL, OpenHookUrl: s.OpenHookURL,
		DeliveryHookUrl: s.DeliveryHookURL, ClickHookUrl: s.ClickHookURL, PostFirstOpenOnly: s.PostFirstOpenOnly,
		InboundDomain: s.InboundDomain, InboundHash: s.InboundHash, InboundSpamThreshold: s.SpamThreshold,
		TrackOpens: s.TrackOpens, TrackLinks: s.TrackLinks, IncludeBounceContentInHook: s.BounceContent,
		EnableSmtpApiErrorHooks: s.SMTPErrorHooks,
		SmtpApiTokenAuth:        s.SMTPAPITokenAuth, SmtpRejection: s.SMTPRejection,
		AllowedIps: account.AddressTexts(s.AllowedIPs),
	}
	for n, token := range s.Tokens {
		w.ApiTokens[n] = token.Reveal()
	}
	return w
}

func deliveryType(sandbox bool) string {
	if sandbox {
		return "Sandbox"
	}
	return "Live"
}

// wireServerInput is the body of create and edit.
type wireServerInput struct {
	Name, Color, DeliveryType  *string
	SmtpApiActivated           *bool
	RawEmailEnabled            *bool
	InboundHookUrl             *string
	BounceHookUrl              *string
	OpenHookUrl                *string
	DeliveryHookUrl            *string
	ClickHookUrl               *string
	PostFirstOpenOnly          *bool
	InboundDomain              *string
	InboundSpamThreshold       *int64
	TrackOpens                 *bool
	TrackLinks                 *string
	IncludeBounceContentInHook *bool
	EnableSmtpApiErrorHooks    *bool
	SmtpApiTokenAuth           *bool
	SmtpRejection              *string
	AllowedIps                 wireAddresses
}

// serverInput is nil when there is no body.
func (c *call) serverInput() (*account.ServerInput, error) {
	if isEmpty(c.body) {
		return nil, nil //nolint:nilnil // nil is how account is told that there was no body
	}
	var w wireServerInput
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	return &account.ServerInput{
		Name: w.Name, Color: w.Color, DeliveryType: w.DeliveryType,
		SMTPActivated: w.SmtpApiActivated, SMTPAPITokenAuth: w.SmtpApiTokenAuth, SMTPRejection: w.SmtpRejection,
		RawEmail: w.RawEmailEnabled, InboundDomain: w.InboundDomain, InboundHookURL: w.InboundHookUrl,
		BounceHookURL: w.BounceHookUrl, OpenHookURL: w.OpenHookUrl, DeliveryHookURL: w.DeliveryHookUrl,
		ClickHookURL: w.ClickHookUrl, SpamThreshold: w.InboundSpamThreshold, PostFirstOpenOnly: w.PostFirstOpenOnly,
		TrackOpens: w.TrackOpens, TrackLinks: w.TrackLinks, BounceContent: w.IncludeBounceContentInHook,
		SMTPErrorHooks: w.EnableSmtpApiErrorHooks, AllowedIPs: w.AllowedIps.list,
	}, nil
}

// done is the answer to calls that give nothing back.
type done struct {
	ErrorCode pennypost.Code
	Message   string
}

func (a *API) serverAnswer(s *account.Server, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.newWireServer(s), nil
}

// getOwnServer is GET /server: the token says which.
func (a *API) getOwnServer(ctx context.Context, c *call) (any, error) {
	v, err := a.serverAnswer(a.conf.Accounts.Server(ctx, c.who.AccountID, c.who.ServerID))
	return withoutSecrets(c, v), err
}

// editOwnServer is PUT /server.
func (a *API) editOwnServer(ctx context.Context, c *call) (any, error) {
	return a.editServerOf(ctx, c, c.who.ServerID)
}

// getServer is GET /servers/{id}.
func (a *API) getServer(ctx context.Context, c *call) (any, error) {
	return a.serverAnswer(a.conf.Accounts.Server(ctx, c.who.AccountID, pennypost.ServerID(c.id())))
}

// editServer is PUT /servers/{id}.
func (a *API) editServer(ctx context.Context, c *call) (any, error) {
	return a.editServerOf(ctx, c, pennypost.ServerID(c.id()))
}

func (a *API) editServerOf(ctx context.Context, c *call, id pennypost.ServerID) (any, error) {
	in, err := c.serverInput()
	if err != nil {
		return nil, err
	}
	return a.serverAnswer(a.conf.Accounts.EditServer(ctx, c.who.AccountID, id, in))
}

// createServer is POST /servers.
func (a *API) createServer(ctx context.Context, c *call) (any, error) {
	in, err := c.serverInput()
	if err != nil {
		return nil, err
	}
	return a.serverAnswer(a.conf.Accounts.CreateServer(ctx, c.who.AccountID, in))
}

type serverList struct {
	TotalCount int
	Servers    []wireServer
}

// listServers is GET /servers.
func (a *API) listServers(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.paging(codeServerPaging, 0)
	if err != nil {
		return nil, err
	}
	servers, total, err := a.conf.Accounts.Servers(ctx, c.who.AccountID, c.query["name"], count, offset)
	if err != nil {
		return nil, err
	}
	list := serverList{TotalCount: total, Servers: make([]wireServer, len(servers))}
	for n := range servers {
		list.Servers[n] = a.newWireServer(&servers[n])
	}
	return list, nil
}

// deleteServer is DELETE /servers/{id}.
func (a *API) deleteServer(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.DeleteServer(ctx, c.who.AccountID, pennypost.ServerID(c.id()))
	if err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("Server %s removed.", s.Name)}, nil
}
