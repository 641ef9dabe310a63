package api

import (
	"context"
	"fmt"

	"pennypost"
	"pennypost/internal/account"
)

// domainItem is the short form of contract/senders.md §1.
type domainItem struct {
	Name                     string
	SPFVerified              bool
	DKIMVerified             bool
	WeakDKIM                 bool
	ReturnPathDomainVerified bool
	CustomTrackingVerified   bool
	ID                       pennypost.DomainID
}

// dkimState are the fields of keys that all full forms share.
type dkimState struct {
	DKIMVerified                  bool
	WeakDKIM                      bool
	DKIMHost                      string
	DKIMTextValue                 string
	DKIMPendingHost               string
	DKIMPendingTextValue          string
	DKIMRevokedHost               string
	DKIMRevokedTextValue          string
	SafeToRemoveRevokedKeyFromDNS bool
	DKIMUpdateStatus              string
}

type spfState struct {
	SPFVerified  bool
	SPFHost      string
	SPFTextValue string
}

// domainState is what a full domain and a full signature have in common
// (contract/senders.md §2, §5).
type domainState struct {
	spfState
	dkimState
	ReturnPathDomain               string
	ReturnPathDomainVerified       bool
	ReturnPathDomainCNAMEValue     string
	CustomTrackingDomain           string
	CustomTrackingDomainCNAMEValue string
	CustomTrackingVerified         bool
}

// ed25519State is ours: a second key beside the RSA one. It is left out while
// the domain has none.
type ed25519State struct {
	DKIMEd25519Host      string `json:",omitempty"`
	DKIMEd25519TextValue string `json:",omitempty"`
	DKIMEd25519Verified  *bool  `json:",omitempty"`
}

type wireDomain struct {
	ID   pennypost.DomainID
	Name string
	domainState
	ed25519State
}

// rotatedDomain is the answer of rotatedkim (contract/senders.md §3).
type rotatedDomain struct {
	Name string
	dkimState
	ID pennypost.DomainID
}

func newDKIMState(k account.DKIM) dkimState {
	return dkimState{
		DKIMVerified: k.Verified, WeakDKIM: k.Weak, DKIMHost: k.Host, DKIMTextValue: k.Text,
		DKIMPendingHost: k.PendingHost, DKIMPendingTextValue: k.PendingText,
		DKIMRevokedHost: k.RevokedHost, DKIMRevokedTextValue: k.RevokedText,
		SafeToRemoveRevokedKeyFromDNS: k.SafeToRemove, DKIMUpdateStatus: k.Status,
	}
}

func (a *API) newSPFState(d *pennypost.Domain) spfState {
	return spfState{
		SPFVerified: d.SPFVerified, SPFHost: d.Name,
		SPFTextValue: "v=spf1 a mx include:" + a.conf.SPFDomain + " ~all",
	}
}

func (a *API) newDomainState(d *pennypost.Domain) domainState {
	s := domainState{
		spfState: a.newSPFState(d), dkimState: newDKIMState(a.conf.Accounts.DKIM(d)),
		ReturnPathDomain: d.ReturnPath, ReturnPathDomainVerified: d.ReturnPathVerified,
		ReturnPathDomainCNAMEValue: a.conf.BounceDomain,
		CustomTrackingDomain:       d.Tracking, CustomTrackingVerified: d.TrackingVerified,
	}
	if d.Tracking != "" {
		s.CustomTrackingDomainCNAMEValue = a.conf.TrackDomain
	}
	return s
}

func (a *API) domainAnswer(d *pennypost.Domain, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	w := wireDomain{ID: d.ID, Name: d.Name, domainState: a.newDomainState(d)}
	if k := a.conf.Accounts.DKIM(d); k.Ed25519Host != "" {
		w.ed25519State = ed25519State{k.Ed25519Host, k.Ed25519Text, &k.Ed25519Verified}
	}
	return w, nil
}

type domainList struct {
	TotalCount int
	Domains    []domainItem
}

// listDomains is GET /domains.
func (a *API) listDomains(ctx context.Context, c *call) (any, error) {
	count, offset, err := c.query.paging(codeSenderPaging, 0)
	if err != nil {
		return nil, err
	}
	domains, total, err := a.conf.Accounts.Domains(ctx, c.who.AccountID, count, offset)
	if err != nil {
		return nil, err
	}
	list := domainList{TotalCount: total, Domains: make([]domainItem, len(domains))}
	for n := range domains {
		d, k := &domains[n], a.conf.Accounts.DKIM(&domains[n])
		list.Domains[n] = domainItem{
			Name: d.Name, SPFVerified: d.SPFVerified, DKIMVerified: k.Verified, WeakDKIM: k.Weak,
			ReturnPathDomainVerified: d.ReturnPathVerified, CustomTrackingVerified: d.TrackingVerified, ID: d.ID,
		}
	}
	return list, nil
}

func (c *call) domain() pennypost.DomainID { return pennypost.DomainID(c.id()) }

// getDomain is GET /domains/{id}.
func (a *API) getDomain(ctx context.Context, c *call) (any, error) {
	return a.domainAnswer(a.conf.Accounts.Domain(ctx, c.who.AccountID, c.domain()))
}

// createDomain is POST /domains.
func (a *API) createDomain(ctx context.Context, c *call) (any, error) {
	var in *account.DomainInput
	if !isEmpty(c.body) {
		var w struct{ Name, ReturnPathDomain, CustomTrackingDomain *string }
		if err := decode(c.body, &w); err != nil {
			return nil, err
		}
		in = &account.DomainInput{Name: w.Name, ReturnPath: w.ReturnPathDomain, Tracking: w.CustomTrackingDomain}
	}
	return a.domainAnswer(a.conf.Accounts.CreateDomain(ctx, c.who.AccountID, in))
}

// editDomain is PUT /domains/{id}, where null clears a name.
func (a *API) editDomain(ctx context.Context, c *call) (any, error) {
	var in *account.DomainInput
	if !isEmpty(c.body) {
		var w struct{ ReturnPathDomain, CustomTrackingDomain clearable }
		if err := decode(c.body, &w); err != nil {
			return nil, err
		}
		in = &account.DomainInput{ReturnPath: w.ReturnPathDomain.text, Tracking: w.CustomTrackingDomain.text}
	}
	return a.domainAnswer(a.conf.Accounts.EditDomain(ctx, c.who.AccountID, c.domain(), in))
}

// deleteDomain is DELETE /domains/{id}.
func (a *API) deleteDomain(ctx context.Context, c *call) (any, error) {
	d, err := a.conf.Accounts.DeleteDomain(ctx, c.who.AccountID, c.domain())
	if err != nil {
		return nil, err
	}
	return done{Message: fmt.Sprintf("Domain %s removed.", d.Name)}, nil
}

// verifyDKIM is PUT /domains/{id}/verifyDkim. It answers 200 also when the
// record is missing, and so do its neighbours.
func (a *API) verifyDKIM(ctx context.Context, c *call) (any, error) {
	return a.domainAnswer(a.conf.Accounts.VerifyDKIM(ctx, c.who.AccountID, c.domain()))
}

// verifyReturnPath is PUT /domains/{id}/verifyReturnPath.
func (a *API) verifyReturnPath(ctx context.Context, c *call) (any, error) {
	return a.domainAnswer(a.conf.Accounts.VerifyReturnPath(ctx, c.who.AccountID, c.domain()))
}

// verifyTracking is PUT /domains/{id}/verifyCustomTracking.
func (a *API) verifyTracking(ctx context.Context, c *call) (any, error) {
	return a.domainAnswer(a.conf.Accounts.VerifyTracking(ctx, c.who.AccountID, c.domain()))
}

// verifySPF is POST /domains/{id}/verifyspf.
func (a *API) verifySPF(ctx context.Context, c *call) (any, error) {
	d, err := a.conf.Accounts.VerifySPF(ctx, c.who.AccountID, c.domain())
	if err != nil {
		return nil, err
	}
	return a.newSPFState(d), nil
}

// rotateDKIM is POST /domains/{id}/rotatedkim.
func (a *API) rotateDKIM(ctx context.Context, c *call) (any, error) {
	d, err := a.conf.Accounts.RotateDKIM(ctx, c.who.AccountID, c.domain())
	if err != nil {
		return nil, err
	}
	return rotatedDomain{Name: d.Name, dkimState: newDKIMState(a.conf.Accounts.DKIM(d)), ID: d.ID}, nil
}

// addEd25519 is POST /domains/{id}/ed25519, which is ours.
func (a *API) addEd25519(ctx context.Context, c *call) (any, error) {
	return a.domainAnswer(a.conf.Accounts.AddEd25519(ctx, c.who.AccountID, c.domain()))
}
