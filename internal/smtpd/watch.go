package smtpd

import (
	"sync"

	"pennypost"
)

// watches ends the sessions of a token when it is revoked, with one goroutine
// per token in use, not per session.
type watches struct {
	mu     sync.Mutex
	tokens map[int64]*watch
}

type watch struct {
	conns map[*conn]struct{}
	quit  chan struct{}
}

func (s *Server) follow(token pennypost.TokenID, c *conn) {
	if s.cfg.Revoked == nil || token == 0 {
		return
	}
	ws := &s.watch
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.tokens[int64(token)]
	if w == nil {
		w = &watch{conns: make(map[*conn]struct{}), quit: make(chan struct{})}
		ws.tokens[int64(token)] = w
		revoked := s.cfg.Revoked(token)
		s.done.Go(func() {
			select {
			case <-revoked:
				s.revoke(token, w)
			case <-w.quit:
			}
		})
	}
	w.conns[c] = struct{}{}
}

func (s *Server) revoke(token pennypost.TokenID, w *watch) {
	ws := &s.watch
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for c := range w.conns {
		c.finish(endRevoked)
	}
	if ws.tokens[int64(token)] == w {
		delete(ws.tokens, int64(token))
	}
}

func (s *Server) unfollow(token pennypost.TokenID, c *conn) {
	ws := &s.watch
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.tokens[int64(token)]
	if w == nil {
		return
	}
	if delete(w.conns, c); len(w.conns) == 0 {
		close(w.quit)
		delete(ws.tokens, int64(token))
	}
}
