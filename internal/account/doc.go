// Package account is what customers and the operator set up: servers with their
// API tokens, streams, SMTP tokens and templates; domains and sender signatures;
// accounts, limits and suspensions; and what the first start makes.
//
// # Shape
//
// [Accounts] has a method per thing that can be done. Inputs are typed, with
// pointers where a call changes a part only: nil leaves a field as it is. What
// the caller did wrong comes back as *pennypost.Error with the contract's code
// and text (contract/servers.md, senders.md, common.md §6); what belongs to
// another account is answered exactly as what does not exist.
//
// Each method validates first, asks DNS or makes keys next, and then writes in
// one transaction, which looks again at what the decision rests on. Whatever
// ends or narrows a credential's rights calls auth.Refresh before it returns, so
// that nothing is accepted with it afterwards.
//
// # Domains and DKIM
//
// A domain has RSA keys, and an Ed25519 key beside them when the customer wants
// one. A key is pending until its TXT record is seen; then it is active and the
// active one before it is revoked (contract/senders.md §3). DKIMVerified is
// sticky. A record that goes missing is noted; after pennypost.MissingGrace the
// domain no longer sends, while the API's flag stays and the status says Failed.
// Selectors are times of creation, unique per domain name over all accounts, so
// that the record of one account proves nothing for another. Keys are made in
// advance, since making one takes longer than an answer should.
//
// Run re-checks DNS: a new domain within a minute, then less and less often, a
// verified one daily. DNS that cannot be asked changes nothing.
//
// A sender signature needs keys for its domain too; that domain is unlisted
// until the customer adds it, and lets no other address send.
//
// # Templates
//
// A template has an alias always, made up when none is given. What is stored was
// parsed before, so that sending can rely on it; each edit is a version. Changes
// of one server's templates wait for each other, so that counting them and
// looking whether a layout is in use holds until they are written.
//
// # Confirmation
//
// A signature is confirmed by a link in a mail of ours. Its token is random, kept
// as a keyed hash, works once and for a week. Following the link changes nothing;
// Confirm does, behind the page's button. The customer's note is quoted as plain
// text with links taken out, and mails are limited per address and account: the
// form must not be a way to mail strangers.
//
// # Suspension
//
// Suspending stops acceptance with the transaction, and delivery by
// Config.SuspensionChanged: mail is held. Reactivating notes that the held mail
// is to be released; Run does it, after a crash too.
package account
