package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"pennypost"
	"pennypost/internal/account"
	"pennypost/internal/auth"
	"pennypost/internal/bulk"
	"pennypost/internal/shed"
	"pennypost/internal/store"
	"pennypost/internal/submit"
	"pennypost/internal/web"
)

// Config is what the API works with. Store, Auth, Door, Accounts and Bulk are
// required; zero values of the others are defaults.
type Config struct {
	Store    *store.Store
	Auth     *auth.Auth
	Door     *submit.Door
	Accounts *account.Accounts
	Bulk     *bulk.Requests

	// Discard drops held mail of a server with an event each, and tells how
	// many recipients it dropped; it may stop before all are, when the context
	// ends. Nil: the operator cannot do it.
	Discard func(ctx context.Context, server pennypost.ServerID) (int, error)

	// Names that answers show.
	ConsoleURL    string // "https://mail.example.net", for ServerLink
	InboundDomain string // domain of inbound addresses
	BounceDomain  string // target of customers' return-path CNAME
	TrackDomain   string // target of customers' tracking CNAME
	SPFDomain     string // what customers include in their SPF record
	SMTPHost      string // shown with SMTP tokens
	SMTPPorts     []int

	Trusted    []netip.Prefix // proxies whose X-Forwarded-For is believed
	BodyLimit  int64          // octets of a request; 10 MiB (contract/common.md §8)
	BatchLimit int64          // octets of a batch; 50 MiB
	BodyBudget int64          // octets of all bodies at once; 256 MiB
	Memory     *shed.Memory   // in place of BodyBudget: shared with others
	Rate       int            // calls a second of one token, ten times as many at once; 0: no limit
	Work       time.Duration  // how long a call may work once its body is there; 5 s
	BatchWork  time.Duration  // the same for a batch; 30 s
	LongWork   time.Duration  // the same for a search, and where DNS is asked; 20 s
	Now        func() time.Time
	Log        *slog.Logger
}

// API answers the calls. It is made by New; Run cleans up behind it.
type API struct {
	conf    Config
	log     *slog.Logger
	json    *web.JSON
	bodies  *web.Bodies
	eastern *time.Location
	limit   *web.Limiter
	keyed   underway
}

// New makes the API. An error says that the time zone America/New_York is
// missing: import time/tzdata.
func New(c Config) (*API, error) {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.BodyLimit, 10<<20)
	def(&c.BatchLimit, 50<<20)
	def(&c.BodyBudget, 256<<20)
	within := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	within(&c.Work, 5*time.Second)
	within(&c.BatchWork, 30*time.Second)
	within(&c.LongWork, 20*time.Second)
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	eastern, err := time.LoadLocation("America/New_York")
	if err != nil {
		return nil, fmt.Errorf("load the zone of query dates: %w", err)
	}
	return &API{
		conf: c, log: c.Log, eastern: eastern,
		json:   web.NewJSON(c.Log, isUnavailable),
		limit:  web.NewLimiter(c.Rate, rateSpan, c.Now),
		bodies: web.NewBodies(web.BodiesConfig{Budget: c.BodyBudget, Memory: c.Memory, Factor: decodedFactor}),
	}, nil
}

// decodedFactor: a body is held beside what is decoded from it.
const decodedFactor = 2

func (a *API) now() time.Time { return a.conf.Now() }

// isUnavailable tells local faults that may pass.
func isUnavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed)
}

// Handler serves the customers' API, its description and the confirmation page.
func (a *API) Handler() http.Handler {
	tree, page := newTree(a.routes()), a.confirmPage()
	return a.frame(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := confirmToken(r.URL.Path); ok {
			page.serve(w, r, token)
			return
		}
		if isOpenAPI(r.URL.Path) {
			a.serveOpenAPI(w, r)
			return
		}
		a.serve(tree, w, r)
	}))
}

// OperatorHandler serves the operator's API. It belongs on a listener of its
// own: its paths are 404 on Handler.
func (a *API) OperatorHandler() http.Handler {
	tree := newTree(a.operatorRoutes())
	return a.frame(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(tree, w, r) }))
}

func (a *API) frame(next http.Handler) http.Handler {
	return web.Frame{Trusted: a.conf.Trusted, Panicked: a.json.Fault, Log: a.log}.Wrap(next)
}

// serve takes one request through the checks in the order of doc.go.
func (a *API) serve(tree *node, w http.ResponseWriter, r *http.Request) {
	c := &call{r: r}
	defer c.end()
	v, err := a.answer(tree, w, c)
	w = a.watched(w, c)
	if rows, ok := v.(*rowsAnswer); ok && err == nil {
		a.json.Rows(w, r, rows.name, rows.next)
		return
	}
	if err == nil {
		if before, ok := v.(*store.KeptRequest); ok {
			w.Header().Set("Idempotent-Replayed", "true")
			a.json.Again(w, r, before.Status, before.Answer)
			return
		}
		a.json.OK(w, r, v)
		return
	}
	var method *methodError
	var closed *submit.ClosedError
	switch {
	case errors.As(err, &closed):
		err = errClosed()
	case errors.As(err, &method):
		w.Header().Set("Allow", method.allow)
		err = method.refusal()
	case errors.Is(err, store.ErrUnknown):
		// The message may be stored, and clients repeat after a 503
		// (contract/clients.md 1.13): whatever else is in the chain, it is a 500.
		err = errors.New(err.Error())
	}
	a.json.Error(w, r, err)
}

func (a *API) answer(tree *node, w http.ResponseWriter, c *call) (any, error) {
	rt, within, err := a.admit(tree, w, c)
	if err != nil {
		web.TakeRest(w, c.r)
		return nil, err
	}
	if rt.mail {
		// Before the body is read, which costs memory, and stored, which costs disk.
		if err := a.conf.Door.Open(c.r.Context()); err != nil {
			web.TakeRest(w, c.r)
			return nil, err
		}
	}
	if rt.limit > 0 {
		body, release, err := a.bodies.Read(w, c.r, rt.limit)
		if err != nil {
			return nil, err
		}
		defer release()
		c.body = body
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), within)
	defer cancel()
	if rt.mail {
		if before, err := a.keep(ctx, rt, c); before != nil || err != nil {
			return before, err
		}
	}
	return rt.handle(ctx, c)
}

// admit makes the checks that come before the body, and tells how long the call
// may work.
func (a *API) admit(tree *node, w http.ResponseWriter, c *call) (*route, time.Duration, error) {
	r := c.r
	rt, ids, err := tree.find(r.URL, r.Method)
	if err != nil {
		return nil, 0, err
	}
	within := rt.within
	if within == 0 {
		within = a.conf.Work
	}
	if c.who, err = a.caller(r, rt, within); err != nil {
		return nil, 0, err
	}
	if err := a.guard(w, rt, c); err != nil {
		return nil, 0, err
	}
	if err := web.CheckHeaders(r, rt.limit > 0 && r.ContentLength != 0 && (!rt.csv || !isCSV(r))); err != nil {
		return nil, 0, err
	}
	c.ids, c.query = ids, parseQuery(r.URL.RawQuery)
	return rt, within, nil
}

// errClosed says that no mail is taken now: 503, so that clients come again
// (contract/clients.md 1.13).
func errClosed() *pennypost.Error {
	return &pennypost.Error{
		Code: pennypost.CodeMaintenance, Status: http.StatusServiceUnavailable,
		Text: "The service is not available at the moment. Please try again later.",
	}
}

// The headers that carry tokens (contract/common.md §2).
const (
	serverHeader   = "X-Postmark-Server-Token"
	accountHeader  = "X-Postmark-Account-Token"
	operatorHeader = "X-Operator-Token"
)

// caller authenticates. A token is taken from its header alone, once: a
// repeated header is as good as none.
func (a *API) caller(r *http.Request, rt *route, within time.Duration) (pennypost.Caller, error) {
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	ip := ""
	if addr := web.ClientAddr(ctx); addr.IsValid() {
		ip = addr.String()
	}
	switch rt.opener {
	case byServer:
		token, err := tokenOf(r, serverHeader, accountHeader)
		if err != nil {
			return pennypost.Caller{}, err
		}
		who, err := a.conf.Auth.Server(ctx, token, ip)
		if err == nil && who.Kind == pennypost.CallerTest && !rt.test {
			return pennypost.Caller{}, errToken("Server", serverHeader) // there is no server behind it
		}
		return who, err
	case byAccount:
		token, err := tokenOf(r, accountHeader, serverHeader)
		if err != nil {
			return pennypost.Caller{}, err
		}
		return a.conf.Auth.Account(ctx, token, ip)
	case byOperator:
		return a.conf.Auth.Operator(ctx, r.Header.Get(operatorHeader), ip)
	}
	return pennypost.Caller{}, fmt.Errorf("route opened by %d", rt.opener)
}

// tokenOf gives the token of a header, or the contract's 401 when neither this
// nor the other kind's header is there.
func tokenOf(r *http.Request, want, other string) (string, error) {
	list := r.Header.Values(want)
	if len(list) == 0 && len(r.Header.Values(other)) == 0 {
		return "", &pennypost.Error{
			Code: pennypost.CodeToken, Status: http.StatusUnauthorized,
			Text: "No Account or Server API tokens were supplied in the HTTP headers. Please add a header for either X-Postmark-Server-Token or X-Postmark-Account-Token.",
		}
	}
	if len(list) != 1 || list[0] == "" {
		if want == accountHeader {
			return "", errToken("Account", want)
		}
		return "", errToken("Server", want)
	}
	return list[0], nil
}

// errToken is the 401 of contract/common.md §6.1.
func errToken(kind, header string) error {
	return &pennypost.Error{
		Code: pennypost.CodeToken, Status: http.StatusUnauthorized,
		Text: fmt.Sprintf("The %s Token you provided in the %s request header was invalid. Please verify that you are using a valid token.", kind, header),
	}
}
