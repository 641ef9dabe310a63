package account

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
)

// Server is a server with its API tokens in the clear, which the contract shows
// again and again.
type Server struct {
	pennypost.Server
	Tokens []auth.Secret
}

// retryFor is how long new streams try to deliver (design: 72 h).
const retryFor = 72 * time.Hour

// CreateServer makes a server with its three streams and its first token
// (contract/servers.md §1, streams.md §3).
func (a *Accounts) CreateServer(ctx context.Context, account pennypost.AccountID, in *ServerInput) (*Server, error) {
	if in == nil {
		return nil, errNoServerData()
	}
	s := pennypost.Server{
		AccountID: account, Color: defaultColor, SMTPActivated: true, SMTPRejection: pennypost.RejectImmediate,
		TrackLinks: pennypost.TrackNone, InboundHash: newInboundHash(),
	}
	if in.Name == nil {
		return nil, errServerName()
	}
	if err := a.applyServer(&s, in, true); err != nil {
		return nil, err
	}
	if err := a.checkInboundMX(ctx, s.InboundDomain); err != nil {
		return nil, err
	}
	token := auth.NewAPIToken()
	err := a.update(ctx, "create server", func(tx *store.Tx) error {
		s.ID = 0 // of a try that was rolled back
		if _, err := tx.Account(ctx, account); err != nil {
			return ifMissing(err, errNoAccount())
		}
		if err := checkServerTaken(ctx, tx, &s); err != nil {
			return err
		}
		if err := tx.AddServer(ctx, &s); err != nil {
			return serverConflict(err)
		}
		if err := addStreams(ctx, tx, s.ID); err != nil {
			return err
		}
		return a.addToken(ctx, tx, &pennypost.APIToken{AccountID: account, ServerID: s.ID}, token)
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "server created", "account", int64(account), "server", int64(s.ID))
	return &Server{Server: s, Tokens: []auth.Secret{token}}, nil
}

func errNoServerData() *pennypost.Error {
	return pennypost.Refuse(codeNoServerData, "No server data received.")
}

// newInboundHash is the local part of the inbound address: 32 hex digits that
// nobody guesses.
func newInboundHash() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func addStreams(ctx context.Context, tx *store.Tx, server pennypost.ServerID) error {
	for _, s := range []pennypost.Stream{
		{
			ID: pennypost.StreamOutbound, Type: pennypost.StreamTransactional,
			Name: "Default Transactional Stream", Unsubscribe: pennypost.UnsubscribeNone,
		},
		{
			ID: pennypost.StreamInbound, Type: pennypost.StreamInboundType,
			Name: "Default Inbound Stream", Unsubscribe: pennypost.UnsubscribeNone,
		},
		{
			ID: pennypost.StreamBroadcast, Type: pennypost.StreamBroadcasts,
			Name: "Default Broadcast Stream", Unsubscribe: pennypost.UnsubscribePostmark,
		},
	} {
		s.ServerID, s.RetryFor = server, retryFor
		if err := tx.AddStream(ctx, &s); err != nil {
			return err
		}
	}
	return nil
}

// checkServerTaken refuses a name or an inbound domain that another server has.
func checkServerTaken(ctx context.Context, tx *store.Tx, s *pennypost.Server) error {
	taken, err := tx.ServerNameTaken(ctx, s.AccountID, s.Name, s.ID)
	if err != nil {
		return err
	}
	if taken {
		return errServerExists()
	}
	if taken, err = tx.InboundDomainTaken(ctx, s.InboundDomain, s.ID); err != nil {
		return err
	}
	if taken {
		return pennypost.Refuse(codeInboundTaken, "The specified inbound domain is already registered or in use on another server.")
	}
	return nil
}

func errServerExists() *pennypost.Error {
	return pennypost.Refuse(codeServerExists, "This server name already exists.")
}

// serverConflict is for two calls at once that both found the name free.
func serverConflict(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return errServerExists()
	}
	return err
}

// Servers gives a page of an account's servers whose name contains a text, and
// how many such there are.
func (a *Accounts) Servers(ctx context.Context, account pennypost.AccountID, name string, count, offset int) ([]Server, int, error) {
	var list []Server
	var total int
	err := a.view(ctx, "list servers", func(tx *store.Tx) error {
		servers, n, err := tx.Servers(ctx, account, name, count, offset)
		if err != nil {
			return err
		}
		list, total = make([]Server, 0, len(servers)), n
		for _, s := range servers {
			tokens, err := a.tokens(ctx, tx, account, s.ID)
			if err != nil {
				return err
			}
			list = append(list, Server{Server: s, Tokens: secrets(tokens)})
		}
		return nil
	})
	return list, total, err
}

// Server gives a server of an account.
func (a *Accounts) Server(ctx context.Context, account pennypost.AccountID, id pennypost.ServerID) (*Server, error) {
	var out *Server
	err := a.view(ctx, "read server", func(tx *store.Tx) (err error) {
		out, err = a.server(ctx, tx, account, id)
		return err
	})
	return out, err
}

func (a *Accounts) server(ctx context.Context, tx *store.Tx, account pennypost.AccountID, id pennypost.ServerID) (*Server, error) {
	s, err := tx.Server(ctx, account, id)
	if err != nil {
		return nil, ifMissing(err, errNoServer())
	}
	tokens, err := a.tokens(ctx, tx, account, id)
	if err != nil {
		return nil, err
	}
	return &Server{Server: *s, Tokens: secrets(tokens)}, nil
}

// EditServer changes what in says.
func (a *Accounts) EditServer(ctx context.Context, account pennypost.AccountID, id pennypost.ServerID, in *ServerInput) (*Server, error) {
	if in == nil {
		return nil, errNoServerData()
	}
	before, err := a.Server(ctx, account, id)
	if err != nil {
		return nil, err
	}
	wanted := before.Server
	if err := a.applyServer(&wanted, in, false); err != nil {
		return nil, err
	}
	if wanted.InboundDomain != before.InboundDomain {
		if err := a.checkInboundMX(ctx, wanted.InboundDomain); err != nil {
			return nil, err
		}
	}
	var out *Server
	err = a.update(ctx, "edit server", func(tx *store.Tx) error {
		var err error
		if out, err = a.server(ctx, tx, account, id); err != nil {
			return err
		}
		if err := a.applyServer(&out.Server, in, false); err != nil {
			return err
		}
		if err := checkServerTaken(ctx, tx, &out.Server); err != nil {
			return err
		}
		return serverConflict(tx.SetServer(ctx, &out.Server))
	})
	if err != nil {
		return nil, err
	}
	return out, a.conf.Auth.Refresh(ctx)
}

// DeleteServer deletes a server with its tokens. Mail that was accepted is still
// delivered. It gives the server for the answer.
func (a *Accounts) DeleteServer(ctx context.Context, account pennypost.AccountID, id pennypost.ServerID) (*pennypost.Server, error) {
	var s *pennypost.Server
	err := a.update(ctx, "delete server", func(tx *store.Tx) error {
		var err error
		if s, err = tx.Server(ctx, account, id); err != nil {
			return ifMissing(err, errNoServer())
		}
		acc, err := tx.Account(ctx, account)
		if err != nil {
			return err
		}
		if acc.NoDeletes {
			return pennypost.Refuse(codeNoDeletes, "You do not have permission to delete servers using the API.")
		}
		return tx.DeleteServer(ctx, account, id)
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "server deleted", "account", int64(account), "server", int64(id))
	return s, a.conf.Auth.Refresh(ctx)
}

// checkInboundMX asks DNS whether the mail of an inbound domain comes to us
// (contract/inbound.md §2).
func (a *Accounts) checkInboundMX(ctx context.Context, domain string) error {
	if domain == "" {
		return nil
	}
	hosts, err := a.conf.Resolver.MX(ctx, domain)
	if err != nil && !isMissing(err) {
		a.log.InfoContext(ctx, "MX of inbound domain not found", "domain", domain, "err", err)
	}
	for _, h := range hosts {
		if sameName(h.Name, a.conf.InboundDomain) {
			return nil
		}
	}
	return pennypost.Refuse(codeInboundMX, "We could not find an MX record pointing to the expected domain.")
}
