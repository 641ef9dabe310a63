package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"pennypost"
)

// call is one request as a handler sees it.
type call struct {
	r     *http.Request
	who   pennypost.Caller
	ids   []string // what the path has in place of {…}, in order
	query query
	body  []byte // nil where the route takes none
	done  func() // called once the answer is written; may be nil

	keyed  bool   // who.Request is this call, and its answer is kept
	keyEnd func() // gives its key free; called as done is; may be nil
}

// end gives back what the answer needed.
func (c *call) end() {
	if c.done != nil {
		c.done()
	}
	if c.keyEnd != nil {
		c.keyEnd()
	}
}

// id reads the first id of the path as a number of the size that clients hold
// (contract/clients.md 2.3). What is no such number is -1, which names nothing,
// so that it is answered as what does not exist; 0 would name the account or
// the instance itself.
func (c *call) id() int64 { return parseID(c.ids[0]) }

func parseID(s string) int64 {
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil || v <= 0 || s[0] == '+' {
		return -1
	}
	return v
}

// query holds the parameters by lower-case name; of a repeated one the first
// counts.
type query map[string]string

func parseQuery(raw string) query {
	q := query{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || name == "" {
			continue
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			continue
		}
		if name = strings.ToLower(name); !has(q, name) {
			q[name] = strings.ToValidUTF8(value, "\uFFFD")
		}
	}
	return q
}

func has(q query, name string) bool {
	_, ok := q[name]
	return ok
}

// flag reads a boolean (contract/clients.md 1.5); absent or unknown is false.
func (q query) flag(name string) bool {
	switch strings.ToLower(q[name]) {
	case "true", "1":
		return true
	}
	return false
}

// pagingOr is paging with all of it optional, for lists of our own.
func (q query) pagingOr(count, offset string) (int, int, error) {
	both := query{"count": count, "offset": offset}
	for name := range both {
		if q[name] != "" {
			both[name] = q[name]
		}
	}
	return both.paging(pennypost.CodeInvalid, 0)
}

const (
	maxCount  = 500
	maxWindow = 10_000 // count + offset of a message search
)

// paging reads count and offset, both required. code is that of the list's
// refusals.
func (q query) paging(code pennypost.Code, window int) (count, offset int, err error) {
	count, errC := strconv.Atoi(q["count"])
	offset, errO := strconv.Atoi(q["offset"])
	switch {
	case errC != nil || count < 1 || count > maxCount:
		return 0, 0, pennypost.Refuse(code, "Parameter 'count' is required and must be an integer from 1 to %d.", maxCount)
	case errO != nil || offset < 0 || offset > 1<<30:
		return 0, 0, pennypost.Refuse(code, "Parameter 'offset' is required and must be an integer of 0 or more.")
	case window > 0 && count+offset > window:
		return 0, 0, pennypost.Refuse(code, "Parameters 'count' and 'offset' must not exceed %d together.", window)
	}
	return count, offset, nil
}
