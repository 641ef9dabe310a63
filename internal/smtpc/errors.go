package smtpc

import "errors"

// The phases of a conversation.
const (
	PhaseConnect  = "connect"
	PhaseBanner   = "banner"
	PhaseEHLO     = "ehlo"     // and HELO
	PhaseStartTLS = "starttls" // the command and the handshake
	PhaseMail     = "mail"
	PhaseRcpt     = "rcpt"
	PhaseData     = "data" // the answer to DATA
	PhaseBody     = "body" // while the message is written
	PhaseDot      = "dot"  // the answer to the message
	PhaseQuit     = "quit"
)

// Error says that a conversation broke off without a reply that decides.
type Error struct {
	Phase string
	Err   error
	// Ambiguous: all of the message was written and no reply came, so that it
	// may have been delivered or not.
	Ambiguous bool
}

// Error names the phase and the cause.
func (e *Error) Error() string { return e.Phase + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout tells whether the peer took too long.
func (e *Error) Timeout() bool { return timeout(e.Err) }

// ProtocolError says that the peer did what SMTP does not allow, so that
// nothing it says can be trusted.
type ProtocolError struct{ Text string }

// Error gives the text.
func (e *ProtocolError) Error() string { return "protocol error: " + e.Text }

// TLSError says that STARTTLS was offered and came to nothing. The connection
// is of no use; a new one with [Config.FewCurves], then with [Config.NoTLS],
// is what an opportunistic client tries. [Connect] does so.
type TLSError struct {
	Err error
	// Stalled: the handshake timed out or was cut off, which fewer curves may
	// cure.
	Stalled bool
}

// Error gives the cause.
func (e *TLSError) Error() string { return "TLS handshake: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// Errors that say what to do next.
var (
	// ErrStale: the peer had closed the kept connection before this message
	// began. Try again at once on a new one: this was no attempt.
	ErrStale = errors.New("kept connection was closed by the peer")
	// ErrContent: the message cannot be sent as it is (RFC 5321 §2.3.8,
	// §4.5.3.1.6). That is our own fault; nothing was sent.
	ErrContent = errors.New("message content is not fit for SMTP")
	// ErrPath: a path that would break the command. Our own fault.
	ErrPath = errors.New("path is not fit for SMTP")
	// ErrBroken: the connection was of no use any more when Send was called.
	ErrBroken = errors.New("connection is not usable")
)
