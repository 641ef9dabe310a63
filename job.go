package pennypost

import "time"

// JobKind says which worker handles a job.
type JobKind int16

// The kinds. Webhook posts and housekeeping join with their packages.
const (
	// JobDeliver delivers one recipient's copy; Ref is the message id and the
	// recipient's number.
	JobDeliver JobKind = 1
)

// Priority orders jobs of one destination; smaller goes first.
type Priority int16

// The priorities (design: broadcast mail never delays transactional mail).
const (
	PrioritySystem        Priority = 0
	PriorityTransactional Priority = 10
	PriorityBulk          Priority = 20
	// PriorityRequest is that of messages made from a bulk request.
	PriorityRequest Priority = 30
)

// Job is a durable piece of work. The queue knows neither mail nor HTTP: Dest
// is whatever shares fate (for delivery the recipient's domain), Tenant
// whatever shares the room fairly.
type Job struct {
	ID       int64
	Kind     JobKind
	Dest     string
	Tenant   ServerID
	Priority Priority
	RunAt    time.Time
	Attempt  int   // attempts that were begun before this one
	Lease    int64 // fencing number of the session that holds it; 0 when free
	Ref      []byte
}
