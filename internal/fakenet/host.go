package fakenet

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// host is a mail server.
type host struct {
	net      *Net
	addr     netip.Addr
	script   Script
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  bool
}

// maxConns bounds the connections of one server.
const maxConns = 2000

// idle is how long a server waits for a client.
const idle = 5 * time.Minute

func (h *host) accept() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.net.wg.Go(func() { h.serve(c) })
	}
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done = true; h.listener != nil {
		_ = h.listener.Close()
	}
	for c := range h.conns {
		_ = c.Close()
	}
}

func (h *host) keep(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done || len(h.conns) >= maxConns {
		return false
	}
	if h.conns == nil {
		h.conns = make(map[net.Conn]bool)
	}
	h.conns[c] = true
	return true
}

// serve talks to one client until it or we have enough.
func (h *host) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	if !h.keep(c) {
		return
	}
	defer func() {
		h.mu.Lock()
		delete(h.conns, c)
		h.mu.Unlock()
	}()
	if h.script.Silent {
		_, _ = io.Copy(io.Discard, c) //nolint:errcheck // until the client has enough
		return
	}
	newSession(h, c).run()
}
