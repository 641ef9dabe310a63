// Package submit is the one door in: both edges end here, and so does our own
// mail.
//
// # The way of a message
//
// A Submission (HTTP) or Raw (SMTP) becomes a draft: fields checked, addresses
// parsed, what the client may not set taken away. Everything that needs no
// database is checked then, in the order of contract/sending.md §8, and the
// message is rendered, once, to the canonical MIME that will be signed. One
// transaction follows: may the caller still send, does the stream exist, may
// this From send, is there room under the limits, who is suppressed; then
// message, recipients, jobs and counters are written. When it has committed the
// message is on stable storage and the edge may say so.
//
// What the transaction finds out can change the head of the message (a sender
// signature lends its display name and reply address): then the head alone is
// written again before the tail that is there already.
//
// # Templates
//
// A submission may name a template of its server in place of subject and bodies.
// Once all else is checked that needs no database, the number of its current
// version is read from the store; the parsed version is kept in a bounded cache
// under that number, so that an edit counts for the next message on every node
// (templatecache.go). Parsing, rendering and inlining take turns, one for each
// processor, and the memory of what was rendered is waited for before the turn
// ends. A template and a model that do not go together are no refusal: the
// message is stored with its recipients bounced, without jobs. Content is the
// parsed form, which many submissions may share (content.go).
//
// # When the door is closed
//
// New mail is refused for now, before it is sent, when the disk of the store has
// no more than a reserve, in which what becomes of the mail that is there can
// still be recorded, or when it would have to wait for its commit for long
// (open.go). A message that is here, all of it, waits for its share of a memory
// while it is made ready and stored: that takes several times its size.
//
// # Jobs
//
// A place in the queue's memory is reserved for each recipient before the
// transaction. Jobs that got one are born leased by this process and handed
// over after the commit, with the message, so that delivery reads nothing back;
// the others are born free and found through the store, as are those of large
// messages.
//
// # What SMTP clients send
//
// A message from SMTP is parsed and written anew by package eml; of its header
// only what this package keeps goes out (header.go). The envelope decides who
// gets a copy, and a recipient that no visible field names is a Bcc. From must
// be one address that the account may use: it is the one that receivers see.
//
// # Refusals over SMTP
//
// A refusal that concerns the message is also kept as a bounce of type
// SMTPApiError, in a transaction of its own, so that it shows in the activity
// (contract/smtp.md §5). Not kept is what concerns the caller as a whole and
// would come again with every retry: revoked credentials, suspension, a used up
// limit; nor our own faults. A server that rejects the way of Postmark
// (SMTPRejection "Accept") gets an Accepted for what was kept, and only once it
// was kept.
package submit
