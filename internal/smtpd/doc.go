// Package smtpd is the SMTP server: submission with AUTH on 587, 2525 and 465,
// and on port 25 also mail that is addressed to us (RFC 5321, RFC 6409).
//
// # Shape
//
// A conn is one TCP connection: its address, what it may still do wrong, its
// place in the caps. A session is what RFC 5321 calls one, from the greeting to
// the end or to STARTTLS, which makes a new session with an empty buffer and
// nothing remembered (RFC 3207 §4.2). A transaction is the sender, the
// recipients and the octets of one message; one method ends it, whatever ended
// it. The only code that touches the socket is wire, which reads with a
// deadline and flushes our replies before it waits, so that a pipelined group
// costs one write (RFC 2920).
//
// # Lines and data
//
// Commands end in CRLF and so does data: CRLF.CRLF, nothing else. A bare LF in
// a command is an error and ends nothing, so no second command hides behind
// it. After a read error within a message the connection is closed: message
// octets are never read as commands. BDAT octets are consumed exactly, even
// when the command is refused; when their number cannot be known the
// connection is closed. A stranger's bare CR, bare LF or NUL gets 550 5.6.0 and
// the end of the connection; after AUTH a bare LF is passed on, and submit
// writes CRLF.
//
// # Replies
//
// All fixed replies are constants in reply.go, and refusal turns an error into
// a reply: a *pennypost.Error by one table, auth's errors, and anything else as
// our own fault, which is 451 or 452 and never 5yz, since the peer can always
// come again. A message of a client that is refused for its octets is told of
// (Config.Refused), since its refusal is on record like any other. Text of a client is cut and escaped before it is logged or
// echoed.
//
// # Limits
//
// Everything has one, in Limits: connections in all and per address (IPv6 per
// /64), lines, recipients, octets of a message, memory of all messages in
// flight (strangers and any one address get a part of it), wrong commands,
// failed logins, time to do nothing in, and a minimum rate while a message comes
// in. Every command counts as wrong, as a refused recipient, or as one that
// brings no message nearer, unless it does. A connection may live for
// Limits.Session after its last accepted message: whoever sends mail may keep it
// open, whoever does not cannot.
//
// # Ending
//
// Serve ends when its context does: no new connections, 421 4.3.2 for sessions
// without a transaction, and Limits.Grace for the others. What then still waits
// for the store is told to stop, and a second later all sockets are closed. A revoked token ends
// its sessions with 421 at once, wherever they are; that nothing is accepted
// after a revocation is ensured by submit, inside its transaction.
package smtpd
