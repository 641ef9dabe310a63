package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

const (
	pollEvery  = 500 * time.Millisecond // other nodes' changes are known within a second
	writeEvery = 30 * time.Second       // last uses of tokens
	perWrite   = 500                    // tokens a transaction
	perCheck   = 500
)

// Run watches for changes that other nodes made, and writes when and from
// where tokens were last used. It returns once ctx has ended and the last uses
// are written.
func (a *Auth) Run(ctx context.Context) error {
	poll, write := time.NewTicker(pollEvery), time.NewTicker(writeEvery)
	defer poll.Stop()
	defer write.Stop()
	failing := false
	for {
		var err error
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := a.writeUses(last); err != nil {
				a.log.WarnContext(ctx, "last uses of tokens not written", "err", err)
			}
			return nil
		case <-poll.C:
			err = a.poll(ctx)
		case <-a.check:
			err = a.checkWatched(ctx)
		case <-write.C:
			err = a.writeUses(ctx)
		}
		// A database that is away is said once, not twice a second.
		if err != nil && !failing && ctx.Err() == nil {
			a.log.WarnContext(ctx, "credentials not refreshed", "err", err)
		}
		failing = err != nil
	}
}

// Refresh forgets what was remembered and closes the channels of revoked
// tokens. Whoever changes a credential, or what it may do, calls it after the
// transaction and before the answer.
func (a *Auth) Refresh(ctx context.Context) error {
	epoch, err := a.readEpoch(ctx)
	if err != nil {
		a.forget(-1) // in doubt nothing is known
		return err
	}
	a.forget(epoch)
	return a.checkWatched(ctx)
}

func (a *Auth) poll(ctx context.Context) error {
	epoch, err := a.readEpoch(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	same := epoch == a.epoch
	a.mu.Unlock()
	if same {
		return nil
	}
	a.forget(epoch)
	if err := a.checkWatched(ctx); err != nil {
		a.forget(-1) // so that the next poll tries again
		return err
	}
	return nil
}

func (a *Auth) readEpoch(ctx context.Context) (int64, error) {
	var epoch int64
	err := a.store.View(ctx, func(tx *store.Tx) (err error) {
		epoch, err = tx.AuthEpoch(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for changed credentials: %w", err)
	}
	return epoch, nil
}

func (a *Auth) forget(epoch int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch = epoch
	a.round++
	a.opened.clear()
	a.mailing.clear()
}

// Revoked gives a channel that is closed once a token opens nothing any more:
// within a second when another node revoked it, at once when this one did, and
// soon when that was before the call.
func (a *Auth) Revoked(token pennypost.TokenID) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch := a.watched[token]
	if ch == nil {
		ch = make(chan struct{})
		a.watched[token] = ch
		select {
		case a.check <- struct{}{}:
		default: // a check is due anyhow
		}
	}
	return ch
}

// checkWatched closes the channels of watched tokens that are revoked.
func (a *Auth) checkWatched(ctx context.Context) error {
	a.mu.Lock()
	ids := slices.Collect(maps.Keys(a.watched))
	a.mu.Unlock()
	for part := range slices.Chunk(ids, perCheck) {
		dead, err := a.dead(ctx, part)
		if err != nil {
			return fmt.Errorf("check tokens in use: %w", err)
		}
		a.mu.Lock()
		for _, id := range dead {
			if ch := a.watched[id]; ch != nil {
				close(ch)
				delete(a.watched, id)
			}
		}
		a.mu.Unlock()
	}
	return nil
}

func (a *Auth) dead(ctx context.Context, ids []pennypost.TokenID) ([]pennypost.TokenID, error) {
	var dead []pennypost.TokenID
	err := a.store.View(ctx, func(tx *store.Tx) error {
		dead = dead[:0]
		for _, id := range ids {
			c, err := tx.TokenByID(ctx, id)
			switch {
			case errors.Is(err, store.ErrNotFound):
				dead = append(dead, id)
			case err != nil:
				return err
			case !c.SMTPOn, c.Kind == pennypost.CallerAPI && !c.APITokenAuth:
				// Those who watch are SMTP sessions.
				dead = append(dead, id)
			}
		}
		return nil
	})
	return dead, err
}

// writeUses writes the last uses that are not in the database yet.
func (a *Auth) writeUses(ctx context.Context) error {
	a.mu.Lock()
	uses := a.used
	a.used = make(map[pennypost.TokenID]use)
	a.mu.Unlock()
	for part := range slices.Chunk(slices.Sorted(maps.Keys(uses)), perWrite) {
		err := a.store.Update(ctx, func(tx *store.Tx) error {
			for _, id := range part {
				if err := tx.SetTokenUsed(ctx, id, uses[id].at, uses[id].ip); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			a.putBack(uses)
			return fmt.Errorf("write last uses of tokens: %w", err)
		}
	}
	return nil
}

func (a *Auth) putBack(uses map[pennypost.TokenID]use) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, u := range uses {
		if _, ok := a.used[id]; !ok && len(a.used) < maxRemembered {
			a.used[id] = u
		}
	}
}
