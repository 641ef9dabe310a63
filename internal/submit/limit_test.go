package submit

import (
	"fmt"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// TestAtTheLimits: what is as long as it may be is taken (contract/sending.md §1
// and §6, contract/common.md §8).
func TestAtTheLimits(t *testing.T) {
	f := setup(t)
	var ten []Pair
	for i := range 10 {
		ten = append(ten, Pair{fmt.Sprintf("%s%d", strings.Repeat("k", 19), i), strings.Repeat("ä", 80)})
	}
	const address = " <orders@acme.example>"
	for name, set := range map[string]func(s *Submission){
		"From of 255":                  func(s *Submission) { s.From = strings.Repeat("x", 255-len(address)) + address },
		"Subject of 2000 units":        func(s *Submission) { s.Subject = strings.Repeat("😀", 1000) },
		"Tag of 1000 characters":       func(s *Submission) { s.Tag = strings.Repeat("ä", 1000) },
		"ten entries of 20 and 80":     func(s *Submission) { s.Metadata = ten },
		"50 recipients of three kinds": func(s *Submission) { s.To, s.Cc, s.Bcc = addresses(48), "a@example.net", "b@example.net" },
		"TextBody of 5 MB":             func(s *Submission) { s.TextBody = strings.Repeat("x", 5<<20) },
		"HtmlBody of 5 MB":             func(s *Submission) { s.HTMLBody = strings.Repeat("x", 5<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			set(s)
			got := f.load(t, f.accept(t, s).ID)
			if got.Subject != s.Subject || got.Tag != s.Tag || len(got.Metadata) != len(s.Metadata) {
				t.Errorf("message is %+v", got.Message)
			}
			for _, p := range s.Metadata {
				if got.Metadata[p.Key] != p.Value {
					t.Errorf("metadata %s is %q", p.Key, got.Metadata[p.Key])
				}
			}
		})
	}
	s := good()
	s.From = strings.Repeat("😀", 118) + address // 258 units in 140 characters
	if e := refusalOf(t, f, s); e.Code != 300 {
		t.Errorf("From of 258 units: got %d %q", e.Code, e.Text)
	}
}

func refusalOf(t *testing.T, f *fixture, s *Submission) *pennypost.Error {
	t.Helper()
	_, err := f.door.Accept(t.Context(), f.api, s)
	return refusal(t, err)
}

// TestInactiveReasons: a hard bounce, a complaint and a manual suppression block,
// whoever made the entry (contract/sending.md §9).
func TestInactiveReasons(t *testing.T) {
	f := setup(t)
	for i, entry := range [][2]string{
		{"HardBounce", "Recipient"}, {"SpamComplaint", "Recipient"}, {"ManualSuppression", "Customer"}, {"ManualSuppression", "Recipient"},
	} {
		a := pennypost.Address(fmt.Sprintf("r%d@x.example", i))
		f.update(t, func(tx *store.Tx) error {
			_, err := tx.Suppress(t.Context(), pennypost.Suppression{
				ServerID: f.server.ID, Stream: pennypost.StreamOutbound, Address: a, Reason: entry[0], Origin: entry[1],
			})
			return err
		})
		s := good()
		s.To = string(a)
		if e := f.refused(t, s); e.Code != 406 || !strings.Contains(e.Text, "Found inactive addresses: "+string(a)+". Inactive") {
			t.Errorf("%v: got %d %q, want 406", entry, e.Code, e.Text)
		}
	}
}
