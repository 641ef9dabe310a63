package smtpd

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/bounce"
	"pennypost/internal/inbound"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// whole is the server with the real store, auth, submit and inbound behind it.
type whole struct {
	*world
	ctx     context.Context //nolint:containedctx // of the test
	st      *store.Store
	auth    *auth.Auth
	keys    *auth.Keys
	account pennypost.Account
	server  pennypost.Server
	api     auth.Secret
	secret  auth.Secret
	token   pennypost.SMTPToken
	verp    *bounce.Verp
}

func startWhole(t *testing.T) *whole {
	t.Helper()
	w := &whole{ctx: t.Context()}
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.st, err = store.Open(w.ctx, store.Config{Dir: t.TempDir()})
	must()
	t.Cleanup(func() { _ = w.st.Close() }) //nolint:errcheck // the end
	w.keys, err = auth.NewKeys(bytes.Repeat([]byte{7}, 32))
	must()
	var logs bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logs, nil))
	w.auth, err = auth.New(auth.Config{Store: w.st, Keys: w.keys, Log: log})
	must()
	w.verp, err = bounce.NewVerp(0, bounce.VerpKey{ID: 1, Secret: bytes.Repeat([]byte{9}, 32)})
	must()
	door, err := submit.New(submit.Config{Store: w.st, Check: w.auth.CheckAccept, Hostname: hostname, BounceDomain: bounces})
	must()
	box, err := inbound.New(inbound.Config{Store: w.st, Verp: w.verp, BounceDomain: bounces, OwnNames: []string{hostname}})
	must()
	ctx, stop := context.WithCancel(w.ctx)
	ended := make(chan error)
	go func() { ended <- w.auth.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	w.world = start(t, func(c *Config) {
		c.Authenticate, c.MailAllowed, c.Revoked = w.auth.SMTP, w.auth.MailAllowed, w.auth.Revoked
		c.Accept, c.Refused, c.Inbound = door.AcceptRaw, door.RefuseRaw, box
	})
	w.update(w.fill)
	return w
}

func (w *whole) update(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.st.Update(w.ctx, fn); err != nil {
		w.t.Fatal(err)
	}
	if err := w.auth.Refresh(w.ctx); err != nil {
		w.t.Fatal(err)
	}
}

// fill makes an account with a server, a verified domain, an unconfirmed
// signature, an API token and an SMTP token.
func (w *whole) fill(tx *store.Tx) error {
	w.account = pennypost.Account{Name: "Acme", Plan: pennypost.PlanUnlimited}
	w.server = pennypost.Server{Name: "Shop", Color: "purple", SMTPActivated: true, SMTPRejection: pennypost.RejectImmediate, InboundHash: "h", TrackLinks: pennypost.TrackNone}
	now := tx.Now()
	domain := pennypost.Domain{Name: "acme.example", Listed: true, VerifiedAt: now}
	unlisted := pennypost.Domain{Name: "new.example"}
	w.api, w.secret = auth.NewAPIToken(), auth.NewSMTPSecret()
	steps := []func() error{
		func() error { return tx.AddAccount(w.ctx, &w.account) },
		func() error {
			w.server.AccountID, domain.AccountID, unlisted.AccountID = w.account.ID, w.account.ID, w.account.ID
			return tx.AddServer(w.ctx, &w.server)
		},
		func() error {
			return tx.AddStream(w.ctx, &pennypost.Stream{ServerID: w.server.ID, ID: pennypost.StreamOutbound, Type: pennypost.StreamTransactional, RetryFor: time.Hour})
		},
		func() error {
			return tx.AddStream(w.ctx, &pennypost.Stream{ServerID: w.server.ID, ID: pennypost.StreamInbound, Type: pennypost.StreamInboundType})
		},
		func() error { return tx.AddDomain(w.ctx, &domain, now) },
		func() error { return tx.AddDomain(w.ctx, &unlisted, now) },
		func() error {
			return tx.AddSender(w.ctx, &pennypost.SenderSignature{AccountID: w.account.ID, DomainID: unlisted.ID, Address: "ann@new.example"})
		},
		func() error {
			t := pennypost.APIToken{AccountID: w.account.ID, ServerID: w.server.ID}
			return tx.AddAPIToken(w.ctx, &t, w.keys.Hash(auth.PurposeAPIToken, w.api.Reveal()), []byte("sealed"))
		},
		func() error {
			w.token = pennypost.SMTPToken{AccountID: w.account.ID, ServerID: w.server.ID, AccessKey: auth.NewAccessKey(w.server.ID, "", "")}
			return tx.AddSMTPToken(w.ctx, &w.token, w.keys.Hash(auth.PurposeSMTPSecret, w.secret.Reveal()))
		},
		func() error {
			_, err := tx.Suppress(w.ctx, pennypost.Suppression{ServerID: w.server.ID, Stream: pennypost.StreamOutbound, Address: "gone@x.example", Reason: "HardBounce", Origin: "Recipient", At: now})
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *whole) user() string { return strconv.FormatInt(int64(w.server.ID), 10) }

// logsIn gives a session; the name is the Server ID.
func (w *whole) logsIn() *peer {
	w.t.Helper()
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN "+plain("", w.user(), w.secret.Reveal()), replyAuth)
	return p
}

// manually wants a reply that the manual shows.
func (p *peer) manually(begins string) {
	p.t.Helper()
	var text []string
	for n, line := range strings.Split(p.reply(), "\n") {
		if n > 0 {
			line = line[len("550 5.7.1 "):]
		}
		text = append(text, line)
	}
	got := strings.Join(text, " ")
	if len(text) > 1 {
		got = strings.Replace(got, "-", " ", 1)
	}
	shown, ok := row(manual(p.t), got)
	if !ok || !strings.HasPrefix(got, begins) {
		p.t.Errorf("reply %q (want %s…) is not in docs/smtp.md as such, nearest %q", got, begins, shown)
	}
}

func message(from, subject string) string {
	return "From: " + from + "\r\nTo: bob@x.example\r\nSubject: " + subject + "\r\n\r\nHow do you do?\r\n.\r\n"
}

func (p *peer) submits(to, from string, extra ...string) {
	p.t.Helper()
	p.enter(to)
	p.send(strings.Join(extra, "") + message(from, "hello"))
}

// Every refusal that a newcomer meets, on the whole way in, stands in the manual.
func TestNewcomer(t *testing.T) {
	w := startWhole(t)
	p := w.dial(w.submission).hello()
	p.send("AUTH PLAIN " + plain("", w.user(), w.secret.Reveal()) + "\r\n")
	p.manually("538 5.7.11 ") // no TLS
	p.send("MAIL FROM:<ann@acme.example>\r\n")
	p.manually("530 5.7.0 ")

	q := w.dial(w.mx).hello()
	q.say("MAIL FROM:<ann@acme.example>", replySender)
	q.send("RCPT TO:<bob@x.example>\r\n")
	q.manually("550 5.7.1 Error: relay")

	for _, wrong := range [][2]string{{w.user(), "wrong"}, {"999999", w.secret.Reveal()}, {"ann@acme.example", "x"}} {
		p := w.dial(w.secure).upgrade(w.tls).hello()
		p.send("AUTH PLAIN " + plain("", wrong[0], wrong[1]) + "\r\n")
		p.manually("535 5.7.8 Error: authentication failed")
	}
	for _, name := range []string{w.user(), w.api.Reveal()} {
		p := w.dial(w.secure).upgrade(w.tls).hello()
		p.send("AUTH PLAIN " + plain("", name, w.api.Reveal()) + "\r\n")
		p.manually("535 5.7.8 Error: this is an API token")
	}

	p = w.logsIn()
	p.submits("bob@x.example", "ann@elsewhere.example")
	p.manually("550 5.7.1 The 'From' address you supplied (ann@elsewhere.example) is not")
	p.submits("bob@x.example", "Ann <ann@new.example>")
	p.manually("550 5.7.1 Sender signature not confirmed. The 'From' address you supplied (Ann <ann@new.example>)")
	p.submits("bob@x.example", "ann@acme.example, joe@acme.example")
	p.manually("550 5.7.1 Invalid 'From' value.")
	p.submits("gone@x.example", "ann@acme.example")
	p.manually("550 5.7.1 You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: gone@x.example.")
	p.submits("bob@x.example", "ann@acme.example", "X-PM-Message-Stream: nowhere\r\n")
	p.manually("550 5.7.1 The stream provided: 'nowhere'")
	p.submits("bob@x.example", "ann@acme.example", "X-PM-Message-Stream: inbound\r\n")
	p.manually("550 5.7.1 Sending is not supported")
	p.submits("bob@x.example", "ann@acme.example")
	p.manually("250 2.0.0 Ok: queued as ")

	w.update(func(tx *store.Tx) error {
		w.server.MonthlyLimit = 1
		return tx.SetServer(w.ctx, &w.server)
	})
	p.submits("bob@x.example", "ann@acme.example")
	p.manually("452 4.7.1 You are not allowed to send: the monthly limit of 1 is used up until ")

	// S-070: suspended between RCPT and the dot, and then at MAIL.
	p.enter("bob@x.example")
	w.update(func(tx *store.Tx) error {
		w.server.Suspension = pennypost.Suspension{Since: tx.Now(), Reason: "Too many bounces."}
		return tx.SetServer(w.ctx, &w.server)
	})
	p.send(message("ann@acme.example", "hello"))
	p.manually("550 5.7.1 This account is not approved to send email. Too many bounces.")
	p = w.logsIn() // which still works
	p.send("MAIL FROM:<ann@acme.example>\r\n")
	p.manually("550 5.7.1 This account is not approved to send email. Too many bounces.")
}

// The three forms of credentials, and the address that the token was used from.
func TestCredentialForms(t *testing.T) {
	w := startWhole(t)
	try := func(name, pw string, want reply) {
		t.Helper()
		p := w.dial(w.submission).hello().startTLS(w.tls)
		p.say("AUTH LOGIN "+b64(name), "334 ")
		p.say(b64(pw), want)
		if want == replyAuth {
			p.submits("bob@x.example", "ann@acme.example")
			p.want("250 2.0.0 Ok: queued as ")
		}
	}
	try(w.user(), w.secret.Reveal(), replyAuth)
	try(w.token.AccessKey, w.secret.Reveal(), replyAuth)
	try(w.api.Reveal(), w.api.Reveal(), "535 5.7.8 Error: this is an API token")
	w.update(func(tx *store.Tx) error {
		w.server.SMTPAPITokenAuth = true
		return tx.SetServer(w.ctx, &w.server)
	})
	try(w.api.Reveal(), w.api.Reveal(), replyAuth)
	try(w.user(), w.api.Reveal(), "535 5.7.8 Error: this is an API token")
}

// A pool sends many messages over one connection, without RSET between them, and
// closes it without QUIT (contract/smtp.md §4).
func TestPool(t *testing.T) {
	const many = 100
	w := startWhole(t)
	p := w.logsIn()
	for range many {
		p.submits("bob@x.example", "ann@acme.example")
		p.want("250 2.0.0 Ok: queued as ")
	}
	p.close()
	err := w.st.View(w.ctx, func(tx *store.Tx) error {
		_, total, err := tx.SearchMessages(w.ctx, store.MessageFilter{Server: w.server.ID}, 1, 0)
		if total != many {
			t.Errorf("%d messages were taken, want %d", total, many)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// S-069 with the real auth: nothing comes in once the revocation has returned,
// and open sessions hear of it within a second.
func TestRevocation(t *testing.T) {
	w := startWhole(t)
	idle, data := w.logsIn(), w.logsIn()
	data.enter("bob@x.example")
	begin := time.Now()
	w.update(func(tx *store.Tx) error { return tx.RevokeSMTPToken(w.ctx, w.server.ID, w.token.ID) })
	for _, p := range []*peer{idle, data} {
		p.manually("421 4.7.0 Error: the credentials of this session were revoked")
		p.closed()
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v", took)
	}
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN "+plain("", w.user(), w.secret.Reveal()), replyAuthWrong)
	err := w.st.View(w.ctx, func(tx *store.Tx) error {
		_, total, err := tx.SearchMessages(w.ctx, store.MessageFilter{Server: w.server.ID}, 10, 0)
		if total != 0 {
			t.Errorf("%d messages were taken", total)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A bounce comes in on port 25 and is stored as it came, with its recipient.
func TestBounceComesIn(t *testing.T) {
	w := startWhole(t)
	id := pennypost.MessageID{1, 2, 3}
	path := w.verp.Encode(id, 4, time.Now()) + "@" + bounces
	p := w.dial(w.mx).hello()
	p.say("MAIL FROM:<>", replySender)
	for _, to := range []string{path, "postmaster", "b-forged@" + bounces} {
		p.say("RCPT TO:<"+to+">", replyRcpt)
	}
	p.say("DATA", replyData)
	p.send("Subject: failure\r\n\r\n..dots\r\n.\r\n")
	p.want("250 2.0.0 Ok: queued as ")
	err := w.st.View(w.ctx, func(tx *store.Tx) error {
		list, err := tx.InboundMails(w.ctx, 10, 0)
		if err != nil {
			return err
		}
		want := []store.InboundRecipient{
			{Address: pennypost.Address(path), Kind: store.InboundReturn, MessageID: id, N: 4},
			{Address: "postmaster@" + bounces, Kind: store.InboundLetter},
			{Address: "b-forged@" + bounces, Kind: store.InboundUnverified},
		}
		if len(list) != 1 || string(list[0].Content) != "Subject: failure\r\n\r\n.dots\r\n" || !slices.Equal(list[0].Recipients, want) {
			t.Errorf("stored %+v", list)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
