package deliver

import (
	"testing"
	"time"
)

// While contents come and go whoever finds no room comes again soon; when they
// stay, since their receivers are slow, it waits, and others do not.
func TestRoomSaysWhenToComeAgain(t *testing.T) {
	const slow, quick, other = 1, 2, 3
	now := time.Unix(1_800_000_000, 0)
	r := newRoom(100)
	for range 5 {
		if !r.take(slow, 10) {
			t.Fatal("no room for a server in an empty room")
		}
	}
	if r.take(slow, 10) {
		t.Error("a server got more than half")
	}
	if got := r.again(slow, now); got != roomLater {
		t.Errorf("nothing was given back: again in %v, want %v", got, roomLater)
	}
	if !r.take(quick, 20) {
		t.Error("no room for another server")
	}
	r.give(quick, 10, now)
	if got := r.again(quick, now); got != roomSoon {
		t.Errorf("a server that gives back: again in %v, want %v", got, roomSoon)
	}
	if got := r.again(slow, now); got != roomLater {
		t.Errorf("one that keeps all, beside it: again in %v, want %v", got, roomLater)
	}
	if got := r.again(other, now); got != roomSoon {
		t.Errorf("one that has nothing, of a room that others give back: again in %v, want %v", got, roomSoon)
	}
	if got := r.again(quick, now.Add(roomSoon)); got != roomLater {
		t.Errorf("a second later: again in %v, want %v", got, roomLater)
	}
	r.give(quick, 10, now)
	for range 5 {
		r.give(slow, 10, now)
	}
	if r.used != 0 || len(r.by) != 0 {
		t.Errorf("%d octets of %d servers are left", r.used, len(r.by))
	}
}
