package api

import (
	"context"
	"errors"
	"time"

	"pennypost"
	"pennypost/internal/account"
	"pennypost/internal/store"
)

// wireSuspension is null while sending goes on.
type wireSuspension struct {
	Since  string
	Reason string
}

func newWireSuspension(s pennypost.Suspension) *wireSuspension {
	if !s.Active() {
		return nil
	}
	return &wireSuspension{Since: timeText(s.Since), Reason: s.Reason}
}

// operatorAccount is an account as the operator sees it (docs/api.md).
type operatorAccount struct {
	ID                  pennypost.AccountID
	Name                string
	Plan                string
	MonthlyLimit        int64
	UsedThisMonth       int64
	Pending             bool
	NoDeletes           bool
	NoBulk              bool
	NoCustomUnsubscribe bool
	Suspended           *wireSuspension
	CreatedAt           string
	AccountToken        string `json:",omitempty"` // of a new account, this once
}

// operatorServer is a server as the operator sees it: none of its secrets.
type operatorServer struct {
	ID            pennypost.ServerID
	AccountID     pennypost.AccountID
	Name          string
	DeliveryType  string
	MonthlyLimit  int64
	UsedThisMonth int64
	Suspended     *wireSuspension
	CreatedAt     string
}

// accountAnswer adds what the account used to the account.
func (a *API) accountAnswer(ctx context.Context, acc *pennypost.Account) (operatorAccount, error) {
	used, err := a.conf.Accounts.Usage(ctx, acc.ID, 0)
	return operatorAccount{
		ID: acc.ID, Name: acc.Name, Plan: acc.Plan, MonthlyLimit: acc.MonthlyLimit, UsedThisMonth: used.Account,
		Pending: acc.Pending, NoDeletes: acc.NoDeletes, NoBulk: acc.NoBulk, NoCustomUnsubscribe: acc.NoCustomUnsubscribe,
		Suspended: newWireSuspension(acc.Suspension),
		CreatedAt: timeText(acc.CreatedAt),
	}, err
}

// operatorServer adds what the server used to the server.
func (a *API) operatorServer(ctx context.Context, s *pennypost.Server) (operatorServer, error) {
	used, err := a.conf.Accounts.Usage(ctx, s.AccountID, s.ID)
	return operatorServer{
		ID: s.ID, AccountID: s.AccountID, Name: s.Name, DeliveryType: deliveryType(s.Sandbox),
		MonthlyLimit: s.MonthlyLimit, UsedThisMonth: used.Server, Suspended: newWireSuspension(s.Suspension),
		CreatedAt: timeText(s.CreatedAt),
	}, err
}

func (c *call) account() pennypost.AccountID { return pennypost.AccountID(c.id()) }
func (c *call) server() pennypost.ServerID   { return pennypost.ServerID(c.id()) }

type operatorAccountList struct {
	TotalCount int
	Accounts   []operatorAccount
}

// listAccounts is GET /operator/accounts.
func (a *API) listAccounts(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.pagingOr("100", "0")
	if err != nil {
		return nil, err
	}
	accounts, total, err := a.conf.Accounts.Accounts(ctx, count, offset)
	if err != nil {
		return nil, err
	}
	list := operatorAccountList{TotalCount: total, Accounts: make([]operatorAccount, len(accounts))}
	for n := range accounts {
		if list.Accounts[n], err = a.accountAnswer(ctx, &accounts[n]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// accountInput is nil when there is no body.
func (c *call) accountInput() (*account.AccountInput, error) {
	if isEmpty(c.body) {
		return nil, nil //nolint:nilnil // nil is how account is told that there was no body
	}
	var w struct {
		Name, Plan          *string
		MonthlyLimit        *int64
		Pending, NoDeletes  *bool
		NoBulk              *bool
		NoCustomUnsubscribe *bool
	}
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	return &account.AccountInput{
		Name: w.Name, Plan: w.Plan, MonthlyLimit: w.MonthlyLimit, Pending: w.Pending, NoDeletes: w.NoDeletes,
		NoBulk: w.NoBulk, NoCustomUnsubscribe: w.NoCustomUnsubscribe,
	}, nil
}

// createAccount is POST /operator/accounts.
func (a *API) createAccount(ctx context.Context, c *call) (any, error) {
	in, err := c.accountInput()
	if err != nil {
		return nil, err
	}
	acc, token, err := a.conf.Accounts.CreateAccount(ctx, in)
	if err != nil {
		return nil, err
	}
	w, err := a.accountAnswer(ctx, acc)
	w.AccountToken = token.Reveal()
	return w, err
}

func (a *API) oneAccount(ctx context.Context, acc *pennypost.Account, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.accountAnswer(ctx, acc)
}

// getAccount is GET /operator/accounts/{id}.
func (a *API) getAccount(ctx context.Context, c *call) (any, error) {
	acc, err := a.conf.Accounts.Account(ctx, c.account())
	return a.oneAccount(ctx, acc, err)
}

// editAccount is PUT /operator/accounts/{id}.
func (a *API) editAccount(ctx context.Context, c *call) (any, error) {
	in, err := c.accountInput()
	if err != nil {
		return nil, err
	}
	acc, err := a.conf.Accounts.EditAccount(ctx, c.account(), in)
	return a.oneAccount(ctx, acc, err)
}

// reason reads the body of a suspension.
func (c *call) reason() (string, error) {
	var w struct{ Reason string }
	err := decode(c.body, &w)
	return w.Reason, err
}

// suspendAccount is POST /operator/accounts/{id}/suspend.
func (a *API) suspendAccount(ctx context.Context, c *call) (any, error) {
	reason, err := c.reason()
	if err != nil {
		return nil, err
	}
	acc, err := a.conf.Accounts.SuspendAccount(ctx, c.account(), reason)
	return a.oneAccount(ctx, acc, err)
}

// reactivateAccount is POST /operator/accounts/{id}/reactivate.
func (a *API) reactivateAccount(ctx context.Context, c *call) (any, error) {
	acc, err := a.conf.Accounts.ReactivateAccount(ctx, c.account())
	return a.oneAccount(ctx, acc, err)
}

type operatorServerList struct {
	TotalCount int
	Servers    []operatorServer
}

// listAccountServers is GET /operator/servers?account={id}.
func (a *API) listAccountServers(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.pagingOr("100", "0")
	if err != nil {
		return nil, err
	}
	id := pennypost.AccountID(parseID(c.query["account"]))
	if id < 0 {
		return nil, pennypost.Invalid("Parameter 'account' is required and must be the ID of an account.")
	}
	if _, err := a.conf.Accounts.Account(ctx, id); err != nil {
		return nil, err
	}
	var servers []pennypost.Server
	var list operatorServerList
	err = a.conf.Store.View(ctx, func(tx *store.Tx) error {
		servers, list.TotalCount, err = tx.Servers(ctx, id, c.query["name"], count, offset)
		return err
	})
	if err != nil {
		return nil, err
	}
	list.Servers = make([]operatorServer, len(servers))
	for n := range servers {
		if list.Servers[n], err = a.operatorServer(ctx, &servers[n]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (a *API) oneServer(ctx context.Context, s *pennypost.Server, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.operatorServer(ctx, s)
}

// getAnyServer is GET /operator/servers/{id}.
func (a *API) getAnyServer(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.AnyServer(ctx, c.server())
	return a.oneServer(ctx, s, err)
}

// setServerLimit is PUT /operator/servers/{id} and …/limit.
func (a *API) setServerLimit(ctx context.Context, c *call) (any, error) {
	var w struct{ MonthlyLimit *int64 }
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	if w.MonthlyLimit == nil {
		return nil, pennypost.Invalid("'MonthlyLimit' is required: the recipients of a month, or 0 for no limit.")
	}
	s, err := a.conf.Accounts.SetServerLimit(ctx, c.server(), *w.MonthlyLimit)
	return a.oneServer(ctx, s, err)
}

// suspendServer is POST /operator/servers/{id}/suspend.
func (a *API) suspendServer(ctx context.Context, c *call) (any, error) {
	reason, err := c.reason()
	if err != nil {
		return nil, err
	}
	s, err := a.conf.Accounts.SuspendServer(ctx, c.server(), reason)
	return a.oneServer(ctx, s, err)
}

// reactivateServer is POST /operator/servers/{id}/reactivate.
func (a *API) reactivateServer(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.ReactivateServer(ctx, c.server())
	return a.oneServer(ctx, s, err)
}

// codeNotSupported is contract/common.md §6.4.
const codeNotSupported pennypost.Code = 615

type discarded struct {
	Discarded int
	Complete  bool
}

// discardSpare is what is left of a call's time for its answer.
const discardSpare = time.Second

// discardHeld is POST /operator/servers/{id}/discard. It works for a bounded
// time; Complete says whether anything is left.
func (a *API) discardHeld(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.AnyServer(ctx, c.server())
	if err != nil {
		return nil, err
	}
	if a.conf.Discard == nil {
		return nil, pennypost.Refuse(codeNotSupported, "Action is not supported.")
	}
	work := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		work, cancel = context.WithDeadline(ctx, end.Add(-discardSpare))
		defer cancel()
	}
	n, err := a.conf.Discard(work, s.ID)
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return discarded{Discarded: n}, nil
	}
	return discarded{Discarded: n, Complete: true}, err
}
