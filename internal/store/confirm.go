package store

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errBehindSync says that the file system failed at about the time of a sync
// that succeeded.
var errBehindSync = errors.New("the file system failed behind a sync")

// confirm asks whether a sync that succeeded can be believed, before anybody is
// told of it.
//
// When ext4 finds an error it gives its journal up and goes read-only. A sync
// that is under way at that moment may succeed although the new size or blocks
// of the file were never written: the transaction that had them is gone, and
// Linux finds nothing left to wait for (docs/faults.md has what was measured).
// From then on every change that needs the journal fails, so that one which
// succeeds behind the sync proves that the journal was there throughout. statfs
// does not know of it, and a plain write only some time later.
func (s *Store) confirm() error {
	err := needJournal(s.lite.lock)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EIO) {
		return fmt.Errorf("%w: %w", errBehindSync, err)
	}
	return nil // without room, or on a file system that has no such call, it says other things
}
