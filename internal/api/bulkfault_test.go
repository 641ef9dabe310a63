package api

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestBulkDamaged: what is damaged in the store fails and is told of in the log;
// the requests behind it go on.
func TestBulkDamaged(t *testing.T) {
	r, c := newShop(t)
	const body = `{"From": "news@acme.test", "TextBody": "x", "Messages": [{"To": "ann@shop.test"}, {"To": "bob@shop.test"}]}`
	bad := r.call(t, c.server, post, "/email/bulk", body).ok().text(t, "ID")
	if err := r.st.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(r.dir, "pennypost.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `UPDATE bulk_parts SET content = $1`, []byte(`[{"t":"eve@shop.test"}]`)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := openRig(t, r.dir)
	good := again.call(t, c.server, post, "/email/bulk", body).ok().text(t, "ID")
	again.work(t)
	again.bulkUntil(t, c.server, good, isCompleted)
	got := again.bulkUntil(t, c.server, bad, isCompleted)
	if got["ReleasedCount"] != json.Number("0") || got["FailedCount"] != json.Number("2") {
		t.Errorf("got %v", got)
	}
	if sent := again.sentTo(t, c.number, "broadcast"); len(sent["eve@shop.test"]) != 0 || len(sent["ann@shop.test"]) != 1 {
		t.Errorf("messages are %v", sent)
	}
	if !strings.Contains(again.log.String(), "bulk request is damaged") {
		t.Error("nothing is said in the log")
	}
}
