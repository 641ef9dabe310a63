// Package smtpc holds one SMTP conversation as the client (RFC 5321).
//
// [Connect] dials the addresses of a mail server, greets it and begins TLS
// where it is offered; [Client.Send] then hands over one message for one
// recipient, as often as there are messages for that server. The package
// knows nothing of queues, domains or policies.
//
// # What came of it
//
// Send gives a [Reply] when one decides: of the peer to MAIL, RCPT, DATA or the
// message, or our own in its place when the message cannot go to this server at
// all ([Reply.Local]). Anything else is an [Error] that names the phase.
// Its Ambiguous says that all of the message was written and no reply came:
// only then may a repetition make a second copy. [ErrStale] is no attempt at
// all: the peer had given up a kept connection before the message began.
//
// # What is written
//
// The message is looked through before anything is sent: CRLF at the end of
// every line, no other CR or LF, no NUL, no line over 998 octets. This package
// stuffs the dots, so nothing inside of a message can end it. With PIPELINING
// (RFC 2920) MAIL, RCPT and DATA are one write; the text and the final dot are
// one write, or several of 64 KiB: then the last of them. BeforeDot is asked
// right before that one. An error of it closes the connection, and a server
// that saw no final dot delivers nothing (RFC 5321 §4.1.1.4).
//
// # What is read
//
// Every peer is hostile. A reply has at most 64 KiB and 512 lines, each phase
// its time, all of them together another; what is kept of a reply is short and
// escaped. Text that comes when no answer is due ends the conversation. So do
// octets between the reply to STARTTLS and the handshake: somebody put them
// there to have them read as if they were protected (RFC 3207 §6).
//
// # TLS
//
// TLS is opportunistic here (RFC 7435): any version from 1.0, any cipher suite
// that is better than none. Whether the certificate verifies is recorded and
// changes nothing. A handshake that fails is a [TLSError]; Connect then dials
// again, with fewer curves where the handshake stalled, and in the clear at
// last.
package smtpc
