package store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"pennypost"
	"pennypost/internal/store"
)

// The cost model of acceptance: 4 KiB of content, one recipient, one job that
// is born leased, and the counters.
func BenchmarkAccept(b *testing.B) {
	for _, writers := range []int{1, 20, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			st := benchStore(b)
			benchEach(b, writers, func(ctx context.Context, n int) error {
				return st.Update(ctx, func(tx *store.Tx) error { return benchAccept(ctx, st, tx, benchMessage(st, n)) })
			})
		})
	}
}

// What a delivery writes: attempt, recipient, event, counters, end of the job.
func BenchmarkDeliver(b *testing.B) {
	for _, writers := range []int{1, 20, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			st := benchStore(b)
			messages := benchFill(b, st, b.N)
			benchEach(b, writers, func(ctx context.Context, n int) error {
				return st.Update(ctx, func(tx *store.Tx) error { return benchDeliver(ctx, tx, messages[n]) })
			})
		})
	}
}

func benchStore(b *testing.B) *store.Store {
	b.Helper()
	st, err := store.Open(b.Context(), store.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	return st
}

// benchEach calls do b.N times from so many goroutines, and reports the CPU
// time of the process for each.
func benchEach(b *testing.B, writers int, do func(ctx context.Context, n int) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
	before := cpuTime(b)
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= b.N {
					return
				}
				if err := do(context.Background(), n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func benchFill(b *testing.B, st *store.Store, n int) []*store.NewMessage {
	b.Helper()
	messages := make([]*store.NewMessage, n)
	for i := 0; i < n; i += 100 {
		err := st.Update(b.Context(), func(tx *store.Tx) error {
			for k := i; k < min(n, i+100); k++ {
				messages[k] = benchMessage(st, k)
				if err := benchAccept(b.Context(), st, tx, messages[k]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return messages
}

var benchContent = func() []byte {
	c := make([]byte, 4096)
	_, _ = rand.Read(c)
	return c
}()

func benchMessage(st *store.Store, n int) *store.NewMessage {
	id := pennypost.MessageID(uuid.Must(uuid.NewV7()))
	now := time.Now()
	to := pennypost.Address(fmt.Sprintf("somebody-%d@customers.example", n*7919%1_000_003))
	return &store.NewMessage{
		Message: &pennypost.Message{
			ID: id, AccountID: 1, ServerID: 1, Stream: pennypost.StreamOutbound, Source: pennypost.SourceSMTP,
			From: pennypost.Mailbox{Name: "Shop", Address: "shop@acme.example"}, To: []pennypost.Mailbox{{Address: to}},
			Subject: "Your receipt of today", Tag: "receipt", TrackLinks: pennypost.TrackNone,
			HeaderID: "<" + id.String() + "@mail.example>", SignDomain: "acme.example", ReturnDomain: "pm.mail.example",
			ReceivedAt: now, Size: int64(len(benchContent)), Recipients: 1,
		},
		Content:    benchContent,
		Recipients: []pennypost.Recipient{{MessageID: id, Address: to, State: pennypost.Queued, NextAt: now, ChangedAt: now}},
		Jobs: []pennypost.Job{{
			ID: st.NextID(), Kind: pennypost.JobDeliver, Dest: to.Domain(), Tenant: 1, Priority: pennypost.PriorityTransactional,
			RunAt: now, Lease: st.Session(), Ref: store.JobRef(id, 0),
		}},
	}
}

func benchAccept(ctx context.Context, st *store.Store, tx *store.Tx, m *store.NewMessage) error {
	if err := tx.AddUsage(ctx, 1, 1, 1, pennypost.Limits{}); err != nil {
		return err
	}
	if err := tx.AddMessage(ctx, m); err != nil {
		return err
	}
	return tx.CountStats(ctx, store.StatCount{Server: 1, Stream: pennypost.StreamOutbound, Tag: m.Message.Tag, Sent: 1})
}

var benchConversation = strings.Repeat("S: 250 2.1.5 Ok, and so on and on\n", 27)

func benchDeliver(ctx context.Context, tx *store.Tx, m *store.NewMessage) error {
	now := tx.Now()
	id := m.Message.ID
	err := tx.AddAttempt(ctx, &pennypost.Attempt{
		MessageID: id, No: 1, StartedAt: now, Outcome: pennypost.OutcomeDelivered, Phase: "dot", Host: "mx.customers.example",
		IP: "192.0.2.7", Code: 250, Enhanced: "2.0.0", Reply: "2.0.0 Ok: queued as 4Zx9", Rule: "delivered", TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256",
		Took: 20 * time.Millisecond, Phases: []pennypost.PhaseTime{{Phase: "mail", Took: time.Millisecond}, {Phase: "dot", Took: time.Millisecond}},
		Conversation: benchConversation,
	})
	if err != nil {
		return err
	}
	r := m.Recipients[0]
	r.State, r.Attempts, r.NextAt, r.ChangedAt, r.Rule, r.Reply = pennypost.Delivered, 1, time.Time{}, now, "delivered", "smtp;250 2.0.0 Ok: queued as 4Zx9"
	if err := tx.SetRecipient(ctx, &r); err != nil {
		return err
	}
	err = tx.AddEvent(ctx, &pennypost.Event{
		At: now, AccountID: 1, ServerID: 1, Stream: pennypost.StreamOutbound, MessageID: id, Recipient: r.Address,
		Type: pennypost.EventDelivered, Tag: "receipt", Details: map[string]string{
			"DeliveryMessage": r.Reply, "DestinationServer": "mx.customers.example (192.0.2.7)", "DestinationIP": "192.0.2.7",
		},
	})
	if err != nil {
		return err
	}
	if err := tx.CountStats(ctx, store.StatCount{Server: 1, Stream: pennypost.StreamOutbound, Tag: "receipt", Delivered: 1}); err != nil {
		return err
	}
	return tx.FinishJob(ctx, m.Jobs[0].ID)
}
