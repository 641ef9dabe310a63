package pennypost

// Scope is what an API token of a server may do. It is given when the token is
// made and never changes.
type Scope string

// The scopes. The zero value, which other callers have, is as good as full.
const (
	ScopeFull Scope = "full"
	ScopeSend Scope = "send-only"
	ScopeRead Scope = "read-only"
)

// MaySend tells whether mail may be sent.
func (s Scope) MaySend() bool { return s != ScopeRead }

// MayRead tells whether what there is may be read.
func (s Scope) MayRead() bool { return s != ScopeSend }

// MayChange tells whether settings may be changed.
func (s Scope) MayChange() bool { return s == ScopeFull || s == "" }
