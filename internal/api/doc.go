// Package api is the HTTP API: the contract's, what docs/api.md adds to it, the
// operator's, and the page on which a sender address is confirmed.
//
// # Routes
//
// One table (routes.go) names every call: method, path, whose token opens it,
// the limit of its body, its handler. Paths are matched without regard to case
// and with one trailing slash or none; what stands for an id keeps its case. The
// contract's own paths overlap in a way that http.ServeMux refuses
// (/messages/outbound/opens/{id} and /messages/outbound/{id}/details), so the
// table is matched segment by segment, literal before id.
//
// # Order of checks
//
// Path 404, method 405, token 401, rate 429, scope of the token 401, address
// 1480 (guard.go), content headers 415, size 413, JSON 402,
// items of a batch 410, types of fields 403; all else is decided below:
// package submit for messages, package account for what customers set up
// (contract/sending.md §8). A handler returns a value or an error; package web
// turns either into the answer.
//
// # Tenants
//
// The caller's server or account goes into every look-up as an argument. What
// belongs to another is answered exactly as what does not exist.
//
// # Requests that are repeated
//
// A request that sends and has a key is looked up by it before it is handled
// (repeat.go). The door notes what it accepts under the key in the accepting
// transaction; the answer is kept there too or, where it has several, before it
// is sent. A repeat is the kept answer or, if there is none, the request made
// again with what was accepted left out.
//
// # Room
//
// Bodies of requests and answers that hold a whole message share one budget of
// memory; a call works for a bounded time once its body is there. Both end in a
// 503, which never follows a message that was accepted.
//
// # JSON
//
// decode (json.go) reads bodies: UTF-8 without exception, one value, names
// without regard to case, of a repeated name the last value counts, null is
// absence, unknown names are ignored. Depth, numbers, names and values are
// bounded before anything is built from them.
//
// # Description
//
// openapi.json is written by hand and served as it is. It says what a careful
// client sends, not all that decode understands. The tests' rig holds every call
// against it: answers always, with fields that are not described as a mistake,
// requests where they got what they wanted. So a new route, field or code is
// described with the change that brings it.
package api
