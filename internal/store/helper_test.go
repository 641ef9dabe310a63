package store_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pennypost"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
)

func update(t *testing.T, st *store.Store, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := st.Update(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, st *store.Store, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := st.View(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// number asks for one number.
func number(t *testing.T, st *store.Store, query string, args ...any) int64 {
	t.Helper()
	var n int64
	view(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.Number(ctx, query, args...)
		return err
	})
	return n
}

// figure reads a counter from the page of metrics.
func figure(t *testing.T, m *metrics.Set, name string) int {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if v, ok := strings.CutPrefix(line, "pennypost_"+name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func newID() pennypost.MessageID { return pennypost.MessageID(uuid.Must(uuid.NewV7())) }

// mail makes a message of server 1 to some addresses, with born-leased jobs.
func mail(st *store.Store, to ...pennypost.Address) *store.NewMessage {
	return mailAt(st, time.Now(), to...)
}

func mailAt(st *store.Store, at time.Time, to ...pennypost.Address) *store.NewMessage {
	id := newID()
	m := &store.NewMessage{
		Message: &pennypost.Message{
			ID: id, AccountID: 1, ServerID: 1, Stream: pennypost.StreamOutbound, Source: pennypost.SourceHTTP,
			From: pennypost.Mailbox{Name: "Shop", Address: "Shop@acme.example"}, Subject: "Your receipt",
			TrackLinks: pennypost.TrackNone, HeaderID: "<" + id.String() + "@mail.example>", SignDomain: "acme.example",
			ReturnDomain: "pm.mail.example", ReceivedAt: at, Recipients: len(to),
		},
		Content: []byte("Subject: Your receipt\r\n\r\nThank you, number " + id.String() + "\r\n"),
	}
	m.Message.Size = int64(len(m.Content))
	for n, a := range to {
		m.Message.To = append(m.Message.To, pennypost.Mailbox{Address: a})
		m.Recipients = append(m.Recipients, pennypost.Recipient{
			MessageID: id, N: n, Address: a, State: pennypost.Queued, NextAt: at, ChangedAt: at,
		})
		m.Jobs = append(m.Jobs, pennypost.Job{
			ID: st.NextID(), Kind: pennypost.JobDeliver, Dest: a.Domain(), Tenant: 1, Priority: pennypost.PriorityTransactional,
			RunAt: at, Lease: st.Session(), Ref: store.JobRef(id, n),
		})
	}
	return m
}

// stored stores a message of mail.
func stored(t *testing.T, st *store.Store, m *store.NewMessage) *store.NewMessage {
	t.Helper()
	update(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.AddMessage(ctx, m) })
	return m
}

// micro is a time as the store keeps it.
func micro(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func addresses(n int) []pennypost.Address {
	list := make([]pennypost.Address, n)
	for i := range list {
		list[i] = pennypost.Address(fmt.Sprintf("ann%d@shop.example", i))
	}
	return list
}
