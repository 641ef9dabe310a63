package submit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/track"
)

func asRefusal(err error, e **pennypost.Error) bool { return errors.As(err, e) }

// wholeTokens wants each token of the copy that a reader of the bodies finds to be
// found in the octets too, where delivery replaces it; one more is in the header.
func wholeTokens(t *testing.T, d *Door, dr *draft, root *eml.Part) {
	t.Helper()
	token := d.conf.Dress.Token(dr.id, track.Copy)
	read := 1
	for _, p := range []*eml.Part{root.HTMLBody(), root.TextBody()} {
		if p != nil && !p.Preserved() {
			read += bytes.Count(p.Content, []byte(token))
		}
	}
	if n := bytes.Count(dr.content, []byte(token)); n != read || !dr.personal {
		t.Errorf("%d tokens are whole, %d are read:\n%s", n, read, dr.content)
	}
}

// FuzzAcceptRaw: any octets give a message that is safe to send, or a refusal.
func FuzzAcceptRaw(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(rawSample())
	f.Add([]byte("From: a@acme.example\n\n"))
	f.Add([]byte("From: A: a@acme.example;\nTo: \"b\n c\" <d@e.example>\nX-PM-Metadata-: x\n\n"))
	f.Add([]byte("From: a@acme.example\nContent-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--"))
	d := benchDoor()
	d.conf.Rand = &counting{}
	c := pennypost.Caller{Kind: pennypost.CallerSMTP, AccountID: 1, ServerID: 1}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &Raw{Data: data, Recipients: []eml.Mailbox{{Local: "jane", Domain: "example.com"}}}
		dr, err := d.draftRaw(c, r)
		if err == nil {
			err = d.dress(t.Context(), dr, settings{opens: true, links: pennypost.TrackHTMLAndText, unsubscribe: true}, nil)
		}
		if err == nil {
			err = d.render(dr)
		}
		if err != nil {
			var e *pennypost.Error
			if !errors.As(err, &e) || e.Text == "" || dr == nil {
				t.Fatalf("error is %v, want a refusal and what was read", err)
			}
			return
		}
		if !dr.needsUTF8 {
			wellFormed(t, string(dr.content))
		}
		p, err := eml.Parse(dr.content, eml.Limits{HeaderBytes: 4 << 20, HeaderFields: 2000, Parts: 2000})
		if err != nil {
			t.Fatalf("what was rendered cannot be read: %v", err)
		}
		wholeTokens(t, d, dr, p.Root)
		from, err := eml.ParseHeaderMailboxes(p.Get("From"))
		if err != nil || len(p.Values("From")) != 1 || len(from) != 1 || from[0].Addr() != dr.from.Addr() {
			t.Errorf("From reads %v (%v), want %v", from, err, dr.from)
		}
		for _, name := range []string{"Sender", "Bcc", "Return-Path", "DKIM-Signature", "X-PM-RCPT", "Resent-From"} {
			if p.Get(name) != "" {
				t.Errorf("%s went out", name)
			}
		}
		for _, name := range []string{"Received", "Date", "Message-Id", "X-PM-Message-Id", "Feedback-ID", "MIME-Version"} {
			if n := len(p.Values(name)); n != 1 {
				t.Errorf("%d fields %s", n, name)
			}
		}
		if strings.Count(string(dr.content), mimeStart) < 1 {
			t.Error("no MIME-Version")
		}
	})
}
