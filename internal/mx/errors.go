package mx

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Kind says why there is no answer.
type Kind int8

// The kinds.
const (
	// NoName: the name does not exist (NXDOMAIN).
	NoName Kind = iota + 1
	// NoRecord: the name exists and has no record of the type.
	NoRecord
	// Temporary: the answer could not be had, or not be used.
	Temporary
)

// String says it in words.
func (k Kind) String() string {
	switch k {
	case NoName:
		return "no such name"
	case NoRecord:
		return "no such record"
	case Temporary:
		return "no answer"
	}
	return fmt.Sprintf("Kind(%d)", int8(k))
}

// Sentinels for errors.Is, one of each [Kind].
var (
	ErrNoName    = errors.New("no such name")
	ErrNoRecord  = errors.New("no such record")
	ErrTemporary = errors.New("no answer from DNS")
)

// Error says that a question has no answer. It is also a *net.DNSError, for
// those who look for one.
type Error struct {
	Name string
	Type string // such as "MX"
	Kind Kind
	Err  error // why, when Temporary
}

// Error names question and cause.
func (e *Error) Error() string {
	text := e.Type + " " + e.Name + ": " + e.Kind.String()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is knows the sentinels.
func (e *Error) Is(target error) bool {
	switch e.Kind {
	case NoName:
		return target == ErrNoName
	case NoRecord:
		return target == ErrNoRecord
	case Temporary:
		return target == ErrTemporary
	}
	return false
}

// As makes a *net.DNSError.
func (e *Error) As(target any) bool {
	d, ok := target.(**net.DNSError)
	if ok {
		*d = &net.DNSError{Err: e.Kind.String(), Name: e.Name, IsNotFound: e.Kind != Temporary, IsTemporary: e.Kind == Temporary}
	}
	return ok
}

// Failure says that mail for a domain, or to a host, cannot go now or at all,
// as a mail server would say it.
type Failure struct { //nolint:errname // as an error it is what a mail server would say
	Permanent bool
	Code      int    // basic code
	Enhanced  string // enhanced status code (RFC 3463)
	Text      string
	cause     error // why there is no answer; nil when there was one
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.cause }

// Error gives it as a reply.
func (f *Failure) Error() string { return strconv.Itoa(f.Code) + " " + f.Enhanced + " " + f.Text }

func permanent(code int, enhanced, format string, args ...any) *Failure {
	return &Failure{Permanent: true, Code: code, Enhanced: enhanced, Text: fmt.Sprintf(format, args...)}
}

func noDomain(domain string) *Failure {
	return permanent(550, "5.1.2", "no such domain: %q", clip(domain))
}

func noAnswer(err error) *Failure {
	return &Failure{Code: 451, Enhanced: "4.4.3", Text: err.Error(), cause: err}
}

func clip(s string) string { return s[:min(len(s), 255)] }
