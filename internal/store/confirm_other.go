//go:build !linux

package store

import "os"

// needJournal does nothing: what it is for was seen on Linux alone.
func needJournal(*os.File) error { return nil }

// syncData syncs a file.
func syncData(f *os.File) error { return f.Sync() }

// startWriting does nothing: the kernel writes when it likes.
func startWriting(*os.File) {}
