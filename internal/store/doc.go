// Package store is all SQL of the service: one text for SQLite and PostgreSQL,
// each statement beside its one caller, a file per table.
//
// Update is the one way to write and returns when what was written is on stable
// storage. View reads one state. A closure of either gets a Tx, whose methods
// are the statements; it does no network and no long work.
//
// # SQLite
//
// One connection writes, and belongs to the committer: all closures that wait
// share one physical transaction and one sync (commit.go), and a batch stays
// open for some milliseconds while many more are on their way (company.go). A
// pool of connections reads beside it, each View a snapshot of the write-ahead log. The
// log is synced at every commit (synchronous=FULL); a sync that fails is final,
// and so is one that cannot be believed (confirm.go). A full disk is not: what
// does not fit into the log was not committed, and room for the log's index is
// taken at the start (walindex.go).
// The checkpointer copies the log into the file beside the work, and syncs it
// there, so that the writer stands still for milliseconds when the log begins
// anew (checkpoint.go). The driver is called without database/sql, which would cost
// more than the statements (liteconn.go). A lock on the directory keeps other
// processes out, and proves that every earlier session is dead.
//
// A message is written at the right edge of few trees: rows that are large lie
// in tables with a rowid, in the order in which they came, and what is small in
// tables that are their key's tree. Ids are UUIDv7 or times, so that these
// trees grow at their end too. The one index entry of a message that lies
// anywhere is that of the recipient's address, within its day (recipients.go).
//
// # PostgreSQL
//
// Each Update has a transaction of its own and runs again when the server could
// not serialize it. A server that acknowledges what it might lose is refused. A
// connection that is lost while COMMIT is on its way leaves the outcome open:
// ErrUnknown.
//
// # Jobs and sessions
//
// A process has a session with a number, and the jobs that it holds carry the
// number: whoever ends a job names its own. A fresh job is born leased and is in
// no index but its key's, so that the fast path neither searches nor claims. A
// job that is put back is free: the partial index jobs_due finds it by dest,
// priority and time, and dests finds the dests (dests.go). When a session's
// time has passed its jobs are freed by a walk over all jobs (sessions.go).
//
// # Damage
//
// Content, envelope, recipient and job carry a checksum, which is compared when
// they are read: ErrDamaged. A damaged job is put aside, so that it stops
// nobody else (jobs.go).
package store
