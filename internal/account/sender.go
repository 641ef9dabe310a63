package account

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/eml"
	"pennypost/internal/store"
)

const maxNote = 400 // contract/senders.md §5

// SenderInput is what a call says of a signature; nil: it says nothing.
// FromEmail counts when one is made. A nil *SenderInput is a call without a
// body.
type SenderInput struct {
	FromEmail, Name, ReplyTo, ReturnPath, Note *string
}

// Sender is a signature with the state of its domain.
type Sender struct {
	pennypost.SenderSignature
	Domain pennypost.Domain
}

// Senders gives a page of an account's signatures, and how many there are.
func (a *Accounts) Senders(ctx context.Context, account pennypost.AccountID, count, offset int) ([]pennypost.SenderSignature, int, error) {
	var list []pennypost.SenderSignature
	var total int
	err := a.view(ctx, "list senders", func(tx *store.Tx) (err error) {
		list, total, err = tx.Senders(ctx, account, count, offset)
		return err
	})
	return list, total, err
}

// Sender gives a signature of an account.
func (a *Accounts) Sender(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID) (*Sender, error) {
	var s *Sender
	err := a.view(ctx, "read sender", func(tx *store.Tx) (err error) {
		s, err = sender(ctx, tx, account, id)
		return err
	})
	return s, err
}

func sender(ctx context.Context, tx *store.Tx, account pennypost.AccountID, id pennypost.SenderID) (*Sender, error) {
	s, err := tx.Sender(ctx, account, id)
	if err != nil {
		return nil, ifMissing(err, errNoSender())
	}
	d, err := tx.Domain(ctx, account, s.DomainID)
	if err != nil {
		return nil, err
	}
	return &Sender{SenderSignature: *s, Domain: *d}, nil
}

// CreateSender makes a signature, with keys for its domain, and mails the link
// that confirms it.
func (a *Accounts) CreateSender(ctx context.Context, account pennypost.AccountID, in *SenderInput) (*Sender, error) {
	if in == nil {
		return nil, errNoSenderData()
	}
	box, err := fromEmail(in)
	if err != nil {
		return nil, err
	}
	s := pennypost.SenderSignature{AccountID: account, Address: pennypost.Address(box.Addr())}
	names, err := a.applySender(&s, box.Domain, in)
	if err != nil {
		return nil, err
	}
	if s.Name == "" {
		return nil, pennypost.Refuse(codeSenderMissing, "Name is a required field to create a Sender Signature.")
	}
	if err := a.view(ctx, "look for sender", func(tx *store.Tx) error { return checkSenderNew(ctx, tx, account, s.Address) }); err != nil {
		return nil, err
	}
	key, err := a.newKey(pennypost.AlgorithmRSA)
	if err != nil {
		return nil, err
	}
	out := &Sender{SenderSignature: s}
	link := auth.NewLinkToken()
	err = a.update(ctx, "create sender", func(tx *store.Tx) error {
		if err := a.addSender(ctx, tx, out, box.Domain, key, names); err != nil {
			return err
		}
		return a.addConfirmation(ctx, tx, &out.SenderSignature, link)
	})
	if errors.Is(err, store.ErrConflict) {
		return nil, errSenderExists()
	}
	if err != nil {
		return nil, err
	}
	if err := a.mailLink(ctx, box, &out.SenderSignature, link); err != nil {
		a.undoSender(ctx, &out.SenderSignature, link)
		return nil, err
	}
	a.log.InfoContext(ctx, "sender added", "account", int64(account), "sender", int64(out.ID))
	return out, nil
}

func errNoSenderData() *pennypost.Error {
	return pennypost.Refuse(codeNoSenderData, "No update data or signature data received.")
}

func errSenderExists() *pennypost.Error {
	return pennypost.Refuse(codeSenderExists, "This signature already exists.")
}

func checkSenderNew(ctx context.Context, tx *store.Tx, account pennypost.AccountID, addr pennypost.Address) error {
	if _, err := tx.Account(ctx, account); err != nil {
		return ifMissing(err, errNoAccount())
	}
	exists, err := tx.SenderExists(ctx, account, addr)
	if err == nil && exists {
		err = errSenderExists()
	}
	return err
}

// addSender stores a signature; its domain is made, unlisted, if the account
// has none of that name.
func (a *Accounts) addSender(ctx context.Context, tx *store.Tx, out *Sender, domain string, key pennypost.DKIMKey, names subdomains) error {
	account := out.AccountID
	if err := checkSenderNew(ctx, tx, account, out.Address); err != nil {
		return err
	}
	id, err := ensureDomain(ctx, tx, account, domain, key)
	if err != nil {
		return err
	}
	d, err := tx.Domain(ctx, account, id)
	if err != nil {
		return err
	}
	if names.returnPath != nil {
		names.apply(d)
		if err := tx.SetDomain(ctx, d, tx.Now().Add(firstCheck)); err != nil {
			return err
		}
	}
	out.DomainID, out.Domain = id, *d
	return tx.AddSender(ctx, &out.SenderSignature)
}

// undoSender takes a signature back whose mail could not be stored, so that the
// call can be repeated.
func (a *Accounts) undoSender(ctx context.Context, s *pennypost.SenderSignature, link auth.Secret) {
	ctx = context.WithoutCancel(ctx)
	err := a.update(ctx, "undo sender", func(tx *store.Tx) error {
		if err := tx.RemoveConfirmation(ctx, a.linkHash(link)); err != nil {
			return err
		}
		return removeSender(ctx, tx, s)
	})
	if err != nil {
		a.log.WarnContext(ctx, "sender stays without its confirmation mail", "sender", int64(s.ID), "err", err)
	}
}

// removeSender deletes a signature, and its domain if it came with it.
func removeSender(ctx context.Context, tx *store.Tx, s *pennypost.SenderSignature) error {
	if err := tx.DeleteSender(ctx, s.AccountID, s.ID); err != nil {
		return err
	}
	n, err := tx.SendersInDomain(ctx, s.AccountID, s.DomainID)
	if err != nil || n > 0 {
		return err
	}
	d, err := tx.Domain(ctx, s.AccountID, s.DomainID)
	if err != nil || d.Listed {
		return err
	}
	return tx.DeleteDomain(ctx, s.AccountID, d.ID)
}

// fromEmail reads the address of a new signature.
func fromEmail(in *SenderInput) (eml.Mailbox, error) {
	if !given(in.FromEmail) {
		return eml.Mailbox{}, pennypost.Refuse(codeSenderMissing, "FromEmail is a required field to create a Sender Signature.")
	}
	box, err := bareAddress("FromEmail", *in.FromEmail)
	if err != nil {
		return box, err
	}
	// The documentation's domain is nobody's (RFC 2606 §3; contract/senders.md §7).
	switch box.Domain {
	case "example.com", "example.net", "example.org":
		return box, errAddress("FromEmail")
	}
	if isPublicDomain(box.Domain) {
		return box, pennypost.Refuse(codePublicDomain, "You can't use public domain emails or public domains.")
	}
	return box, nil
}

// bareAddress reads an address without a display name.
func bareAddress(field, s string) (eml.Mailbox, error) {
	if len(s) > maxName {
		return eml.Mailbox{}, errLong(field, maxName)
	}
	box, err := eml.ParseMailbox(s)
	if err != nil || box.Name != "" || strings.ContainsAny(s, "<>") {
		return eml.Mailbox{}, errAddress(field)
	}
	return box, nil
}

func errAddress(field string) *pennypost.Error {
	return pennypost.Refuse(codeSenderFormat, "%s is not a valid email address.", field)
}

func errLong(field string, most int) *pennypost.Error {
	return pennypost.Refuse(codeSenderLong, "%s must be %d characters or less.", field, most)
}

// applySender checks the input and puts it into s; an empty name is as good as
// none.
func (a *Accounts) applySender(s *pennypost.SenderSignature, domain string, in *SenderInput) (subdomains, error) {
	if given(in.Name) {
		if utf8.RuneCountInString(*in.Name) > maxName {
			return subdomains{}, errLong("Name", maxName)
		}
		name := strings.TrimSpace(*in.Name)
		if name != "" && !validLine(name, maxName) {
			return subdomains{}, pennypost.Refuse(codeSenderFormat, "Name is not valid.")
		}
		s.Name = name
	}
	if in.ReplyTo != nil {
		s.ReplyTo = ""
		if *in.ReplyTo != "" {
			box, err := bareAddress("ReplyToEmail", *in.ReplyTo)
			if err != nil {
				return subdomains{}, err
			}
			s.ReplyTo = box.Addr()
		}
	}
	if in.Note != nil {
		if utf8.RuneCountInString(*in.Note) > maxNote {
			return subdomains{}, errLong("ConfirmationPersonalNote", maxNote)
		}
		s.Note = cleanNote(*in.Note)
	}
	return a.subdomains(domain, &DomainInput{ReturnPath: in.ReturnPath})
}

// cleanNote takes control characters other than line ends out of a note.
func cleanNote(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// EditSender changes what in says of a signature.
func (a *Accounts) EditSender(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID, in *SenderInput) (*Sender, error) {
	if in == nil || in.Name == nil && in.ReplyTo == nil && in.ReturnPath == nil && in.Note == nil {
		return nil, errNoSenderData()
	}
	var out *Sender
	err := a.update(ctx, "edit sender", func(tx *store.Tx) error {
		var err error
		if out, err = sender(ctx, tx, account, id); err != nil {
			return err
		}
		names, err := a.applySender(&out.SenderSignature, out.Domain.Name, in)
		if err != nil {
			return err
		}
		if names.returnPath != nil {
			names.apply(&out.Domain)
			if err := tx.SetDomain(ctx, &out.Domain, tx.Now().Add(firstCheck)); err != nil {
				return err
			}
		}
		return tx.SetSender(ctx, &out.SenderSignature)
	})
	return out, err
}

// DeleteSender deletes a signature; links that were mailed for it no longer
// work. It gives the signature for the answer.
func (a *Accounts) DeleteSender(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID) (*pennypost.SenderSignature, error) {
	var s *pennypost.SenderSignature
	err := a.update(ctx, "delete sender", func(tx *store.Tx) error {
		var err error
		if s, err = tx.Sender(ctx, account, id); err != nil {
			return ifMissing(err, errNoSender())
		}
		return removeSender(ctx, tx, s)
	})
	return s, err
}

// VerifySenderSPF is VerifySPF for the domain of a signature.
func (a *Accounts) VerifySenderSPF(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID) (*Sender, error) {
	var out *Sender
	err := a.update(ctx, "verify SPF", func(tx *store.Tx) (err error) {
		if out, err = sender(ctx, tx, account, id); err != nil {
			return err
		}
		out.Domain.SPFVerified = true
		return tx.SetDomain(ctx, &out.Domain, nextCheck(&out.Domain, tx.Now()))
	})
	return out, err
}

// RotateSenderDKIM is RotateDKIM for the domain of a signature.
func (a *Accounts) RotateSenderDKIM(ctx context.Context, account pennypost.AccountID, id pennypost.SenderID) (*Sender, error) {
	s, err := a.Sender(ctx, account, id)
	if err != nil {
		return nil, err
	}
	d, err := a.rotate(ctx, &s.Domain)
	if err != nil {
		return nil, err
	}
	s.Domain = *d
	return s, nil
}
