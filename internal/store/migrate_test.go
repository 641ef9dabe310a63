package store_test

import (
	"context"
	"testing"

	"pennypost"
	"pennypost/internal/store"
	"pennypost/internal/store/storetest"
)

// Keys that lower() of SQL made are those that we compare by after the step that
// folds them, whatever the engine's lower() does beyond ASCII.
func TestRecipientsAreFolded(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, c store.Config) {
		st := storetest.OpenConfig(t, c)
		list := []pennypost.Address{"ÄNNE@BÜCHER.example", "ann@BÜCHER.example", "Bob@Shop.example"}
		update(t, st, func(ctx context.Context, tx *store.Tx) error {
			for _, addr := range list {
				err := tx.AddEvent(ctx, &pennypost.Event{
					At: tx.Now(), ServerID: 1, Stream: "outbound", Recipient: addr, Type: pennypost.EventBounced,
					Bounce: &pennypost.Bounce{Type: "HardBounce", TypeCode: 1, ServerID: 1, Stream: "outbound", Recipient: addr, Inactive: true},
				})
				if err != nil {
					return err
				}
			}
			// As an ASCII lower() leaves them, before that step.
			for addr, key := range map[pennypost.Address]string{list[0]: "ÄnnE@bÜcher.example", list[1]: "ann@bÜcher.example"} {
				if _, err := tx.Exec(ctx, `UPDATE bounces SET recipient_key = $1 WHERE recipient = $2`, key, string(addr)); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, `DELETE FROM goose_db_version WHERE version_id >= 11`)
			return err
		})
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		again := storetest.OpenConfig(t, c)
		for _, addr := range list {
			view(t, again, func(ctx context.Context, tx *store.Tx) error {
				n, err := tx.Number(ctx, `SELECT COUNT(*) FROM bounces WHERE recipient = $1 AND recipient_key = $2`, string(addr), addr.Key())
				if n != 1 {
					t.Errorf("%s: %d bounces have the key %s, want 1", addr, n, addr.Key())
				}
				return err
			})
		}
	})
}
