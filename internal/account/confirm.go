package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

// ErrLink says that a confirmation link is unknown, used or too old.
var ErrLink = errors.New("confirmation link is unknown, used or too old")

// Limits of confirmation mails (design: user's model).
const (
	mailsPerAddress = 3 // in mailWindow, by whichever account
	mailsPerAccount = 50
	mailWindow      = 24 * time.Hour
	linkLife        = 7 * 24 * time.Hour
)

// ConfirmPath is where confirmation links lead; the token follows.
const ConfirmPath = "/confirm/"

// Confirmation is what the page behind a link names.
type Confirmation struct {
	Account string
	Address pennypost.Address
}

// Confirmation tells what a link would confirm, and changes nothing: mail
// scanners follow every link. ErrLink.
func (a *Accounts) Confirmation(ctx context.Context, token string) (*Confirmation, error) {
	var c *Confirmation
	err := a.view(ctx, "read confirmation", func(tx *store.Tx) (err error) {
		_, c, err = a.toConfirm(ctx, tx, token)
		return err
	})
	return c, err
}

// Confirm confirms the signature that a link is for. ErrLink.
func (a *Accounts) Confirm(ctx context.Context, token string) (*Confirmation, error) {
	var c *Confirmation
	var s *pennypost.SenderSignature
	err := a.update(ctx, "confirm sender", func(tx *store.Tx) error {
		var err error
		if s, c, err = a.toConfirm(ctx, tx, token); err != nil {
			return err
		}
		err = tx.ConfirmSender(ctx, s)
		if errors.Is(err, store.ErrNotFound) {
			return ErrLink
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "sender confirmed", "account", int64(s.AccountID), "sender", int64(s.ID))
	return c, nil
}

func (a *Accounts) toConfirm(ctx context.Context, tx *store.Tx, token string) (*pennypost.SenderSignature, *Confirmation, error) {
	for _, h := range a.conf.Keys.Hashes(auth.PurposeConfirm, token) {
		s, acc, err := tx.SenderToConfirm(ctx, h)
		switch {
		case err == nil:
			return s, &Confirmation{Account: acc.Name, Address: s.Address}, nil
		case !errors.Is(err, store.ErrNotFound):
			return nil, nil, err
		}
	}
	return nil, nil, ErrLink
}

// ResendConfirmation mails a new link; earlier ones work on. It gives the
// signature for the answer.
func (a *Accounts) ResendConfirmation(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID) (*pennypost.SenderSignature, error) {
	var s *pennypost.SenderSignature
	link := auth.NewLinkToken()
	err := a.update(ctx, "resend confirmation", func(tx *store.Tx) error {
		var err error
		if s, err = tx.Sender(ctx, account, id); err != nil {
			return ifMissing(err, errNoSender())
		}
		if !s.ConfirmedAt.IsZero() {
			return pennypost.Refuse(codeConfirmed, "This Sender Signature has already been confirmed.")
		}
		return a.addConfirmation(ctx, tx, s, link)
	})
	if err != nil {
		return nil, err
	}
	box, err := eml.ParseMailbox(string(s.Address))
	if err != nil {
		return nil, fmt.Errorf("address of sender %d: %w", id, err)
	}
	if err := a.mailLink(ctx, box, s, link); err != nil {
		a.undoConfirmation(ctx, link)
		return nil, err
	}
	return s, nil
}

func (a *Accounts) undoConfirmation(ctx context.Context, link auth.Secret) {
	ctx = context.WithoutCancel(ctx)
	err := a.update(ctx, "undo confirmation", func(tx *store.Tx) error {
		return tx.RemoveConfirmation(ctx, a.linkHash(link))
	})
	if err != nil {
		a.log.WarnContext(ctx, "confirmation mail that was not sent counts", "err", err)
	}
}

func (a *Accounts) linkHash(link auth.Secret) []byte {
	return a.conf.Keys.Hash(auth.PurposeConfirm, link.Reveal())
}

// addConfirmation notes a mail before it is sent, unless there were too many.
func (a *Accounts) addConfirmation(ctx context.Context, tx *store.Tx, s *pennypost.SenderSignature, link auth.Secret) error {
	now := tx.Now()
	toAddress, byAccount, err := tx.Confirmations(ctx, s.AccountID, s.Address, now.Add(-mailWindow))
	if err != nil {
		return err
	}
	if toAddress >= mailsPerAddress || byAccount >= mailsPerAccount {
		return &pennypost.Error{
			Code: pennypost.CodeTooManyRequests, Status: http.StatusTooManyRequests,
			Text: "Too many confirmation emails were sent within a day. Please try again later.",
		}
	}
	return tx.AddConfirmation(ctx, s, a.linkHash(link), now.Add(linkLife))
}

// mailLink sends the link to the address that it is to confirm.
func (a *Accounts) mailLink(ctx context.Context, to eml.Mailbox, s *pennypost.SenderSignature, link auth.Secret) error {
	var acc *pennypost.Account
	err := a.view(ctx, "read account", func(tx *store.Tx) (err error) {
		acc, err = tx.Account(ctx, s.AccountID)
		return err
	})
	if err != nil {
		return err
	}
	to.Name = ""
	err = a.conf.Send(ctx, Mail{
		To:      to,
		Subject: fmt.Sprintf("Please confirm: may %s be used to send mail?", s.Address),
		Text:    a.linkText(acc, s, a.conf.PublicURL+ConfirmPath+link.Reveal()),
	})
	if err != nil {
		return fmt.Errorf("send confirmation mail: %w", err)
	}
	return nil
}

// linkText is the body of the mail. Whoever gets it may never have heard of us.
func (a *Accounts) linkText(acc *pennypost.Account, s *pennypost.SenderSignature, link string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The account \"%s\" at %s asks to send mail from the address\n\n    %s\n\n",
		withoutLinks(acc.Name), a.conf.Hostname, s.Address)
	fmt.Fprintf(&b, "If that is right, open this page and press its button:\n\n%s\n\n", link)
	fmt.Fprintf(&b, "The link works once and until %s UTC.\n", a.now().Add(linkLife).UTC().Format("2 January 2006, 15:04"))
	b.WriteString("If you do not know who asks, do nothing: without your confirmation no mail is sent from the address.\n")
	if note := strings.TrimSpace(withoutLinks(s.Note)); note != "" {
		b.WriteString("\nWho asks wrote to you:\n\n")
		for line := range strings.Lines(note) {
			b.WriteString("> " + strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	return b.String()
}

// linkLike finds what mail programs turn into links: anything with a scheme, and
// names with a dot before a word of letters, with what hangs on them.
var linkLike = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*:[^\s]+|[^\s<>"'(),;]*[\pL\pN]\.[\pL][\pL\pN-]+[^\s<>"',;)]*`)

// withoutLinks takes out what could be followed: the text is somebody else's.
func withoutLinks(s string) string { return linkLike.ReplaceAllString(s, "[link removed]") }
