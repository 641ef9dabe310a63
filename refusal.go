package pennypost

import "fmt"

// Code is an ErrorCode of the contract (contract/common.md §6).
type Code int

// The codes that more than one package refuses with.
const (
	CodeToken             Code = 10
	CodeMaintenance       Code = 100
	CodeFault             Code = 101
	CodeInvalid           Code = 300
	CodeSenderUnknown     Code = 400
	CodeSenderUnconfirmed Code = 401
	CodeJSON              Code = 402
	CodeFieldType         Code = 403
	CodeOverLimit         Code = 405
	CodeInactive          Code = 406
	CodeHeaders           Code = 409
	CodeBatchSize         Code = 410
	CodeAttachmentType    Code = 411
	CodePendingDomain     Code = 412
	CodeNotApproved       Code = 413
	CodeServerUnusable    Code = 422
	CodeTooManyRequests   Code = 429
	CodeStreamUnknown     Code = 1235
	CodeStreamType        Code = 1236
)

// Error is the caller's mistake, told as the contract words it. It is shown as
// it is; anything that is not an *Error is our own fault and its text never
// leaves the program.
type Error struct {
	Code Code
	Text string
	// Status is the HTTP status where it is not 422 (contract/common.md §4).
	Status int
}

// Error gives the text that the caller sees.
func (e *Error) Error() string { return e.Text }

// Refuse makes an Error with an HTTP status of 422.
func Refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Invalid makes an Error of code 300, the code of message validation
// (contract/sending.md §8).
func Invalid(format string, args ...any) *Error { return Refuse(CodeInvalid, format, args...) }
