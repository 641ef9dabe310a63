package deliver

import (
	"sync"

	"pennypost"
)

// A room is the memory for large contents. A server gets at most half of what
// the others leave, so that receivers who are slow to take its mail cost the
// others nothing; one message it may always have if it fits.
type room struct {
	max int64

	mu   sync.Mutex
	used int64
	by   map[pennypost.ServerID]int64
}

func newRoom(octets int64) *room {
	return &room{max: octets, by: make(map[pennypost.ServerID]int64)}
}

// take takes a part of the room, or tells that there is none now. It does not
// wait: the worker has others to serve.
func (r *room) take(server pennypost.ServerID, n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.by[server]
	if r.used+n > r.max || own > 0 && own+n > (r.max-(r.used-own))/2 {
		return false
	}
	r.used += n
	r.by[server] += n
	return true
}

func (r *room) give(server pennypost.ServerID, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
	if r.by[server] -= n; r.by[server] == 0 {
		delete(r.by, server)
	}
}
