package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pennypost"
)

// opener says whose token opens a route.
type opener int8

const (
	byServer opener = iota + 1
	byAccount
	byOperator
)

// route is one call of the API.
type route struct {
	method, path string
	opener       opener
	limit        int64         // octets of the body; 0: a body is ignored
	within       time.Duration // for the work, not the body; 0: Config.Work
	test         bool          // POSTMARK_API_TEST opens it too
	mail         bool          // lets mail in
	csv          bool          // takes text/csv beside JSON
	need         need          // what its token must be for; set by newTree
	handle       func(ctx context.Context, c *call) (any, error)
}

// node is one segment of the paths.
type node struct {
	literal map[string]*node // by lower-case text
	id      *node
	methods map[string]*route
}

func newTree(routes []route) *node {
	root, needs := &node{}, needs()
	for n := range routes {
		r := &routes[n]
		r.need = needs[r.method+" "+shape(r.path)]
		at := root
		for seg := range strings.SplitSeq(strings.TrimPrefix(r.path, "/"), "/") {
			at = at.grow(strings.ToLower(seg))
		}
		if at.methods == nil {
			at.methods = map[string]*route{}
		}
		if at.methods[r.method] != nil {
			panic("api: route named twice: " + r.method + " " + r.path)
		}
		at.methods[r.method] = r
	}
	return root
}

func (n *node) grow(seg string) *node {
	if strings.HasPrefix(seg, "{") {
		if n.id == nil {
			n.id = &node{}
		}
		return n.id
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[seg] == nil {
		n.literal[seg] = &node{}
	}
	return n.literal[seg]
}

// maxSegment is the length of a path segment that can name anything.
const maxSegment = 512

// find matches a path: without regard to case, with one trailing slash or none
// (contract/common.md §1). An error is a 404 or 405.
func (n *node) find(u *url.URL, method string) (*route, []string, error) {
	path := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	var ids []string
	for seg := range strings.SplitSeq(path, "/") {
		text, err := url.PathUnescape(seg)
		if err != nil || text == "" || len(text) > maxSegment {
			return nil, nil, errNoRoute()
		}
		if next := n.literal[strings.ToLower(text)]; next != nil {
			n = next
			continue
		}
		if n.id == nil {
			return nil, nil, errNoRoute()
		}
		n = n.id
		ids = append(ids, text)
	}
	if len(n.methods) == 0 {
		return nil, nil, errNoRoute()
	}
	if method == http.MethodHead {
		method = http.MethodGet // RFC 9110 §9.3.2; net/http leaves the body out
	}
	r := n.methods[method]
	if r == nil {
		return nil, nil, &methodError{allow: n.allow()}
	}
	return r, ids, nil
}

func (n *node) allow() string {
	list := make([]string, 0, len(n.methods))
	for m := range n.methods {
		list = append(list, m)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// codeNoRoute is the ErrorCode of an unknown path or method. The contract has
// none, and 405 means something else there (contract/common.md §6.2).
const codeNoRoute pennypost.Code = 404

func errNoRoute() error {
	return &pennypost.Error{Code: codeNoRoute, Status: http.StatusNotFound, Text: "The requested resource was not found."}
}

// methodError is a 405 with the methods that the path has.
type methodError struct{ allow string }

// Error names the methods.
func (e *methodError) Error() string { return "method not allowed; allowed: " + e.allow }

func (e *methodError) refusal() error {
	return &pennypost.Error{Code: codeNoRoute, Status: http.StatusMethodNotAllowed, Text: "The method is not allowed here. Allowed: " + e.allow + "."}
}
