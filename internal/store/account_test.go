package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// fails runs a change that is to fail, in a transaction of its own.
func fails(t *testing.T, st *store.Store, what string, want error, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	wantErr(t, what, st.Update(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }), want)
}

func newServer(account pennypost.AccountID, name string) *pennypost.Server {
	return &pennypost.Server{
		AccountID: account, Name: name, Color: "red", SMTPActivated: true, SMTPAPITokenAuth: true, SMTPRejection: pennypost.RejectAccept,
		RawEmail: true, InboundHash: "hash of " + name, InboundDomain: "in." + name + ".example", InboundHookURL: "https://a.example/in",
		SpamThreshold: 5, BounceHookURL: "b", OpenHookURL: "c", DeliveryHookURL: "d", ClickHookURL: "e", PostFirstOpenOnly: true,
		TrackOpens: true, TrackLinks: pennypost.TrackTextOnly, BounceContent: true, SMTPErrorHooks: true, MonthlyLimit: 7,
	}
}

func TestAccounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		a := &pennypost.Account{Name: "Acme", Plan: "Free", MonthlyLimit: 100, Pending: true, NoDeletes: true}
		b := &pennypost.Account{Name: "Other", Plan: pennypost.PlanUnlimited}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.AddAccount(ctx, a), tx.AddAccount(ctx, b))
		})
		a.Name, a.Plan, a.MonthlyLimit, a.Pending, a.NoDeletes = "Acme Ltd", "Big", 0, false, false
		a.Suspension = pennypost.Suspension{Since: micro(time.Now()), Reason: "unpaid"}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.SetAccount(ctx, a) })
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Account(ctx, a.ID)
			if d := cmp.Diff(a, got, cmpopts.EquateApproxTime(time.Microsecond)); d != "" {
				t.Error(d)
			}
			if err != nil {
				return err
			}
			list, total, err := tx.Accounts(ctx, 1, 1)
			if total != 2 || len(list) != 1 || list[0].ID != b.ID {
				t.Errorf("%d in all, the second page is %+v", total, list)
			}
			_, missing := tx.Account(ctx, 99)
			wantErr(t, "no account", missing, store.ErrNotFound)
			return err
		})
		fails(t, st, "no account", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error {
			return tx.SetAccount(ctx, &pennypost.Account{ID: 99})
		})
	})
}

func TestServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		a := &pennypost.Account{Name: "Acme"}
		s, other := newServer(1, "Ünit 100%"), newServer(1, "other")
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.AddAccount(ctx, a), tx.AddServer(ctx, s), tx.AddServer(ctx, other))
		})
		fails(t, st, "the name in another case", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddServer(ctx, newServer(1, "ÜNIT 100%"))
		})
		s.Name, s.Color, s.TrackOpens, s.MonthlyLimit = "Renamed", "blue", false, 0
		s.Suspension = pennypost.Suspension{Since: micro(time.Now()), Reason: "abuse"}
		epoch := number(t, st, `SELECT n FROM sequences WHERE name = 'auth'`)
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.SetServer(ctx, s) })
		if got := number(t, st, `SELECT n FROM sequences WHERE name = 'auth'`); got <= epoch {
			t.Error("the change was not told to those who keep credentials")
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Server(ctx, 1, s.ID)
			if d := cmp.Diff(s, got, cmpopts.EquateApproxTime(time.Microsecond)); d != "" {
				t.Error(d)
			}
			_, foreign := tx.Server(ctx, 2, s.ID)
			wantErr(t, "another account's server", foreign, store.ErrNotFound)
			if _, err := tx.AnyServer(ctx, s.ID); err != nil {
				return err
			}
			for name, want := range map[string]bool{"renamed": true, "nobody": false} {
				taken, err := tx.ServerNameTaken(ctx, 1, name, other.ID)
				if taken != want || err != nil {
					t.Errorf("name %s is taken: %v, %v", name, taken, err)
				}
			}
			taken, err2 := tx.InboundDomainTaken(ctx, s.InboundDomain, other.ID)
			if !taken {
				t.Error("the inbound domain is free")
			}
			list, total, err3 := tx.Servers(ctx, 1, "NAME", 10, 0)
			if total != 1 || len(list) != 1 || list[0].ID != s.ID {
				t.Errorf("found %+v", list)
			}
			ids, err4 := tx.ServerIDs(ctx, 1)
			if len(ids) != 2 {
				t.Errorf("servers are %v", ids)
			}
			suspension, err5 := tx.Suspension(ctx, s.ID)
			suspended, err6 := tx.SuspendedServers(ctx)
			if suspension.Reason != "abuse" || len(suspended) != 1 || suspended[s.ID].Reason != "abuse" {
				t.Errorf("suspended are %v", suspended)
			}
			return errors.Join(err, err2, err3, err4, err5, err6)
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			a.Suspension = pennypost.Suspension{Since: tx.Now(), Reason: "unpaid"}
			return errors.Join(tx.SetAccount(ctx, a), tx.SetReleaseDue(ctx, other.ID, true), tx.DeleteServer(ctx, 1, s.ID))
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, gone := tx.AnyServer(ctx, s.ID)
			wantErr(t, "a deleted server", gone, store.ErrNotFound)
			suspension, err := tx.Suspension(ctx, other.ID)
			if suspension.Reason != "unpaid" {
				t.Errorf("the account's suspension is %+v", suspension)
			}
			due, err2 := tx.ReleaseDue(ctx)
			if d := cmp.Diff([]pennypost.ServerID{other.ID}, due); d != "" {
				t.Error(d)
			}
			return errors.Join(err, err2)
		})
		fails(t, st, "a deleted server", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.SetServer(ctx, s) })
		fails(t, st, "a deleted server", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteServer(ctx, 1, s.ID) })
		update(t, st, func(ctx context.Context, tx *store.Tx) error { // its name is free again
			again := newServer(1, "renamed")
			return errors.Join(tx.AddServer(ctx, again), tx.SetReleaseDue(ctx, other.ID, false))
		})
	})
}

func TestStreams(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		s := &pennypost.Stream{
			ServerID: 1, ID: "news", Type: pennypost.StreamBroadcasts, Name: "News", Description: "all", Unsubscribe: pennypost.UnsubscribeCustom,
			RetryFor: 72 * time.Hour,
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.AddStream(ctx, s) })
		fails(t, st, "the same stream", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			again := *s
			return tx.AddStream(ctx, &again)
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Stream(ctx, 1, "news")
			if d := cmp.Diff(s, got, cmpopts.EquateApproxTime(time.Microsecond)); d != "" {
				t.Error(d)
			}
			_, foreign := tx.Stream(ctx, 2, "news")
			wantErr(t, "another server's stream", foreign, store.ErrNotFound)
			list, err2 := tx.Streams(ctx, 1)
			if len(list) != 1 {
				t.Errorf("streams are %+v", list)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestAPITokens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		s := newServer(1, "a")
		server, account := &pennypost.APIToken{AccountID: 1, Label: "one"}, &pennypost.APIToken{AccountID: 1}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddServer(ctx, s); err != nil {
				return err
			}
			server.ServerID = s.ID
			return errors.Join(tx.AddAPIToken(ctx, server, []byte("hash 1"), []byte("sealed 1")), tx.AddAPIToken(ctx, account, []byte("hash 2"), []byte("sealed 2")))
		})
		fails(t, st, "the same hash", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddAPIToken(ctx, &pennypost.APIToken{AccountID: 2}, []byte("hash 1"), []byte("x"))
		})
		used := micro(time.Now())
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.SetTokenUsed(ctx, server.ID, used, "192.0.2.1")
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			c, err := tx.TokenByHash(ctx, []byte("hash 1"))
			want := &store.Credential{TokenID: server.ID, AccountID: 1, ServerID: s.ID, Kind: pennypost.CallerAPI, SMTPOn: true, APITokenAuth: true}
			if d := cmp.Diff(want, c); d != "" {
				t.Error(d)
			}
			_, unknown := tx.TokenByHash(ctx, []byte("hash 3"))
			wantErr(t, "an unknown token", unknown, store.ErrNotFound)
			c, err2 := tx.TokenByID(ctx, account.ID)
			if err2 == nil && c.Kind != pennypost.CallerAccount {
				t.Errorf("the account's token is of kind %d", c.Kind)
			}
			list, err3 := tx.APITokens(ctx, 1, s.ID)
			if len(list) != 1 || string(list[0].Sealed) != "sealed 1" || list[0].Label != "one" || !list[0].LastUsedAt.Equal(used) || list[0].LastUsedIP != "192.0.2.1" {
				t.Errorf("tokens are %+v", list)
			}
			list, err4 := tx.APITokens(ctx, 1, 0)
			if len(list) != 1 || list[0].ID != account.ID {
				t.Errorf("the account's tokens are %+v", list)
			}
			return errors.Join(err, err2, err3, err4)
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeToken(ctx, 1, s.ID, server.ID) })
		fails(t, st, "revoked twice", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeToken(ctx, 1, s.ID, server.ID) })
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, revoked := tx.TokenByHash(ctx, []byte("hash 1"))
			wantErr(t, "a revoked token", revoked, store.ErrNotFound)
			return nil
		})
	})
}

func TestSMTPTokens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		s := newServer(1, "a")
		tok := &pennypost.SMTPToken{AccountID: 1, Stream: "news", Label: "mailer", AccessKey: "PM-T-news-x"}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddServer(ctx, s); err != nil {
				return err
			}
			tok.ServerID = s.ID
			return tx.AddSMTPToken(ctx, tok, []byte("secret 1"))
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.ExpireSMTPSecrets(ctx, tok.ID, tx.Now().Add(time.Hour)), tx.AddSMTPSecret(ctx, tok.ID, []byte("secret 2")),
				tx.SetTokenUsed(ctx, tok.ID, tx.Now(), "192.0.2.1"))
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			for _, secret := range []string{"secret 1", "secret 2"} {
				c, err := tx.SMTPSecretByHash(ctx, []byte(secret))
				if err != nil {
					return err
				}
				want := &store.Credential{
					TokenID: tok.ID, AccountID: 1, ServerID: s.ID, Kind: pennypost.CallerSMTP, Stream: "news", AccessKey: tok.AccessKey,
					SMTPOn: true, APITokenAuth: true,
				}
				if d := cmp.Diff(want, c); d != "" {
					t.Error(d)
				}
			}
			secrets, err := tx.SMTPSecrets(ctx, tok.ID)
			if len(secrets) != 2 || secrets[0].ExpiresAt.IsZero() || !secrets[1].ExpiresAt.IsZero() {
				t.Errorf("secrets are %+v", secrets)
			}
			n, err2 := tx.CountSMTPTokens(ctx, s.ID, "news")
			if n != 1 {
				t.Errorf("%d tokens of the stream", n)
			}
			got, err3 := tx.SMTPToken(ctx, s.ID, tok.ID)
			if err3 == nil && (got.Label != "mailer" || got.LastUsedIP != "192.0.2.1" || got.AccessKey != tok.AccessKey) {
				t.Errorf("the token is %+v", got)
			}
			list, err4 := tx.SMTPTokens(ctx, s.ID)
			if len(list) != 1 {
				t.Errorf("tokens are %+v", list)
			}
			trace, err5 := tx.TraceLogin(ctx, s.ID, tok.AccessKey, []byte("secret 1"))
			if d := cmp.Diff(store.LoginTrace{User: true}, trace); d != "" {
				t.Error(d)
			}
			return errors.Join(err, err2, err3, err4, err5)
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeSMTPToken(ctx, s.ID, tok.ID) })
		fails(t, st, "revoked twice", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.RevokeSMTPToken(ctx, s.ID, tok.ID) })
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, revoked := tx.SMTPSecretByHash(ctx, []byte("secret 2"))
			wantErr(t, "a revoked token's secret", revoked, store.ErrNotFound)
			trace, err := tx.TraceLogin(ctx, 0, "", []byte("secret 2"))
			if !trace.Revoked {
				t.Errorf("the trace is %+v", trace)
			}
			return err
		})
	})
}

func TestDomainsAndKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		d := &pennypost.Domain{AccountID: 1, Name: "acme.example", Listed: true, ReturnPath: "pm.acme.example", Tracking: "go.acme.example"}
		key := &pennypost.DKIMKey{AccountID: 1, Domain: d.Name, Selector: "one", Algorithm: pennypost.AlgorithmRSA, State: pennypost.KeyPending, TXT: "v=DKIM1", Sealed: []byte{1, 2}}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddDomain(ctx, d, tx.Now().Add(-time.Minute)); err != nil {
				return err
			}
			key.DomainID = d.ID
			return tx.AddDKIMKey(ctx, key)
		})
		fails(t, st, "the same domain", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			again := *d
			return tx.AddDomain(ctx, &again, tx.Now())
		})
		fails(t, st, "the same selector", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddDKIMKey(ctx, &pennypost.DKIMKey{AccountID: 2, Domain: d.Name, Selector: "one", Sealed: []byte{1}})
		})
		var due []store.DomainRef
		update(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			due, err = tx.ClaimDomains(ctx, 10, tx.Now().Add(time.Hour))
			return err
		})
		if diff := cmp.Diff([]store.DomainRef{{Account: 1, ID: d.ID}}, due); diff != "" {
			t.Error(diff)
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if again, err := tx.ClaimDomains(ctx, 10, tx.Now().Add(time.Hour)); len(again) != 0 || err != nil {
				t.Errorf("claimed twice: %v, %v", again, err)
			}
			match, err := tx.SenderFor(ctx, 1, "ann@acme.example")
			if err != nil || match.Status != pennypost.SenderUnknown {
				t.Errorf("before it is verified: %+v, %v", match, err)
			}
			d.VerifiedAt, d.ReturnPathVerified, d.TrackingVerified, d.SPFVerified = tx.Now(), true, true, true
			d.CheckedAt = tx.Now()
			return errors.Join(tx.SetDomain(ctx, d, tx.Now().Add(time.Hour)), tx.SetDKIMKeyState(ctx, key, pennypost.KeyActive))
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			match, err := tx.SenderFor(ctx, 1, "Ann@acme.example")
			want := &pennypost.SenderMatch{Status: pennypost.SenderDomain, SignDomain: d.Name, ReturnDomain: d.ReturnPath, TrackDomain: d.Tracking}
			if diff := cmp.Diff(want, match); diff != "" {
				t.Error(diff)
			}
			d.Keys = []pennypost.DKIMKey{*key}
			got, err2 := tx.Domain(ctx, 1, d.ID)
			if diff := cmp.Diff(d, got, cmpopts.EquateApproxTime(time.Microsecond)); diff != "" {
				t.Error(diff)
			}
			_, foreign := tx.Domain(ctx, 2, d.ID)
			wantErr(t, "another account's domain", foreign, store.ErrNotFound)
			if _, err := tx.DomainByName(ctx, 1, d.Name); err != nil {
				return err
			}
			list, total, err3 := tx.Domains(ctx, 1, 10, 0)
			if total != 1 || len(list) != 1 || len(list[0].Keys) != 1 {
				t.Errorf("domains are %+v", list)
			}
			keys, err4 := tx.SigningKeys(ctx, 1, d.Name)
			if len(keys) != 1 || keys[0].Selector != "one" || keys[0].ActivatedAt.IsZero() {
				t.Errorf("keys are %+v", keys)
			}
			for name, want := range map[string]bool{d.ReturnPath: true, d.Name: false, "": false} {
				if is, err := tx.ReturnDomain(ctx, name); is != want || err != nil {
					t.Errorf("%q is a return-path domain: %v, %v", name, is, err)
				}
			}
			taken, err5 := tx.SelectorTaken(ctx, d.Name, "one")
			if !taken {
				t.Error("the selector is free")
			}
			return errors.Join(err, err2, err3, err4, err5)
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.SetDKIMKeyState(ctx, key, pennypost.KeyRevoked), tx.DeleteDKIMKey(ctx, key), tx.DeleteDomain(ctx, 1, d.ID))
		})
		fails(t, st, "deleted twice", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteDomain(ctx, 1, d.ID) })
	})
}

func TestSenders(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		s := &pennypost.SenderSignature{AccountID: 1, DomainID: 3, Address: "Ann@acme.example", Name: "Ann", ReplyTo: "r@acme.example", Note: "hello"}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.AddAccount(ctx, &pennypost.Account{Name: "Acme"}), tx.AddSender(ctx, s))
		})
		fails(t, st, "the address in another case", store.ErrConflict, func(ctx context.Context, tx *store.Tx) error {
			return tx.AddSender(ctx, &pennypost.SenderSignature{AccountID: 1, Address: "ann@acme.example"})
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.AddConfirmation(ctx, s, []byte("hash"), tx.Now().Add(time.Hour)),
				tx.AddConfirmation(ctx, s, []byte("old"), tx.Now().Add(-time.Hour)), tx.AddConfirmation(ctx, s, []byte("unsent"), tx.Now().Add(time.Hour)),
				tx.RemoveConfirmation(ctx, []byte("unsent")))
		})
		s.Name = "Ann Smith"
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.SetSender(ctx, s); err != nil {
				return err
			}
			toAddress, byAccount, err := tx.Confirmations(ctx, 1, "ann@ACME.example", tx.Now().Add(-time.Hour))
			if toAddress != 2 || byAccount != 2 {
				t.Errorf("%d and %d mails", toAddress, byAccount)
			}
			if err != nil {
				return err
			}
			match, err := tx.SenderFor(ctx, 1, "ann@acme.example")
			if err != nil || match.Status != pennypost.SenderUnconfirmed {
				t.Errorf("%+v, %v", match, err)
			}
			_, _, late := tx.SenderToConfirm(ctx, []byte("old"))
			wantErr(t, "an old link", late, store.ErrNotFound)
			got, a, err := tx.SenderToConfirm(ctx, []byte("hash"))
			if err != nil {
				return err
			}
			if a.Name != "Acme" || got.Name != "Ann Smith" {
				t.Errorf("%+v of %+v", got, a)
			}
			return tx.ConfirmSender(ctx, got)
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			match, err := tx.SenderFor(ctx, 1, "ann@acme.example")
			want := &pennypost.SenderMatch{Status: pennypost.SenderConfirmed, Name: "Ann Smith", ReplyTo: "r@acme.example"}
			if d := cmp.Diff(want, match); d != "" {
				t.Error(d)
			}
			_, _, again := tx.SenderToConfirm(ctx, []byte("hash"))
			wantErr(t, "a link that was used", again, store.ErrNotFound)
			got, err2 := tx.Sender(ctx, 1, s.ID)
			if err2 == nil && got.ConfirmedAt.IsZero() {
				t.Error("it is not confirmed")
			}
			exists, err3 := tx.SenderExists(ctx, 1, "ANN@acme.example")
			list, total, err4 := tx.Senders(ctx, 1, 10, 0)
			n, err5 := tx.SendersInDomain(ctx, 1, 3)
			if !exists || total != 1 || len(list) != 1 || n != 1 {
				t.Errorf("exists %v, %d in all, %d in the domain", exists, total, n)
			}
			return errors.Join(err, err2, err3, err4, err5)
		})
		fails(t, st, "confirmed twice", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.ConfirmSender(ctx, s) })
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteSender(ctx, 1, s.ID) })
		fails(t, st, "deleted twice", store.ErrNotFound, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteSender(ctx, 1, s.ID) })
	})
}
