package account

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
)

// Limits of SMTP tokens (design: user's model).
const (
	maxSMTPTokens  = 20 // live ones of a stream, and of a server bound to none
	maxSecrets     = 2  // live ones of a token
	defaultOverlap = 24 * time.Hour
	leastOverlap   = time.Hour
	mostOverlap    = 7 * 24 * time.Hour
)

// SMTPTokenInput is what a call says of a new token. A nil *SMTPTokenInput is a
// call without a body.
type SMTPTokenInput struct {
	Label  string
	Stream string // MessageStream; "": bound to none
}

// NewSMTPToken is a token with the secret that is shown this once.
type NewSMTPToken struct {
	pennypost.SMTPToken
	Username string // the Server ID
	Secret   auth.Secret
}

// CreateSMTPToken makes a token of a server of the account.
func (a *Accounts) CreateSMTPToken(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, in *SMTPTokenInput) (*NewSMTPToken, error) {
	if in == nil {
		return nil, pennypost.Refuse(codeSMTPTokenNoBody, "No SMTP token data received.")
	}
	label := strings.TrimSpace(in.Label)
	if !validLine(label, maxLabel) {
		return nil, pennypost.Refuse(codeSMTPTokenLength, "A 'Label' of 1 to %d characters must be provided.", maxLabel)
	}
	out := newSMTPToken(server)
	err := a.update(ctx, "create SMTP token", func(tx *store.Tx) error {
		s, err := tokenServer(ctx, tx, account, server)
		if err != nil {
			return err
		}
		if !s.SMTPActivated {
			return pennypost.Refuse(codeSMTPOff, "SMTP is disabled on this server.")
		}
		typ, err := tokenStream(ctx, tx, server, pennypost.StreamID(in.Stream))
		if err != nil {
			return err
		}
		out.SMTPToken = pennypost.SMTPToken{
			AccountID: account, ServerID: server, Stream: pennypost.StreamID(in.Stream), Label: label,
			AccessKey: auth.NewAccessKey(server, pennypost.StreamID(in.Stream), typ),
		}
		n, err := tx.CountSMTPTokens(ctx, server, out.Stream)
		if err != nil {
			return err
		}
		if n >= maxSMTPTokens {
			return pennypost.Refuse(codeSMTPTokenLimit, "The stream has %d SMTP tokens already. Revoke one first.", n)
		}
		return tx.AddSMTPToken(ctx, &out.SMTPToken, a.secretHash(out.Secret))
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "SMTP token created", "server", int64(server), "token", int64(out.ID))
	return out, nil
}

func newSMTPToken(server pennypost.ServerID) *NewSMTPToken {
	return &NewSMTPToken{Username: strconv.FormatInt(int64(server), 10), Secret: auth.NewSMTPSecret()}
}

func (a *Accounts) secretHash(s auth.Secret) []byte {
	return a.conf.Keys.Hash(auth.PurposeSMTPSecret, s.Reveal())
}

func tokenServer(ctx context.Context, tx *store.Tx, account pennypost.AccountID, server pennypost.ServerID) (*pennypost.Server, error) {
	s, err := tx.Server(ctx, account, server)
	return s, ifMissing(err, pennypost.Refuse(codeSMTPTokenServer, "This server was not found."))
}

// tokenStream gives the type of the stream that a token is to be bound to.
func tokenStream(ctx context.Context, tx *store.Tx, server pennypost.ServerID, id pennypost.StreamID) (pennypost.StreamType, error) {
	if id == "" {
		return "", nil
	}
	s, err := tx.Stream(ctx, server, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", pennypost.Refuse(codeSMTPTokenStream, "The message stream for the provided 'MessageStream' was not found.")
	case err != nil:
		return "", err
	case s.Type == pennypost.StreamInboundType:
		return "", pennypost.Refuse(codeSMTPTokenInbound, "SMTP tokens are not supported for inbound streams.")
	case !s.ArchivedAt.IsZero():
		return "", pennypost.Refuse(codeSMTPTokenArchive, "The message stream is archived.")
	}
	return s.Type, nil
}

// SMTPTokens gives the tokens of a server of the account, revoked ones too.
func (a *Accounts) SMTPTokens(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID) ([]pennypost.SMTPToken, error) {
	var list []pennypost.SMTPToken
	err := a.view(ctx, "list SMTP tokens", func(tx *store.Tx) error {
		_, err := tokenServer(ctx, tx, account, server)
		if err == nil {
			list, err = tx.SMTPTokens(ctx, server)
		}
		return err
	})
	return list, err
}

func errNoSMTPToken() *pennypost.Error {
	return pennypost.Refuse(codeSMTPTokenUnknown, "This SMTP token was not found.")
}

// RevokeSMTPToken ends a token. Nothing is accepted with it once this has
// returned, and its sessions end.
func (a *Accounts) RevokeSMTPToken(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, id pennypost.TokenID) (*pennypost.SMTPToken, error) {
	var t *pennypost.SMTPToken
	err := a.update(ctx, "revoke SMTP token", func(tx *store.Tx) error {
		if _, err := tokenServer(ctx, tx, account, server); err != nil {
			return err
		}
		if err := tx.RevokeSMTPToken(ctx, server, id); err != nil {
			return ifMissing(err, errNoSMTPToken())
		}
		var err error
		t, err = tx.SMTPToken(ctx, server, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "SMTP token revoked", "server", int64(server), "token", int64(id))
	return t, a.conf.Auth.Refresh(ctx)
}

// RotateSMTPToken gives a token a new secret. The one before works for the
// overlap, 0 being a day.
func (a *Accounts) RotateSMTPToken(ctx context.Context, account pennypost.AccountID, server pennypost.ServerID, id pennypost.TokenID, overlap time.Duration) (*NewSMTPToken, error) {
	if overlap == 0 {
		overlap = defaultOverlap
	}
	if overlap < leastOverlap || overlap > mostOverlap {
		return nil, pennypost.Refuse(codeSMTPTokenLength, "The overlap must be from 1 hour to 7 days.")
	}
	out := newSMTPToken(server)
	err := a.update(ctx, "rotate SMTP token", func(tx *store.Tx) error {
		if _, err := tokenServer(ctx, tx, account, server); err != nil {
			return err
		}
		t, err := tx.SMTPToken(ctx, server, id)
		if err != nil {
			return ifMissing(err, errNoSMTPToken())
		}
		if !t.RevokedAt.IsZero() {
			return errNoSMTPToken()
		}
		out.SMTPToken = *t
		return a.rotateSecret(ctx, tx, id, out.Secret, overlap)
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "SMTP token rotated", "server", int64(server), "token", int64(id))
	return out, a.conf.Auth.Refresh(ctx)
}

func (a *Accounts) rotateSecret(ctx context.Context, tx *store.Tx, id pennypost.TokenID, s auth.Secret, overlap time.Duration) error {
	live, err := tx.SMTPSecrets(ctx, id)
	if err != nil {
		return err
	}
	if len(live) >= maxSecrets {
		return pennypost.Refuse(codeSMTPTokenLimit,
			"The SMTP token was rotated already and has %d secrets until %s. Revoke it if it must end at once.",
			len(live), firstEnd(live).UTC().Format(time.RFC3339))
	}
	if err := tx.ExpireSMTPSecrets(ctx, id, tx.Now().Add(overlap)); err != nil {
		return err
	}
	return tx.AddSMTPSecret(ctx, id, a.secretHash(s))
}

// firstEnd tells when the first of some secrets ends.
func firstEnd(list []store.SMTPSecret) time.Time {
	var end time.Time
	for _, s := range list {
		if !s.ExpiresAt.IsZero() && (end.IsZero() || s.ExpiresAt.Before(end)) {
			end = s.ExpiresAt
		}
	}
	return end
}
