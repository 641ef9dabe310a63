// Package fakenet is a pretend internet on the loopback interface, for tests
// and for trying the service out: a DNS server, the mail servers that its MX
// records name, and a Box that holds every mail that reached one.
//
// # Names
//
// Every name directly below the zone, which is "test" unless told otherwise,
// is a domain that takes mail: x.test has the MX mx.x.test, whose A record is
// one of a few loopback addresses, so that domains share servers as they do at
// a provider. Records of your own, in zone file form, are added with
// Net.Record and replace the synthetic ones of their name and type. Some
// domains are there to try faults: nullmx.test takes no mail (RFC 7505),
// gone.test does not exist, servfail.test cannot be asked for, and silent.test
// has a mail server that accepts connections and never says a word.
//
// # Mail servers
//
// They speak SMTP with PIPELINING and STARTTLS (a self-signed certificate) and
// take everything, except that some local parts play a part, in any domain:
//
//	bounce+550      refused at RCPT with that code
//	defer+451+2     deferred at RCPT with that code, twice; then taken
//	greylist+30     deferred for 30 s after the first try; then taken
//	slow+10         taken, but the answer to the message comes after 10 s
//	drop+dot+1      the connection is closed at that stage, once; at dot the
//	                message was taken all the same
//	mute+rcpt       never answered at that stage
//	complain        taken; whoever reads the Box may complain about it
//
// A count is per envelope sender and recipient, so that it starts anew for
// each message: every message has a return path of its own. Net.Host gives a
// domain a mail server of its own, with a Script.
//
// # Sockets or none
//
// With Config.Memory nothing is opened: Net.Dial gives in-memory connections to
// the same servers, so that the clock of testing/synctest advances.
package fakenet
