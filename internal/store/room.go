package store

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// checkRoom refuses to start without the room that a start takes. Otherwise it
// would fail at whatever writes first, which says less.
func checkRoom(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:gosec,unconvert // sizes of a file system; the types differ by system
	if free < roomToStart {
		return fmt.Errorf("%w: the disk of the data directory %s is full: a start takes %d octets, and %d are free",
			ErrUnavailable, dir, roomToStart, free)
	}
	return nil
}
