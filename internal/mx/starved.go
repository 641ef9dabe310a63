package mx

import (
	"errors"
	"syscall"
)

// Starved tells whether an error is this machine's own want of descriptors,
// ports or memory for sockets. It says nothing about whom we would have asked.
func Starved(err error) bool {
	for _, want := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
	} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}
