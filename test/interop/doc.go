// Package interop proves the program against others: real SMTP and HTTP clients
// send through a running instance, and real mail servers and a real resolver
// stand where the internet would be. It holds tests alone.
//
// The programs come from Debian (tools/test-deps installs them) and npm; the Go
// client in goclient is a module of its own, so that the product does not depend
// on it. A program that is missing fails the test: nothing is skipped.
package interop
