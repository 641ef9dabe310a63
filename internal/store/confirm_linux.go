package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// needJournal makes the cheapest change that needs the journal of a file system:
// room for a file which has it already. It takes 2 µs on ext4.
func needJournal(f *os.File) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 4<<10)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// syncData syncs what was written to a file, and of its metadata what is needed
// to read it (fdatasync(2)): with the times of the file, a sync would have to
// wait for the journal of the file system.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// startWriting lets the kernel begin to write what a file has in memory, without
// waiting for it. Errors are told by the sync that follows.
func startWriting(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) //nolint:errcheck // see above
}
