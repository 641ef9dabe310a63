package account

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/store"
)

// Limits of message streams (contract/streams.md §2, §3).
const (
	maxStreams     = 10  // of a server, the first three included, archived ones not
	maxAllStreams  = 100 // archived ones too
	maxStreamID    = 30
	maxStreamName  = 100
	maxDescription = 1000
)

// StreamInput is what a call says of a stream; nil: nothing, and the field
// stays as it is.
type StreamInput struct {
	ID, Name, Description *string
	Type                  *string // MessageStreamType
	Unsubscribe           *string // UnsubscribeHandlingType
}

// CreateStream makes a stream of a server.
func (a *Accounts) CreateStream(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, in *StreamInput) (*pennypost.Stream, error) {
	s := &pennypost.Stream{ServerID: server, RetryFor: retryFor}
	var err error
	if s.ID, err = streamID(in.ID); err != nil {
		return nil, err
	}
	if in.Name == nil {
		return nil, errStreamName()
	}
	if s.Type, err = streamType(in.Type); err != nil {
		return nil, err
	}
	s.Unsubscribe = pennypost.UnsubscribeNone
	if s.Type == pennypost.StreamBroadcasts {
		s.Unsubscribe = pennypost.UnsubscribePostmark
	}
	err = a.update(ctx, "create stream", func(tx *store.Tx) error {
		list, err := tx.StreamsToChange(ctx, server)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(o pennypost.Stream) bool { return o.ID == s.ID }) {
			return errStreamTaken()
		}
		if err := applyStream(ctx, tx, account, s, in); err != nil {
			return err
		}
		if inUse(list) >= maxStreams || len(list) >= maxAllStreams {
			return errTooManyStreams()
		}
		err = tx.AddStream(ctx, s)
		if errors.Is(err, store.ErrConflict) {
			return errStreamTaken()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "stream created", "server", int64(server), "stream", string(s.ID))
	return s, nil
}

func errStreamTaken() *pennypost.Error {
	return pennypost.Refuse(codeStreamTaken, "The 'ID' provided already exists for this server.")
}

func errTooManyStreams() *pennypost.Error {
	return pennypost.Refuse(codeStreamLimit, "You have reached the maximum number of message streams for this server.")
}

func errStreamName() *pennypost.Error {
	return pennypost.Refuse(codeStreamName, "A valid 'Name' must be provided.")
}

func errNoStream() *pennypost.Error {
	return pennypost.Refuse(codeStreamNotFound, "The message stream for the provided 'ID' was not found.")
}

// inUse counts the streams that are not archived.
func inUse(list []pennypost.Stream) int {
	n := 0
	for i := range list {
		if list[i].ArchivedAt.IsZero() {
			n++
		}
	}
	return n
}

// streamID checks the id of a new stream (contract/streams.md §2). Which words
// are reserved is not published; ours are those that would read as no id.
func streamID(given *string) (pennypost.StreamID, error) {
	if given == nil || *given == "" {
		return "", pennypost.Refuse(codeStreamIDMissing, "A valid 'ID' must be provided.")
	}
	id := *given
	if !validStreamID(id) {
		return "", pennypost.Refuse(codeStreamIDFormat, "The 'ID' must be a non-empty string starting with a letter, up to 30 characters.")
	}
	switch lower := strings.ToLower(id); {
	case strings.HasPrefix(lower, "pm-"):
		return "", pennypost.Refuse(codeStreamIDPrefix, "The 'ID' must not start with the 'pm-' prefix.")
	case slices.Contains([]string{"all", "any", "default", "none", "null", "undefined"}, lower):
		return "", pennypost.Refuse(codeStreamIDReserved, "The 'ID' is reserved.")
	}
	return pennypost.StreamID(id), nil
}

func validStreamID(id string) bool {
	if id == "" || len(id) > maxStreamID {
		return false
	}
	for n, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', n == 0 && 'A' <= c && c <= 'Z':
		case n > 0 && ('0' <= c && c <= '9' || c == '-' || c == '_'):
		default:
			return false
		}
	}
	return true
}

func streamType(given *string) (pennypost.StreamType, error) {
	if given != nil {
		typ, ok := oneOf(*given, string(pennypost.StreamTransactional), string(pennypost.StreamBroadcasts), string(pennypost.StreamInboundType))
		switch {
		case ok && typ == string(pennypost.StreamInboundType):
			return "", pennypost.Refuse(codeStreamInbound, "A server can only have one inbound stream.")
		case ok:
			return pennypost.StreamType(typ), nil
		}
	}
	return "", pennypost.Refuse(codeStreamFilter, "The 'MessageStreamType' associated with this request was invalid.")
}

var htmlTag = regexp.MustCompile(`<[A-Za-z/!?][^<>]*>`)

// applyStream takes over what in says beside ID and type.
func applyStream(ctx context.Context, tx *store.Tx, account pennypost.AccountID, s *pennypost.Stream, in *StreamInput) error {
	if in.Name != nil {
		switch {
		case strings.TrimSpace(*in.Name) == "":
			return errStreamName()
		case utf8.RuneCountInString(*in.Name) > maxStreamName:
			return pennypost.Refuse(codeStreamNameLong, "The 'Name' is too long.")
		}
		s.Name = *in.Name
	}
	if in.Description != nil {
		switch {
		case utf8.RuneCountInString(*in.Description) > maxDescription:
			return pennypost.Refuse(codeStreamTextLong, "The 'Description' is too long.")
		case htmlTag.MatchString(*in.Description):
			return pennypost.Refuse(codeStreamTextHTML, "The 'Description' must not contain HTML tags.")
		}
		s.Description = *in.Description
	}
	if in.Unsubscribe == nil || *in.Unsubscribe == "" {
		return nil
	}
	return applyUnsubscribe(ctx, tx, account, s, *in.Unsubscribe)
}

// applyUnsubscribe decides who may handle unsubscribing from a stream
// (contract/streams.md §2).
func applyUnsubscribe(ctx context.Context, tx *store.Tx, account pennypost.AccountID, s *pennypost.Stream, given string) error {
	value, ok := oneOf(given, string(pennypost.UnsubscribeNone), string(pennypost.UnsubscribePostmark), string(pennypost.UnsubscribeCustom))
	if !ok {
		return pennypost.Refuse(codeUnsubscribe, "The 'UnsubscribeHandlingType' associated with this request is invalid.")
	}
	wanted := pennypost.Unsubscribe(value)
	if wanted == s.Unsubscribe {
		return nil
	}
	switch s.Type {
	case pennypost.StreamBroadcasts:
		ok = wanted != pennypost.UnsubscribeNone
	case pennypost.StreamTransactional:
		ok = wanted != pennypost.UnsubscribeCustom
	case pennypost.StreamInboundType:
		ok = wanted == pennypost.UnsubscribeNone
	}
	if !ok {
		return pennypost.Refuse(codeUnsubscribeType, "The 'UnsubscribeHandlingType' provided is not supported for this stream type.")
	}
	if wanted == pennypost.UnsubscribeCustom {
		acc, err := tx.Account(ctx, account)
		if err != nil {
			return err
		}
		if acc.NoCustomUnsubscribe {
			return pennypost.Refuse(codeUnsubscribeRight, "You do not have permission to use Custom Unsubscribe Handling for this stream.")
		}
	}
	s.Unsubscribe = wanted
	return nil
}

// EditStream changes name, description and unsubscribe handling of a stream;
// what else in says is ignored, since a client sends the whole object back
// (contract/streams.md §1).
func (a *Accounts) EditStream(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, id pennypost.StreamID, in *StreamInput) (*pennypost.Stream, error) {
	return a.changeStream(ctx, server, id, "edit stream", func(tx *store.Tx, s *pennypost.Stream, _ []pennypost.Stream) error {
		if in.Name == nil && in.Description == nil && in.Unsubscribe == nil {
			return nil
		}
		s.UpdatedAt = tx.Now()
		return applyStream(ctx, tx, account, s, in)
	})
}

// ArchiveStream takes a stream out of use. Nothing is accepted for it once this
// has returned; what it has is purged when ArchivedFor has passed. A stream that
// is archived stays so, with its time.
func (a *Accounts) ArchiveStream(ctx context.Context, server pennypost.ServerID, id pennypost.StreamID) (*pennypost.Stream, error) {
	return a.changeStream(ctx, server, id, "archive stream", func(tx *store.Tx, s *pennypost.Stream, _ []pennypost.Stream) error {
		if s.Type == pennypost.StreamInboundType || s.ID == pennypost.StreamOutbound {
			return pennypost.Refuse(codeStreamDefault, "You cannot archive the default transactional and inbound streams.")
		}
		if !s.ArchivedAt.IsZero() {
			return nil
		}
		// An import promised that all its entries will be on the list.
		busy, err := tx.Importing(ctx, server, id)
		if err != nil {
			return err
		}
		if busy {
			return pennypost.Refuse(codeStreamBusy, "Stream is unable to be archived at this time.")
		}
		s.ArchivedAt = tx.Now()
		return tx.BumpAuth(ctx)
	})
}

// UnarchiveStream takes a stream back into use while it is not about to be
// purged.
func (a *Accounts) UnarchiveStream(ctx context.Context, server pennypost.ServerID, id pennypost.StreamID) (*pennypost.Stream, error) {
	return a.changeStream(ctx, server, id, "unarchive stream", func(tx *store.Tx, s *pennypost.Stream, list []pennypost.Stream) error {
		switch {
		case s.ArchivedAt.IsZero():
			return nil
		case tx.Now().Sub(s.ArchivedAt) >= pennypost.ArchivedFor:
			return pennypost.Refuse(codeStreamTooLate, "You cannot unarchive this message stream anymore.")
		case inUse(list) >= maxStreams:
			return errTooManyStreams()
		}
		s.ArchivedAt = time.Time{}
		return tx.BumpAuth(ctx)
	})
}

// changeStream changes a stream; change is told of the server's other streams
// too.
func (a *Accounts) changeStream(ctx context.Context, server pennypost.ServerID, id pennypost.StreamID, what string,
	change func(tx *store.Tx, s *pennypost.Stream, list []pennypost.Stream) error,
) (*pennypost.Stream, error) {
	var s pennypost.Stream
	var before bool
	err := a.update(ctx, what, func(tx *store.Tx) error {
		list, err := tx.StreamsToChange(ctx, server)
		if err != nil {
			return err
		}
		n := slices.IndexFunc(list, func(o pennypost.Stream) bool { return o.ID == id })
		if n < 0 {
			return errNoStream()
		}
		s = list[n]
		before = s.ArchivedAt.IsZero()
		if err := change(tx, &s, list); err != nil || s == list[n] {
			return err
		}
		return tx.SetStream(ctx, &s)
	})
	if err != nil {
		return nil, err
	}
	if before == s.ArchivedAt.IsZero() {
		return &s, nil
	}
	a.log.InfoContext(ctx, "stream archived or taken back", "server", int64(server), "stream", string(id), "archived", before)
	return &s, a.conf.Auth.Refresh(ctx)
}
