package queue

import "time"

// A crowd paces the claims of repetitions. Thousands of them come due together
// when a provider defers everything for a while, each is quickly tried, and
// nobody waits for it as somebody waits for the answer to a submission: they go
// on while the processors have room, and when these have none at a pace.
//
// It is an allowance: what a claim may bring is taken from it beforehand, and
// what turned out to be a first try, or was not there, is put back.
type crowd struct {
	quiet func() bool // whether the processors have room
	pace  float64     // what it gets in a second when they never have
	most  float64
	left  float64
	at    time.Time // of the last look
}

const (
	crowdStep = 4                     // the allowance of a processor
	crowdPace = 100                   // what it gets in a second, for each processor
	crowdLook = 10 * time.Millisecond // between two looks, while claims wait for it
)

func newCrowd(quiet func() bool, processors int) crowd {
	n := float64(processors)
	return crowd{quiet: quiet, pace: crowdPace * n, most: crowdStep * n, left: crowdStep * n}
}

// room gives how many repetitions may be claimed now.
func (c *crowd) room(now time.Time) int {
	passed := min(max(now.Sub(c.at), 0), time.Second)
	c.at = now
	c.left = min(c.most, c.left+c.pace*passed.Seconds())
	if c.left < c.most && c.quiet() {
		c.left = c.most
	}
	return int(c.left)
}

func (c *crowd) take(n int) { c.left -= float64(n) }
