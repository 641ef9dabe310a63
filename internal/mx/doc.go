// Package mx knows where mail for a domain goes: the mail servers that it
// names, their addresses, and the site that they belong to.
//
// # Resolver
//
// [Resolver] asks the system's DNS servers, or those it is given. net.Resolver
// will not do: it hides TTLs, and cannot tell "no such name" from "no such
// record". A question goes out over UDP from a port of its own with a random
// id, over TCP when the answer is cut short. Answers with another id or
// question are passed over; of those that fit only the records are taken that
// answer the question, along the CNAMEs that are in it.
//
// Answers are kept between 5 s and an hour, what is absent and what failed
// too, in bounded memory. TXT and CNAME records are kept for a minute at
// most, and their absence for 5 s: people who wait for their domain to be
// verified ask for them. The same question is asked once at a time; of
// all questions a bounded number are under way, each for a bounded time. When
// DNS fails, an MX, A or AAAA record that was known is used for another hour
// (RFC 8767): an outage of the resolver then stops few deliveries, bounces
// none, and is followed by no burst.
//
// # Finder
//
// [Finder.Route] follows RFC 5321 §5.1: the MX records by preference, or the
// domain itself where it has none. What ends the matter is a [Failure], with
// the reply code and the enhanced code of a mail server that would say the
// same. We are never routed to ourselves: when one of the hosts is ours, by
// name or by address, it and all that are not preferred to it are left out.
//
// [Finder.Addrs] gives the addresses of a host, and [Finder.Allowed] is the
// egress rule: whoever writes an MX record chooses what we connect to, so
// that private, local and special addresses, and our own, are refused. It is
// asked again about the address that is dialled.
//
// # Sites
//
// All domains of a provider share what we know about it, and the limits that
// it sets. [Route.Site] is the key for that: the provider's name for the known
// ones, else the registrable domain of the hosts when they have one in common
// that is not the recipient's, else the hosts.
package mx
