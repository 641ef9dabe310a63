package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// errEnded says that a part ended which should run until it is told to stop.
var errEnded = errors.New("ended by itself")

// stage is a set of parts that run and end together. Its context ends when one
// of them fails.
type stage struct {
	group *errgroup.Group
	ctx   context.Context //nolint:containedctx // that of the parts, which end asks to stop
	stop  context.CancelFunc
}

func newStage(base context.Context) *stage {
	ctx, stop := context.WithCancel(base)
	group, ctx := errgroup.WithContext(ctx)
	return &stage{group: group, ctx: ctx, stop: stop}
}

func (s *stage) start(name string, run func(ctx context.Context) error) {
	s.group.Go(func() error {
		err := run(s.ctx)
		switch {
		case s.ctx.Err() != nil && errors.Is(err, context.Canceled):
			return nil
		case err == nil && s.ctx.Err() == nil:
			err = errEnded
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// end stops the parts and waits for them.
func (s *stage) end() error {
	s.stop()
	return s.group.Wait()
}
