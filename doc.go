// Package pennypost holds the nouns of the service: messages and their
// recipients, jobs, attempts, events, bounces, suppressions, servers and
// streams; their states, ids and refusals. It uses the standard library only
// and does no input or output.
//
// A message is accepted once, by submit.Accept, for one to fifty recipients.
// Each recipient has a state of its own (RecipientState); the only ways out of
// "queued" and "deferred" are the final states, and After names every legal
// move. Everything that happens to a recipient is an Event, appended once.
package pennypost
