package eml

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const whole = "-pKd_0123456789abcdefXYZ" // as a token of package track

// TestWhole: wherever it stands and whatever is around it, what is whole is found
// again in what was written, and a reader gets the text that was given.
func TestWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.OneOf(
			rapid.Just(whole), rapid.SampledFrom([]string{"\n", "\r\n", " ", "=", "\t", "From ", "https://t.example/c/h1/", whole[:20]}),
			rapid.StringOfN(rapid.SampledFrom([]rune("訂單已出貨a=é.")), 0, 90, -1), rapid.StringMatching(`[a-z]{0,80}`),
		)
		text := strings.Join(rapid.SliceOfN(piece, 1, 40).Draw(t, "pieces"), "")
		m := Message{Root: &Part{Type: "text/html", Content: []byte(text)}, Whole: whole}
		written, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := bytes.Count(written, []byte(whole)), strings.Count(text, whole); got != want {
			t.Errorf("%d of %d are whole:\n%s", got, want, written)
		}
		for line := range bytes.SplitSeq(written, []byte("\r\n")) {
			if len(line) > 76 {
				t.Errorf("line of %d octets: %q", len(line), line)
			}
		}
		p, err := Parse(written, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, want := strings.TrimRight(p.Root.Text(), "\r\n"), strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\r\n")
		if got = strings.ReplaceAll(got, "\r\n", "\n"); got != want {
			t.Errorf("read again:\n%q\nwant\n%q", got, want)
		}
	})
}

// TestWholeChangesNothing: a text without it is written as it ever was.
func TestWholeChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root := &Part{Type: "text/plain", Content: []byte(rapid.StringOfN(rapid.SampledFrom([]rune("ab =é\n")), 0, 400, -1).Draw(t, "text"))}
		plain := Message{Root: root}
		marked := Message{Root: root, Whole: whole}
		a, err := plain.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := marked.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("got\n%s\nwant\n%s", b, a)
		}
	})
}
