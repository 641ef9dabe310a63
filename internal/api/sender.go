package api

import (
	"context"
	"fmt"

	"pennypost"
	"pennypost/internal/account"
)

// senderItem is the short form of contract/senders.md §5.
type senderItem struct {
	Domain              string
	EmailAddress        pennypost.Address
	ReplyToEmailAddress string
	Name                string
	Confirmed           bool
	ID                  pennypost.SenderID
}

type wireSender struct {
	senderItem
	domainState
	ConfirmationPersonalNote string
}

func newSenderItem(s *pennypost.SenderSignature) senderItem {
	return senderItem{
		Domain: s.Address.Domain(), EmailAddress: s.Address, ReplyToEmailAddress: s.ReplyTo,
		Name: s.Name, Confirmed: !s.ConfirmedAt.IsZero(), ID: s.ID,
	}
}

func (a *API) senderAnswer(s *account.Sender, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return wireSender{
		senderItem: newSenderItem(&s.SenderSignature), domainState: a.newDomainState(&s.Domain),
		ConfirmationPersonalNote: s.Note,
	}, nil
}

type senderList struct {
	TotalCount       int
	SenderSignatures []senderItem
}

// listSenders is GET /senders.
func (a *API) listSenders(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.paging(codeSenderPaging, 0)
	if err != nil {
		return nil, err
	}
	senders, total, err := a.conf.Accounts.Senders(ctx, c.who.AccountID, count, offset)
	if err != nil {
		return nil, err
	}
	list := senderList{TotalCount: total, SenderSignatures: make([]senderItem, len(senders))}
	for n := range senders {
		list.SenderSignatures[n] = newSenderItem(&senders[n])
	}
	return list, nil
}

func (c *call) sender() pennypost.SenderID { return pennypost.SenderID(c.id()) }

// senderInput is nil when there is no body. Request and answer name two fields
// differently.
func (c *call) senderInput() (*account.SenderInput, error) {
	if isEmpty(c.body) {
		return nil, nil //nolint:nilnil // nil is how account is told that there was no body
	}
	var w struct{ FromEmail, Name, ReplyToEmail, ReturnPathDomain, ConfirmationPersonalNote *string }
	if err := decode(c.body, &w); err != nil {
		return nil, err
	}
	return &account.SenderInput{
		FromEmail: w.FromEmail, Name: w.Name, ReplyTo: w.ReplyToEmail, ReturnPath: w.ReturnPathDomain,
		Note: w.ConfirmationPersonalNote,
	}, nil
}

// getSender is GET /senders/{id}.
func (a *API) getSender(ctx context.Context, c *call) (any, error) {
	return a.senderAnswer(a.conf.Accounts.Sender(ctx, c.who.AccountID, c.sender()))
}

// createSender is POST /senders; the confirmation mail goes out.
func (a *API) createSender(ctx context.Context, c *call) (any, error) {
	in, err := c.senderInput()
	if err != nil {
		return nil, err
	}
	return a.senderAnswer(a.conf.Accounts.CreateSender(ctx, c.who.AccountID, in))
}

// editSender is PUT /senders/{id}.
func (a *API) editSender(ctx context.Context, c *call) (any, error) {
	in, err := c.senderInput()
	if err != nil {
		return nil, err
	}
	return a.senderAnswer(a.conf.Accounts.EditSender(ctx, c.who.AccountID, c.sender(), in))
}

// deleteSender is DELETE /senders/{id}.
func (a *API) deleteSender(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.DeleteSender(ctx, c.who.AccountID, c.sender())
	if err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("Signature %s removed.", s.Address)}, nil
}

// resendConfirmation is POST /senders/{id}/resend.
func (a *API) resendConfirmation(ctx context.Context, c *call) (any, error) {
	s, err := a.conf.Accounts.ResendConfirmation(ctx, c.who.AccountID, c.sender())
	if err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("Confirmation email for Sender Signature %s was re-sent.", s.Address)}, nil
}

// verifySenderSPF is POST /senders/{id}/verifyspf.
func (a *API) verifySenderSPF(ctx context.Context, c *call) (any, error) {
	return a.senderAnswer(a.conf.Accounts.VerifySenderSPF(ctx, c.who.AccountID, c.sender()))
}

// requestNewDKIM is POST /senders/{id}/requestnewdkim.
func (a *API) requestNewDKIM(ctx context.Context, c *call) (any, error) {
	if _, err := a.conf.Accounts.RotateSenderDKIM(ctx, c.who.AccountID, c.sender()); err != nil {
		return nil, err
	}
	return done{Message: "New DKIM has been requested."}, nil
}
