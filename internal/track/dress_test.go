package track

import (
	"strings"
	"testing"

	"pennypost"
)

const base = "https://track.example.com"

func testID() pennypost.MessageID {
	return pennypost.MessageID{0x01, 0x98, 0, 1, 2, 0x70, 3, 4, 0x85, 6, 7, 8, 9, 10, 11, 12}
}

func testSigner() *Signer { return NewSigner([]byte("0123456789abcdef0123456789abcdef")) }

// show replaces our URLs by their meaning, so that a want can be read: OPEN,
// UNSUB, and h1<target> for a link.
func show(t *testing.T, s *Signer, id pennypost.MessageID, body string) string {
	t.Helper()
	body = strings.ReplaceAll(body, s.OpenURL(base, id), "OPEN")
	body = strings.ReplaceAll(body, s.UnsubscribeURL(base, id), "UNSUB")
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(body, base+"/c/")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return r >= 0x80 || !isAlnum(byte(r)) && !strings.ContainsRune("-._~%/", r) })
		if n < 0 {
			n = len(rest)
		}
		n = len(strings.TrimRight(rest[:n], "-._~/"))
		l, ok := s.ReadLink("/c/" + rest[:n])
		if !ok || l.ID != id || l.Recipient != Copy {
			t.Fatalf("no link of the copy: %q", rest[:n])
		}
		out.WriteString(string(l.Location) + string(rune('0'+l.No)) + "⟨" + l.Target + "⟩")
		body = rest[n:]
	}
}

func TestApply(t *testing.T) {
	s, id := testSigner(), testID()
	got := s.Apply(id, Dress{Base: base, Opens: true, Links: pennypost.TrackHTMLAndText, Unsubscribe: true},
		`<html><body><p>Hi <a href="https://shop.example/p?id=9&amp;x=1">there</a></BODY></html>`,
		"Hi (https://shop.example/p?id=9&x=1), see https://b.example/.\r\n")
	wantHTML := `<html><body><p>Hi <a href="h1⟨https://shop.example/p?id=9&x=1⟩">there</a>` +
		`<p style="text-align:center;margin:1em 0 3em;"><a href="UNSUB" style="color:#A8AAAF;font-family:Helvetica,Arial,sans-serif;font-size:12px;">Unsubscribe</a></p>` +
		`<img src="OPEN" width="1" height="1" border="0" alt="" /></BODY></html>`
	if h := show(t, s, id, got.HTML); h != wantHTML {
		t.Errorf("HTML\n%s\nwant\n%s", h, wantHTML)
	}
	wantText := "Hi (t1⟨https://shop.example/p?id=9&x=1⟩), see t2⟨https://b.example/⟩.\r\n\r\nUnsubscribe: UNSUB\r\n"
	if x := show(t, s, id, got.Text); x != wantText {
		t.Errorf("text\n%q\nwant\n%q", x, wantText)
	}
	if got.Links != 2 || !got.Personal || !got.Unsubscribe {
		t.Errorf("got %d links, personal %v, unsubscribe %v", got.Links, got.Personal, got.Unsubscribe)
	}
}
