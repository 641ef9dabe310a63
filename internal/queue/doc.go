// Package queue runs durable jobs. It knows neither mail nor HTTP: a job has a
// dest, which is whatever shares fate, and a tenant, which is whatever shares
// the room fairly; a worker is a function that takes tasks.
//
// # Two ways in
//
// A job that was just made goes from memory to a worker: whoever stores it
// first takes a Place (Reserve), stores the job leased by this process's
// session, and offers the task once that is committed. Where there is no place
// the job is stored free and Wake tells that the store has something for a
// dest. Everything else is found in the store: put-back jobs by a heap of when
// they are due, and what the heap does not know (other nodes' jobs, those from
// before a restart) by a scan of the index of dests, each ScanEvery.
//
// # Lanes
//
// Tasks wait in lanes. Lane names the lane of a dest; it may ask the network
// and therefore runs outside the lock, several at once. A lane has up to
// PerLane workers: it starts with two and gets more as work succeeds. One
// worker is one connection.
//
// Lanes share nothing but limits, and no limit can be used up by one of them:
// dests, lanes and tenants get at most a share of what is still free, so that
// there is always some left. When all Workers are busy, a lane that has none
// goes before any other that wants one more, idle workers are sent home, and
// others hand over after a while. A worker that has been busy with one task for
// StallAfter no longer counts against Workers (four times as many are the
// hard limit): a tarpit holds its connections, not the others' turns.
//
// Within a lane smaller priorities go first, then first tries before
// repetitions (three to one), then tenants in turn, then the order of arrival.
//
// Repetitions that come due in thousands are claimed a few at a time while the
// processors have room (Config.Quiet), and at a pace while they have none
// (crowd.go). First tries wait for no allowance.
//
// # Groups
//
// A lane may be shared by strangers: all domains at one provider have one, and
// their owners choose what their records say. Therefore dests fail in groups,
// those with the same servers. Until a group has shown that it works it has two
// tasks with workers at a time and half of the lane's room in memory; the
// others of the lane go on beside it. While a worker hangs on one of its tasks
// it gets no other.
//
// When a worker says that nothing of a group can be reached (Fail), the group
// rests: its tasks go back to the store untried, and when the rest is over one
// task finds out how things stand. Each failure makes the next rest longer; the
// first success (Good) lets all of it go, with as many workers as the lane has
// earned. Of all groups together that never worked only Probes are tried in a
// second: the more have failed, the longer they rest, by a quarter of an hour. While other workers of the group succeed,
// a failure only takes a worker away: the other side has enough connections.
//
// # Memory
//
// At most Memory tasks and Bytes of payload are held. A task beyond Bytes loses
// its payload, and its worker loads it from the store. Tasks beyond Memory, or
// beyond the share of their dest, group or lane, stay in the store, free, and
// are claimed in batches when half of the room is free again.
//
// # Ends
//
// A task ends with exactly one of Done (the job is finished), PutBack (it is
// due later), Again (once more at once, nothing was tried) and Return (back to
// the store, nothing was tried). Detach lets a worker go on before that. Run
// stops giving tasks once its context ends, waits Grace for workers, cancels
// the rest, and hands every untried job back.
package queue
