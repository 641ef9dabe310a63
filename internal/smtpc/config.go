package smtpc

import (
	"crypto/tls"
	"time"
)

// Config says how conversations are held. Only Hostname must be set.
type Config struct {
	// Hostname is the name that we greet with.
	Hostname string
	// TLS is what the TLS configuration starts from; nil is an empty one. Its
	// RootCAs verify the peer, which is recorded and never required.
	TLS *tls.Config
	// NoTLS leaves STARTTLS alone, and Why says the reason for [Info.TLSNote].
	NoTLS bool
	Why   string
	// FewCurves offers the key exchanges X25519, P-256 and P-384 alone: the
	// hello then fits one packet.
	FewCurves bool
	Timeouts  Timeouts
	// Now measures the phases; nil means time.Now. Deadlines are those of the
	// real clock, which is the one that connections compare them with.
	Now func() time.Time
	// MaxConversation bounds [Info.Conversation] in octets; 0 is 16 KiB.
	MaxConversation int
}

func (c *Config) clock() func() time.Time {
	if c.Now == nil {
		return time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	return c.Now
}

// Timeouts bound each phase. A zero value takes what RFC 5321 §4.5.3.2 asks
// for at least, or our choice where it names nothing.
type Timeouts struct {
	Banner time.Duration // §4.5.3.2.1: 5 min
	Hello  time.Duration // not named: 5 min
	// StartTLS bounds the handshake alone: 30 s, our choice, since another
	// try follows in any case. The command itself has Hello's time.
	StartTLS time.Duration
	Mail     time.Duration // §4.5.3.2.2: 5 min
	Rcpt     time.Duration // §4.5.3.2.3: 5 min
	Data     time.Duration // §4.5.3.2.4: 2 min
	Block    time.Duration // §4.5.3.2.5: 3 min for each write of message text
	Dot      time.Duration // §4.5.3.2.6: 10 min
	// Cleanup bounds what no outcome depends on any more: QUIT, and the
	// replies that are left once a recipient was refused. 10 s, our choice.
	Cleanup time.Duration
	// Session bounds all of a message together, the greeting included when it
	// is the connection's first: 30 min, our choice. A peer that answers every
	// command just in time would otherwise hold us for longer.
	Session time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&t.Banner, 5*time.Minute)
	set(&t.Hello, 5*time.Minute)
	set(&t.StartTLS, 30*time.Second)
	set(&t.Mail, 5*time.Minute)
	set(&t.Rcpt, 5*time.Minute)
	set(&t.Data, 2*time.Minute)
	set(&t.Block, 3*time.Minute)
	set(&t.Dot, 10*time.Minute)
	set(&t.Cleanup, 10*time.Second)
	set(&t.Session, 30*time.Minute)
	return t
}
