package shed

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The reserve when none is set: a twentieth of the file system, at least 64 MiB
// and at most 2 GiB, but never more than a quarter of a small one.
const (
	leastReserve = 64 << 20
	mostReserve  = 2 << 30
)

// lookEvery is how old what is known of the disk may be.
const lookEvery = time.Second

// DiskConfig says which file system is watched. Dir must be set.
type DiskConfig struct {
	Dir     string
	Reserve int64 // octets; 0: a share of the file system
	Now     func() time.Time
	// Changed is told when the room runs out, and when there is some again.
	Changed func(short bool, free, reserve int64)
	// Statfs replaces the system's, in tests.
	Statfs func(dir string, st *unix.Statfs_t) error
}

// Disk watches the room of a file system: below a reserve it is short of it, and
// until there is an eighth of the reserve more. What is in the reserve is for
// recording what becomes of the mail that is there.
//
// It looks when it is asked and what it knows is older than a second; nothing
// runs beside. A file system that cannot be looked at is not short: whatever is
// wrong with it shows where it is written to.
type Disk struct {
	c     DiskConfig
	next  atomic.Int64 // Unix ns from which to look again
	short atomic.Bool

	mu            sync.Mutex
	free, reserve int64
}

// NewDisk makes a watcher, which has looked once.
func NewDisk(c DiskConfig) *Disk {
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Statfs == nil {
		c.Statfs = unix.Statfs
	}
	d := &Disk{c: c}
	d.Short()
	return d
}

// Short tells whether the room is below the reserve. A nil Disk never is.
func (d *Disk) Short() bool {
	if d == nil {
		return false
	}
	now := d.c.Now().UnixNano()
	next := d.next.Load()
	// A clock that was set back must not blind it for as long.
	if now < next && next-now <= int64(lookEvery) {
		return d.short.Load()
	}
	if d.next.CompareAndSwap(next, now+int64(lookEvery)) {
		d.look()
	}
	return d.short.Load()
}

// Doubt lets the next question look again: something was not written.
func (d *Disk) Doubt() {
	if d != nil {
		d.next.Store(0)
	}
}

// Room gives the octets that are free, and those that are kept.
func (d *Disk) Room() (free, reserve int64) {
	if d == nil {
		return 0, 0
	}
	d.Short()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, d.reserve
}

func (d *Disk) look() {
	var st unix.Statfs_t
	if d.c.Statfs(d.c.Dir, &st) != nil {
		return
	}
	block := int64(st.Bsize) //nolint:unconvert // its type differs by system
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = int64(st.Bavail) * block //nolint:gosec // a file system's size
	if d.reserve = d.c.Reserve; d.reserve <= 0 {
		d.reserve = reserve(int64(st.Blocks) * block) //nolint:gosec // as above
	}
	need := d.reserve
	was := d.short.Load()
	if was {
		need += need / 8
	}
	if short := d.free < need; short != was {
		d.short.Store(short)
		if d.c.Changed != nil {
			d.c.Changed(short, d.free, d.reserve)
		}
	}
}

// reserve is the default for a file system of that size.
func reserve(size int64) int64 {
	return min(max(leastReserve, min(size/20, mostReserve)), size/4)
}
