package bulk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/submit"
)

// headers are so many of one size in all.
func headers(name string, n, size int) []submit.Pair {
	list := make([]submit.Pair, n)
	for i := range list {
		list[i].Key = fmt.Sprintf("%s-%04d", name, i)
		list[i].Value = strings.Repeat("x", size-len(list[i].Key))
	}
	return list
}

// TestSharedHeaders: they count with the message's own, which replace them, and
// are checked once (contract/sending.md §13; contract/common.md §8).
func TestSharedHeaders(t *testing.T) {
	w := newWorld(t)
	for _, x := range []struct {
		name        string
		shared, own []submit.Pair
		want        string // in the refusal, "" for none
	}{
		{"as many as may be", headers("X-A", 990, 20), headers("X-B", 10, 20), ""},
		{"one too many", headers("X-A", 990, 20), headers("X-B", 11, 20), "1000 headers"},
		{"in place of others", headers("X-A", 1000, 20), headers("x-a", 30, 20), ""},
		{"as long as may be", headers("X-A", 255, 1024), headers("X-B", 1, 1024), ""},
		{"too long together", headers("X-A", 255, 1024), headers("X-B", 1, 1025), "262144 bytes"},
		{"longer than what it replaces", headers("X-A", 256, 1024), headers("X-A", 1, 1025), "262144 bytes"},
		{"of their own wrong", nil, []submit.Pair{{Key: "X A", Value: "x"}}, "Invalid header"},
		{"wrong for all", []submit.Pair{{Key: "X A", Value: "x"}}, nil, "Invalid header"},
		{"too many for all", headers("X-A", 1001, 20), headers("X-B", 1, 20), "1000 headers"},
	} {
		in := mail(0)
		n := 1
		if x.own == nil {
			n = 3 // their mistake is one
		}
		in.Headers, in.Messages = x.shared, repeated(n, &Message{To: "ann@shop.example", Headers: x.own})
		_, err := w.req.Accept(t.Context(), w.callers[0], in)
		var refused *pennypost.Error
		switch {
		case x.want == "" && err != nil:
			t.Errorf("%s: %v", x.name, err)
		case x.want != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Text, x.want)):
			t.Errorf("%s: got %v, want a refusal with %q", x.name, err, x.want)
		}
	}
}

// TestSharedMetadata: it counts with the message's own, and a mistake in it is one.
func TestSharedMetadata(t *testing.T) {
	w := newWorld(t)
	in := mail(0)
	in.Metadata = headers("a", 8, 10)
	in.Messages = repeated(1, &Message{To: "ann@shop.example", Metadata: headers("b", 3, 10)})
	var refused *pennypost.Error
	if _, err := w.req.Accept(t.Context(), w.callers[0], in); !errors.As(err, &refused) || !strings.Contains(refused.Text, "10 metadata fields") {
		t.Errorf("11 fields together: %v", err)
	}
	in = mail(3)
	in.Metadata = headers("a", 11, 10)
	if _, err := w.req.Accept(t.Context(), w.callers[0], in); !errors.As(err, &refused) || !strings.Contains(refused.Text, "10 metadata fields") {
		t.Errorf("11 fields for all: %v", err)
	}
}

// TestCheckEnds: with its context, however many messages there are.
func TestCheckEnds(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	in, seen := mail(0), 0
	in.Messages = func(yield func(*Message, error) bool) {
		for range 1_000 {
			if seen++; seen == 10 {
				cancel()
			}
			if !yield(&Message{To: "ann@shop.example"}, nil) {
				return
			}
		}
	}
	if _, err := w.req.Accept(ctx, w.callers[0], in); !errors.Is(err, context.Canceled) || seen != 10 {
		t.Errorf("ended after %d messages with %v, want 10", seen, err)
	}
}
