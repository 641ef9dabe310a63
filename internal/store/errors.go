package store

import (
	"context"
	"errors"
	"fmt"
)

// What callers tell apart. Everything else that a method returns is a fault of
// the program or of the database.
var (
	// ErrNotFound: there is no such row, or it belongs to someone else.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a row with that key is there already.
	ErrConflict = errors.New("exists already")
	// ErrStale: what was read before has changed meanwhile.
	ErrStale = errors.New("changed meanwhile")
	// ErrLeaseLost: the job is no longer ours; its result must not be written.
	ErrLeaseLost = errors.New("lease lost")
	// ErrDamaged: a checksum does not fit what was read.
	ErrDamaged = errors.New("damaged in the database")
	// ErrUnavailable: a fault of our own that may pass, and nothing was
	// written: the database is busy or away, the disk is full.
	ErrUnavailable = errors.New("database unavailable")
	// ErrUnknown: the COMMIT failed in a way that leaves open whether it took
	// effect. It is never an ErrUnavailable.
	ErrUnknown = errors.New("outcome of the commit unknown")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// PanicError is what Update panics with when a closure panicked on another
// goroutine.
type PanicError struct {
	Value any    // what the closure panicked with; nil when it ended its goroutine
	Stack []byte // where
}

// Error tells value and place of the panic.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic in a transaction: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap gives the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// statementError is an error of a statement. It ends its transaction: on
// PostgreSQL the server sees to that, on SQLite Tx does, so that both behave
// alike.
type statementError struct {
	err  error // what the caller sees
	lost bool  // SQLite may have rolled the whole transaction back
}

func (e *statementError) Error() string { return e.err.Error() }
func (e *statementError) Unwrap() error { return e.err }

// ended tells whether an error is that of a context.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
