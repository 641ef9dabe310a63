package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"

	"pennypost/internal/shed"
)

// memoryShares is how the memory that the service may take is divided. What is
// left is for the program itself, SQLite's caches and garbage.
type memoryShares struct {
	limit int64  // of the process; 0: unknown
	from  string // who says so
	soft  int64  // from which the collector works harder; 0: as it is
	smtp  int64  // messages on their way in over SMTP, and one more
	http  int64  // requests
	batch int64  // the largest of these
	work  int64  // messages being made ready and stored
	large int64  // large messages being delivered
	queue int64  // messages kept from acceptance to delivery
}

// What the program takes without any message, about; of this and of what
// messages take SQLite's part, the program's text and what is free but not given
// back, which Go's collector does not count.
const (
	fixedMemory = 96 << 20
	besideGo    = 96 << 20
)

// shareMemory divides a limit. No share is so small that a single message of the
// largest size could not pass, nor larger than is of use.
func shareMemory(limit int64) memoryShares {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	free := max(limit-fixedMemory, 0)
	share := func(part, least, most int64) int64 { return min(max(free/part, least), most) }
	return memoryShares{
		smtp:  share(10, 8<<20, 256<<20),
		http:  share(8, 20<<20, 256<<20),
		batch: share(6, 10<<20, 50<<20),
		work:  share(4, 40<<20, 512<<20),
		large: share(8, 32<<20, 256<<20),
		queue: share(16, 4<<20, 32<<20),
	}
}

// planMemory finds the limit: the setting, GOMEMLIMIT, the control group, or what
// the machine has left. Where the limit is a hard one, above which we would be
// killed, and GOMEMLIMIT does not say otherwise, the collector is told of it: it
// works harder before that.
func planMemory(setting int64) memoryShares {
	limit, from := setting, "setting"
	given := debug.SetMemoryLimit(-1) // GOMEMLIMIT, which runtime has read
	if limit == 0 && given < math.MaxInt64 {
		limit, from = given, "GOMEMLIMIT"
	}
	if limit == 0 {
		limit, from = shed.MemoryLimit("/")
	}
	s := shareMemory(limit)
	s.limit, s.from = limit, from
	if given == math.MaxInt64 && limit > 0 && from != "machine" {
		s.soft = max(limit-limit/8-besideGo, limit/2)
		debug.SetMemoryLimit(s.soft)
	}
	return s
}

func (m *memoryShares) log(ctx context.Context, log *slog.Logger) {
	log.InfoContext(ctx, "memory", "limit", mebi(m.limit), "from", m.from, "soft", mebi(m.soft), "smtp", mebi(m.smtp), "http", mebi(m.http),
		"work", mebi(m.work), "large", mebi(m.large), "queue", mebi(m.queue))
}

func mebi(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
