package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
)

// adminCmd talks to the operator API.
type adminCmd struct {
	URL     string `name:"url" placeholder:"URL" help:"The operator API. Default: http://127.0.0.1:9091. [PENNYPOST_OPERATOR_URL]"`
	DataDir string `name:"data-dir" placeholder:"DIRECTORY" help:"Where first-run.txt has the token, when PENNYPOST_OPERATOR_TOKEN and PENNYPOST_OPERATOR_TOKEN_FILE do not. Default: ./data. [PENNYPOST_DATA_DIR]"`
	JSON    bool   `name:"json" help:"Print the answers as they come."`

	Accounts   adminAccounts   `cmd:"" help:"List the accounts."`
	Account    adminAccount    `cmd:"" help:"Show an account."`
	Create     adminCreate     `cmd:"" help:"Make an account; its token is shown this once."`
	Servers    adminServers    `cmd:"" help:"List the servers of an account."`
	Server     adminServer     `cmd:"" help:"Show a server."`
	Suspend    adminSuspend    `cmd:"" help:"Stop a server or account from sending; its queued mail is held."`
	Reactivate adminReactivate `cmd:"" help:"Let it send again; held mail is released."`
	Limit      adminLimit      `cmd:"" help:"Set how many recipients a server or account may have in a month; 0 is no limit."`
	Discard    adminDiscard    `cmd:"" help:"Drop the held mail of a suspended server, with a bounce each."`
	Queue      adminQueue      `cmd:"" help:"Show what waits, by server."`
	Import     adminImport     `cmd:"" help:"Put the addresses of a file on the suppression list of a stream."`
}

// Help is the text above the flags.
func (adminCmd) Help() string {
	return `Examples:
  pennypost admin accounts
  pennypost admin suspend --server 3 --reason "Complaint rate 0.5 %"`
}

// whom is a server or an account.
type whom struct {
	Server  int64 `name:"server" short:"s" placeholder:"ID" xor:"whom" required:"" help:"The server."`
	Account int64 `name:"account" placeholder:"ID" xor:"whom" required:"" help:"The account."`
}

func (w whom) path() string {
	if w.Account != 0 {
		return fmt.Sprintf("/operator/accounts/%d", w.Account)
	}
	return fmt.Sprintf("/operator/servers/%d", w.Server)
}

type (
	adminAccounts struct{}
	adminAccount  struct {
		ID int64 `arg:"" help:"The account."`
	}
	adminServers struct {
		Account int64 `name:"account" placeholder:"ID" default:"1" help:"The account."`
	}
	adminServer struct {
		ID int64 `arg:"" help:"The server."`
	}
	adminCreate struct {
		Name  string `arg:"" help:"Its name."`
		Limit int64  `name:"limit" placeholder:"N" help:"Recipients in a month; 0 is no limit."`
	}
	adminSuspend struct {
		whom
		Reason string `name:"reason" required:"" placeholder:"TEXT" help:"Shown to the customer with every refusal."`
	}
	adminReactivate struct{ whom }
	adminLimit      struct {
		whom
		Limit int64 `arg:"" help:"Recipients in a month."`
	}
	adminDiscard struct {
		Server int64 `name:"server" short:"s" placeholder:"ID" required:"" help:"The server."`
		Yes    bool  `name:"yes" short:"y" help:"Do not ask."`
	}
	adminQueue struct{}
)

// caller is the operator API and how its answers are shown.
type caller struct {
	*client
	out  io.Writer
	json bool
}

// caller makes what the subcommands work with.
func (c *adminCmd) caller(a *app) (*caller, error) {
	vars := ours(a.env)
	base := firstOf(c.URL, vars[envPrefix+"OPERATOR_URL"], "http://127.0.0.1:9091")
	if !validURL(base) {
		return nil, &exitError{exitUsage, fmt.Errorf("%q is not an address such as http://127.0.0.1:9091", base)}
	}
	token, err := c.token(vars)
	if err != nil {
		return nil, err
	}
	return &caller{client: newClient(strings.TrimRight(base, "/"), operatorHeader, token), out: a.stdout, json: c.JSON}, nil
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// token is that of the environment, or of the first start's file.
func (c *adminCmd) token(vars map[string]string) (string, error) {
	const name = envPrefix + "OPERATOR_TOKEN"
	if vars[name] != "" {
		return vars[name], nil
	}
	if file := vars[name+"_FILE"]; file != "" {
		text, err := readSecret(file)
		if err != nil {
			return "", fmt.Errorf("%s_FILE: %w", name, err)
		}
		return text, nil
	}
	token, err := operatorTokenOf(firstOf(c.DataDir, vars[envPrefix+"DATA_DIR"], "data"))
	if err != nil || token == "" {
		return "", &exitError{exitNotAllowed, fmt.Errorf("no operator token: set %s, or say with --data-dir where %s is", name, firstRunFile)}
	}
	return token, nil
}

// ask makes a call and shows the answer: as it came, or by fn.
func (c *caller) ask(ctx context.Context, method, path string, body any, answer any, fn func(w io.Writer)) error {
	var raw json.RawMessage
	if err := c.call(ctx, method, path, body, &raw); err != nil {
		return c.explain(err)
	}
	if c.json {
		_, err := fmt.Fprintf(c.out, "%s\n", raw)
		return err
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("answer of %s %s: %w", method, path, err)
	}
	t := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	fn(t)
	return t.Flush()
}

// explain gives an error its exit code.
func (c *caller) explain(err error) error {
	var refusal *apiError
	var gone unreachable
	code, hint := exitFailed, ""
	switch {
	case errors.As(err, &gone):
		code, hint = exitUnreachable, "is the service running, and is --url its operator listener?"
	case errors.As(err, &refusal) && (refusal.Status == http.StatusUnauthorized || refusal.Status == http.StatusForbidden):
		code, hint = exitNotAllowed, "is the operator's token right?"
	case errors.As(err, &refusal) && (refusal.Status == http.StatusNotFound || strings.Contains(refusal.Message, "not found")):
		code = exitNotFound
	}
	if c.json {
		n := 0
		if refusal != nil {
			n = refusal.ErrorCode
		}
		b, errJSON := json.Marshal(map[string]any{"error": map[string]any{"code": n, "message": err.Error(), "hint": hint}})
		if errJSON == nil {
			return &exitError{code, errors.New(string(b))}
		}
	}
	if hint != "" {
		err = fmt.Errorf("%w (%s)", err, hint)
	}
	return &exitError{code, err}
}

// What we show of the answers.
type (
	adminSuspension struct{ Since, Reason string }
	adminRow        struct {
		ID, AccountID, MonthlyLimit, UsedThisMonth int64
		Name, Plan, DeliveryType, CreatedAt        string
		Suspended                                  *adminSuspension
		AccountToken                               string
	}
)

func (r *adminRow) state() string {
	if r.Suspended == nil {
		return "sends"
	}
	return "suspended: " + r.Suspended.Reason
}

func limitText(n int64) string {
	if n == 0 {
		return "none"
	}
	return strconv.FormatInt(n, 10)
}

func printRows(w io.Writer, rows ...adminRow) {
	_, _ = fmt.Fprintln(w, "ID\tNAME\tMONTHLY LIMIT\tUSED\tSTATE")
	for i := range rows {
		r := &rows[i]
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\n", r.ID, r.Name, limitText(r.MonthlyLimit), r.UsedThisMonth, r.state())
	}
}

// one makes a call that is answered with an account or server.
func (c *caller) one(ctx context.Context, method, path string, body any) error {
	var r adminRow
	return c.ask(ctx, method, path, body, &r, func(w io.Writer) {
		printRows(w, r)
		if r.AccountToken != "" {
			_, _ = fmt.Fprintf(w, "\nAccount token, shown this once: %s\n", r.AccountToken)
		}
	})
}

// pageSize is how many rows are asked for at once.
const pageSize = 500

// Run is called by kong.
func (*adminAccounts) Run(ctx context.Context, a *app, top *adminCmd) error {
	c, err := top.caller(a)
	if err != nil {
		return err
	}
	var list struct{ Accounts []adminRow }
	return c.ask(ctx, http.MethodGet, fmt.Sprintf("/operator/accounts?count=%d&offset=0", pageSize), nil, &list,
		func(w io.Writer) { printRows(w, list.Accounts...) })
}

// Run is called by kong.
func (s *adminServers) Run(ctx context.Context, a *app, top *adminCmd) error {
	c, err := top.caller(a)
	if err != nil {
		return err
	}
	q := url.Values{"account": {strconv.FormatInt(s.Account, 10)}, "count": {strconv.Itoa(pageSize)}, "offset": {"0"}}
	var list struct{ Servers []adminRow }
	return c.ask(ctx, http.MethodGet, "/operator/servers?"+q.Encode(), nil, &list,
		func(w io.Writer) { printRows(w, list.Servers...) })
}

// Run is called by kong.
func (s *adminAccount) Run(ctx context.Context, a *app, top *adminCmd) error {
	return top.one(ctx, a, http.MethodGet, whom{Account: s.ID}.path(), nil)
}

// Run is called by kong.
func (s *adminServer) Run(ctx context.Context, a *app, top *adminCmd) error {
	return top.one(ctx, a, http.MethodGet, whom{Server: s.ID}.path(), nil)
}

// Run is called by kong.
func (s *adminCreate) Run(ctx context.Context, a *app, top *adminCmd) error {
	return top.one(ctx, a, http.MethodPost, "/operator/accounts", map[string]any{"Name": s.Name, "MonthlyLimit": s.Limit})
}

// Run is called by kong.
func (s *adminSuspend) Run(ctx context.Context, a *app, top *adminCmd) error {
	return top.one(ctx, a, http.MethodPost, s.path()+"/suspend", map[string]any{"Reason": s.Reason})
}

// Run is called by kong.
func (s *adminReactivate) Run(ctx context.Context, a *app, top *adminCmd) error {
	return top.one(ctx, a, http.MethodPost, s.path()+"/reactivate", nil)
}

// Run is called by kong.
func (s *adminLimit) Run(ctx context.Context, a *app, top *adminCmd) error {
	return top.one(ctx, a, http.MethodPut, s.path(), map[string]any{"MonthlyLimit": s.Limit})
}

func (c *adminCmd) one(ctx context.Context, a *app, method, path string, body any) error {
	api, err := c.caller(a)
	if err != nil {
		return err
	}
	return api.one(ctx, method, path, body)
}

// Run is called by kong.
func (s *adminDiscard) Run(ctx context.Context, a *app, top *adminCmd) error {
	if !s.Yes {
		return &exitError{exitUsage, errors.New("this drops mail for good; say --yes as well")}
	}
	c, err := top.caller(a)
	if err != nil {
		return err
	}
	for {
		var done struct {
			Discarded int
			Complete  bool
		}
		err := c.ask(ctx, http.MethodPost, whom{Server: s.Server}.path()+"/discard", nil, &done,
			func(w io.Writer) { _, _ = fmt.Fprintf(w, "%d recipients dropped\n", done.Discarded) })
		if err != nil || done.Complete || c.json {
			return err
		}
	}
}

// Run is called by kong.
func (*adminQueue) Run(ctx context.Context, a *app, top *adminCmd) error {
	c, err := top.caller(a)
	if err != nil {
		return err
	}
	var q struct {
		InDelivery, Waiting, Held int64
		Servers                   []struct {
			ServerID, InDelivery, Waiting, Held int64
			Name                                string
		}
	}
	return c.ask(ctx, http.MethodGet, fmt.Sprintf("/operator/queue?count=%d&offset=0", pageSize), nil, &q, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "SERVER\tNAME\tIN DELIVERY\tWAITING\tHELD")
		for _, s := range q.Servers {
			_, _ = fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\n", s.ServerID, s.Name, s.InDelivery, s.Waiting, s.Held)
		}
		_, _ = fmt.Fprintf(w, "all\t\t%d\t%d\t%d\n", q.InDelivery, q.Waiting, q.Held)
	})
}
