package smtpc

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// What may not be sent is found before anything is sent.
func TestContent(t *testing.T) {
	long := strings.Repeat("x", 998)
	tests := []struct {
		name  string
		parts []string
		err   string
		facts facts
	}{
		{"plain", []string{"A: b\r\n\r\nhi\r\n"}, "", facts{size: 12}},
		{"998", []string{long + "\r\n"}, "", facts{size: 1000}},
		{"998 in parts", []string{long[:500], long[500:] + "\r", "\n"}, "", facts{size: 1000}},
		{"dot at the start", []string{".\r\n"}, "", facts{size: 3, dots: true}},
		{"dot in a line", []string{"a.\r\n"}, "", facts{size: 4}},
		{"dot at a line", []string{"a\r\n", "", ".b\r\n"}, "", facts{size: 7, dots: true}},
		{"dot at a part", []string{"a", ".b\r\n"}, "", facts{size: 5}},
		{"8 bit", []string{"ä1234567\r\n"}, "", facts{size: 11, eightBit: true}},
		{"8 bit at the end", []string{"12345678ä\r\n"}, "", facts{size: 12, eightBit: true}},
		{"empty", nil, "does not end", facts{}},
		{"empty parts", []string{"", ""}, "does not end", facts{}},
		{"no end", []string{"a\r\nb"}, "does not end", facts{}},
		{"half an end", []string{"a\r"}, "does not end", facts{}},
		{"999", []string{long + "x\r\n"}, "more than 998", facts{}},
		{"999 in parts", []string{long, "x", "\r\n"}, "more than 998", facts{}},
		{"endless", []string{strings.Repeat("x", 5000)}, "more than 998", facts{}},
		{"bare LF", []string{"a\nb\r\n"}, "bare LF", facts{}},
		{"bare LF first", []string{"\n"}, "bare LF", facts{}},
		{"bare LF in the next part", []string{"a", "\nb\r\n"}, "bare LF", facts{}},
		{"bare CR", []string{"a\rb\r\n"}, "bare CR", facts{}},
		{"bare CR at the end of a part", []string{"a\r", "b\r\n"}, "bare CR", facts{}},
		{"CR CR LF", []string{"a\r\r\n"}, "bare CR", facts{}},
		{"CR, CR LF", []string{"a\r", "\r\n"}, "bare CR", facts{}},
		{"smuggled end", []string{"a\n.\n"}, "bare LF", facts{}},
		{"NUL", []string{"a\x00\r\n"}, "NUL", facts{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var parts [][]byte
			for _, p := range tt.parts {
				parts = append(parts, []byte(p))
			}
			c := greeted(t, Config{}, plainest, func(p *peer) {
				if tt.err != "" {
					p.gone() // nothing is said
				}
			})
			got, err := inspect(parts)
			if tt.err == "" {
				if err != nil || got != tt.facts {
					t.Fatalf("got %+v, %v, want %+v", got, err, tt.facts)
				}
				return
			}
			r, err := c.Send(t.Context(), &Envelope{From: "a@b.test", To: "c@d.test", Parts: parts})
			if e := gotError(t, r, err, PhaseMail, tt.err, false); !errors.Is(e, ErrContent) {
				t.Errorf("got %v, want ErrContent", err)
			}
			wantReusable(t, c, true)
		})
	}
}

// In random parts and random chunks, the text that goes out is the text
// stuffed line by line.
func TestStuffing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: the same each time
	for range 2000 {
		var b strings.Builder
		for range 1 + rng.IntN(8) {
			b.WriteString([]string{".", "..", ".x", "", "a.", "abc"}[rng.IntN(6)] + "\r\n")
		}
		whole := b.String()
		var parts [][]byte
		for rest := whole; rest != ""; {
			n := rng.IntN(len(rest) + 1)
			parts = append(parts, []byte(rest[:n]))
			rest = rest[n:]
		}
		f, err := inspect(parts)
		if err != nil {
			t.Fatalf("%q: %v", parts, err)
		}
		s := text{rest: parts, dots: f.dots}
		var got, buf []byte
		limit := 1 + rng.IntN(12)
		for last := false; !last; {
			buf, last = s.next(buf[:0], limit)
			if len(buf) > limit+1 {
				t.Fatalf("got a write of %d octets, want at most %d", len(buf), limit+1)
			}
			got = append(got, buf...)
		}
		if want := stuff(whole); string(got) != want {
			t.Fatalf("%q: got %q, want %q", parts, got, want)
		}
	}
}
