package fakenet

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreeAddr gives a loopback address with a port on which nothing listens, for a
// program that is about to be started. It is not one of those that the system
// hands out to connections: such a one may be taken again before the program
// gets to it.
func FreeAddr() (string, error) {
	const (
		from, to = 10_000, 32_000 // Linux hands out 32768 and above
		tries    = 200
	)
	var lc net.ListenConfig
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(from+rand.IntN(to-from))) //nolint:gosec // chance, not a secret
		l, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			continue
		}
		return addr, l.Close()
	}
	return "", errors.New("no free port found")
}
