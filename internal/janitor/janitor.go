package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

// Config is what a Janitor works with. Store must be set; zero values of the
// others are defaults.
type Config struct {
	Store *store.Store
	Every time.Duration // how often it looks around; an hour
	Rest  time.Duration // between two steps; 50 ms
	Now   func() time.Time
	Log   *slog.Logger
}

// Janitor throws away what is no longer kept.
type Janitor struct {
	conf Config
	log  *slog.Logger
}

// The sizes of a step.
const (
	streamsAtOnce  = 100 // read at a time
	messagesAtOnce = 500 // looked through for jobs at a time
	rowsAtOnce     = 100 // deleted with a transaction, and what belongs to them
	importKept     = 7 * 24 * time.Hour
	importWithin   = time.Hour // an import whose parts have not all come broke off
)

// New makes a Janitor.
func New(c Config) (*Janitor, error) {
	if c.Store == nil {
		return nil, errors.New("janitor: Store must be set")
	}
	if c.Every <= 0 {
		c.Every = time.Hour
	}
	if c.Rest <= 0 {
		c.Rest = 50 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Janitor{conf: c, log: c.Log}, nil
}

// Run looks around at once and then every so often, until ctx ends.
func (j *Janitor) Run(ctx context.Context) error {
	t := time.NewTicker(j.conf.Every)
	defer t.Stop()
	for {
		if err := j.Round(ctx); err != nil && ctx.Err() == nil {
			j.log.WarnContext(ctx, "not all that is old was thrown away", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Round throws away all that is no longer kept now. What fails does not keep
// the rest.
func (j *Janitor) Round(ctx context.Context) error {
	now := j.conf.Now()
	return errors.Join(j.purgeStreams(ctx, now.Add(-pennypost.ArchivedFor)), j.forgetImports(ctx, now))
}

func (j *Janitor) forgetImports(ctx context.Context, now time.Time) error {
	return j.steps(ctx, func(tx *store.Tx) (bool, error) {
		return tx.DeleteImports(ctx, now.Add(-importKept), now.Add(-importWithin))
	})
}

// steps runs a step in transactions until it says that there is no more.
func (j *Janitor) steps(ctx context.Context, step func(tx *store.Tx) (more bool, err error)) error {
	for {
		var more bool
		err := j.conf.Store.UpdateSoon(ctx, func(tx *store.Tx) (err error) {
			more, err = step(tx)
			return err
		})
		if err != nil || !more {
			return err
		}
		if err := j.rest(ctx); err != nil {
			return err
		}
	}
}

func (j *Janitor) rest(ctx context.Context) error {
	t := time.NewTimer(j.conf.Rest)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// purgeStreams walks through all streams that are due: those that wait are in
// nobody's way.
func (j *Janitor) purgeStreams(ctx context.Context, before time.Time) error {
	var all error
	var after *pennypost.Stream
	for {
		var list []pennypost.Stream
		err := j.conf.Store.View(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.ArchivedBefore(ctx, before, after, streamsAtOnce)
			return err
		})
		for i := range list {
			if one := j.purgeStream(ctx, &list[i], before); one != nil {
				err = errors.Join(err, fmt.Errorf("purge stream %q of server %d: %w", list[i].ID, list[i].ServerID, one))
			}
		}
		all = errors.Join(all, err)
		if len(list) < streamsAtOnce || ctx.Err() != nil {
			return all
		}
		after = &list[len(list)-1]
	}
}

func (j *Janitor) purgeStream(ctx context.Context, s *pennypost.Stream, before time.Time) error {
	waiting, err := j.waits(ctx, s)
	if err != nil {
		return err
	}
	if waiting {
		j.log.InfoContext(ctx, "archived stream is kept: mail of it waits", "server", int64(s.ServerID), "stream", string(s.ID))
		return nil
	}
	err = j.steps(ctx, func(tx *store.Tx) (bool, error) { return tx.PurgeStream(ctx, s.ServerID, s.ID, before, rowsAtOnce) })
	if errors.Is(err, store.ErrNotFound) {
		return nil // another process was faster
	}
	if err == nil {
		j.log.InfoContext(ctx, "archived stream purged", "server", int64(s.ServerID), "stream", string(s.ID))
	}
	return err
}

// waits tells whether a message of a stream waits for delivery.
func (j *Janitor) waits(ctx context.Context, s *pennypost.Stream) (bool, error) {
	from := &store.Place{}
	for from != nil {
		var waiting bool
		err := j.conf.Store.Browse(ctx, func(tx *store.Tx) (err error) {
			waiting, from, err = tx.AnyWaiting(ctx, s.ServerID, s.ID, *from, messagesAtOnce)
			return err
		})
		if err != nil || waiting {
			return waiting, err
		}
		if err := j.rest(ctx); err != nil {
			return false, err
		}
	}
	return false, nil
}
