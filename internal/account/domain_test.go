package account

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/dkim"
	"pennypost/internal/store"
)

func TestNewDomain(t *testing.T) { // contract/senders.md §2
	w := newWorld(t)
	ctx := t.Context()
	d := w.domain(t, w.one, "Acme.Example")
	if d.Name != "acme.example" || !d.Listed || d.SPFVerified || !d.VerifiedAt.IsZero() || d.ReturnPath != "" {
		t.Errorf("domain: %+v", d)
	}
	k := w.DKIM(d)
	want := DKIM{PendingHost: "20260302141507pm._domainkey.acme.example", PendingText: k.PendingText, Status: "Pending"}
	if k != want {
		t.Errorf("DKIM: %+v", k)
	}
	if !strings.HasPrefix(k.PendingText, "k=rsa; p=MIIBIjANBgkq") || !strings.HasSuffix(k.PendingText, "IDAQAB") {
		t.Errorf("pending text %q", k.PendingText)
	}
	der, err := w.keys.Open(auth.PurposeDKIM, d.Keys[0].Sealed)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dkim.ParsePKCS8(der)
	if err != nil {
		t.Fatal(err)
	}
	if txt, _ := dkim.TXTValue(signer); txt != k.PendingText {
		t.Error("the sealed key is not the published one")
	}
	if w.onDisk(t, string(der)) {
		t.Error("the private key is in the database in the clear")
	}
	if got := must[*pennypost.Domain](t)(w.Domain(ctx, w.one, d.ID)); !cmp.Equal(got, d) {
		t.Error(cmp.Diff(d, got))
	}

	// Another account may have it too, with a selector of its own.
	theirs := w.domain(t, w.two, "acme.example")
	if got := w.DKIM(theirs).PendingHost; got != "20260302141508pm._domainkey.acme.example" {
		t.Errorf("selector of another account at the same time: %s", got)
	}
	if d := w.domain(t, w.one, "bücher.example"); d.Name != "xn--bcher-kva.example" {
		t.Errorf("IDN: %s", d.Name)
	}
	if d := w.domain(t, w.one, "sub.acme.example"); d.Name != "sub.acme.example" {
		t.Errorf("subdomain: %s", d.Name)
	}
	w.domain(t, w.one, "gem-integration.test") // clients.md 12.3
}

func TestDomainRefusals(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.domain(t, w.one, "acme.example")
	cases := []struct {
		in   *DomainInput
		code pennypost.Code
		text string
	}{
		{nil, 514, "Name is a required field to create a Domain."},
		{&DomainInput{}, 514, ""},
		{&DomainInput{Name: ptr("")}, 514, ""},
		{&DomainInput{Name: ptr(strings.Repeat("a.", 126) + "test")}, 515, ""},
		{&DomainInput{Name: ptr("thisisntadomain")}, 516, "Name format is invalid."},
		{&DomainInput{Name: ptr("a_b.example")}, 516, ""},
		{&DomainInput{Name: ptr("192.0.2.1")}, 516, ""},
		{&DomainInput{Name: ptr("acme.example.")}, 516, ""},
		{&DomainInput{Name: ptr("acme.example/x")}, 516, ""},
		{&DomainInput{Name: ptr("-a.example")}, 516, ""},
		{&DomainInput{Name: ptr("gmail.com")}, 503, "You can't use public domains."},
		{&DomainInput{Name: ptr("GoogleMail.com")}, 503, ""},
		{&DomainInput{Name: ptr("yahoo.com")}, 503, ""},
		{&DomainInput{Name: ptr("yahoo.co.uk")}, 503, ""},
		{&DomainInput{Name: ptr("hotmail.com")}, 503, ""},
		{&DomainInput{Name: ptr("mail.yahoo.fr")}, 503, ""},
		{&DomainInput{Name: ptr("co.uk")}, 503, ""},
		{&DomainInput{Name: ptr("github.io")}, 503, ""},
		{&DomainInput{Name: ptr("ACME.example")}, 512, "Domain already exists."},
		{&DomainInput{Name: ptr("b.example"), ReturnPath: ptr("pm.acme.example")}, 522, ""},
		{&DomainInput{Name: ptr("b.example"), ReturnPath: ptr("b.example")}, 522, ""},
		{&DomainInput{Name: ptr("b.example"), ReturnPath: ptr("xb.example")}, 522, ""},
		{&DomainInput{Name: ptr("b.example"), ReturnPath: ptr("a_b.b.example")}, 522, ""},
		{&DomainInput{Name: ptr("b.example"), ReturnPath: ptr(strings.Repeat("a.", 126) + "b.example")}, 521, ""},
		{&DomainInput{Name: ptr("b.example"), Tracking: ptr("acme.example")}, 522, ""},
	}
	for _, c := range cases {
		_, err := w.CreateDomain(ctx, w.one, c.in)
		wantCode(t, err, c.code, c.text)
	}
	if _, n, err := w.Domains(ctx, w.one, 500, 0); n != 1 || err != nil {
		t.Errorf("%d domains, %v", n, err)
	}
	for _, name := range []string{"gmail.com.acme.example", "notgmail.com", "acme.co.uk", "acme.github.io"} {
		w.domain(t, w.one, name)
	}
}

// TestKeyLife walks contract/senders.md §3.
func TestKeyLife(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := w.domain(t, w.one, "acme.example")
	first := w.DKIM(d)
	verify := func() DKIM {
		t.Helper()
		d = must[*pennypost.Domain](t)(w.VerifyDKIM(ctx, w.one, d.ID))
		if read := must[*pennypost.Domain](t)(w.Domain(ctx, w.one, d.ID)); !cmp.Equal(read, d) {
			t.Errorf("answer and database differ: %s", cmp.Diff(read, d))
		}
		return w.DKIM(d)
	}
	if got := verify(); got != first {
		t.Errorf("verified without a record: %+v", got)
	}
	w.dns.txt[first.PendingHost] = []string{"k=rsa; p=" + strings.Repeat("A", 100), strings.ReplaceAll(first.PendingText, "IDAQAB", "IDAQAC")}
	if got := verify(); got != first {
		t.Errorf("verified by another key: %+v", got)
	}
	_, err := w.RotateDKIM(ctx, w.one, d.ID)
	wantCode(t, err, 505, "This DKIM is already being renewed.")

	w.publish(d)
	if got, want := verify(), (DKIM{Verified: true, Host: first.PendingHost, Text: first.PendingText, Status: "Verified"}); got != want {
		t.Errorf("verified: %+v", got)
	}
	if !slices.Contains(w.changed, "1 acme.example") {
		t.Errorf("keys changed: %v", w.changed)
	}
	m := w.senderFor(t, w.one, "anybody@acme.example")
	if m.Status != pennypost.SenderDomain || m.SignDomain != "acme.example" {
		t.Errorf("sender: %+v", m)
	}

	w.clock.add(90 * 24 * time.Hour)
	d = must[*pennypost.Domain](t)(w.RotateDKIM(ctx, w.one, d.ID))
	second := w.DKIM(d)
	if second.PendingHost != "20260531141507pm._domainkey.acme.example" || second.PendingText == first.PendingText ||
		second.Host != first.PendingHost || !second.Verified || second.Status != "Pending" || second.RevokedHost != "" {
		t.Errorf("rotating: %+v", second)
	}
	if keys := w.signingKeys(t, w.one, "acme.example"); len(keys) != 1 || keys[0].Host() != first.PendingHost {
		t.Errorf("the earlier key does not sign on: %+v", keys)
	}
	_, err = w.RotateDKIM(ctx, w.one, d.ID)
	wantCode(t, err, 505, "")
	w.publish(d)
	want := DKIM{
		Verified: true, Host: second.PendingHost, Text: second.PendingText,
		RevokedHost: first.PendingHost, RevokedText: first.PendingText, Status: "Verified",
	}
	if got := verify(); got != want {
		t.Errorf("rotated: %+v", got)
	}
	if keys := w.signingKeys(t, w.one, "acme.example"); len(keys) != 1 || keys[0].Host() != second.PendingHost {
		t.Errorf("signing keys: %+v", keys)
	}
	w.clock.add(safeAfter - time.Second)
	if w.DKIM(d).SafeToRemove {
		t.Error("safe to remove while mail is on its way")
	}
	w.clock.add(time.Second)
	want.SafeToRemove = true
	if got := verify(); got != want {
		t.Errorf("a week later: %+v", got)
	}
	w.clock.add(keepRevoked + time.Minute)
	want.RevokedHost, want.RevokedText, want.SafeToRemove = "", "", false
	if got := verify(); got != want {
		t.Errorf("at last: %+v", got)
	}
}

func TestOneRevokedKeyIsShown(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := w.domain(t, w.one, "acme.example")
	for range 4 {
		w.publish(d)
		d = must[*pennypost.Domain](t)(w.VerifyDKIM(ctx, w.one, d.ID))
		w.clock.add(time.Hour)
		d = must[*pennypost.Domain](t)(w.RotateDKIM(ctx, w.one, d.ID))
	}
	if len(d.Keys) != 3 { // revoked, active, pending
		t.Errorf("%d keys are kept", len(d.Keys))
	}
}

func (w *world) senderFor(t *testing.T, account pennypost.AccountID, addr pennypost.Address) *pennypost.SenderMatch {
	t.Helper()
	var m *pennypost.SenderMatch
	err := w.st.View(t.Context(), func(tx *store.Tx) (err error) {
		m, err = tx.SenderFor(t.Context(), account, addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *world) signingKeys(t *testing.T, account pennypost.AccountID, domain string) []pennypost.DKIMKey {
	t.Helper()
	var keys []pennypost.DKIMKey
	err := w.st.View(t.Context(), func(tx *store.Tx) (err error) {
		keys, err = tx.SigningKeys(t.Context(), account, domain)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func (w *world) checkAll(t *testing.T) int {
	t.Helper()
	all := 0
	for {
		n, err := w.CheckDue(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if all += n; n < checkAtOnce {
			return all
		}
	}
}

// TestMissingRecord: the flag is sticky, sending stops after the grace, with
// notice (D-016).
func TestMissingRecord(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := w.domain(t, w.one, "acme.example")
	w.publish(d)
	w.clock.add(2 * time.Minute)
	if n := w.checkAll(t); n != 1 {
		t.Fatalf("%d domains checked", n)
	}
	host := d.Keys[0].Host()
	records := w.dns.txt[host]
	may := func() bool { return w.senderFor(t, w.one, "a@acme.example").Status == pennypost.SenderDomain }
	state := func() (DKIM, *pennypost.Domain) {
		d := must[*pennypost.Domain](t)(w.Domain(ctx, w.one, d.ID))
		return w.DKIM(d), d
	}
	if !may() {
		t.Fatal("verified domain may not send")
	}

	w.dns.set(func(z *dns) { z.down = true }) // DNS that cannot be asked changes nothing
	w.clock.add(60 * 24 * time.Hour)
	w.checkAll(t)
	if _, d := state(); !d.MissingSince.IsZero() || !may() {
		t.Errorf("missing because DNS is down: %+v", d)
	}

	w.dns.set(func(z *dns) { z.down = false; delete(z.txt, host) })
	w.clock.add(25 * time.Hour)
	w.checkAll(t)
	gone := w.clock.Now()
	if k, d := state(); !d.MissingSince.Equal(gone) || !k.Verified || k.Status != "Verified" || !may() {
		t.Errorf("at once: %+v %+v", k, d)
	}
	if !strings.Contains(w.log.String(), "DKIM record of verified domain is gone") {
		t.Errorf("no notice: %s", w.log)
	}
	w.clock.add(29 * 24 * time.Hour)
	w.checkAll(t)
	if _, d := state(); !d.MissingSince.Equal(gone) || !may() {
		t.Errorf("within the grace: %+v", d)
	}
	w.clock.add(24 * time.Hour)
	w.checkAll(t)
	if k, _ := state(); !k.Verified || k.Status != "Failed" || may() {
		t.Errorf("after the grace: %+v, may send %v", k, may())
	}

	w.dns.set(func(z *dns) { z.txt[host] = records })
	must[*pennypost.Domain](t)(w.VerifyDKIM(ctx, w.one, d.ID))
	if k, d := state(); k.Status != "Verified" || !d.MissingSince.IsZero() || !may() {
		t.Errorf("record back: %+v", k)
	}
}

func TestCheckSchedule(t *testing.T) {
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	pending := pennypost.Domain{CreatedAt: start, Keys: []pennypost.DKIMKey{{State: pennypost.KeyPending, CreatedAt: start}}}
	verified := pennypost.Domain{CreatedAt: start, VerifiedAt: start, Keys: []pennypost.DKIMKey{{State: pennypost.KeyActive, CreatedAt: start}}}
	missing := verified
	missing.MissingSince = start
	alias := verified
	alias.ReturnPath = "pm.acme.example"
	for _, c := range []struct {
		name   string
		domain pennypost.Domain
		age    time.Duration
		want   time.Duration
	}{
		{"just made", pending, 0, time.Minute},
		{"after ten minutes", pending, 10 * time.Minute, 150 * time.Second},
		{"after a day", pending, 24 * time.Hour, time.Hour},
		{"after a month", pending, 30 * 24 * time.Hour, 24 * time.Hour},
		{"verified", verified, time.Hour, 24 * time.Hour},
		{"record gone", missing, 20 * 24 * time.Hour, time.Hour},
		{"alias awaited", alias, time.Hour, time.Hour},
		{"alias not awaited any more", alias, 30 * 24 * time.Hour, 24 * time.Hour},
	} {
		for id := range pennypost.DomainID(20) {
			c.domain.ID = id
			now := start.Add(c.age)
			if got := nextCheck(&c.domain, now).Sub(now); got < c.want || got > c.want*11/10 {
				t.Errorf("%s, domain %d: in %v, want about %v", c.name, id, got, c.want)
			}
		}
	}
}

func TestDomainsAreCheckedByThemselves(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	var ids []pennypost.DomainID
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		d := w.domain(t, w.one, name+".example")
		w.publish(d)
		ids = append(ids, d.ID)
	}
	if n := w.checkAll(t); n != 0 {
		t.Errorf("%d domains checked at once", n)
	}
	w.clock.add(61 * time.Second)
	if n := w.checkAll(t); n != 10 {
		t.Errorf("%d domains checked within about a minute", n)
	}
	for _, id := range ids {
		if d := must[*pennypost.Domain](t)(w.Domain(ctx, w.one, id)); d.VerifiedAt.IsZero() || !d.CheckedAt.Equal(w.clock.Now()) {
			t.Errorf("%s: %+v", d.Name, d)
		}
	}
	if n := w.checkAll(t); n != 0 {
		t.Errorf("%d domains checked again", n)
	}
}

func TestReturnPath(t *testing.T) { // contract/senders.md §4
	w := newWorld(t)
	ctx := t.Context()
	d := must[*pennypost.Domain](t)(w.CreateDomain(ctx, w.one, &DomainInput{Name: ptr("acme.example"), ReturnPath: ptr("PM-bounces.acme.example")}))
	if d.ReturnPath != "pm-bounces.acme.example" || d.ReturnPathVerified {
		t.Errorf("created: %+v", d)
	}
	verify := func() bool {
		t.Helper()
		return must[*pennypost.Domain](t)(w.VerifyReturnPath(ctx, w.one, d.ID)).ReturnPathVerified
	}
	if verify() {
		t.Error("verified without a record")
	}
	w.dns.cname["pm-bounces.acme.example"] = "pm.elsewhere.example"
	if verify() {
		t.Error("verified by another target")
	}
	w.dns.cname["pm-bounces.acme.example"] = "PM.Example.Net"
	if !verify() || w.senderFor(t, w.one, "a@acme.example").ReturnDomain != "pm-bounces.acme.example" {
		t.Error("not verified")
	}
	w.dns.set(func(z *dns) { z.down = true })
	if !verify() {
		t.Error("lost because DNS is down")
	}
	w.dns.set(func(z *dns) { z.down = false; delete(z.cname, "pm-bounces.acme.example") })
	if verify() || w.senderFor(t, w.one, "a@acme.example").ReturnDomain != "" {
		t.Error("still used with the CNAME gone: bounces would be lost")
	}

	edit := func(in DomainInput) *pennypost.Domain {
		t.Helper()
		return must[*pennypost.Domain](t)(w.EditDomain(ctx, w.one, d.ID, &in))
	}
	w.dns.cname["pm-bounces.acme.example"] = "pm.example.net"
	verify()
	if d := edit(DomainInput{ReturnPath: ptr("pm-bounces.acme.example")}); !d.ReturnPathVerified {
		t.Error("setting the same name lost the verification")
	}
	if d := edit(DomainInput{}); d.ReturnPath != "pm-bounces.acme.example" {
		t.Error("an edit that says nothing changed it")
	}
	if d := edit(DomainInput{ReturnPath: ptr("b.acme.example")}); d.ReturnPathVerified {
		t.Error("a new name is verified")
	}
	if d := edit(DomainInput{ReturnPath: ptr("")}); d.ReturnPath != "" || d.ReturnPathVerified {
		t.Errorf("not cleared: %+v", d)
	}
	_, err := w.EditDomain(ctx, w.one, d.ID, nil)
	wantCode(t, err, 511, "Invalid fields supplied.")
	_, err = w.EditDomain(ctx, w.one, d.ID, &DomainInput{ReturnPath: ptr("acme.example")})
	wantCode(t, err, 522, "")
}

func TestTrackingDomain(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := w.domain(t, w.one, "acme.example")
	d = must[*pennypost.Domain](t)(w.EditDomain(ctx, w.one, d.ID, &DomainInput{Tracking: ptr("click.acme.example")}))
	if d.Tracking != "click.acme.example" {
		t.Errorf("tracking: %+v", d)
	}
	if d := must[*pennypost.Domain](t)(w.VerifyTracking(ctx, w.one, d.ID)); d.TrackingVerified {
		t.Error("verified without a CNAME")
	}
	w.dns.cname["click.acme.example"] = "track.example.net"
	if d := must[*pennypost.Domain](t)(w.VerifyTracking(ctx, w.one, d.ID)); !d.TrackingVerified {
		t.Error("not verified")
	}
	if m := w.senderFor(t, w.one, "a@acme.example"); m.TrackDomain != "click.acme.example" {
		t.Errorf("sender: %+v", m)
	}
	w.restart(t, func(c *Config) { c.TrackDomain = "" })
	_, err := w.EditDomain(ctx, w.one, d.ID, &DomainInput{Tracking: ptr("b.acme.example")})
	wantCode(t, err, 511, "")
}

func TestVerifySPF(t *testing.T) { // contract/clients.md 12.5: true without any DNS
	w := newWorld(t)
	d := w.domain(t, w.one, "acme.example")
	if d = must[*pennypost.Domain](t)(w.VerifySPF(t.Context(), w.one, d.ID)); !d.SPFVerified {
		t.Error("not verified")
	}
}

func TestEd25519(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := w.domain(t, w.one, "acme.example")
	w.publish(d)
	must[*pennypost.Domain](t)(w.VerifyDKIM(ctx, w.one, d.ID))
	d = must[*pennypost.Domain](t)(w.AddEd25519(ctx, w.one, d.ID))
	k := w.DKIM(d)
	if k.Ed25519Host != "20260302141508pm._domainkey.acme.example" || !strings.HasPrefix(k.Ed25519Text, "k=ed25519; p=") || k.Ed25519Verified {
		t.Errorf("added: %+v", k)
	}
	if k.PendingHost != "" || k.Status != "Verified" {
		t.Errorf("the contract's fields show it: %+v", k)
	}
	if again := must[*pennypost.Domain](t)(w.AddEd25519(ctx, w.one, d.ID)); !cmp.Equal(again, d) {
		t.Errorf("added twice: %s", cmp.Diff(d, again))
	}
	w.publish(d)
	d = must[*pennypost.Domain](t)(w.VerifyDKIM(ctx, w.one, d.ID))
	if k := w.DKIM(d); !k.Ed25519Verified || k.Ed25519Host == "" {
		t.Errorf("verified: %+v", k)
	}
	keys := w.signingKeys(t, w.one, "acme.example")
	if len(keys) != 2 || keys[0].Algorithm != pennypost.AlgorithmRSA || keys[1].Algorithm != pennypost.AlgorithmEd25519 {
		t.Errorf("signing keys: %+v", keys)
	}
	w.dns.set(func(z *dns) { delete(z.txt, k.Ed25519Host) })
	d = must[*pennypost.Domain](t)(w.VerifyDKIM(ctx, w.one, d.ID))
	if k := w.DKIM(d); k.Ed25519Verified || len(w.signingKeys(t, w.one, "acme.example")) != 1 || !d.MissingSince.IsZero() {
		t.Errorf("record gone: %+v", k)
	}
}

func TestDeleteDomain(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := w.domain(t, w.one, "acme.example")
	if gone := must[*pennypost.Domain](t)(w.DeleteDomain(ctx, w.one, d.ID)); gone.Name != "acme.example" {
		t.Errorf("deleted %s", gone.Name)
	}
	_, err := w.Domain(ctx, w.one, d.ID)
	wantCode(t, err, 510, "This domain was not found.")
	_, err = w.DeleteDomain(ctx, w.one, d.ID)
	wantCode(t, err, 510, "")

	// The same name again, with a signature in it: its keys stay for that.
	d = w.domain(t, w.one, "acme.example")
	w.publish(d)
	must[*pennypost.Domain](t)(w.VerifyDKIM(ctx, w.one, d.ID))
	s := w.sender(t, "ann@acme.example")
	must[*pennypost.Domain](t)(w.DeleteDomain(ctx, w.one, d.ID))
	_, err = w.Domain(ctx, w.one, d.ID)
	wantCode(t, err, 510, "")
	if m := w.senderFor(t, w.one, "bob@acme.example"); m.Status != pennypost.SenderUnknown {
		t.Errorf("the deleted domain lets others send: %+v", m)
	}
	if m := w.senderFor(t, w.one, "ann@acme.example"); m.SignDomain != "acme.example" || m.Status != pennypost.SenderUnconfirmed {
		t.Errorf("its signature: %+v", m)
	}
	if got := must[*Sender](t)(w.Sender(ctx, w.one, s.ID)); !w.DKIM(&got.Domain).Verified {
		t.Errorf("its signature's domain: %+v", got.Domain)
	}
	// Added again it is what it was.
	again := w.domain(t, w.one, "acme.example")
	if again.ID != d.ID || !w.DKIM(again).Verified || w.senderFor(t, w.one, "bob@acme.example").Status != pennypost.SenderDomain {
		t.Errorf("added again: %+v", again)
	}
}

// TestDNSIsAskedOutside: a change between question and answer is not undone by
// the answer.
func TestDNSIsAskedOutside(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d := must[*pennypost.Domain](t)(w.CreateDomain(ctx, w.one, &DomainInput{Name: ptr("acme.example"), ReturnPath: ptr("a.acme.example")}))
	w.dns.cname["a.acme.example"] = "pm.example.net"
	said := w.ask(ctx, d, aspects{returnPath: true})
	must[*pennypost.Domain](t)(w.EditDomain(ctx, w.one, d.ID, &DomainInput{ReturnPath: ptr("b.acme.example")}))
	err := w.st.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Domain(ctx, w.one, d.ID)
		if err != nil {
			return err
		}
		_, err = w.record(ctx, tx, now, said)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := must[*pennypost.Domain](t)(w.Domain(ctx, w.one, d.ID)); d.ReturnPathVerified || d.ReturnPath != "b.acme.example" {
		t.Errorf("verified by the answer about another name: %+v", d)
	}
}
