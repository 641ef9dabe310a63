package fakenet

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreeAddrs gives n loopback addresses, each with a port of its own on which
// nothing listens, for a program that is about to be started. They are not of
// those that the system hands out to connections: such a one may be taken again
// before the program gets to it.
func FreeAddrs(n int) (addrs []string, err error) {
	const (
		from, to = 10_000, 32_000 // Linux hands out 32768 and above
		tries    = 200
	)
	var held []net.Listener // until all are found, so that none is found twice
	defer func() {
		for _, l := range held {
			err = errors.Join(err, l.Close())
		}
	}()
	var lc net.ListenConfig
	for range tries {
		if len(addrs) == n {
			return addrs, nil
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(from+rand.IntN(to-from))) //nolint:gosec // chance, not a secret
		l, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			continue
		}
		addrs, held = append(addrs, addr), append(held, l)
	}
	return nil, errors.New("no free ports found")
}
