package auth

import (
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"pennypost"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
)

// Why an SMTP login is refused. Both say nothing of the reason; that is in the
// log.
var (
	// ErrCredentials: no such user name and password.
	ErrCredentials = errors.New("wrong credentials")
	// ErrThrottled: too many failures from this address.
	ErrThrottled = errors.New("too many failed logins")
)

// Config is what an Auth works with. Store and Keys must be set.
type Config struct {
	Store *store.Store
	Keys  *Keys
	// OperatorToken is the operator's token when a setting gives it; else that
	// whose hash the database keeps opens the operator API.
	OperatorToken Secret

	Now     func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Set
}

// Auth tells who is calling. It is safe for any number of goroutines.
type Auth struct {
	store    *store.Store
	keys     *Keys
	operator Secret
	now      func() time.Time
	log      *slog.Logger
	refused  *metrics.Counter

	throttle *throttle
	seed     maphash.Seed

	mu    sync.Mutex
	epoch int64
	// round grows whenever what is remembered is forgotten, so that a look-up
	// that began before is not remembered after.
	round   int64
	opened  *bounded[openKey, opened]
	mailing *bounded[pennypost.TokenID, mailing]
	watched map[pennypost.TokenID]chan struct{}
	used    map[pennypost.TokenID]use
	check   chan struct{} // a token was newly watched
}

// New makes an Auth.
func New(c Config) (*Auth, error) {
	if c.Store == nil || c.Keys == nil {
		return nil, errors.New("auth: Store and Keys must be set")
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Auth{
		store: c.Store, keys: c.Keys, operator: c.OperatorToken, now: c.Now, log: c.Log,
		refused:  c.Metrics.Counter("credentials_refused", "Credentials refused, by reason.", "reason"),
		throttle: newThrottle(c.Now), seed: maphash.MakeSeed(),
		opened:  newBounded[openKey, opened](maxRemembered),
		mailing: newBounded[pennypost.TokenID, mailing](maxRemembered),
		watched: make(map[pennypost.TokenID]chan struct{}), used: make(map[pennypost.TokenID]use),
		check: make(chan struct{}, 1),
	}, nil
}
