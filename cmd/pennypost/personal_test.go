package main

import (
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/track"
)

// Mail that was rendered before the master key was replaced still gets each
// recipient's own token, under the key that it was rendered with.
func TestPersonalAfterAReplacedKey(t *testing.T) {
	now, before := track.NewSigner([]byte("now")), track.NewSigner([]byte("before"))
	s := &service{signers: []*track.Signer{now, before}}
	id := pennypost.MessageID{1}
	for name, signer := range map[string]*track.Signer{"now": now, "before": before} {
		url := s.personal([]byte(signer.UnsubscribeURL("", id)), id, 3)
		got, n, ok := signer.ReadUnsubscribe(string(url))
		if !ok || got != id || n != 3 {
			t.Errorf("%s: %s is read as %v, recipient %d, %v", name, url, got, n, ok)
		}
	}
	if got := s.personal([]byte("nothing"), id, 3); string(got) != "nothing" {
		t.Errorf("became %q", got)
	}
	if strings.Contains(string(s.personal([]byte(before.OpenURL("", id)), id, 3)), before.Token(id, track.Copy)) {
		t.Error("the copy's token is still there")
	}
}
