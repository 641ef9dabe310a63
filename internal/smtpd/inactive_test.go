package smtpd

import (
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/store"
)

// sends puts a message to some recipients in, up to its end.
func (p *peer) sends(to ...string) {
	p.t.Helper()
	p.begin(to...)
	p.send(message("ann@acme.example", "hello"))
}

// contract/sending.md §9, bounces.md §13; design §8: recipients on the list, with
// either way of refusing.
func TestInactiveOverSMTP(t *testing.T) {
	w := startWhole(t)
	w.update(func(tx *store.Tx) error {
		_, err := tx.Suppress(w.ctx, pennypost.Suppression{
			ServerID: w.server.ID, Stream: pennypost.StreamOutbound, Address: "Left@x.example", Reason: "ManualSuppression", Origin: "Customer",
		})
		return err
	})
	const text = "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: gone@x.example, left@x.example. " +
		"Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
	n := 0
	recorded := func(what, long string, addrs ...pennypost.Address) {
		t.Helper()
		list := w.records()[n:]
		n += len(list)
		if len(list) != len(addrs) {
			t.Fatalf("%s: %d records, want %d", what, len(list), len(addrs))
		}
		for i, b := range list {
			if b.Type != "SMTPApiError" || b.TypeCode != 100007 || b.Recipient != addrs[i] || b.Details != "Inactive recipient" || b.Inactive ||
				b.From != "ann@acme.example" || !strings.HasPrefix(b.Dump, long+"\r\nError code: 406\r\n\r\n") || !strings.Contains(b.Dump, "Subject: hello") {
				t.Errorf("%s: record %+v", what, b)
			}
		}
	}
	for _, way := range []pennypost.SMTPRejection{pennypost.RejectImmediate, pennypost.RejectAccept} {
		w.update(func(tx *store.Tx) error {
			w.server.SMTPRejection = way
			return tx.SetServer(w.ctx, &w.server)
		})
		p := w.logsIn()
		p.sends("gone@x.example", "Left@x.example")
		if way == pennypost.RejectImmediate {
			p.manually("550 5.7.1 " + text)
		} else {
			p.manually("250 2.0.0 Ok: queued as ")
		}
		recorded(string(way)+", all", text, "gone@x.example", "Left@x.example")

		p.sends("gone@x.example", "bob@x.example")
		p.manually("250 2.0.0 Ok: queued as ")
		recorded(string(way)+", some", strings.Replace(text, ", left@x.example", "", 1), "gone@x.example")
	}
	// Of four messages the two with a recipient that is not on the list are there.
	err := w.st.View(w.ctx, func(tx *store.Tx) error {
		list, total, err := tx.SearchMessages(w.ctx, store.MessageFilter{Server: w.server.ID, Stream: pennypost.StreamOutbound}, 10, 0)
		if total != 2 {
			t.Errorf("%d messages, want 2", total)
		}
		for i := range list {
			rcpts, err := tx.Recipients(w.ctx, list[i].ID)
			if err != nil {
				return err
			}
			if len(rcpts) != 2 || rcpts[0].State != pennypost.Suppressed || rcpts[1].State != pennypost.Queued {
				t.Errorf("recipients %+v", rcpts)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// contract/streams.md §4: a token bound to an archived stream sends nothing, from
// MAIL on; taken back, it does.
func TestArchivedStreamOverSMTP(t *testing.T) {
	w := startWhole(t)
	archive := func(at time.Time) {
		w.update(func(tx *store.Tx) error {
			s, err := tx.Stream(w.ctx, w.server.ID, "news")
			if err != nil {
				return err
			}
			s.ArchivedAt = at
			if err := tx.SetStream(w.ctx, s); err != nil {
				return err
			}
			return tx.BumpAuth(w.ctx)
		})
	}
	secret := auth.NewSMTPSecret()
	w.update(func(tx *store.Tx) error {
		err := tx.AddStream(w.ctx, &pennypost.Stream{ServerID: w.server.ID, ID: "news", Type: pennypost.StreamTransactional, RetryFor: time.Hour})
		if err != nil {
			return err
		}
		token := pennypost.SMTPToken{AccountID: w.account.ID, ServerID: w.server.ID, Stream: "news", AccessKey: "PM-T-news-4fKq0aZ81xYvTn2LwRb7Cd"}
		return tx.AddSMTPToken(w.ctx, &token, w.keys.Hash(auth.PurposeSMTPSecret, secret.Reveal()))
	})
	p := w.dial(w.submission).hello().startTLS(w.tls)
	p.say("AUTH PLAIN "+plain("", w.user(), secret.Reveal()), replyAuth)
	p.delivered("bob@x.example")
	p.enter("bob@x.example")
	archive(time.Now()) // before the end of the message
	p.send(message("ann@acme.example", "hello"))
	p.manually("550 5.7.1 The stream provided: 'news' has been archived on this server.")
	p.send("MAIL FROM:<ann@acme.example>\r\n")
	p.manually("550 5.7.1 The stream provided: 'news' does not exist on this server.")
	archive(time.Time{})
	p.delivered("bob@x.example")
}

func (p *peer) delivered(to string) {
	p.t.Helper()
	p.sends(to)
	p.manually("250 2.0.0 Ok: queued as ")
}
