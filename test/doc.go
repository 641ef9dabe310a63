// Package test boots the program and looks at it from outside: scripts in
// testdata/script tell one story each, and the tests that need more than a
// script do (crashes under load, a destination that never answers, PostgreSQL)
// are written in Go. It holds tests alone.
//
// The internet is internal/fakenet; clients are swaks and curl, which
// tools/test-deps installs.
package test
