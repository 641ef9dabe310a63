// Package dkim signs messages and verifies signatures: DKIM (RFC 6376) with
// the algorithms rsa-sha256 (RFC 8301) and ed25519-sha256 (RFC 8463).
//
// # Signing
//
// A [Signer] holds which header fields are signed; it is immutable and safe
// for any number of goroutines. One call of [Signer.Sign] walks header and
// body once, hashes the body once, and makes one DKIM-Signature field per key.
// The result does not depend on who receives the message, so that one result
// serves all recipients and all attempts: fields that name the recipient
// (X-PM-RCPT) and trace fields are never signed. Canonicalisation is always
// relaxed/relaxed. There is never an l= tag, which would let anyone append to
// the body, and no x= or i= tag. From, To, Cc, Subject, Date, Reply-To,
// Message-ID and Content-Type are over-signed: named once more in h= than they
// occur, so that one added later breaks the signature (RFC 6376 §8.15).
//
// # RSA
//
// An RSA-2048 signature is the dearest step in a message's life. Where the
// system has OpenSSL 3's libcrypto, [NewRSASigner] signs with it, about four
// times as fast as crypto/rsa; the library is opened at run time, without cgo.
// Where it is missing, on other platforms than linux and darwin on amd64 and
// arm64, and with build tag nolibcrypto, crypto/rsa signs. Both give the same
// bytes, since PKCS #1 v1.5 has no randomness. If the library ever fails, that
// one signature is made by crypto/rsa: a fault there costs speed, not mail.
//
// # Verifying
//
// A [Verifier] checks at most eight signatures of a message. It refuses l=,
// rsa-sha1 and RSA keys under 1,024 bits (RFC 8301 §3), and takes both
// canonicalisations. It asks for keys through a function, so that the package
// knows nothing of DNS.
//
// # Keys
//
// Keys are kept as PKCS #8. [TXTValue] writes the DNS record as
// contract/senders.md §3 words it, and [MatchTXT] tells whether a published
// record carries a key.
package dkim
