package auth

import (
	"net/http"

	"pennypost"
)

// codeAddress is the contract's "caller IP not on the server's allow list"
// (contract/common.md §6.2).
const codeAddress pennypost.Code = 1480

// MayComeFrom refuses a caller that may not send over HTTP from where it is.
// SMTP has no such list (contract/smtp.md §1).
func MayComeFrom(c pennypost.Caller) error {
	if c.Kind == pennypost.CallerAPI && !c.Allowed.Has(c.IP) {
		return errAddress(c.IP)
	}
	return nil
}

func errAddress(ip string) *pennypost.Error {
	return pennypost.Refuse(codeAddress, "You are not authorized to send emails from your current IP address: '%s'.", ip)
}

// WrongScope refuses what the scope of a token does not allow. It is the 401 of
// a wrong kind of token (contract/common.md §2): all clients know it, and none
// repeats after it.
func WrongScope(c pennypost.Caller) *pennypost.Error {
	scope := c.Scope
	if scope == "" {
		scope = pennypost.ScopeFull
	}
	what := "its scope is " + string(scope)
	if c.Stream != "" {
		what += ", bound to the stream '" + string(c.Stream) + "'"
	}
	return &pennypost.Error{
		Code: pennypost.CodeToken, Status: http.StatusUnauthorized,
		Text: "The Server Token you provided in the X-Postmark-Server-Token request header does not allow this request: " + what + ".",
	}
}
