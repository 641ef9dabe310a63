package api

import (
	"context"
	"fmt"

	"pennypost"
)

// cancelOutbound is POST /messages/outbound/{id}/cancel (docs/api.md). A message
// that was cancelled before is answered like one that is now: clients repeat
// calls whose answer they missed.
func (a *API) cancelOutbound(ctx context.Context, c *call) (any, error) {
	id, err := pennypost.ParseMessageID(c.ids[0])
	if err != nil {
		return nil, errMessageUnknown()
	}
	if _, err := a.conf.Door.Cancel(ctx, c.who.ServerID, id); err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("Message %s was cancelled.", id)}, nil
}
