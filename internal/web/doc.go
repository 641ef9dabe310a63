// Package web is what the HTTP edges share: the frame around a request, and
// the one place where errors become answers.
//
// # Around a request
//
// [Frame] gives every request an id, which the answer carries as X-Request-Id
// and which every log line about it names, finds the client's address behind
// trusted proxies, turns a panic into an answer without a trace of the program
// and refuses what no edge serves. [NewServer] sets the deadlines: ten seconds
// for the header, a minute for the body, so that a slow client costs one
// goroutine for a bounded time.
//
// # Bodies
//
// [Bodies] reads a request body within a limit, and all bodies together within
// a budget of memory: a caller who finds none waits, and is told to come
// again. An encoded body (Content-Encoding) is refused: there is then nothing
// to bomb us with.
//
// # Errors
//
// [JSON.Error] knows three kinds. A *pennypost.Error is the caller's mistake
// and is shown as it is. A local fault for which the edge's Unavailable
// function stands is a 503 that says nothing about the fault. Anything else is
// a 500 with an error id that is in the log beside the error. Handlers return
// errors and never write them.
package web
