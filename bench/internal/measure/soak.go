package measure

import (
	"context"
	"fmt"
	"time"

	"bench/internal/load"
)

// Soak is a load at half of the rate over a long time.
type Soak struct {
	Minutes float64     `json:"minutes"`
	Rate    float64     `json:"offered_per_s"`
	P99     float64     `json:"accept_p99_ms"`
	Points  []SoakPoint `json:"points"`
}

// SoakPoint is a look at the service meanwhile.
type SoakPoint struct {
	Minute     float64 `json:"minute"`
	MB         float64 `json:"mb"`
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"open_files"`
}

// growth is how much more memory the last third took than the second, so that
// filling of caches at the beginning does not count.
func (s *Soak) growth() (share float64, ok bool) {
	n := len(s.Points) / 3
	if n == 0 {
		return 0, false
	}
	mean := func(list []SoakPoint) float64 {
		var sum float64
		for _, p := range list {
			sum += p.MB
		}
		return sum / float64(len(list))
	}
	return mean(s.Points[2*n:])/mean(s.Points[n:2*n]) - 1, true
}

func (r *run) soak(ctx context.Context, s *subject) error {
	full := spread(figures(r.out.row(keySigned, s.name, signed), endToEnd)).Median
	if full == 0 {
		r.problem("soak: the full rate is not known")
		return nil
	}
	r.say("soak of %v", r.c.Soak)
	c := r.loadOn(s, signed)
	groups()[0].set(&c)
	c.Duration, c.Rate, c.SinkURL = r.c.Soak, full/2, ""
	out := &Soak{Minutes: r.c.Soak.Minutes(), Rate: c.Rate}
	done := make(chan struct{})
	var rep *load.Report
	var err error
	go func() { defer close(done); rep, err = load.Run(ctx, c) }()
	began := time.Now()
	t := time.NewTicker(max(r.c.Soak/60, time.Second))
	defer t.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-t.C:
			r.world.sink.Reset() // its memory of ids
			cost, errCost := s.tree().Cost()
			if errCost != nil {
				<-done
				return errCost
			}
			p := SoakPoint{Minute: time.Since(began).Minutes(), MB: mb(cost.Anon)}
			for name, to := range map[string]*float64{"go_goroutines": &p.Goroutines, "process_open_fds": &p.Files} {
				if v, err := s.metric(ctx, name); err == nil {
					*to = v
				}
			}
			out.Points = append(out.Points, p)
		}
	}
	if err != nil {
		return err
	}
	if len(rep.Errors) > 0 {
		r.problem("soak: %v", examples(rep))
	}
	out.P99 = rep.Latency.P99
	r.out.Soak = out
	if err := s.tree().Settle(ctx, settleFor); err != nil {
		return fmt.Errorf("after the soak: %w", err)
	}
	return nil
}
