package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/track"
)

const trackBase = "https://track.test"

// personalBody is a message as the door dresses one: a link in the header and one
// in the body.
func personalBody(s *track.Signer, id pennypost.MessageID) string {
	return "From: Shop <news@shop.test>\r\nTo: ann@a.test\r\nSubject: Offers\r\nMessage-ID: <1@mail.test>\r\n" +
		"Date: Sun, 01 Mar 2026 00:00:00 +0000\r\nList-Unsubscribe: <" + s.UnsubscribeURL(trackBase, id) + ">\r\n" +
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=us-ascii\r\n\r\nLook:\r\n" + s.LinkURL(trackBase, id, track.InText, 1, "https://shop.test/") + "\r\n"
}

// whose gives the recipient that the links of a mail name; all must name the same.
func whose(t *testing.T, s *track.Signer, id pennypost.MessageID, data []byte) int {
	t.Helper()
	var found []int
	for part := range strings.SplitSeq(string(data), trackBase) {
		end := strings.IndexAny(part, ">\r\n")
		if n := -1; end > 0 {
			if l, ok := s.ReadLink(part[:end]); ok && l.ID == id {
				n = l.Recipient
			}
			if m, k, ok := s.ReadUnsubscribe(part[:end]); ok && m == id {
				n = k
			}
			if n >= 0 {
				found = append(found, n)
			}
		}
	}
	if len(found) != 2 || found[0] != found[1] {
		t.Fatalf("links name recipients %v, want one, twice:\n%s", found, data)
	}
	return found[0]
}

func withSigner(s *track.Signer) func(*Config) {
	return func(c *Config) { c.Personal = s.Personal }
}

// TestPersonal: each recipient gets links of his own under a signature that is
// good, with the fields that RFC 8058 §4 wants signed; what is stored is the copy.
func TestPersonal(t *testing.T) {
	s := track.NewSigner([]byte("key of the tests"))
	for name, f := range map[string]draft{"fresh": {}, "from the store": {unplaced: true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(x *world) {
				t := x.t
				x.run()
				for i := range 10 {
					f.to = append(f.to, fmt.Sprintf("ann%d@d%d.test", i, i%3))
				}
				f.personal = func(id pennypost.MessageID) string { return personalBody(s, id) }
				m := x.accept(f)
				for i, to := range f.to {
					x.want(m, i, pennypost.Delivered, 1, delivered)
					data := x.got(to, 1)[0].Data
					if got := whose(t, s, m.ID, data); got != i {
						t.Errorf("links of recipient %d name %d", i, got)
					}
					if got := passes(t, x, data); got != "shop.test/rsa-sha256" {
						t.Errorf("recipient %d: signatures that pass: %q\n%s", i, got, data)
					}
					for _, field := range []string{"List-Unsubscribe: <", "List-Unsubscribe-Post: "} {
						changed := bytes.Replace(data, []byte(field), []byte(field+"x"), 1)
						if got := passes(t, x, changed); got != "" {
							t.Errorf("recipient %d: signature passes with another %s", i, field)
						}
					}
				}
				if got := x.metric("dkim_signatures_total"); got != 10 {
					t.Errorf("%v signatures, want one for each recipient", got)
				}
				content, _ := kept(x, m.ID)
				if got := whose(t, s, m.ID, content); got != track.Copy {
					t.Errorf("what is stored names recipient %d", got)
				}
			}, withSigner(s))
		})
	}
}

// TestPersonalAgain: a further attempt, from the store and by another process,
// sends the same links; no signature is kept, which would be another recipient's.
func TestPersonalAgain(t *testing.T) {
	s := track.NewSigner([]byte("key of the tests"))
	inBubble(t, func(x *world) {
		t := x.t
		x.run()
		f := draft{to: []string{"defer+451+1@a.test", "defer+451+2@b.test", "ann@c.test"}}
		f.personal = func(id pennypost.MessageID) string { return personalBody(s, id) }
		m := x.accept(f)
		x.want(m, 0, pennypost.Deferred, 1, transient)
		x.want(m, 2, pennypost.Delivered, 1, delivered)
		if _, fields := kept(x, m.ID); fields != nil {
			t.Errorf("kept signature:\n%s", fields)
		}
		time.Sleep(11 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 2, transient, delivered)
		x.want(m, 1, pennypost.Deferred, 2, transient, transient)

		x.stop()
		x.close()
		x.open(x.dir)
		x.run()
		time.Sleep(2 * time.Hour)
		x.want(m, 1, pennypost.Delivered, 3, transient, transient, delivered)
		for i, to := range f.to {
			data := x.got(to, 1)[0].Data
			if got := whose(t, s, m.ID, data); got != i {
				t.Errorf("links of recipient %d name %d", i, got)
			}
			if got := passes(t, x, data); got != "shop.test/rsa-sha256" {
				t.Errorf("recipient %d: signatures that pass: %q", i, got)
			}
		}
		if _, fields := kept(x, m.ID); fields != nil {
			t.Errorf("kept signature:\n%s", fields)
		}
	}, withSigner(s))
}

// TestPersonalSandbox: nothing of it leaves, and nothing is signed.
func TestPersonalSandbox(t *testing.T) {
	s := track.NewSigner([]byte("key of the tests"))
	inBubble(t, func(x *world) {
		x.run()
		f := draft{to: []string{"ann@a.test", "bob@b.test"}, sandbox: true}
		f.personal = func(id pennypost.MessageID) string { return personalBody(s, id) }
		m := x.accept(f)
		x.want(m, 0, pennypost.Delivered, 1, delivered)
		x.want(m, 1, pennypost.Delivered, 1, delivered)
		if n := x.metric("dkim_signatures_total"); n != 0 || x.dialled() != 0 {
			x.t.Errorf("%v signatures, %d connections", n, x.dialled())
		}
	}, withSigner(s))
}

// kept gives the content of a message and its signature, nil when there is none.
func kept(x *world, id pennypost.MessageID) (content, fields []byte) {
	x.t.Helper()
	err := x.st.View(x.t.Context(), func(tx *store.Tx) (err error) {
		ctx := context.WithoutCancel(x.t.Context())
		if content, err = tx.Content(ctx, id); err != nil {
			return err
		}
		fields, err = tx.Signature(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			fields, err = nil, nil
		}
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return content, fields
}
