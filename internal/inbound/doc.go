// Package inbound takes mail that is addressed to us: reports to the signed
// Return-Path of what we sent, and letters to postmaster@ and abuse@ our own
// names (RFC 5321 §4.5.1, RFC 2142).
//
// Everything is stored raw, with its recipient, before the 250; reading it is
// another's work. One row is kept per recipient, since each is handled alone. The
// octets are stored once, however many recipients a mail has.
//
// A Return-Path whose signature is wrong, unknown or too old is taken like a
// right one and marked unverified: refusing it would tell a forger which of
// his guesses was right, and nobody is suppressed for an unverified one. Other
// local parts at the return-path domain do not exist. A customer's return-path
// domain, a CNAME to ours, is ours once it is verified.
package inbound
