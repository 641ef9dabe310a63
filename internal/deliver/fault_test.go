package deliver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/fakenet"
	"pennypost/internal/store"
)

// Catalogue C-040: a message that breaks the worker is put aside after three
// tries; others flow.
func TestPoisonIsQuarantined(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.act("poison.test", func(fakenet.Moment) fakenet.Act { return fakenet.Act{} })
		x.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "127.0.0.7:") {
				panic("poison")
			}
			return x.net.Dial(ctx, network, addr)
		}
		x.run()
		m := x.mail("ann@poison.test", "bob@a.test")
		x.want(m, 1, pennypost.Delivered, 1, delivered)
		s := x.want(m, 0, pennypost.Deferred, 0)
		if s.Rule != "panic-1" {
			t.Errorf("rule %q", s.Rule)
		}
		time.Sleep(time.Hour)
		s = x.want(m, 0, pennypost.Quarantined, 0)
		if s.Rule != "panic" {
			t.Errorf("rule %q", s.Rule)
		}
		if got := x.metric("delivery_panics_total"); got != 3 {
			t.Errorf("%v panics, want 3", got)
		}
		if !strings.Contains(x.log.String(), "message quarantined") {
			t.Error("nobody was told")
		}
	})
}

// Panics that are not in a row do not add up.
func TestPanicsInARow(t *testing.T) {
	inBubble(t, func(x *world) {
		x.act("poison.test", func(fakenet.Moment) fakenet.Act { return fakenet.Act{} })
		var tries atomic.Int64
		x.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			switch tries.Add(1) {
			case 1, 2, 4, 5:
				panic("poison")
			case 3:
				return nil, errors.New("connection refused")
			}
			return x.net.Dial(ctx, network, addr)
		}
		x.run()
		m := x.mail("ann@poison.test")
		time.Sleep(3 * time.Hour)
		x.want(m, 0, pennypost.Delivered, 2, transient, delivered)
	})
}

// A message that is not fit to be sent is our own fault: quarantined, not
// bounced.
func TestUnfitContent(t *testing.T) {
	for name, text := range map[string]string{
		"bare LF":   "From: a@shop.test\r\n\r\nhello\nworld\r\n",
		"long line": "From: a@shop.test\r\n\r\n" + strings.Repeat("x", 999) + "\r\n",
		"no header": "hello\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(x *world) {
				t := x.t
				x.run()
				m := x.accept(draft{to: []string{"ann@a.test"}, content: text})
				s := x.want(m, 0, pennypost.Quarantined, 0)
				if s.Rule != "unfit-content" {
					t.Errorf("rule %q: %s", s.Rule, s.Reply)
				}
				x.got("ann@a.test", 0)
			})
		})
	}
}

// Catalogue C-008…012, C-016, C-041: what a process held when it was killed is
// delivered by the next one.
func TestKilled(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		first := x.mail("ann@a.test", "bob@b.test") // leased, never begun
		second := x.accept(draft{to: []string{"col@c.test"}, content: content, unplaced: true})
		dir := x.copyDir()
		x.close()
		x.open(dir)
		x.run()
		time.Sleep(2 * time.Minute)
		x.want(first, 0, pennypost.Delivered, 1, delivered)
		x.want(first, 1, pennypost.Delivered, 1, delivered)
		x.want(second, 0, pennypost.Delivered, 1, delivered)
		if got := x.metric("queue_taken_over_total"); got != 2 {
			t.Errorf("%v jobs were taken over, want 2", got)
		}
	})
}

// copyDir copies the database as it is, as a kill would leave it.
func (x *world) copyDir() string {
	x.t.Helper()
	dir := quickDir(x.t)
	files, err := os.ReadDir(x.dir)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "pennypost.db") || strings.HasSuffix(f.Name(), "-shm") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(x.dir, f.Name()))
		if err != nil {
			x.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), b, 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
	return dir
}

// Catalogue C-037: a stop under load loses nothing and sends nothing twice.
func TestStopUnderLoad(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.Dot {
				return fakenet.Act{Delay: 200 * time.Millisecond}
			}
			return fakenet.Act{}
		})
		for round := range 5 {
			x.run()
			var to []string
			for i := range 50 {
				to = append(to, fmt.Sprintf("a%d.%d@b.test", round, i))
			}
			x.mail(to...)
			time.Sleep(time.Duration(round*150) * time.Millisecond)
			start := time.Now()
			x.stop()
			if d := time.Since(start); d > time.Second {
				t.Errorf("stopping took %v", d)
			}
			x.close()
			x.open(x.dir)
		}
		x.run()
		time.Sleep(5 * time.Minute)
		times := make(map[string]int)
		for _, mail := range x.net.Box().All() {
			times[mail.To[0]]++
		}
		if got := x.net.Box().Total(); len(times) != 250 || got != 250 {
			t.Errorf("%d mails arrived for %d recipients, want 250", got, len(times))
		}
	})
}

// Catalogue C-037: what hangs is broken off when the grace is over, and tried
// by the next process.
func TestStopBreaksOff(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		var slow atomic.Bool
		slow.Store(true)
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.RcptTo && slow.Load() {
				return fakenet.Act{Delay: 4 * time.Minute}
			}
			return fakenet.Act{}
		})
		x.run()
		m := x.mail("ann@b.test")
		time.Sleep(time.Second)
		start := time.Now()
		x.stop()
		if d := time.Since(start); d < 19*time.Second || d > 26*time.Second {
			t.Errorf("stopping took %v", d)
		}
		x.want(m, 0, pennypost.Queued, 0)
		slow.Store(false)
		x.close()
		x.open(x.dir)
		x.run()
		time.Sleep(2 * time.Minute)
		x.want(m, 0, pennypost.Delivered, 1, delivered)
		x.got("ann@b.test", 1)
	})
}

// What the store does not take at first is written later, and the message is
// not sent again for it.
func TestNoteIsRepeated(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		tests := []struct {
			name string
			errs []error
			want error
			runs int
		}{
			{"passes", []error{store.ErrUnavailable, store.ErrUnavailable, nil}, nil, 3},
			{"stays away for long", append(make([]error, 0), repeat(store.ErrUnavailable, 20)...), nil, 21},
			{"unknown, took effect", []error{store.ErrUnknown, store.ErrLeaseLost}, nil, 2},
			{"unknown, did not", []error{store.ErrUnknown, nil}, nil, 2},
			{"lease lost", []error{store.ErrUnavailable, store.ErrLeaseLost}, store.ErrLeaseLost, 2},
			{"a fault that does not pass", repeat(store.ErrConflict, 9), store.ErrConflict, noteFaults},
		}
		for _, tt := range tests {
			runs := 0
			err := x.d.persist(t.Context(), func(context.Context, *store.Tx) error {
				runs++
				if runs <= len(tt.errs) {
					return tt.errs[runs-1]
				}
				return nil
			})
			if !errors.Is(err, tt.want) || runs != tt.runs {
				t.Errorf("%s: %v after %d runs, want %v after %d", tt.name, err, runs, tt.want, tt.runs)
			}
		}
	})
}

func repeat(err error, n int) []error {
	list := make([]error, n)
	for i := range list {
		list[i] = err
	}
	return list
}

// Catalogue C-034, C-035: the holder looks at its lease before the dot, and
// stops.
func TestLeaseEndsBeforeTheDot(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.RcptTo {
				return fakenet.Act{Delay: 3 * time.Minute}
			}
			return fakenet.Act{}
		})
		x.run()
		m := x.mail("ann@b.test")
		time.Sleep(time.Second)
		x.endLease()
		time.Sleep(10 * time.Minute)
		x.got("ann@b.test", 0)
		if got := x.metric("delivery_lease_lost_total"); got != 1 {
			t.Errorf("%v lost leases were counted", got)
		}
		if s := x.story(m, 0); s.State != pennypost.Queued || s.jobs != 1 {
			t.Errorf("%v, %d jobs", s.State, s.jobs)
		}
	})
}

// The result of an attempt whose lease was taken is dropped: another session
// has the recipient.
func TestLateResultIsDropped(t *testing.T) {
	inBubble(t, func(x *world) {
		t := x.t
		x.act("b.test", func(m fakenet.Moment) fakenet.Act {
			if m.Stage == fakenet.Dot {
				return fakenet.Act{Delay: 20 * time.Second}
			}
			return fakenet.Act{}
		})
		x.run()
		m := x.mail("ann@b.test")
		time.Sleep(time.Second)
		x.update(func(ctx context.Context, tx *store.Tx) error {
			jobs, err := tx.JobsOf(ctx, m.ID)
			if err != nil {
				return err
			}
			return tx.FreeJobs(ctx, []int64{jobs[0].ID})
		})
		time.Sleep(30 * time.Second)
		s := x.story(m, 0)
		if s.State != pennypost.Queued || len(s.attempts) != 0 || len(s.events) != 0 {
			t.Errorf("%v, %d attempts, %d events", s.State, len(s.attempts), len(s.events))
		}
		settled()
		if got := x.metric("delivery_lease_lost_total"); got != 1 {
			t.Errorf("%v lost leases were counted", got)
		}
	})
}

// Catalogue C-023: what is damaged in the store is put aside, with an alarm;
// others flow, and nothing garbled is sent.
func TestDamaged(t *testing.T) {
	tests := []struct {
		name, sql string
		state     pennypost.RecipientState
	}{
		{"content", `UPDATE contents SET content = CAST(replace(CAST(content AS TEXT), 'Thank', 'thank') AS BLOB) WHERE message_id = $1`, pennypost.Quarantined},
		{"content is gone", `DELETE FROM contents WHERE message_id = $1`, pennypost.Quarantined},
		{"envelope", `UPDATE messages SET sign_domain = 'other.test' WHERE id = $1`, pennypost.Quarantined},
		{"address", `UPDATE recipients SET address = 'bob@a.test' WHERE message_id = $1`, pennypost.Quarantined},
		{"signature", `UPDATE signatures SET fields = CAST(replace(CAST(fields AS TEXT), 'shop', 'shap') AS BLOB) WHERE message_id = $1`, pennypost.Delivered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(x *world) {
				t := x.t
				m := x.accept(draft{to: []string{"defer+451+1@a.test"}, content: content})
				x.run()
				x.want(m, 0, pennypost.Deferred, 1, transient)
				other := x.mail("defer+451+1@b.test")
				x.damage(tt.sql, m)
				time.Sleep(20 * time.Minute)
				x.want(other, 0, pennypost.Delivered, 2, transient, delivered)
				if got := x.stateOf(m); got != tt.state {
					t.Errorf("%v, want %v", got, tt.state)
				}
				if tt.state == pennypost.Delivered {
					mails := x.got("defer+451+1@a.test", 1)
					if len(mails) == 0 {
						t.Fatal(x.log)
					}
					if got := passes(t, x, mails[0].Data); got != "shop.test/rsa-sha256" {
						t.Errorf("signatures that pass: %s", got)
					}
					return
				}
				x.got("defer+451+1@a.test", 0)
				x.got("bob@a.test", 0)
				if !strings.Contains(x.log.String(), "level=ERROR msg=\"message quarantined\" message_id="+m.ID.String()) {
					t.Errorf("nobody was told:\n%s", x.log)
				}
			})
		})
	}
}

// damage changes rows behind the store's back.
func (x *world) damage(query string, m *pennypost.Message) {
	x.t.Helper()
	db := x.raw()
	res, err := db.ExecContext(x.t.Context(), query, m.ID[:])
	if err != nil {
		x.t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		x.t.Fatalf("%d rows, %v", n, err)
	}
}

func (x *world) raw() *sql.DB {
	x.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(x.dir, "pennypost.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			x.t.Error(err)
		}
	})
	return db
}

// stateOf reads a state past the checksums.
func (x *world) stateOf(m *pennypost.Message) pennypost.RecipientState {
	x.t.Helper()
	settled()
	var state pennypost.RecipientState
	row := x.raw().QueryRowContext(x.t.Context(), `SELECT state FROM recipients WHERE message_id = $1 AND n = 0`, m.ID[:])
	if err := row.Scan(&state); err != nil {
		x.t.Fatal(err)
	}
	return state
}
