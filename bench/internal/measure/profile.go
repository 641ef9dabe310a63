package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"bench/internal/load"
)

// profiled are the groups that profiles are taken of.
func profiled() []string { return []string{keySigned, keyAccept, keySingle, keyBatch, keyLarge} }

// profiles puts some loads on our service once more, after all rounds, and
// keeps where the processor time went and what memory was held for. The rounds
// themselves are not slowed down by that.
func (r *run) profiles(ctx context.Context, s *subject) error {
	if err := os.MkdirAll(r.c.Profile, 0o755); err != nil {
		return err
	}
	for _, key := range profiled() {
		for _, g := range groups() {
			if g.key != key || !r.wanted(g.key, g.title) {
				continue
			}
			r.say("profile: %s", g.title)
			if err := r.profile(ctx, s, g); err != nil {
				return fmt.Errorf("profile of %s: %w", key, err)
			}
		}
	}
	return nil
}

func (r *run) profile(ctx context.Context, s *subject, g group) error {
	c := r.loadOn(s, g.on[0].way)
	g.set(&c)
	r.world.sink.Reset()
	c.Duration = max(r.c.Each, 2*time.Second)
	done := make(chan error, 1)
	go func() {
		_, err := load.Run(ctx, c)
		done <- err
	}()
	seconds := int(c.Duration.Seconds())
	errCPU := r.fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.metrics, seconds), "cpu-"+g.key+".pprof")
	errHeap := r.fetch(ctx, "http://"+s.metrics+"/debug/pprof/heap", "heap-"+g.key+".pprof")
	return errors.Join(errCPU, errHeap, <-done, s.tree().Settle(ctx, settleFor))
}

// maxProfile bounds a profile.
const maxProfile = 64 << 20

func (r *run) fetch(ctx context.Context, url, name string) error {
	ctx, cancel := context.WithTimeout(ctx, r.c.Each+30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProfile))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s", url, resp.Status, b)
	}
	return os.WriteFile(filepath.Join(r.c.Profile, name), b, 0o644)
}
