package api

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"pennypost"
	"pennypost/internal/store"
)

// queueDepth is the mail of one server that waits (docs/api.md), in recipients.
type queueDepth struct {
	ServerID   pennypost.ServerID // 0: mail of our own
	AccountID  pennypost.AccountID
	Name       string
	InDelivery int64 // held by a worker or in its memory
	Waiting    int64 // for their time or their turn
	Held       int64 // server or account is suspended
}

type queueDepths struct {
	InDelivery int64
	Waiting    int64
	Held       int64
	TotalCount int // of servers
	Servers    []queueDepth
}

// queueDepths is GET /operator/queue: the servers with most mail first.
func (a *API) queueDepths(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.pagingOr("100", "0")
	if err != nil {
		return nil, err
	}
	var d queueDepths
	err = a.conf.Store.Browse(ctx, func(tx *store.Tx) error {
		counts, err := tx.QueueCounts(ctx, pennypost.JobDeliver)
		if err != nil {
			return err
		}
		d = sumDepths(counts, count, offset)
		for n := range d.Servers {
			s, err := tx.AnyServer(ctx, d.Servers[n].ServerID)
			if errors.Is(err, store.ErrNotFound) {
				continue // deleted, or our own mail
			}
			if err != nil {
				return err
			}
			d.Servers[n].AccountID, d.Servers[n].Name = s.AccountID, s.Name
		}
		return nil
	})
	return d, err
}

func sumDepths(counts []store.QueueCount, count, offset int) queueDepths {
	slices.SortStableFunc(counts, func(x, y store.QueueCount) int {
		return cmp.Compare(y.Leased+y.Free+y.Held, x.Leased+x.Free+x.Held)
	})
	d := queueDepths{TotalCount: len(counts), Servers: []queueDepth{}}
	for n, c := range counts {
		d.InDelivery += c.Leased
		d.Waiting += c.Free
		d.Held += c.Held
		if n >= offset && len(d.Servers) < count {
			d.Servers = append(d.Servers, queueDepth{ServerID: c.Server, InDelivery: c.Leased, Waiting: c.Free, Held: c.Held})
		}
	}
	return d
}
