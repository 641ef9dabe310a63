package api

import (
	"strings"
	"testing"

	"pennypost"
)

// TestBulkShared: tracking, stream and InlineCss are the same for all messages of
// a request, which may have a Bcc (contract/sending.md §13).
func TestBulkShared(t *testing.T) {
	r, c := newShop(t)
	r.addStream(t, c.number, "news")
	r.call(t, c.server, post, "/templates", `{"Name": "News", "Alias": "styled", "Subject": "s", "HtmlBody": "<style>p{color:red}</style><p>x</p>"}`).ok()
	id := r.call(t, c.server, post, "/email/bulk", `{"From": "news@acme.test", "TemplateAlias": "styled", "InlineCss": false, "MessageStream": "news",
		"TrackOpens": true, "TrackLinks": "TextOnly", "Messages": [{"To": "ann@shop.test", "Bcc": "di@shop.test"}, {"To": "bob@shop.test"}]}`).ok().text(t, "ID")
	r.work(t)
	r.bulkUntil(t, c.server, id, isCompleted)
	sent := r.sentTo(t, c.number, "news")
	for _, to := range []string{"ann@shop.test", "bob@shop.test"} {
		if len(sent[to]) != 1 {
			t.Fatalf("messages are %v", sent)
		}
		m, content := r.message(t, sent[to][0])
		if !m.TrackOpens || m.TrackLinks != pennypost.TrackTextOnly || m.Stream != "news" {
			t.Errorf("%s: message is %+v", to, m)
		}
		if !strings.Contains(content, "<style>p{color:red}</style><p>x</p>") || strings.Contains(content, "di@shop.test") {
			t.Errorf("%s: content\n%s", to, content)
		}
	}
	m, _ := r.message(t, sent["ann@shop.test"][0])
	if len(m.Bcc) != 1 || m.Bcc[0].Address != "di@shop.test" || m.Recipients != 2 {
		t.Errorf("message with a Bcc is %+v", m)
	}
}
