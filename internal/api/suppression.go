package api

import (
	"context"
	"fmt"
	"strconv"

	"pennypost"
	"pennypost/internal/account"
)

// Codes of suppressions (contract/bounces.md §14).
const (
	codeSuppressionCount    pennypost.Code = 1400
	codeSuppressionNoCount  pennypost.Code = 1401
	codeSuppressionOffset   pennypost.Code = 1402
	codeSuppressionNoOffset pennypost.Code = 1403
	codeSuppressionReason   pennypost.Code = 1404
	codeSuppressionOrigin   pennypost.Code = 1405
	codeSuppressionFault    pennypost.Code = 1407
	codeSuppressionBody     pennypost.Code = 1409
	codeSuppressionMany     pennypost.Code = 1410
	codeSuppressionAddress  pennypost.Code = 1411
)

// textSuppressionFault is the text of code 1407; ours says more after it.
const textSuppressionFault = "Something went wrong when processing the request."

// wireSuppression is an entry of the list (contract/bounces.md §10).
type wireSuppression struct {
	EmailAddress      pennypost.Address
	SuppressionReason string
	Origin            string
	CreatedAt         string
}

// suppressionsAtOnce are read from the database for an answer that goes out row
// by row.
const suppressionsAtOnce = 1000

// dumpSuppressions is GET /message-streams/{id}/suppressions/dump. It is not
// paged, and a list may have a million entries: they are read and written a
// thousand at a time, so that neither memory nor a long look at one state of the
// database is needed. What changes meanwhile may be in it or not.
func (a *API) dumpSuppressions(ctx context.Context, c *call) (any, error) {
	stream, err := a.conf.Accounts.Stream(ctx, c.who.ServerID, c.stream())
	if err != nil {
		return nil, err
	}
	f, err := a.suppressionFilter(c.query)
	if err != nil {
		return nil, err
	}
	f.Server, f.Stream = c.who.ServerID, stream.ID
	page := func(ctx context.Context, after pennypost.Address) ([]pennypost.Suppression, error) {
		ctx, cancel := context.WithTimeout(ctx, a.conf.LongWork)
		defer cancel()
		return a.conf.Accounts.SuppressionPage(ctx, f, c.query["emailaddress"], after, suppressionsAtOnce)
	}
	list, err := page(ctx, "") // what fails at once is answered as an error
	if err != nil {
		return nil, err
	}
	return &rowsAnswer{name: "Suppressions", next: func(ctx context.Context) ([]any, error) {
		rows := make([]any, len(list))
		for n := range list {
			s := &list[n]
			rows[n] = wireSuppression{
				EmailAddress: s.Address, SuppressionReason: s.Reason, Origin: s.Origin, CreatedAt: wholeSeconds(s.At),
			}
		}
		if len(list) < suppressionsAtOnce {
			list = nil
			return rows, nil
		}
		var err error
		list, err = page(ctx, list[len(list)-1].Address)
		return rows, err
	}}, nil
}

// rowsAnswer is an object with one list, which is written as it is read. next
// gives the next rows, none at the end.
type rowsAnswer struct {
	name string
	next func(ctx context.Context) ([]any, error)
}

// suppressionFilter reads the query. Paging is ignored, but not nonsense in it
// (contract/bounces.md §10).
func (a *API) suppressionFilter(q query) (account.SuppressionFilter, error) {
	var f account.SuppressionFilter
	if err := suppressionPaging(q); err != nil {
		return f, err
	}
	var ok bool
	if v := q["suppressionreason"]; v != "" {
		if f.Reason, ok = account.SuppressionReason(v); !ok {
			return f, pennypost.Refuse(codeSuppressionReason, "Parameter 'SuppressionReason' is invalid.")
		}
	}
	if v := q["origin"]; v != "" {
		if f.Origin, ok = account.SuppressionOrigin(v); !ok {
			return f, pennypost.Refuse(codeSuppressionOrigin, "Parameter 'Origin' is invalid.")
		}
	}
	if v := q["fromdate"]; v != "" {
		if f.From, _, ok = parseQueryTime(v, a.eastern); !ok {
			return f, errSuppressionDate("FromDate")
		}
	}
	if v := q["todate"]; v != "" {
		if _, f.Before, ok = parseQueryTime(v, a.eastern); !ok {
			return f, errSuppressionDate("ToDate")
		}
	}
	return f, nil
}

func errSuppressionDate(name string) error {
	return suppressionFault("Parameter '%s' is not a valid date.", name)
}

func suppressionPaging(q query) error {
	if has(q, "count") {
		n, err := strconv.Atoi(q["count"])
		switch {
		case q["count"] == "":
			return pennypost.Refuse(codeSuppressionNoCount, "Parameter 'count' is required but was left out.")
		case err != nil || n < 1 || n > maxCount:
			return pennypost.Refuse(codeSuppressionCount, "Parameter 'count' should be an integer within the allowed range.")
		}
	}
	if has(q, "offset") {
		n, err := strconv.Atoi(q["offset"])
		switch {
		case q["offset"] == "":
			return pennypost.Refuse(codeSuppressionNoOffset, "Parameter 'offset' is required but was left out.")
		case err != nil || n < 0:
			return pennypost.Refuse(codeSuppressionOffset, "Parameter 'offset' should be an integer greater than or equal to zero.")
		}
	}
	return nil
}

// suppressionResult is what became of one address (contract/bounces.md §12).
type suppressionResult struct {
	EmailAddress string
	Status       string
	Message      *string
}

type suppressionResults struct{ Suppressions []suppressionResult }

// createSuppressions is POST /message-streams/{id}/suppressions.
func (a *API) createSuppressions(ctx context.Context, c *call) (any, error) {
	addrs, err := suppressionInput(c.body)
	if err != nil {
		return nil, err
	}
	results, err := a.conf.Accounts.Suppress(ctx, c.who.AccountID, c.who.ServerID, c.stream(), addrs)
	return suppressionAnswer("Suppressed", results, err)
}

// deleteSuppressions is POST /message-streams/{id}/suppressions/delete.
func (a *API) deleteSuppressions(ctx context.Context, c *call) (any, error) {
	addrs, err := suppressionInput(c.body)
	if err != nil {
		return nil, err
	}
	results, err := a.conf.Accounts.Unsuppress(ctx, c.who.AccountID, c.who.ServerID, c.stream(), addrs)
	return suppressionAnswer("Deleted", results, err)
}

func suppressionInput(body []byte) ([]string, error) {
	var w struct {
		Suppressions []struct{ EmailAddress string }
	}
	if err := decode(body, &w); err != nil {
		return nil, err
	}
	switch n := len(w.Suppressions); {
	case n == 0:
		return nil, pennypost.Refuse(codeSuppressionBody, "A proper request body must be provided.")
	case n > account.MaxSuppressions:
		return nil, pennypost.Refuse(codeSuppressionMany, "You cannot provide more than the maximum number of suppressions for this request.")
	}
	addrs := make([]string, len(w.Suppressions))
	for n := range w.Suppressions {
		if addrs[n] = w.Suppressions[n].EmailAddress; addrs[n] == "" {
			return nil, pennypost.Refuse(codeSuppressionAddress, "Parameter 'emailAddress' is required but was left out.")
		}
	}
	return addrs, nil
}

func suppressionAnswer(done string, results []account.SuppressionResult, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := suppressionResults{Suppressions: make([]suppressionResult, len(results))}
	for n, r := range results {
		out.Suppressions[n] = suppressionResult{EmailAddress: r.Given, Status: done}
		if r.Refused != "" {
			out.Suppressions[n].Status, out.Suppressions[n].Message = "Failed", &r.Refused
		}
	}
	return out, nil
}

// suppressionFault words code 1407.
func suppressionFault(format string, args ...any) error {
	return pennypost.Refuse(codeSuppressionFault, "%s %s", textSuppressionFault, fmt.Sprintf(format, args...))
}
