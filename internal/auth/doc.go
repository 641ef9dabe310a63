// Package auth tells who is calling, and keeps the keys that secrets are
// hashed and sealed with.
//
// # Keys
//
// [Keys] come from the master key, 32 random octets in a file outside the
// database. Everything is derived from it with HKDF-SHA-256, one key per
// purpose: Seal encrypts what must be shown or used again (API tokens, DKIM
// keys), Hash makes the keyed hash that a secret is looked up by, Derive gives
// other packages a key of their own. [LoadKeys] makes the file at the first
// start, and refuses to run on a database whose secrets were made with another
// one: its fingerprint is kept there.
//
// # Credentials
//
// All tokens are in one table, and every credential is found by the keyed hash
// of the whole secret: an unknown one costs the same look-up as a known one.
// What was verified is remembered in memory, by hash. That memory is emptied
// by [Auth.Refresh], which whoever changes a credential calls before it
// answers, and which [Auth.Run] repeats each second for the changes of other
// nodes. Nothing depends on it alone: [Auth.CheckAccept] reads token, server
// and account inside the transaction that stores a message, so that nothing is
// accepted once a revocation has returned.
//
// # Guessing
//
// Failed SMTP logins are counted per client address (IPv4 /32, IPv6 /64) and
// per address and user name. Past a few, each further guess makes the source
// wait longer, up to a quarter of an hour. A guess that was made before does
// not count again: a forgotten device that repeats one wrong password must not
// shut out its neighbours. Nothing is counted per user name alone, so the
// right secret from elsewhere always works.
package auth
