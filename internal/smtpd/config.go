package smtpd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/inbound"
	"pennypost/internal/metrics"
	"pennypost/internal/submit"
)

// Config is what a Server needs. Hostname, TLS, Authenticate and Accept must be
// set; the rest works at its zero value.
type Config struct {
	// Hostname stands in the banner and in the answer to EHLO.
	Hostname string
	// TLS has the certificate. Versions below 1.2 are never spoken.
	TLS *tls.Config
	// AuthOnLoopback allows AUTH without TLS to clients on a loopback address.
	AuthOnLoopback bool

	// Authenticate tells who holds the credentials. Of its errors
	// auth.ErrCredentials and auth.ErrThrottled are known, and every error with
	// the method SMTPReply() (code int, enhanced, text string); anything else is
	// our fault. It logs why it refused.
	Authenticate func(ctx context.Context, user, password string, ip netip.Addr) (pennypost.Caller, error)
	// MailAllowed is asked at MAIL; a *pennypost.Error refuses. Nil allows.
	MailAllowed func(ctx context.Context, c pennypost.Caller) error
	// Open is asked at MAIL and DATA, before a message is sent to us; an error
	// refuses it for now. Nil: mail is always taken.
	Open func(ctx context.Context) error
	// Revoked gives a channel that is closed once the token was revoked, also
	// when that was before the call. Nil: none ever is.
	Revoked func(token pennypost.TokenID) <-chan struct{}
	// Accept stores a message; when it returns without error the message is on
	// stable storage. It must not keep the message's octets.
	Accept func(ctx context.Context, c pennypost.Caller, r *submit.Raw) (*submit.Accepted, error)
	// Refused is told of a message that came whole, or as far as it was read, and
	// is refused for its octets or its size, after AUTH. If it gives no error a
	// message that is not too large is answered as accepted. Nil: nobody wants to
	// know.
	Refused func(ctx context.Context, c pennypost.Caller, r *submit.Raw, why *pennypost.Error) (*submit.Accepted, error)
	// Expect is told of a message that is on its way to Accept, as submit.Door's;
	// what it gives is called when the message is in. Nil: nobody wants to know.
	Expect func() (met func())
	// Inbound takes mail addressed to us. Nil: none is.
	Inbound Inbound

	Limits  Limits
	Metrics *metrics.Set
	Log     *slog.Logger
	Now     func() time.Time
}

// Inbound takes mail that is addressed to us, as *inbound.Box does.
type Inbound interface {
	// Check says whether a recipient is ours: nil, inbound.ErrUnknown or
	// inbound.ErrForeign; anything else is our fault.
	Check(ctx context.Context, rcpt eml.Mailbox) error
	// Store puts the mail on stable storage.
	Store(ctx context.Context, m *inbound.Mail) (pennypost.MessageID, error)
}

// Limits bound what a client can take. A zero field has the default in
// brackets.
type Limits struct {
	Connections int // in all [4000]
	PerAddress  int // of one IPv4 address or IPv6 /64 [50]

	Size        int64 // octets of a message, as announced by SIZE [20480000]
	Memory      int64 // octets of all messages being received: half for one address, a quarter for strangers [256 MiB]
	Recipients  int   // of one message after AUTH [50]
	Strangers   int   // recipients of one message without AUTH [100]
	Refused     int   // recipients refused before we close [100]
	HeaderSize  int   // octets of the header block [256 KiB]
	HeaderLines int   // its lines [1000]

	Wrong       int // wrong commands before we close [10]
	Idle        int // commands that do nothing before we close [100]
	AuthFailure int // failed logins before we close [3]

	Handshake  time.Duration // for TLS [10 s]
	Command    time.Duration // from the first to the last octet of a line [60 s]
	Wait       time.Duration // for a command before AUTH [60 s]
	AuthWait   time.Duration // for a command after AUTH [300 s]
	Session    time.Duration // since the start or the last accepted message [30 min]
	RateWindow time.Duration // in which RateOctets of a message must come [30 s]
	RateOctets int           // [1024]
	Patience   time.Duration // for memory to take the rest of a message, after AUTH [5 s]
	Write      time.Duration // for the peer to take our replies [60 s]
	Accept     time.Duration // for storing a message [60 s]
	Grace      time.Duration // for transactions when the server stops [10 s]
}

func (l Limits) withDefaults() Limits {
	or(&l.Connections, 4000)
	or(&l.PerAddress, 50)
	or(&l.Size, 20480000)
	or(&l.Memory, 256<<20)
	or(&l.Recipients, 50)
	or(&l.Strangers, 100)
	or(&l.Refused, 100)
	or(&l.HeaderSize, 256<<10)
	or(&l.HeaderLines, 1000)
	or(&l.Wrong, 10)
	or(&l.Idle, 100)
	or(&l.AuthFailure, 3)
	or(&l.Handshake, 10*time.Second)
	or(&l.Command, time.Minute)
	or(&l.Wait, time.Minute)
	or(&l.AuthWait, 5*time.Minute)
	or(&l.Session, 30*time.Minute)
	or(&l.RateWindow, 30*time.Second)
	or(&l.RateOctets, 1024)
	or(&l.Patience, 5*time.Second)
	or(&l.Write, time.Minute)
	or(&l.Accept, time.Minute)
	or(&l.Grace, 10*time.Second)
	return l
}

func or[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Listener is a socket and what is spoken on it.
type Listener struct {
	net.Listener
	// ImplicitTLS: the handshake comes first (RFC 8314 §3.3; port 465).
	ImplicitTLS bool
	// Inbound: mail to us is taken without AUTH (port 25).
	Inbound bool
}
