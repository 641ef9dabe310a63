package deliver

import (
	"sync"
	"time"

	"pennypost"
)

// A room is the memory for large contents. A server gets at most half of what
// the others leave, so that receivers who are slow to take its mail cost the
// others nothing; one message it may always have if it fits.
type room struct {
	max int64

	mu   sync.Mutex
	used int64
	gave time.Time // when a part was given back last
	by   map[pennypost.ServerID]*part
}

// A part is what a server has of a room.
type part struct {
	octets int64
	gave   time.Time
}

func newRoom(octets int64) *room {
	return &room{max: octets, by: make(map[pennypost.ServerID]*part)}
}

// take takes a part of the room, or tells that there is none now. It does not
// wait: the worker has others to serve.
func (r *room) take(server pennypost.ServerID, n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.by[server]
	if own == nil {
		own = &part{}
	}
	if r.used+n > r.max || own.octets > 0 && own.octets+n > (r.max-(r.used-own.octets))/2 {
		return false
	}
	r.used += n
	own.octets += n
	r.by[server] = own
	return true
}

func (r *room) give(server pennypost.ServerID, n int64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.by[server]
	r.used, r.gave = r.used-n, now
	if own.octets, own.gave = own.octets-n, now; own.octets == 0 {
		delete(r.by, server)
	}
}

// When a content for which there was no room is tried again: soon while whoever
// fills the room gives it back quickly, and later when its receivers are slow.
// It may be up to twice that.
const (
	roomSoon  = time.Second
	roomLater = 15 * time.Second
)

// again tells how long a server is to wait for which there was no room.
func (r *room) again(server pennypost.ServerID, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	gave := r.gave
	if own := r.by[server]; own != nil {
		gave = own.gave
	}
	if now.Sub(gave) < roomSoon {
		return roomSoon
	}
	return roomLater
}
