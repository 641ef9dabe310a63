package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// walIndexSize is the room that the index of the log (pennypost.db-shm) gets
// when the store is opened: SQLite takes 32 KiB for 4096 pages of the log, so
// that this is enough for a log of 512 MiB.
//
// SQLite would enlarge the index when it needs to, which is when it has written
// the frames of a transaction, the last one as its commit, and has synced them
// (walFrames: sqlite3OsSync, then walIndexAppend, walHashGet, walIndexPage,
// unixShmMap, which gives SQLITE_IOERR_SHMSIZE on a full disk). COMMIT fails
// then, although the transaction lies in the log and comes back at the next
// start: the outcome is unknown, and the process has to end. So the room is
// taken while nothing depends on it. An index that is larger than it need be is
// what SQLite meets whenever another process has enlarged it.
const walIndexSize = 1 << 20

// roomToStart is what a start writes on an empty disk, with the index: the
// schema, the log of its transactions, locks and keys.
const roomToStart = 4 << 20

// holdWALIndex writes zeros behind the index of the log, until it has its size.
// It is called when the first connection is open and nobody uses it yet: only
// then nothing can come to lie there meanwhile. The file stays open as long as
// the store: closing a descriptor drops all locks of the process on its file
// (fcntl(2)), and SQLite's with them.
func holdWALIndex(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600) //nolint:gosec // G304: beside the database
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is nothing to hold: the index is not in a file
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < walIndexSize {
		_, err = f.WriteAt(make([]byte, walIndexSize-info.Size()), info.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take room for the index of the log: %w", err), f.Close())
	}
	return f, nil
}

// isIndexFault tells whether the index of the log could not be opened, enlarged
// or mapped. Where nothing was committed by then, that is a fault that passes.
func isIndexFault(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() {
	case sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP:
		return true
	}
	return false
}
