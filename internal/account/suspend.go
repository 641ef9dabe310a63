package account

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// suspension checks the reason, which the customer sees.
func suspension(reason string, now time.Time) (pennypost.Suspension, error) {
	reason = strings.TrimSpace(reason)
	if !validLine(reason, maxReason) {
		return pennypost.Suspension{}, pennypost.Invalid("A 'Reason' of 1 to %d characters in one line must be provided.", maxReason)
	}
	return pennypost.Suspension{Since: now, Reason: reason}, nil
}

// SuspendServer stops a server from sending. Nothing is accepted once this has
// returned; queued mail is held. A server that is suspended gets the new reason.
func (a *Accounts) SuspendServer(ctx context.Context, id pennypost.ServerID, reason string) (*pennypost.Server, error) {
	return a.changeServer(ctx, id, "server suspended", func(s *pennypost.Server, now time.Time) (err error) {
		s.Suspension, err = resuspend(s.Suspension, reason, now)
		return err
	})
}

// ReactivateServer lets a server send again and releases its held mail.
func (a *Accounts) ReactivateServer(ctx context.Context, id pennypost.ServerID) (*pennypost.Server, error) {
	return a.changeServer(ctx, id, "server reactivated", func(s *pennypost.Server, _ time.Time) error {
		s.Suspension = pennypost.Suspension{}
		return nil
	})
}

// resuspend keeps since when a suspension holds.
func resuspend(before pennypost.Suspension, reason string, now time.Time) (pennypost.Suspension, error) {
	s, err := suspension(reason, now)
	if before.Active() {
		s.Since = before.Since
	}
	return s, err
}

func (a *Accounts) changeServer(ctx context.Context, id pennypost.ServerID, what string, change func(*pennypost.Server, time.Time) error) (*pennypost.Server, error) {
	var s *pennypost.Server
	err := a.update(ctx, what, func(tx *store.Tx) error {
		return noteReleases(ctx, tx, func() (err error) {
			if s, err = tx.AnyServer(ctx, id); err != nil {
				return ifMissing(err, errNoServer())
			}
			if err := change(s, tx.Now()); err != nil {
				return err
			}
			return tx.SetServer(ctx, s)
		})
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "suspension changed", "change", what, "server", int64(id), "reason", s.Suspension.Reason)
	return s, a.suspensionChanged(ctx)
}

// SuspendAccount stops all servers of an account, as SuspendServer does one.
func (a *Accounts) SuspendAccount(ctx context.Context, id pennypost.AccountID, reason string) (*pennypost.Account, error) {
	return a.suspendAccount(ctx, id, "account suspended", func(acc *pennypost.Account, now time.Time) (err error) {
		acc.Suspension, err = resuspend(acc.Suspension, reason, now)
		return err
	})
}

// ReactivateAccount lets an account send again and releases the held mail of
// its servers, except of those that are suspended themselves.
func (a *Accounts) ReactivateAccount(ctx context.Context, id pennypost.AccountID) (*pennypost.Account, error) {
	return a.suspendAccount(ctx, id, "account reactivated", func(acc *pennypost.Account, _ time.Time) error {
		acc.Suspension = pennypost.Suspension{}
		return nil
	})
}

func (a *Accounts) suspendAccount(ctx context.Context, id pennypost.AccountID, what string, change func(*pennypost.Account, time.Time) error) (*pennypost.Account, error) {
	var acc *pennypost.Account
	err := a.update(ctx, what, func(tx *store.Tx) error {
		return noteReleases(ctx, tx, func() (err error) {
			if acc, err = tx.Account(ctx, id); err != nil {
				return ifMissing(err, errNoAccount())
			}
			if err := change(acc, tx.Now()); err != nil {
				return err
			}
			return setAccount(ctx, tx, acc)
		})
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "suspension changed", "change", what, "account", int64(id), "reason", acc.Suspension.Reason)
	return acc, a.suspensionChanged(ctx)
}

// noteReleases makes a change, and notes for every server that may send again
// with it, deleted ones too, that its held mail is to be released. For those
// that no longer may it takes the note back.
func noteReleases(ctx context.Context, tx *store.Tx, change func() error) error {
	before, err := tx.SuspendedServers(ctx)
	if err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	after, err := tx.SuspendedServers(ctx)
	if err != nil {
		return err
	}
	for id := range before {
		if _, still := after[id]; !still {
			if err := tx.SetReleaseDue(ctx, id, true); err != nil {
				return err
			}
		}
	}
	for id := range after {
		if _, already := before[id]; !already {
			if err := tx.SetReleaseDue(ctx, id, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// suspensionChanged tells the parts of this process that remember suspensions.
// The change is stored: who is not told learns of it by asking.
func (a *Accounts) suspensionChanged(ctx context.Context) error {
	err := a.conf.Auth.Refresh(ctx)
	if a.conf.SuspensionChanged != nil {
		err = errors.Join(err, a.conf.SuspensionChanged(ctx))
	}
	return err
}

const releaseEvery = time.Second

// releaseHeld has the held mail of reactivated servers released until ctx ends,
// each server's beside the others'.
func (a *Accounts) releaseHeld(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	var mu sync.Mutex
	busy := make(map[pennypost.ServerID]bool)
	every(ctx, releaseEvery, func() {
		due, err := a.releaseDue(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "servers to release not read", "err", err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, id := range due {
			if busy[id] {
				continue
			}
			busy[id] = true
			running.Go(func() {
				if err := a.release(ctx, id); err != nil && ctx.Err() == nil {
					a.log.WarnContext(ctx, "held mail not released", "server", int64(id), "err", err)
				}
				mu.Lock()
				defer mu.Unlock()
				delete(busy, id)
			})
		}
	})
	return nil
}

func (a *Accounts) releaseDue(ctx context.Context) ([]pennypost.ServerID, error) {
	var due []pennypost.ServerID
	err := a.view(ctx, "read servers to release", func(tx *store.Tx) (err error) {
		due, err = tx.ReleaseDue(ctx)
		return err
	})
	return due, err
}

// release has one server's held mail released. The note goes with a pass that
// found none: one that was put back into the held mail meanwhile, by a worker
// that did not know of the reactivation, is found by the next.
func (a *Accounts) release(ctx context.Context, id pennypost.ServerID) error {
	if a.conf.Release != nil {
		if n, err := a.conf.Release(ctx, id); err != nil || n > 0 {
			return err
		}
	}
	return a.update(ctx, "note release", func(tx *store.Tx) error {
		s, err := tx.SuspensionKept(ctx, id)
		if err != nil || s.Active() {
			return err
		}
		return tx.SetReleaseDue(ctx, id, false)
	})
}
