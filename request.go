package pennypost

import "time"

// RequestKept is how long a request with a key is known.
const RequestKept = 24 * time.Hour

// Request is a request that its client gave a key, so that it can be repeated
// and sends nothing twice (docs/api.md §2). Whoever accepts something for it
// notes that in the accepting transaction, and here once that has committed.
type Request struct {
	Key  string
	Hash []byte // of what it asks for
	// Turn counts the transactions that have accepted something for it: who
	// knows an earlier one is not the one that goes on.
	Turn int64
	// Taken is what they accepted, by the place of the message in the request.
	Taken map[int]Taken
	// Fault says that a part failed by a fault of our own, so that the answer is
	// not the last.
	Fault bool
	// Answered says that the answer was kept with what was accepted.
	Answered bool
}

// Taken is a message that was accepted for a Request.
type Taken struct {
	Place    int
	ID       MessageID
	At       time.Time
	Inactive []Address
}

// Took notes what a transaction that has committed accepted. A nil Request
// notes nothing.
func (r *Request) Took(list []Taken) {
	if r == nil || len(list) == 0 {
		return
	}
	r.Turn++
	if r.Taken == nil {
		r.Taken = make(map[int]Taken, len(list))
	}
	for _, t := range list {
		r.Taken[t.Place] = t
	}
}
