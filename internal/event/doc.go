// Package event records what happened to a recipient and does all that follows
// from it in the same transaction: the row, the counters, the suppression of
// an address that must not be written to again. What is true together is
// written together, so that a crash leaves either all of it or nothing.
//
// A change of a suppression list that no message led to is an event as well,
// without a message: store.StreamEvents finds it.
package event
