package account

import (
	"context"
	"slices"

	"pennypost"
	"pennypost/internal/store"
)

// StreamFilter says which streams are listed (contract/streams.md §1).
type StreamFilter struct {
	Type     string // of the streams, in any case; "" or All: each
	Archived bool   // archived ones too
}

// Streams gives the streams of a server.
func (a *Accounts) Streams(ctx context.Context, server pennypost.ServerID, f StreamFilter) ([]pennypost.Stream, error) {
	want := "All"
	if f.Type != "" {
		var ok bool
		want, ok = oneOf(f.Type, "All", string(pennypost.StreamTransactional), string(pennypost.StreamBroadcasts), string(pennypost.StreamInboundType))
		if !ok {
			return nil, pennypost.Refuse(codeStreamFilter, "The 'MessageStreamType' associated with this request was invalid.")
		}
	}
	var list []pennypost.Stream
	err := a.view(ctx, "list streams", func(tx *store.Tx) (err error) {
		list, err = tx.Streams(ctx, server)
		return err
	})
	return slices.DeleteFunc(list, func(s pennypost.Stream) bool {
		return want != "All" && string(s.Type) != want || !f.Archived && !s.ArchivedAt.IsZero()
	}), err
}

// Stream gives a stream of a server, archived ones too.
func (a *Accounts) Stream(ctx context.Context, server pennypost.ServerID, id pennypost.StreamID) (*pennypost.Stream, error) {
	var s *pennypost.Stream
	err := a.view(ctx, "read stream", func(tx *store.Tx) (err error) {
		s, err = tx.Stream(ctx, server, id)
		return ifMissing(err, errNoStream())
	})
	return s, err
}
