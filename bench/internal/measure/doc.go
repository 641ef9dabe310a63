// Package measure compares Pennypost with Postfix and OpenDKIM on one machine
// in one run, and with what the machine itself allows.
//
// A group is one kind of load. In a round each group is put on every server
// that takes part, one after another, in turns first and last; a ratio is the
// median of the ratios of the same round, so that what else happens on the
// machine hits both sides. Load generator, DNS and sink are in this process and
// share the machine with the server.
//
// The backlog is measured on instances of their own, since it stays in them.
package measure
