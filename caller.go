package pennypost

// CallerKind says what a caller proved to be.
type CallerKind int8

// The kinds of caller.
const (
	// CallerAPI holds a server API token.
	CallerAPI CallerKind = iota + 1
	// CallerSMTP logged in over SMTP: with an SMTP token or, where the server
	// allows it, an API token.
	CallerSMTP
	// CallerAccount holds an account token.
	CallerAccount
	// CallerOperator holds the operator's token.
	CallerOperator
	// CallerTest sent POSTMARK_API_TEST: all is checked, nothing is stored.
	CallerTest
	// CallerSystem is the service itself.
	CallerSystem
)

// Caller is who is calling, as auth found it. It is passed as an argument,
// never in a context.
type Caller struct {
	Kind      CallerKind
	AccountID AccountID
	ServerID  ServerID // 0 for account and operator
	TokenID   TokenID  // 0 for operator, test and system
	Stream    StreamID // the stream that the token is bound to, or ""
	IP        string   // address of the client, for records and limits
	Scope     Scope    // of an API token; "" where it is full
	// Allowed is from where the server sends over HTTP.
	Allowed *AllowList
	// Request is the call, if its client gave it a key.
	Request *Request
}
