package auth

import (
	"context"
	"crypto/subtle"
	"fmt"
	"hash/maphash"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"pennypost"
	"pennypost/internal/store"
)

// APITokenError says that the password is a valid API token where an SMTP
// token is wanted. Whoever holds that token may know.
type APITokenError struct {
	ServerID pennypost.ServerID
}

// Error gives the text of the reply.
func (e *APITokenError) Error() string {
	return fmt.Sprintf("Error: this is an API token, which does not open SMTP here; create an SMTP token"+
		" (console: SMTP Credentials, API: POST /smtp-tokens) and log in with user name %d and its secret,"+
		" or set SmtpApiTokenAuth on the server and give the API token as user name and password", e.ServerID)
}

// SMTPReply is the reply: RFC 4954 §6, RFC 3463 (X.7.8).
func (e *APITokenError) SMTPReply() (code int, enhanced, text string) { return 535, "5.7.8", e.Error() }

// Why a login failed, as the log says it; the client never hears which.
const (
	whyWrongSecret = "wrong_secret"
	whyUnknownUser = "unknown_user"
	whyRevoked     = "revoked"
	whyExpired     = "expired"
	whyOtherServer = "other_server"
	whyOtherToken  = "other_token"
	whySMTPOff     = "smtp_off"
	whyAPIToken    = "api_token"
	whyThrottled   = "throttled"
	whyScope       = "scope"
)

// SMTP tells whose user name and password these are. They are one of
//
//	Server ID            secret of an SMTP token of the server
//	access key           secret of that SMTP token
//	server API token     the same token, where the server allows it
//
// The caller is a CallerSMTP in all three. Errors are ErrCredentials,
// ErrThrottled and *APITokenError; anything else is our own fault.
func (a *Auth) SMTP(ctx context.Context, user, password string, ip netip.Addr) (pennypost.Caller, error) {
	if a.throttle.waits(ip, user) {
		a.refused.Add(1, whyThrottled)
		return pennypost.Caller{}, ErrThrottled
	}
	l := &login{user: user, password: password}
	round := a.recall(l)
	if l.judge() != "" {
		// Whatever is refused was looked up, each time in the same way.
		if err := a.lookUp(ctx, l); err != nil {
			return pennypost.Caller{}, fmt.Errorf("check SMTP login: %w", err)
		}
		if why := l.judge(); why != "" {
			return pennypost.Caller{}, a.refuse(ctx, l, ip, why)
		}
		a.remember(a.keyOf(l.smtp != nil, l.secret()), l.opens(), round)
	}
	a.throttle.succeeded(ip, user)
	from := ip.Unmap().String()
	a.noteUse(l.opens().TokenID, from)
	return callerOf(l.opens(), pennypost.CallerSMTP, from), nil
}

// recall sets what the password was found to open a short while ago, and gives
// the round to hand to remember.
func (a *Auth) recall(l *login) int64 {
	cred, round, ok := a.remembered(a.keyOf(true, l.password))
	if ok {
		l.smtp = &cred
		return round
	}
	if cred, _, ok := a.remembered(a.keyOf(false, strings.ToLower(l.password))); ok {
		l.api = &cred
	}
	return round
}

// login is one attempt and what the database knows of it.
type login struct {
	user, password string
	smtp, api      *store.Credential // what the password opens
	trace          store.LoginTrace
}

// lookUp finds what the password opens as an SMTP secret and as an API token,
// and what the log wants to know.
func (a *Auth) lookUp(ctx context.Context, l *login) error {
	l.smtp, l.api = nil, nil
	return a.store.View(ctx, func(tx *store.Tx) (err error) {
		if l.smtp, err = a.find(ctx, tx, true, l.password); err != nil {
			return err
		}
		if l.api, err = a.find(ctx, tx, false, strings.ToLower(l.password)); err != nil {
			return err
		}
		key := l.user
		if !accessKey.MatchString(key) {
			key = ""
		}
		l.trace, err = tx.TraceLogin(ctx, l.server(), key, a.keys.Hash(PurposeSMTPSecret, l.password))
		return err
	})
}

// server gives the user name as a Server ID, or 0.
func (l *login) server() pennypost.ServerID {
	n, err := strconv.ParseInt(l.user, 10, 32)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != l.user {
		return 0
	}
	return pennypost.ServerID(n)
}

// secret gives the password in the form that it is hashed in: API tokens are
// compared without regard to case.
func (l *login) secret() string {
	if l.smtp != nil {
		return l.password
	}
	return strings.ToLower(l.password)
}

// opens gives what a login that judge passed opens.
func (l *login) opens() *store.Credential {
	if l.smtp != nil {
		return l.smtp
	}
	return l.api
}

// judge gives the reason to refuse, "" for none.
func (l *login) judge() string {
	switch {
	case l.smtp != nil:
		return l.judgeSMTP()
	case l.api != nil && l.api.Kind == pennypost.CallerAPI:
		return l.judgeAPI()
	case l.trace.Revoked:
		return whyRevoked
	case l.trace.Expired:
		return whyExpired
	case l.trace.User:
		return whyWrongSecret
	}
	return whyUnknownUser
}

func (l *login) judgeSMTP() string {
	switch {
	case l.server() == l.smtp.ServerID,
		l.smtp.AccessKey != "" && subtle.ConstantTimeCompare([]byte(l.user), []byte(l.smtp.AccessKey)) == 1:
	case l.server() != 0:
		return whyOtherServer
	default:
		return whyOtherToken
	}
	if !l.smtp.SMTPOn {
		return whySMTPOff
	}
	return ""
}

// judgeAPI decides on an API token as password: with itself as user name, or
// with its own Server ID, which is explained and no more.
func (l *login) judgeAPI() string {
	same := strings.EqualFold(l.user, l.password)
	switch {
	case !same && l.server() != l.api.ServerID:
		if l.server() != 0 {
			return whyOtherServer
		}
		return whyOtherToken
	case !l.api.SMTPOn:
		return whySMTPOff
	case !l.api.Scope.MaySend():
		return whyScope
	case same && l.api.APITokenAuth:
		return ""
	}
	return whyAPIToken
}

// refuse counts and logs a failed login. What holders of a real secret do wrong
// is no guess and does not count.
func (a *Auth) refuse(ctx context.Context, l *login, ip netip.Addr, why string) error {
	a.refused.Add(1, why)
	attrs := []any{"reason", why, "ip", ip.Unmap().String()}
	if id := l.server(); id != 0 {
		attrs = append(attrs, "server", int64(id))
	} else if accessKey.MatchString(l.user) {
		attrs = append(attrs, "access_key", l.user)
	}
	a.log.InfoContext(ctx, "SMTP login refused", attrs...)
	switch why {
	case whyAPIToken:
		return &APITokenError{ServerID: l.api.ServerID}
	case whySMTPOff, whyScope:
		return ErrCredentials
	}
	var guess maphash.Hash
	guess.SetSeed(a.seed)
	_, _ = guess.WriteString(l.user + "\x00" + l.password)
	if a.throttle.failed(ip, l.user, guess.Sum64()) {
		a.log.WarnContext(ctx, "SMTP logins slowed down", "ip", ip.Unmap().String())
	}
	return ErrCredentials
}

// accessKey is the form of access keys. No other user name is logged: people
// put secrets there.
var accessKey = regexp.MustCompile(`^PM-[TBS]-[a-z0-9_-]{1,40}-[A-Za-z0-9]{22}$`)
