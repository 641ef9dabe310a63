// Package deliver makes attempts: one message to one recipient's mail server,
// and what came of it.
//
// # An attempt
//
// The queue hands out tasks, each the job of one recipient. Message and content
// come with the task when it was just accepted (Fresh), else from the store.
// Then, in this order: a suspended server's mail is held; mail past DeliverBy,
// or past its lifetime while its servers do not answer, expires; the mail of a
// sandbox and to test addresses is delivered to nowhere (testaddr.go), and its
// outcome recorded like any other; all else goes, signed, to the mail servers of
// the recipient's domain, also when it comes late: that we were away is nobody
// else's fault. The outcome is written in one transaction: attempt,
// state of the recipient, event with all that follows from it, and the end of
// the job or its next time.
//
// # Lanes and connections
//
// A lane is a site (mx.Route.Site). One worker of the queue is one connection:
// it is kept for the next messages of its lane as long as that lasts, at most
// 100 messages and some minutes, and for some seconds without any. A kept
// connection that the other side has closed is no attempt: the message goes
// over a new one at once. When none of the hosts that a domain names can be
// reached, all domains with the same hosts rest; the queue's package comment
// says how.
//
// # Signing
//
// The signature does not depend on the recipient, so that it is made once for a
// message, when a mail server is there to take it, by as many goroutines at once as
// there are cores, half of which give way to all other work (gate). It is
// written to the store only when a retry needs it, and used again as long as its
// keys are still those that the domain signs with. A domain
// without a key is signed for by the instance's own.
//
// A personal message has a token in its content that is another for each
// recipient, so that each gets a copy with a signature of its own. Both are made
// for each attempt and not kept; they are the same ones each time.
//
// # Who is at fault
//
// Replies decide (bounce.Classify), and only a reply or the DNS may end a
// message: what went wrong with us, or between us and them, is tried again.
// Before the last octets of a message go out the lease of its job is checked;
// when it is over the connection is closed instead. When no reply came to the
// final dot the message may have been delivered: that is counted, and tried
// again after a quarter of an hour at the earliest. A result that cannot be
// written is kept and written later while the lease holds: the message is not
// sent again for that, and the connection takes the next one meanwhile. Whoever finds the lease lost drops the result, since
// another session has the recipient.
//
// A panic costs one attempt; a message that panics three times in a row, and
// one that is damaged in the store, is quarantined for a person to look at.
package deliver
