package account

import (
	_ "embed"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// publicMail are the domains of public mailbox providers, one a line; in
// "yahoo.*" the star stands for every public suffix.
//
//go:embed publicmail.txt
var publicMail string

// isPublicDomain tells whether a domain belongs to the public: a mailbox
// provider's, or a suffix under which anybody registers (contract/senders.md
// §7). Whoever adds a domain must be able to speak for all of it.
func isPublicDomain(name string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	if suffix == name {
		return true
	}
	owned, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return true
	}
	label, _, _ := strings.Cut(owned, ".")
	list := strings.Fields(publicMail)
	return slices.Contains(list, owned) || slices.Contains(list, label+".*")
}
