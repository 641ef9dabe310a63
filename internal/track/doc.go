// Package track counts opens and clicks and lets recipients unsubscribe
// (contract/tracking.md, contract/sending.md §14). It has two halves. A
// [Signer] makes the URLs and puts them into the bodies of a message that is
// being accepted; a [Server] answers them and records what they tell.
//
// # One content for all recipients
//
// A message is rendered, encoded and stored once. What differs from recipient
// to recipient is one token of 24 characters: his number and a MAC over it and
// the message's id. The stored content has the token of number 255, the copy's
// ([Copy]). At delivery [Signer.Personal] writes the recipient's over it
// wherever it stands, which keeps every length, and only then the mail is
// signed. Places need not be recorded: nobody who does not have our key knows
// the token, so it stands only where we wrote it. It must not be broken by the
// transfer encoding, which package eml sees to.
//
// What customers see of a message is the copy. Its links lead on and its
// unsubscribe page shows, but nothing is recorded and nobody suppressed.
//
// # URLs
//
//	open pixel   {base}/o/{message}/{token}.gif
//	link         {base}/c/{place}{number}/{message}/{signature}/{token}/{target}
//	unsubscribe  {base}/u/{token}/{message}
//
// A link has all that it takes to lead on: no record of it is needed, and it
// works as long as the key does, whatever becomes of message and server. The
// signature binds place (h or t), number, message and target, so that we lead
// nowhere that a customer did not write; the token binds recipient and message,
// so that it combines with links of its own message alone. The target is one
// segment of the path, with no character in it that HTML, quoted-printable or a
// program that finds URLs in text could stumble on; links and unsubscribe URLs
// end in a letter or digit. Numbers count the unique links of a message, from 1
// and HTML first; a URL in both bodies has one number.
//
// # Dressing
//
// [Signer.Apply] goes once through the tokens of the HTML (golang.org/x/net/html)
// and over the text, and splices; it never renders. All octets but those of
// rewritten URLs, placeholders, footer and pixel stay as they are.
//
// In HTML the href of <a> and <area> is a link, if it is an http or https URL
// once its entities are decoded. Comments, what they hold for Outlook, scripts,
// styles and other raw text keep their links. A URL is left alone that
//   - has characters which no URL has, such as the braces of a template that
//     was not filled, a "%" that encodes nothing, or octets that are not UTF-8,
//   - is one of ours already, so that unsubscribing is not counted as a click,
//   - would be longer than [MaxURL],
//   - is that of an element with the attribute data-pm-no-track, whatever the
//     attribute's value. The attribute stays: it does no harm. In text the same
//     URL is then left alone, in other elements of the HTML it is not.
//
// In text a URL begins at its scheme and ends before white space, quotes,
// angles, punctuation that ends a sentence, and brackets which were not opened
// in it. Where it is not clear that it ends there, or that it does not begin
// earlier ("example.com/?u=https://…"), it is left alone: an uncounted click is
// better than a broken link.
//
// # Unsubscribe links
//
// {{{ pm:unsubscribe }}}, its form with a label, and {{{ pm:unsubscribe_url }}}
// are replaced on every stream. In HTML text the first two become a link, inside
// a tag the URL alone. In plain text, where a link has no text, the label or
// (alone on its line) "Unsubscribe" stands before the URL. Outlook's comments
// have theirs replaced too; other comments and raw text keep them.
//
// Where a link is demanded and no reader would see one, both bodies get a
// footer; a placeholder that only Outlook's comments or another attribute than
// the href of a link has is no such link. Footer and pixel go before the last
// </body> that is a tag; without one to the end, or before what is left open
// there (a comment, a script, half a tag), in which they would not be markup.
//
// # Answers
//
// [Server] answers pixels and links with nothing but the URL, and keeps what it
// was asked for in a bounded buffer. [Server.Run] writes that in batches: each
// hit within a second, so that this is what a crash can lose, and all of them at
// the end. It first looks up message and recipient, then adds rows, counters and
// events in one transaction (package event). When the buffer is full links lead
// on, and a metric counts what is lost; while the database is away hits wait.
// A HEAD and the copy record nothing.
//
// Unsubscribing is no such hit: the answer says what is on the disk.
//
// # Machines
//
// machineRules is the one table of what no person did. Hits wait a little before
// they are written, so that three links followed at once are seen together.
// Machines have rows of their own beside those of people: neither hides the
// other, and they are in no count, no event and no list of the contract. What
// fetches images for the readers of a mailbox provider is a reader
// (contract/tracking.md §2), but tells nothing about system and place.
//
// # Bounds
//
// Time and space grow with the size of the bodies alone. Links and placeholders
// make a body longer by at most [MaxGrowth].
package track
