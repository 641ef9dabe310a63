package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// Nothing on a message's way, and no search, reads a table from end to end.
func TestPlans(t *testing.T) {
	st := storetest.Open(t, storetest.SQLite)
	search := func(change func(f *store.MessageFilter)) string {
		f := store.MessageFilter{Server: 1, Stream: pennypost.StreamOutbound}
		change(&f)
		return store.SearchSQL(f)
	}
	for name, c := range map[string]struct {
		query string
		want  []string // steps of the plan
		sorts bool
	}{
		"due dests":     {store.SQLDueDests, []string{"SEARCH dests USING COVERING INDEX dests_next (kind=? AND next_at<?)"}, false},
		"next priority": {store.SQLNextPriority, []string{"SEARCH jobs USING COVERING INDEX jobs_due (kind=? AND dest=? AND priority>?)"}, false},
		"earliest job":  {store.SQLEarliestJob, []string{"SEARCH jobs USING COVERING INDEX jobs_due (kind=? AND dest=? AND priority=?)"}, false},
		"claim": {store.SQLClaimJobs, []string{
			"SEARCH jobs USING PRIMARY KEY (id=?)",
			"SEARCH jobs USING COVERING INDEX jobs_due (kind=? AND dest=? AND priority=? AND run_at<?)",
		}, false},
		"search of a stream": {search(func(*store.MessageFilter) {}), []string{"SEARCH m USING COVERING INDEX messages_stream (server_id=? AND stream=?)"}, false},
		"search of a time": {
			search(func(f *store.MessageFilter) { f.After, f.Before, f.Tag = time.Now(), time.Now(), "x" }),
			[]string{"SEARCH m USING INDEX messages_stream (server_id=? AND stream=? AND received_at>? AND received_at<?)"},
			false,
		},
		"search by status": {
			search(func(f *store.MessageFilter) { f.Status = "queued" }),
			[]string{"messages_stream (server_id=? AND stream=?)", "USING PRIMARY KEY (message_id=?)"},
			false,
		},
		"search by recipient": {search(func(f *store.MessageFilter) { f.Recipient = "ann@shop.example" }), []string{
			"SEARCH i USING COVERING INDEX recipients_address (server_id=? AND day=? AND address_no=?)",
			"SEARCH m USING INDEX sqlite_autoindex_messages_1 (id=?)",
		}, true},
		"dead sessions": {`SELECT id FROM jobs WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2`, []string{"SEARCH jobs USING PRIMARY KEY (id>?)"}, false},
		"events":        {`SELECT id FROM events WHERE message_id = $1 ORDER BY id`, []string{"SEARCH events USING PRIMARY KEY (message_id=?)"}, false},
		"bounces": {
			`SELECT details FROM bounces WHERE server_id = $1 AND stream = $2 ORDER BY id DESC LIMIT $3`,
			[]string{"SEARCH bounces USING INDEX bounces_stream (server_id=? AND stream=?)"},
			false,
		},
		"inactive bounces": {
			`SELECT id FROM bounces WHERE server_id = $1 AND stream = $2 AND recipient_key = $3 AND inactive = 1 ORDER BY id DESC LIMIT 1`,
			[]string{"SEARCH bounces USING COVERING INDEX bounces_inactive (server_id=? AND stream=? AND recipient_key=?)"},
			false,
		},
		"dump of suppressions": {
			`SELECT reason FROM suppressions WHERE server_id = $1 AND stream = $2 AND address_key > $3 ORDER BY address_key LIMIT $4`,
			[]string{"SEARCH suppressions USING PRIMARY KEY (server_id=? AND stream=? AND address_key>?)"},
			false,
		},
		"messages to purge": {
			`SELECT received_at, id FROM messages WHERE server_id = $1 AND stream = $2 AND (received_at, id) > ($3, $4) ORDER BY received_at, id LIMIT $5`,
			[]string{"SEARCH messages USING COVERING INDEX messages_stream (server_id=? AND stream=? AND (received_at,id)>(?,?))"},
			false,
		},
		"archived streams": {
			`SELECT id FROM streams WHERE archived_at <> 0 AND archived_at <= $1 ORDER BY archived_at LIMIT $2`,
			[]string{"SEARCH streams USING COVERING INDEX streams_archived (archived_at<?)"},
			false,
		},
		"return domain": {
			`SELECT 1 FROM domains WHERE return_path = $1 AND return_path_verified = 1`,
			[]string{"SEARCH domains USING COVERING INDEX domains_return_path (return_path=?)"},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			view(t, st, func(ctx context.Context, tx *store.Tx) error {
				plan, err := tx.Plan(ctx, c.query)
				for _, want := range c.want {
					if !strings.Contains(plan, want) {
						t.Errorf("want the step %q in\n%s", want, plan)
					}
				}
				for step := range strings.Lines(plan) {
					if strings.HasPrefix(step, "SCAN") && !strings.HasPrefix(step, "SCAN span") && !strings.HasPrefix(step, "SCAN r") &&
						!strings.HasPrefix(step, "SCAN CONSTANT ROW") {
						t.Errorf("a table is read from end to end: %s", step)
					}
				}
				if got := strings.Contains(plan, "TEMP B-TREE FOR ORDER BY"); got != c.sorts {
					t.Errorf("sorts: %v, want %v\n%s", got, c.sorts, plan)
				}
				return err
			})
		})
	}
}
