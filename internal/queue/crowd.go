package queue

import "time"

// A crowd paces the claims of repetitions. Thousands of them come due together
// when a provider defers everything for a while, each is quickly tried, and
// nobody waits for it as somebody waits for the answer to a submission: they go
// on while the processors have room, and when these have none at a pace.
//
// It is an allowance: what a claim may bring is taken from it beforehand, and
// what turned out to be a first try, or was not there, is put back. What a dest
// brings is guessed by its last claim, and for one that had none by what such
// dests brought of late: a restart, or mail for very many, brings thousands of
// them with first tries, which must not wait either.
type crowd struct {
	quiet func() bool // whether the processors have room
	pace  float64     // what it gets in a second when they never have
	most  float64
	left  float64
	at    time.Time // of the last look
	wary  bool      // dests without a last claim brought repetitions
}

// What the last claim of a dest brought.
type brought int8

const (
	unknown brought = iota
	firstTries
	repetitions
)

const (
	crowdStep = 4                     // the allowance of a processor
	crowdPace = 100                   // what it gets in a second, for each processor
	crowdLook = 10 * time.Millisecond // between two looks, while claims wait for it

	// crowdGuess is how many jobs of dests without a last claim are claimed at
	// once, without allowance.
	crowdGuess = 64
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

// needs tells whether a claim for a dest needs an allowance.
func (c *crowd) needs(d *dest) bool {
	return d.last == repetitions || d.last == unknown && c.wary
}

// learn takes what claims have brought.
func (c *crowd) learn(claims []claim) {
	strangers, again := 0, 0
	for i := range claims {
		k := &claims[i]
		n := k.again()
		c.take(n - k.allowed)
		if len(k.jobs) == 0 {
			continue
		}
		if k.d.last == unknown {
			strangers++
			again += n
		}
		k.d.last = firstTries
		if n > 0 {
			k.d.last = repetitions
		}
	}
	if strangers > 0 {
		c.wary = again > 0
	}
}
