package api

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/web"
)

// rateSpan is the span of time whose calls may come at once.
const rateSpan = 10 * time.Second

// guard refuses a caller that is known, but calls too often, for what its token
// is not for, or from where it may not send.
func (a *API) guard(w http.ResponseWriter, rt *route, c *call) error {
	if rt.opener != byOperator && !a.limit.Allow(w.Header(), limitKey(c)) {
		return &pennypost.Error{
			Code: pennypost.CodeTooManyRequests, Status: http.StatusTooManyRequests,
			Text: "Too many requests with this token. Please repeat this one after the time in the Retry-After header.",
		}
	}
	if rt.opener != byServer {
		return nil
	}
	if !rt.need.metBy(c.who) {
		return auth.WrongScope(c.who)
	}
	if rt.mail {
		return auth.MayComeFrom(c.who)
	}
	return nil
}

// limitKey tells callers apart: by token, or those of POSTMARK_API_TEST, which
// all share, by a network of theirs.
func limitKey(c *call) int64 {
	if c.who.TokenID > 0 {
		return int64(c.who.TokenID)
	}
	addr := web.ClientAddr(c.r.Context())
	if addr.Is4() {
		b := addr.As4()
		return -1 - int64(binary.BigEndian.Uint32(b[:]))
	}
	b := addr.As16()
	return -1 - int64(binary.BigEndian.Uint64(b[:8])>>1)
}

// need is what a call of a server needs its token to be for.
type need int8

// The needs. The zero value, which a call has that the table forgot, is the
// narrowest.
const (
	needChange need = iota // a full token that is bound to no stream
	needRead               // full or read-only
	needSend               // full or send-only
	needAny
)

// metBy tells whether a token will do. One that is bound to a stream changes
// nothing: it could make a token that is not.
func (n need) metBy(who pennypost.Caller) bool {
	switch n {
	case needRead:
		return who.Scope.MayRead()
	case needSend:
		return who.Scope.MaySend()
	case needAny:
		return true
	case needChange:
	}
	return who.Scope.MayChange() && who.Stream == ""
}

// needs is the table of what each call of a server needs. Calls that show
// secrets need as much as those that change something.
func needs() map[string]need {
	return map[string]need{
		"POST /email":                                    needSend,
		"POST /email/batch":                              needSend,
		"POST /email/withtemplate":                       needSend,
		"POST /email/batchwithtemplates":                 needSend,
		"POST /email/bulk":                               needSend,
		"GET /email/bulk":                                needAny,
		"GET /email/bulk/{}":                             needAny,
		"POST /email/bulk/{}/cancel":                     needChange,
		"GET /server":                                    needAny,
		"PUT /server":                                    needChange,
		"GET /message-streams":                           needAny,
		"GET /message-streams/{}":                        needAny,
		"POST /message-streams":                          needChange,
		"PATCH /message-streams/{}":                      needChange,
		"POST /message-streams/{}/archive":               needChange,
		"POST /message-streams/{}/unarchive":             needChange,
		"GET /message-streams/{}/suppressions/dump":      needRead,
		"POST /message-streams/{}/suppressions":          needChange,
		"POST /message-streams/{}/suppressions/delete":   needChange,
		"POST /message-streams/{}/suppressions/import":   needChange,
		"GET /message-streams/{}/suppressions/import/{}": needRead,
		"GET /messages/outbound":                         needRead,
		"GET /messages/outbound/{}/details":              needRead,
		"GET /messages/outbound/{}/dump":                 needRead,
		"GET /messages/outbound/{}/explain":              needRead,
		"POST /messages/outbound/{}/cancel":              needChange,
		"DELETE /messages/outbound/{}/cancel":            needChange,
		"GET /templates":                                 needRead,
		"GET /templates/{}":                              needRead,
		"POST /templates":                                needChange,
		"PUT /templates/{}":                              needChange,
		"DELETE /templates/{}":                           needChange,
		"POST /templates/validate":                       needRead,
		"GET /smtp-tokens":                               needRead,
		"POST /smtp-tokens":                              needChange,
		"DELETE /smtp-tokens/{}":                         needChange,
		"POST /smtp-tokens/{}/rotate":                    needChange,
	}
}

// shape is a path with its ids unnamed, in lower case.
func shape(path string) string {
	var b strings.Builder
	for n, seg := range strings.Split(strings.ToLower(path), "/") {
		if n > 0 {
			b.WriteByte('/')
		}
		if strings.HasPrefix(seg, "{") {
			seg = "{}"
		}
		b.WriteString(seg)
	}
	return b.String()
}

// withoutSecrets leaves out of GET /server what would let a token that is
// limited do more: other tokens, and passwords in the addresses of webhooks.
func withoutSecrets(c *call, v any) any {
	s, ok := v.(wireServer)
	if !ok || needChange.metBy(c.who) {
		return v
	}
	s.ApiTokens = []string{strings.ToLower(c.r.Header.Get(serverHeader))}
	for _, hook := range []*string{&s.InboundHookUrl, &s.BounceHookUrl, &s.OpenHookUrl, &s.DeliveryHookUrl, &s.ClickHookUrl} {
		if u, err := url.Parse(*hook); err == nil && u.User != nil {
			u.User = nil
			*hook = u.String()
		}
	}
	return s
}

// wireAddresses is AllowedIps: null is absence, and an empty list empties it.
type wireAddresses struct{ list *[]string }

// UnmarshalJSON reads a list of strings.
func (l *wireAddresses) UnmarshalJSON(b []byte) error {
	*l = wireAddresses{}
	if text := string(b); text == "null" || text == `""` {
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return typeError[wireAddresses]()
	}
	l.list = &list
	return nil
}
