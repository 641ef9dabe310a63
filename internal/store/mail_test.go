package store_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

func full(st *store.Store) *store.NewMessage {
	now := micro(time.Now())
	m := mailAt(st, now, "ann@shop.example", "Bob@shop.example", "eve@else.example")
	m.Recipients[2].State, m.Recipients[2].NextAt = pennypost.Suppressed, time.Time{}
	m.Jobs = m.Jobs[:2]
	x := m.Message
	x.AccountID, x.ServerID, x.Stream = 7, 8, "news"
	x.Broadcast, x.Sandbox, x.TrackOpens, x.NeedsSMTPUTF8, x.Personal = true, true, true, true, true
	x.Source = pennypost.SourceSMTP
	x.To = []pennypost.Mailbox{{Name: `Ann "the Box" Möller`, Address: "ann@shop.example"}}
	x.Cc = []pennypost.Mailbox{{Address: "Bob@shop.example"}, {Name: "Eve", Address: "eve@else.example"}}
	x.Bcc = []pennypost.Mailbox{{Name: "<>&", Address: "hidden@else.example"}}
	x.ReplyTo = []pennypost.Mailbox{{Address: "answers@acme.example"}}
	x.Subject, x.Tag = "Grüße — 50 % 'off'", "spring"
	x.Metadata = map[string]string{"order": "778", "Key": `"quoted", \ and`}
	x.Attachments = []string{"receipt.pdf", "photo, 2.png"}
	x.TrackLinks, x.Links = pennypost.TrackHTMLAndText, 12_345
	x.SendAt, x.DeliverBy = now.Add(time.Minute), now.Add(time.Hour)
	return m
}

func TestMessageRoundTrip(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, full(st))
		plain := stored(t, st, mail(st, "ann@shop.example"))
		plain.Message.ReceivedAt = micro(plain.Message.ReceivedAt)
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			for _, want := range []*pennypost.Message{m.Message, plain.Message} {
				got, err := tx.Message(ctx, want.ServerID, want.ID)
				if err != nil {
					return err
				}
				if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
					t.Error(d)
				}
			}
			got, err := tx.AnyMessage(ctx, m.Message.ID)
			if err != nil {
				return err
			}
			if d := cmp.Diff(m.Message, got, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			content, err := tx.Content(ctx, m.Message.ID)
			if !bytes.Equal(content, m.Content) {
				t.Errorf("content is %q, want %q", content, m.Content)
			}
			if err != nil {
				return err
			}
			recipients, err := tx.Recipients(ctx, m.Message.ID)
			if d := cmp.Diff(m.Recipients, recipients); d != "" {
				t.Error(d)
			}
			if err != nil {
				return err
			}
			jobs, err := tx.JobsOf(ctx, m.Message.ID)
			if d := cmp.Diff(m.Jobs, jobs); d != "" {
				t.Error(d)
			}
			return err
		})
	})
}

func TestMessageOfAnotherServer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, "ann@shop.example"))
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.Message(ctx, 2, m.Message.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("another server sees it: %v", err)
			}
			if _, err := tx.AnyMessage(ctx, newID()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %v", err)
			}
			if _, err := tx.Content(ctx, newID()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %v", err)
			}
			if _, err := tx.Recipient(ctx, m.Message.ID, 1); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %v", err)
			}
			return nil
		})
	})
}

func TestMessageTwice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, "ann@shop.example"))
		err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddMessage(t.Context(), m) })
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
	})
}

// The limit of the contract is fifty recipients; an empty content is one too.
func TestManyRecipients(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := mail(st, addresses(57)...)
		m.Content = nil
		stored(t, st, m)
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.Recipients(ctx, m.Message.ID)
			if err != nil {
				return err
			}
			for i := range list {
				if list[i].N != i || list[i].Address != m.Recipients[i].Address {
					t.Fatalf("recipient %d is %d, %s", i, list[i].N, list[i].Address)
				}
			}
			jobs, err := tx.JobsOf(ctx, m.Message.ID)
			if len(list) != 57 || len(jobs) != 57 {
				t.Errorf("%d recipients, %d jobs", len(list), len(jobs))
			}
			if content, err := tx.Content(ctx, m.Message.ID); err != nil || len(content) != 0 {
				t.Errorf("%d octets, %v", len(content), err)
			}
			return err
		})
	})
}

func TestLargeContent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := mail(st, "ann@shop.example")
		m.Content = bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
		stored(t, st, m)
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			content, err := tx.Content(ctx, m.Message.ID)
			if !bytes.Equal(content, m.Content) {
				t.Errorf("%d octets came back", len(content))
			}
			return err
		})
	})
}

// A bit that turns over on the disk is found before anything is sent.
func TestDamage(t *testing.T) {
	content := func(ctx context.Context, tx *store.Tx, m *store.NewMessage) error {
		_, err := tx.Content(ctx, m.Message.ID)
		return err
	}
	envelope := func(ctx context.Context, tx *store.Tx, m *store.NewMessage) error {
		_, err := tx.AnyMessage(ctx, m.Message.ID)
		return err
	}
	recipient := func(ctx context.Context, tx *store.Tx, m *store.NewMessage) error {
		_, err := tx.Recipient(ctx, m.Message.ID, 0)
		return err
	}
	job := func(ctx context.Context, tx *store.Tx, m *store.NewMessage) error {
		_, err := tx.JobsOf(ctx, m.Message.ID)
		return err
	}
	cases := map[string]damage{
		"content":          {`UPDATE contents SET content = $2 WHERE message_id = $1`, false, content},
		"content's sum":    {`UPDATE contents SET checksum = checksum + 1 WHERE message_id = $1`, false, content},
		"subject":          {`UPDATE messages SET subject = 'Your receipu' WHERE id = $1`, false, envelope},
		"return domain":    {`UPDATE messages SET return_domain = 'pm.mail.exampld' WHERE id = $1`, false, envelope},
		"flags":            {`UPDATE messages SET flags = flags + 2 WHERE id = $1`, false, envelope},
		"address":          {`UPDATE recipients SET address = 'bnn@shop.example' WHERE message_id = $1`, false, recipient},
		"recipient number": {`UPDATE recipients SET n = 0 WHERE message_id = $1 AND n = 1`, false, recipient},
		"job's dest":       {`UPDATE jobs SET dest = 'thop.example' WHERE id = $1`, true, job},
		"job's ref":        {`UPDATE jobs SET ref = $2 WHERE id = $1`, true, job},
		"job's tenant":     {`UPDATE jobs SET tenant = 2 WHERE id = $1`, true, job},
		"job's attempt":    {`UPDATE jobs SET attempt = 64 WHERE id = $1`, true, job},
	}
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) { damaged(t, st, name, c) })
		}
	})
}

// damage is what is changed behind the store's back.
type damage struct {
	statement string // $1 is the message, or its job
	ofJob     bool
	load      func(ctx context.Context, tx *store.Tx, m *store.NewMessage) error
}

func damaged(t *testing.T, st *store.Store, name string, c damage) {
	t.Helper()
	m := stored(t, st, mail(st, "ann@shop.example"))
	if name == "recipient number" {
		m = stored(t, st, mail(st, "ann@shop.example", "bob@shop.example"))
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `DELETE FROM recipients WHERE message_id = $1 AND n = 0`, m.Message.ID[:])
			return err
		})
	} else {
		view(t, st, func(ctx context.Context, tx *store.Tx) error { return c.load(ctx, tx, m) })
	}
	update(t, st, func(ctx context.Context, tx *store.Tx) error {
		args := []any{m.Message.ID[:]}
		flipped := bytes.Clone(m.Content)
		if c.ofJob {
			args[0] = m.Jobs[0].ID
			flipped = bytes.Clone(m.Jobs[0].Ref)
		}
		flipped[3] ^= 1
		if strings.Contains(c.statement, "$2") {
			args = append(args, flipped)
		}
		n, err := tx.Exec(ctx, c.statement, args...)
		if n != 1 {
			t.Errorf("%d rows were damaged", n)
		}
		return err
	})
	err := st.View(t.Context(), func(tx *store.Tx) error { return c.load(t.Context(), tx, m) })
	if !errors.Is(err, store.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

func TestSignature(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		id := newID()
		signature := func() (fields []byte, err error) {
			err = st.View(t.Context(), func(tx *store.Tx) error {
				fields, err = tx.Signature(t.Context(), id)
				return err
			})
			return fields, err
		}
		if _, err := signature(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		for _, want := range []string{"DKIM-Signature: a=rsa-sha256", "DKIM-Signature: of another key"} {
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.SetSignature(ctx, id, []byte(want)) })
			if got, err := signature(); string(got) != want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE signatures SET checksum = checksum + 1`)
			return err
		})
		if _, err := signature(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("damaged: %v, want ErrNotFound, so that one is made anew", err)
		}
	})
}

func TestSetRecipient(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, "ann@shop.example", "bob@shop.example"))
		want := m.Recipients[1]
		want.State, want.Attempts, want.NextAt = pennypost.Deferred, 3, micro(time.Now().Add(time.Hour))
		want.Rule, want.Reply, want.ChangedAt, want.HeldFor = "greylisted", "smtp;451 4.7.1 later", micro(time.Now()), 90*time.Minute
		update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.SetRecipient(ctx, &want) })
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Recipient(ctx, m.Message.ID, 1)
			if d := cmp.Diff(&want, got); d != "" {
				t.Error(d)
			}
			if err != nil {
				return err
			}
			other, err := tx.Recipient(ctx, m.Message.ID, 0)
			if other.State != pennypost.Queued {
				t.Errorf("the other one is %v", other.State)
			}
			return err
		})
		want.N = 2
		err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.SetRecipient(t.Context(), &want) })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

// Texts of remote hosts hold what they like.
func TestForeignText(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		m := stored(t, st, mail(st, "ann@shop.example"))
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			r := m.Recipients[0]
			r.Reply = "smtp;550 a\x00b\xffc"
			if err := tx.SetRecipient(ctx, &r); err != nil {
				return err
			}
			err := tx.AddAttempt(ctx, &pennypost.Attempt{MessageID: r.MessageID, No: 1, Reply: r.Reply, Conversation: r.Reply})
			if err != nil {
				return err
			}
			return tx.AddEvent(ctx, &pennypost.Event{
				MessageID: r.MessageID, Type: pennypost.EventBounced, Details: map[string]string{"Summary": r.Reply},
				Bounce: &pennypost.Bounce{Details: r.Reply, Dump: r.Reply},
			})
		})
		const want = "smtp;550 a\uFFFDb\uFFFDc"
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			r, err := tx.Recipient(ctx, m.Message.ID, 0)
			if err != nil {
				return err
			}
			attempts, err := tx.Attempts(ctx, m.Message.ID)
			if err != nil {
				return err
			}
			events, err := tx.Events(ctx, m.Message.ID)
			for _, got := range []string{r.Reply, attempts[0].Reply, attempts[0].Conversation, events[0].Details["Summary"], events[0].Bounce.Dump} {
				if got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
			return err
		})
	})
}

func TestAttempts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		id := newID()
		now := micro(time.Now())
		want := []pennypost.Attempt{
			{MessageID: id, N: 0, No: 1, StartedAt: now, Outcome: pennypost.OutcomeDeferred, Phase: "connect", Reply: "no answer", Rule: "network"},
			{
				MessageID: id, N: 0, No: 2, StartedAt: now.Add(time.Minute), Outcome: pennypost.OutcomeDelivered, Phase: "dot",
				Host: "mx.shop.example", IP: "2001:db8::1", Code: 250, Enhanced: "2.0.0", Reply: "ok", Rule: "delivered",
				TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256", TLSNote: "self-signed", Ambiguous: true, Reused: true, Took: 1234567 * time.Microsecond,
				Phases:       []pennypost.PhaseTime{{Phase: "dns", Took: 120 * time.Microsecond}, {Phase: "connect", Took: 3 * time.Second}},
				Conversation: "S: 220 hello\nC: EHLO us\n",
			},
			{MessageID: id, N: 3, No: 1, StartedAt: now, Outcome: pennypost.OutcomeBounced, Code: 550},
		}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			for _, i := range []int{2, 1, 0} {
				if err := tx.AddAttempt(ctx, &want[i]); err != nil {
					return err
				}
			}
			return tx.AddAttempt(ctx, &pennypost.Attempt{MessageID: newID(), No: 1})
		})
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Attempts(ctx, id)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			return err
		})
		err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddAttempt(t.Context(), &want[0]) })
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("the same attempt again: %v, want ErrConflict", err)
		}
	})
}

func TestEventsAndBounces(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		id := newID()
		now := micro(time.Now())
		event := func(typ pennypost.EventType) *pennypost.Event {
			return &pennypost.Event{
				At: now, AccountID: 1, ServerID: 2, Stream: "outbound", MessageID: id, N: 1, Recipient: "ann@shop.example",
				Type: typ, Tag: "spring", Details: map[string]string{"DeliveryMessage": "smtp;250 ok"},
			}
		}
		first, second := event(pennypost.EventTransient), event(pennypost.EventBounced)
		second.Bounce = &pennypost.Bounce{
			Type: "HardBounce", TypeCode: 1, AccountID: 1, ServerID: 2, Stream: "outbound", MessageID: id, N: 1,
			Recipient: "ann@shop.example", From: "shop@acme.example", Subject: "Hello", Tag: "spring",
			Details: "smtp;550 5.1.1 unknown", Rule: "rule", Dump: "S: 550", Inactive: true, Simulated: true, At: now,
		}
		bare := &pennypost.Event{ServerID: 2, MessageID: newID(), Type: pennypost.EventHeld}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			for _, e := range []*pennypost.Event{first, second, bare} {
				if err := tx.AddEvent(ctx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if first.ID == 0 || second.ID <= first.ID || second.Bounce.ID == 0 || second.Bounce.ID >= 1<<53 || bare.At.IsZero() {
			t.Errorf("ids %d, %d, bounce %d; time %v", first.ID, second.ID, second.Bounce.ID, bare.At)
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Events(ctx, id)
			if d := cmp.Diff([]pennypost.Event{*first, *second}, got); d != "" {
				t.Error(d)
			}
			if err != nil {
				return err
			}
			b, err := tx.Bounce(ctx, 2, second.Bounce.ID)
			if d := cmp.Diff(second.Bounce, b); d != "" {
				t.Error(d)
			}
			if _, err := tx.Bounce(ctx, 3, second.Bounce.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("another server sees the bounce: %v", err)
			}
			return err
		})
	})
}

// Bounces are listed by stream, the newest first; their ids grow, also when
// several are made within a microsecond.
func TestBounces(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		var ids []int64
		for i := range 7 {
			update(t, st, func(ctx context.Context, tx *store.Tx) error {
				e := &pennypost.Event{ServerID: 2, Stream: "outbound", MessageID: newID(), Type: pennypost.EventBounced}
				e.Bounce = &pennypost.Bounce{ServerID: 2, Stream: "outbound"}
				if i == 3 {
					e.Bounce.Stream = "other"
				}
				if err := tx.AddEvent(ctx, e); err != nil {
					return err
				}
				if i != 3 {
					ids = append([]int64{e.Bounce.ID}, ids...)
				}
				return nil
			})
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, total, err := tx.Bounces(ctx, 2, "outbound", 3, 2)
			var got []int64
			for i := range list {
				got = append(got, list[i].ID)
			}
			if d := cmp.Diff(ids[2:5], got); d != "" || total != 6 {
				t.Errorf("%d in all; %s", total, d)
			}
			return err
		})
		// Another node had the id that comes next.
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			taken := time.Now().UnixMicro() + 1_000_000
			for id := taken; id < taken+3; id++ {
				if _, err := tx.Exec(ctx, `INSERT INTO bounces (id, type, type_code, account_id, server_id, stream, message_id, n,
					recipient, sender, subject, tag, details, rule, dump, inactive, at)
					SELECT $1, type, type_code, account_id, server_id, stream, message_id, n,
					recipient, sender, subject, tag, details, rule, dump, inactive, at FROM bounces WHERE id = $2`, id, ids[0]); err != nil {
					return err
				}
			}
			st.NextBounceAfter(taken - 1)
			e := &pennypost.Event{ServerID: 2, MessageID: newID(), Type: pennypost.EventBounced, Bounce: &pennypost.Bounce{ServerID: 2}}
			err := tx.AddEvent(ctx, e)
			if e.Bounce.ID != taken+3 {
				t.Errorf("id %d, want %d", e.Bounce.ID, taken+3)
			}
			return err
		})
	})
}

func TestInbound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		about := newID()
		mails := []store.InboundMail{
			{
				ID: newID(), From: "", Helo: "mx.shop.example", IP: "192.0.2.1", TLS: true, Content: []byte("Subject: failed\r\n\r\n\xff"),
				Recipients: []store.InboundRecipient{
					{Address: "b-x@pm.mail.example", Kind: store.InboundReturn, MessageID: about, N: 3},
					{Address: "b-y@pm.mail.example", Kind: store.InboundUnverified},
				},
			},
			{ID: newID(), From: "ann@shop.example", Recipients: []store.InboundRecipient{{Address: "abuse@mail.example", Kind: store.InboundLetter}}},
		}
		for i := range mails {
			update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.InsertInbound(ctx, &mails[i]) })
		}
		view(t, st, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.InboundMails(ctx, 10, 0)
			if d := cmp.Diff([]store.InboundMail{mails[1], mails[0]}, got, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Microsecond)); d != "" {
				t.Error(d)
			}
			if err != nil {
				return err
			}
			got, err = tx.InboundMails(ctx, 10, 1)
			if len(got) != 1 || got[0].ID != mails[0].ID {
				t.Errorf("the second page is %v", got)
			}
			return err
		})
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE inbound_mails SET checksum = checksum + 1 WHERE id = $1`, mails[0].ID[:])
			return err
		})
		err := st.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.InboundMails(t.Context(), 10, 0)
			return err
		})
		if !errors.Is(err, store.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
	})
}

func TestJobRef(t *testing.T) {
	id := newID()
	for _, n := range []int{0, 1, 49, 65535} {
		gotID, gotN, err := store.ParseJobRef(store.JobRef(id, n))
		if gotID != id || gotN != n || err != nil {
			t.Errorf("%v, %d, %v", gotID, gotN, err)
		}
	}
	for _, ref := range [][]byte{nil, id[:], append(store.JobRef(id, 1), 0)} {
		if _, _, err := store.ParseJobRef(ref); err == nil {
			t.Errorf("%x was read", ref)
		}
	}
}
