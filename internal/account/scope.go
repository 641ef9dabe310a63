package account

import (
	"context"
	"errors"
	"strings"

	"pennypost"
	"pennypost/internal/store"
)

// APITokenInput is what a call says of a new API token.
type APITokenInput struct {
	Label  string
	Scope  string // "": full
	Stream string // MessageStream; "": bound to none
}

// scopeOf checks the scope of a new token. Account tokens have none, and what
// sends nothing is bound to no stream.
func scopeOf(server pennypost.ServerID, in APITokenInput) (pennypost.Scope, error) {
	if server == 0 && (in.Scope != "" || in.Stream != "") {
		return "", pennypost.Invalid("Only tokens of a server have a 'Scope' or a 'MessageStream'.")
	}
	if in.Scope == "" {
		return pennypost.ScopeFull, nil
	}
	for _, s := range []pennypost.Scope{pennypost.ScopeFull, pennypost.ScopeSend, pennypost.ScopeRead} {
		if !strings.EqualFold(in.Scope, string(s)) {
			continue
		}
		if in.Stream != "" && !s.MaySend() {
			return "", pennypost.Invalid("A token with the 'Scope' read-only sends nothing and cannot be bound to a 'MessageStream'.")
		}
		return s, nil
	}
	return "", pennypost.Invalid("The 'Scope' must be full, send-only or read-only.")
}

// boundStream refuses to bind a token to a stream that does not send, in the
// words of a message that names it.
func boundStream(ctx context.Context, tx *store.Tx, server pennypost.ServerID, id pennypost.StreamID) error {
	if id == "" {
		return nil
	}
	if !validLine(string(id), maxLabel) {
		return errScopeStream(id)
	}
	s, err := tx.Stream(ctx, server, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errScopeStream(id)
	case err != nil:
		return err
	case s.Type == pennypost.StreamInboundType:
		return pennypost.Refuse(pennypost.CodeStreamType, "Sending is not supported for this stream type.")
	case !s.ArchivedAt.IsZero():
		return pennypost.Refuse(pennypost.CodeStreamUnknown, "The stream provided: '%s' has been archived on this server.", id)
	}
	return nil
}

func errScopeStream(id pennypost.StreamID) *pennypost.Error {
	text := []rune(strings.ToValidUTF8(string(id), "\uFFFD"))
	if len(text) > maxLabel {
		text = text[:maxLabel]
	}
	return pennypost.Refuse(pennypost.CodeStreamUnknown, "The stream provided: '%s' does not exist on this server.", string(text))
}
