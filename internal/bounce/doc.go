// Package bounce gives verdicts: what a refusal means for the message, for
// its recipient and for us.
//
// [Classify] turns the reply of a mail server into a [Verdict]: tried again or
// not, the bounce type of the contract, and the rule that decided, which is
// kept with the event and shown. It looks at the enhanced status code
// (RFC 3463) first, at the text where that code leaves the matter open, and at
// the basic code (RFC 5321 §4.2) last.
//
// It errs on one side. A [HardBounce] takes the address out of use, so that it
// needs the recipient's own fault, said plainly: a code or words for "no such
// mailbox" or "no such domain", and no words for anything else beside them. A
// block, a full mailbox, a policy, a routing fault, a refusal before the
// recipient was named are never the recipient's fault.
//
// A reply is data from outside: at most 4 KiB of its text are read, in time
// linear in that, and addresses in it are taken out first, since their owners
// choose them.
//
// [Verp] makes and reads the signed Return-Path that says which recipient of
// which message a bounce is about. Without it a forged bounce could suppress
// anybody.
//
// Reading DSN (RFC 3464) and ARF (RFC 5965) belongs here as well: each gives,
// per recipient, a [Reply] for Classify, or [SpamComplaint]. They name a
// recipient only as a hint; whom they concern is what the Return-Path's MAC
// says.
package bounce
