//go:build !race

package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// pageSize is SQLite's.
const pageSize = 4096

// saysDamage is how the program tells that the database is damaged, or that it
// finds no sense in what it reads.
var saysDamage = regexp.MustCompile(`(?i)damaged|malformed|not a database|corrupt|integrity|cannot be loaded|SQL logic error`)

// TestDamagedPages lets pages of the stopped program's file become garbage, or
// flips single bits of them (catalogue C-023): nothing garbled goes out, nothing
// goes out twice, and whatever does not arrive has been told of, in the log or
// by a check of the database.
func TestDamagedPages(t *testing.T) {
	t.Parallel()
	w, list := deferredAndStopped(t, 40)
	all := make(map[string]bool)
	for _, to := range list {
		all[to] = true
	}
	db := w.open()
	if _, err := db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(w.data, "pennypost.db"))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(1) // what fails can be repeated
	if long {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // G115: any number
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // G404: a test
	counts := make(map[string]int)
	for i := range rounds(8, 100) {
		b := bytes.Clone(whole)
		what := spoil(b, r, i%2 == 0)
		counts[w.withDamage(b, what, all)]++
	}
	t.Logf("%v", counts)
}

// spoil damages a page of a file, all of it or a bit of it, and says what.
func spoil(b []byte, r *rand.Rand, all bool) string {
	page := 1 + r.IntN(len(b)/pageSize-1) // the first one is the file's head
	at := page * pageSize
	if all {
		for i := range pageSize {
			b[at+i] = byte(r.Uint32())
		}
		return fmt.Sprintf("page %d is garbage", page+1)
	}
	bit := r.IntN(8 * pageSize)
	b[at+bit/8] ^= 1 << (bit % 8)
	return fmt.Sprintf("bit %d of page %d is flipped", bit, page+1)
}

// withDamage starts the program with a file, lets it deliver what it can, and
// says how it went.
func (w *world) withDamage(b []byte, what string, all map[string]bool) string {
	w.t.Helper()
	path := filepath.Join(w.data, "pennypost.db")
	for _, more := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + more); err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	logged, before := len(w.log.String()), w.net.Box().Total()
	if err := w.tryBoot(); err != nil {
		if !saysDamage.MatchString(w.log.String()[logged:]) {
			w.t.Errorf("%s: it does not start, and does not say why: %v\n%s", what, err, tail(w.log.String()[logged:], 600))
		}
		if w.cmd != nil {
			w.kill()
		}
		return "refuses to start"
	}
	said := func() bool {
		_, page, err := w.get("/metrics") // it may have ended
		counted := regexp.MustCompile(`(?m)^pennypost_store_damaged_total [1-9]`)
		return saysDamage.MatchString(w.log.String()[logged:]) || err == nil && counted.MatchString(page)
	}
	// What was told of may wait for ever; all else has the time of a slow machine.
	for began := time.Now(); w.net.Box().Total() < before+len(all); time.Sleep(50 * time.Millisecond) {
		if took := time.Since(began); took > 30*time.Second || took > 6*time.Second && (said() || !w.alive()) {
			break
		}
	}
	reported := said()
	if w.alive() {
		w.kill()
	} else if err := w.wait(time.Second); err == nil {
		w.t.Errorf("%s: it ended as if nothing had been", what)
	}
	got := make(map[string]bool)
	for _, m := range w.net.Box().All()[before:] {
		if len(m.To) != 1 || !w.intact(m) || !all[m.To[0]] || got[m.To[0]] {
			w.t.Errorf("%s: garbled, invented or twice, to %v: %.600q", what, m.To, m.Data)
			continue
		}
		got[m.To[0]] = true
	}
	switch missing := len(all) - len(got); {
	case missing == 0 && reported:
		return "all arrive, damage reported"
	case missing == 0:
		return "all arrive"
	case reported:
		return "some wait, damage reported"
	case w.checkFinds():
		return "some wait, a check finds the damage"
	default:
		w.t.Errorf("%s: %d are missing, and nobody says why\n%s", what, missing, tail(w.log.String()[logged:], 1000))
		return "lost without a word"
	}
}

// checkFinds tells whether the program's own check of the database finds that
// it is damaged.
func (w *world) checkFinds() bool {
	w.t.Helper()
	cmd := exec.Command(binary, "doctor", "--database", "--json")
	for k, v := range w.settings {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.Output() // other things are not well here: it ends with 1
	var answer struct {
		Findings []struct{ Area, Status, Text string }
	}
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil {
		w.t.Fatalf("doctor: %v, %v\n%s", err, jsonErr, out)
	}
	for _, f := range answer.Findings {
		if f.Area == "database" {
			return f.Status == "fail"
		}
	}
	w.t.Fatalf("doctor says nothing of the database: %s", out)
	return false
}
