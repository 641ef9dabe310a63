package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// The filters of contract/messages.md §2.
func TestSearchMessages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		start := micro(time.Now()).Add(-80 * 24 * time.Hour)
		day := func(n float64) time.Time { return start.Add(time.Duration(n * 24 * float64(time.Hour))) }
		names := make(map[pennypost.MessageID]string)
		add := func(name string, at time.Time, change func(m *store.NewMessage), to ...pennypost.Address) {
			m := mailAt(st, at, to...)
			change(m)
			stored(t, st, m)
			names[m.Message.ID] = name
		}
		add("first", day(0), func(m *store.NewMessage) {
			m.Message.Tag = "welcome"
			m.Message.Metadata = map[string]string{"Order": "778", "colour": "red"}
		}, "ann@shop.example", "bob@shop.example")
		add("second", day(1), func(m *store.NewMessage) {
			m.Message.Subject = "GRÜSSE aus Köln, 100% echt"
			m.Message.Metadata = map[string]string{"order": `"778"`, "x": `y","order":"779`}
			m.Recipients[0].State, m.Recipients[0].Attempts = pennypost.Delivered, 1
		}, "Ann@shop.example")
		add("third", day(40), func(m *store.NewMessage) {
			m.Message.From.Address = "news@acme.example"
			m.Message.Subject = "a_b"
			m.Message.Tag = "Welcome"
			m.Recipients[0].State = pennypost.Deferred
			m.Recipients[0].Attempts = 2
		}, "cat@shop.example")
		add("broadcast", day(41), func(m *store.NewMessage) { m.Message.Stream = pennypost.StreamBroadcast }, "ann@shop.example")
		add("foreign", day(42), func(m *store.NewMessage) { m.Message.ServerID = 2 }, "ann@shop.example")
		add("last", day(80), func(m *store.NewMessage) {
			m.Recipients[0].State, m.Recipients[0].Attempts = pennypost.Delivered, 1
		}, "dan@shop.example", "cat@shop.example")

		out := store.MessageFilter{Server: 1, Stream: pennypost.StreamOutbound}
		with := func(change func(f *store.MessageFilter)) store.MessageFilter {
			f := out
			change(&f)
			return f
		}
		for name, c := range map[string]struct {
			filter store.MessageFilter
			want   []string
		}{
			"all":                    {out, []string{"last", "third", "second", "first"}},
			"all streams":            {store.MessageFilter{Server: 1}, []string{"last", "broadcast", "third", "second", "first"}},
			"other stream":           {with(func(f *store.MessageFilter) { f.Stream = pennypost.StreamBroadcast }), []string{"broadcast"}},
			"other server":           {with(func(f *store.MessageFilter) { f.Server = 2 }), []string{"foreign"}},
			"recipient in any case":  {with(func(f *store.MessageFilter) { f.Recipient = "ANN@shop.example" }), []string{"second", "first"}},
			"second recipient":       {with(func(f *store.MessageFilter) { f.Recipient = "cat@shop.example" }), []string{"last", "third"}},
			"recipient, all streams": {store.MessageFilter{Server: 1, Recipient: "ann@shop.example"}, []string{"broadcast", "second", "first"}},
			"recipient and time": {
				with(func(f *store.MessageFilter) { f.Recipient, f.After = "ann@shop.example", day(0.5) }),
				[]string{"second"},
			},
			"recipient and end": {
				with(func(f *store.MessageFilter) { f.Recipient, f.Before = "ann@shop.example", day(0.5) }),
				[]string{"first"},
			},
			"recipient and no time": {with(func(f *store.MessageFilter) { f.Recipient, f.Before = "ann@shop.example", day(-5) }), nil},
			"part of a recipient":   {with(func(f *store.MessageFilter) { f.Recipient = "ann@" }), nil},
			"from in any case":      {with(func(f *store.MessageFilter) { f.From = "NEWS@acme.example" }), []string{"third"}},
			"tag is exact":          {with(func(f *store.MessageFilter) { f.Tag = "welcome" }), []string{"first"}},
			"subject in any case":   {with(func(f *store.MessageFilter) { f.Subject = "grüsse AUS" }), []string{"second"}},
			"subject is no pattern": {with(func(f *store.MessageFilter) { f.Subject = "a_b" }), []string{"third"}},
			"subject with percent":  {with(func(f *store.MessageFilter) { f.Subject = "100%" }), []string{"second"}},
			"subject and recipient": {with(func(f *store.MessageFilter) { f.Subject, f.Recipient = "receipt", "ann@shop.example" }), []string{"first"}},
			"queued":                {with(func(f *store.MessageFilter) { f.Status = "queued" }), []string{"last", "first"}},
			"sent":                  {with(func(f *store.MessageFilter) { f.Status = "sent" }), []string{"third", "second"}},
			"metadata":              {with(func(f *store.MessageFilter) { f.MetadataKey, f.MetadataValue = "order", "778" }), []string{"first"}},
			"metadata key's case":   {with(func(f *store.MessageFilter) { f.MetadataKey, f.MetadataValue = "ORDER", `"778"` }), []string{"second"}},
			"metadata value's case": {with(func(f *store.MessageFilter) { f.MetadataKey, f.MetadataValue = "colour", "Red" }), nil},
			"metadata within value": {with(func(f *store.MessageFilter) { f.MetadataKey, f.MetadataValue = "order", "779" }), nil},
			"from a time on":        {with(func(f *store.MessageFilter) { f.After = day(1) }), []string{"last", "third", "second"}},
			"before a time":         {with(func(f *store.MessageFilter) { f.Before = day(1) }), []string{"first"}},
			"between": {
				with(func(f *store.MessageFilter) { f.After, f.Before = day(0.5), day(60) }),
				[]string{"third", "second"},
			},
			"nothing": {with(func(f *store.MessageFilter) { f.Tag = "none" }), nil},
		} {
			t.Run(name, func(t *testing.T) {
				view(t, st, func(ctx context.Context, tx *store.Tx) error {
					list, total, err := tx.SearchMessages(ctx, c.filter, 500, 0)
					var got []string
					for i := range list {
						got = append(got, names[list[i].ID])
					}
					if d := cmp.Diff(c.want, got); d != "" || total != len(c.want) {
						t.Errorf("%d in all; %s", total, d)
					}
					return err
				})
			})
		}
	})
}

func TestSearchPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		now := time.Now()
		for i := range 9 {
			m := mailAt(st, now.Add(time.Duration(i)*time.Second), "ann@shop.example")
			m.Message.Subject = fmt.Sprint("number ", i)
			stored(t, st, m)
		}
		for name, f := range map[string]store.MessageFilter{
			"by SQL":       {Server: 1, Stream: pennypost.StreamOutbound},
			"by recipient": {Server: 1, Stream: pennypost.StreamOutbound, Recipient: "ann@shop.example"},
			"sifted":       {Server: 1, Stream: pennypost.StreamOutbound, Subject: "number"},
		} {
			t.Run(name, func(t *testing.T) {
				view(t, st, func(ctx context.Context, tx *store.Tx) error {
					list, total, err := tx.SearchMessages(ctx, f, 3, 2)
					var got []string
					for i := range list {
						got = append(got, list[i].Subject)
					}
					if d := cmp.Diff([]string{"number 6", "number 5", "number 4"}, got); d != "" || total != 9 {
						t.Errorf("%d in all; %s", total, d)
					}
					return err
				})
			})
		}
	})
}
