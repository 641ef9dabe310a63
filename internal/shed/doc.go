// Package shed tells when new mail must be turned away so that the mail that is
// there already can be served: when the disk is nearly full, and when the memory
// for messages is used up. It knows neither mail nor HTTP; who lets mail in asks
// it.
//
// Being turned away early costs a client one reply and a retry. What is turned
// away late costs the transfer, and a process that dies of a full disk or is
// killed for its memory costs everybody.
package shed
