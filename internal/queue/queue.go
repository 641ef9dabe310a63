package queue

import (
	"container/list"
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"pennypost"
	"pennypost/internal/metrics"
	"pennypost/internal/store"
)

// Config is what a Queue needs. Store, Lane and Work must be set; zero values
// of the others work.
type Config struct {
	Store *store.Store
	Kind  pennypost.JobKind // 0: JobDeliver
	// Lane says how a dest is served. It may ask the network; it is called
	// outside of all locks.
	Lane func(ctx context.Context, dest string) Way
	// Work is one worker of a lane: it calls w.Next until that gives nil, and
	// ends each task with Done, PutBack, Again or Return. Its context ends when
	// the grace of a stop is over.
	Work func(ctx context.Context, w *Worker)

	Workers int   // of all lanes; 0: 512
	PerLane int   // of one lane; 0: 20
	Memory  int   // tasks in memory; 0: 25,000
	Bytes   int64 // of their payloads; 0: 32 MiB
	PerDest int   // tasks in memory of one dest; 0: 10,000
	Lookups int   // calls of Lane at once; 0: 64

	ScanEvery  time.Duration // the longest that a due job stays unseen; 0: 2 s
	SweepEvery time.Duration // how often dead sessions are looked for; 0: 10 s
	StallAfter time.Duration // see the package comment; 0: 30 s
	Grace      time.Duration // for workers when stopping; 0: 20 s
	// Rest is how long a group rests after its n-th failure in a row; nil: 1,
	// 2, 4, 8, then 15 minutes, give or take a tenth.
	Rest func(n int) time.Duration
	// Probes is how many groups that have failed and never worked are tried again
	// in a second; 0: 100. When there are more, they rest longer, by a quarter of
	// an hour at most.
	Probes int
	// Quiet tells whether the processors have room for more than what they do.
	// When they have none, repetitions are claimed at a pace. It is asked often;
	// nil: they always have.
	Quiet func() bool

	Now     func() time.Time
	Rand    func() float64 // in [0, 1)
	Log     *slog.Logger
	Metrics *metrics.Set
}

func (c *Config) fill() {
	set(&c.Kind, pennypost.JobDeliver)
	set(&c.Workers, 512)
	set(&c.PerLane, 20)
	set(&c.Memory, 25_000)
	set(&c.Bytes, 32<<20)
	set(&c.PerDest, 10_000)
	set(&c.Lookups, 64)
	set(&c.Probes, 100)
	set(&c.ScanEvery, 2*time.Second)
	set(&c.SweepEvery, 10*time.Second)
	set(&c.StallAfter, 30*time.Second)
	set(&c.Grace, 20*time.Second)
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the one place where the zero value becomes the clock
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Rest == nil {
		c.Rest = c.defaultRest
	}
	if c.Quiet == nil {
		c.Quiet = func() bool { return true }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Way says how a dest is served.
type Way struct {
	// Lane is whose workers serve it.
	Lane string
	// Group is who fails together with it, within the lane; "" is nobody.
	Group string
	// Until is how long this holds.
	Until time.Time
}

// Task is a job in memory.
type Task struct {
	Job pennypost.Job
	// Payload is what Offer was given, or nil: it is to be loaded.
	Payload any
	// Bytes is how much memory Payload keeps.
	Bytes int

	q      *Queue
	dest   *dest
	group  *group  // that has admitted it
	worker *Worker // that has it; nil while it waits, and when it has ended
	kept   int64   // counted in Queue.bytes
	again  int
}

type phase int8

const (
	starting phase = iota
	running
	stopping
)

// Queue holds tasks and the workers that take them.
type Queue struct {
	c    Config
	met  counters
	kick chan struct{} // the feeder has something to do

	mu      sync.Mutex
	phase   phase
	dests   map[string]*dest
	lanes   map[string]*lane
	groups  map[groupName]*group
	faint   map[groupName]faint
	thinned time.Time // when thin swept
	tasks   int       // in memory, with places and jobs being claimed
	bytes   int64
	placed  int            // places that were neither offered nor cancelled
	placing map[holder]int // these by dest and tenant
	settled chan struct{}  // closed when stopping and placed is 0

	want       []*dest // a claim is due, first come, first served
	waiting    []*dest // the same, for the allowance of repetitions
	crowd      crowd
	due        dueHeap
	pace       pace
	back       []handBack // to be freed in the store
	delays     map[string]time.Time
	groupsKept int // beyond that those fade that are asleep

	hire    func(*Worker) // starts its goroutine; set by Run
	workers map[*Worker]struct{}
	stalled int
	marked  time.Time  // when markStalled looked
	idle    *list.List // of *Worker, longest idle first
	hungry  []*lane    // have tasks, but neither worker nor slot

	look     func(*dest) // starts a look-up; set by Run
	looking  int
	slow     int // look-ups that take long and no longer count
	lookNext []*dest

	wg sync.WaitGroup // workers and look-ups
}

// New makes a queue. Nothing happens before Run, but places may be taken and
// tasks offered.
func New(c Config) *Queue {
	c.fill()
	q := &Queue{
		c:          c,
		kick:       make(chan struct{}, 1),
		dests:      make(map[string]*dest),
		placing:    make(map[holder]int),
		lanes:      make(map[string]*lane),
		groups:     make(map[groupName]*group),
		faint:      make(map[groupName]faint),
		settled:    make(chan struct{}),
		due:        newDueHeap(maxDue),
		groupsKept: maxGroups,
		pace:       newPace(c.Probes),
		crowd:      newCrowd(c.Quiet, runtime.GOMAXPROCS(0)),
		delays:     make(map[string]time.Time),
		workers:    make(map[*Worker]struct{}),
		idle:       list.New(),
	}
	q.met = newCounters(q, c.Metrics)
	return q
}

// nudge wakes the feeder.
func (q *Queue) nudge() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}
