package pennypost

import "time"

// FirstAccount is the account that exists from the first start on.
const FirstAccount AccountID = 1

// PlanUnlimited is the plan without a monthly limit.
const PlanUnlimited = "Unlimited"

// Account is a customer.
type Account struct {
	ID   AccountID
	Name string
	Plan string
	// MonthlyLimit is how many recipients it may send to in a calendar month
	// (UTC); 0: no limit.
	MonthlyLimit int64
	// Pending accounts send to the domain of the sender alone
	// (contract/account.md §3).
	Pending bool
	// NoDeletes forbids deleting servers (code 604).
	NoDeletes bool
	// NoCustomUnsubscribe forbids streams that handle unsubscribing themselves
	// (code 1238).
	NoCustomUnsubscribe bool
	Suspension          Suspension
	CreatedAt           time.Time
}

// Suspension says since when and why a server or account may not send; its
// zero value is none.
type Suspension struct {
	Since  time.Time
	Reason string
}

// Active tells whether sending is stopped.
func (s Suspension) Active() bool { return !s.Since.IsZero() }

// SMTPRejection says how SMTP tells that a message is refused.
type SMTPRejection string

// The two ways: a reply at once, or Postmark's accept-then-bounce.
const (
	RejectImmediate SMTPRejection = "Immediate"
	RejectAccept    SMTPRejection = "Accept"
)

// Server is what tokens, streams and messages belong to
// (contract/servers.md §2).
type Server struct {
	ID        ServerID
	AccountID AccountID
	Name      string
	Color     string // lower case
	Sandbox   bool   // DeliveryType is Sandbox, not Live

	SMTPActivated     bool
	SMTPAPITokenAuth  bool // the API token opens SMTP too
	SMTPRejection     SMTPRejection
	RawEmail          bool
	InboundHash       string
	InboundDomain     string
	InboundHookURL    string
	SpamThreshold     int
	BounceHookURL     string
	OpenHookURL       string
	DeliveryHookURL   string
	ClickHookURL      string
	PostFirstOpenOnly bool
	TrackOpens        bool
	TrackLinks        TrackLinks
	BounceContent     bool // IncludeBounceContentInHook
	SMTPErrorHooks    bool // EnableSmtpApiErrorHooks

	MonthlyLimit int64 // recipients in a calendar month; 0: no limit of its own
	Suspension   Suspension
	CreatedAt    time.Time
}

// ServerState is what accepting a message needs to know of its server and
// account, read in the accepting transaction.
type ServerState struct {
	AccountID      AccountID
	ServerID       ServerID
	Sandbox        bool
	Pending        bool // the account is not approved yet (code 412)
	SMTPRejection  SMTPRejection
	SMTPErrorHooks bool
	TrackOpens     bool
	TrackLinks     TrackLinks
	Limits         Limits
}

// Limits are the recipients allowed in a calendar month; 0 is no limit.
type Limits struct {
	Account int64
	Server  int64
}

// StreamType is the type of a message stream (contract/streams.md §2).
type StreamType string

// The types of the contract.
const (
	StreamTransactional StreamType = "Transactional"
	StreamBroadcasts    StreamType = "Broadcasts"
	StreamInboundType   StreamType = "Inbound"
)

// Unsubscribe says who handles unsubscribing from a stream.
type Unsubscribe string

// The values of the contract.
const (
	UnsubscribeNone     Unsubscribe = "None"
	UnsubscribePostmark Unsubscribe = "Postmark"
	UnsubscribeCustom   Unsubscribe = "Custom"
)

// Stream is a message stream of a server (contract/streams.md §2).
type Stream struct {
	ServerID    ServerID
	ID          StreamID
	Type        StreamType
	Name        string
	Description string
	Unsubscribe Unsubscribe
	RetryFor    time.Duration // how long delivery is tried
	CreatedAt   time.Time
	UpdatedAt   time.Time // zero until the first edit
	ArchivedAt  time.Time // zero while it is in use
}

// APIToken is a token for HTTP. Its text is kept sealed.
type APIToken struct {
	ID         TokenID
	AccountID  AccountID
	ServerID   ServerID // 0 for an account token
	Label      string
	CreatedAt  time.Time
	LastUsedAt time.Time
	LastUsedIP string
	RevokedAt  time.Time
}

// SMTPToken is a credential for SMTP. Its secrets are kept as keyed hashes.
type SMTPToken struct {
	ID         TokenID
	AccountID  AccountID
	ServerID   ServerID
	Stream     StreamID // "" when bound to none
	Label      string
	AccessKey  string
	CreatedAt  time.Time
	LastUsedAt time.Time
	LastUsedIP string
	RevokedAt  time.Time
}

// DomainID names a domain of an account; it fits a signed 32-bit integer.
type DomainID int64

// SenderID names a sender signature; it fits a signed 32-bit integer.
type SenderID int64

// Domain is a sending domain of an account (contract/senders.md §2).
type Domain struct {
	ID        DomainID
	AccountID AccountID
	Name      string // lower-case A-labels
	// Listed domains were added by the customer; the others came with a sender
	// signature, and let no other address send.
	Listed             bool
	SPFVerified        bool
	VerifiedAt         time.Time // DKIM; stays when the record goes
	MissingSince       time.Time // since when the active key's record is gone
	ReturnPath         string
	ReturnPathVerified bool
	Tracking           string
	TrackingVerified   bool
	CheckedAt          time.Time
	CreatedAt          time.Time
	Keys               []DKIMKey // revoked ones included
}

// MissingGrace is how long a verified domain sends on after its DKIM record
// went.
const MissingGrace = 30 * 24 * time.Hour

// MaySend tells whether any address of the domain may send at a time.
func (d *Domain) MaySend(now time.Time) bool {
	return d.Listed && !d.VerifiedAt.IsZero() && (d.MissingSince.IsZero() || now.Sub(d.MissingSince) < MissingGrace)
}

// KeyState is where a DKIM key stands (contract/senders.md §3).
type KeyState string

// The states: waiting for its record, signing, phased out.
const (
	KeyPending KeyState = "pending"
	KeyActive  KeyState = "active"
	KeyRevoked KeyState = "revoked"
)

// Algorithm is a signature algorithm of DKIM (RFC 6376 §3.3, RFC 8463).
type Algorithm string

// The algorithms.
const (
	AlgorithmRSA     Algorithm = "rsa"
	AlgorithmEd25519 Algorithm = "ed25519"
)

// DKIMKey is a signing key of a domain, or of the instance (account 0).
type DKIMKey struct {
	ID          int64
	AccountID   AccountID
	DomainID    DomainID
	Domain      string
	Selector    string
	Algorithm   Algorithm
	State       KeyState
	TXT         string // value of the DNS record
	Sealed      []byte // private key as PKCS #8, sealed for the purpose "dkim"
	CreatedAt   time.Time
	ActivatedAt time.Time
	RevokedAt   time.Time
}

// Host is the name of the TXT record.
func (k *DKIMKey) Host() string { return k.Selector + "._domainkey." + k.Domain }

// SenderSignature is a single address that may send once it is confirmed
// (contract/senders.md §5).
type SenderSignature struct {
	ID          SenderID
	AccountID   AccountID
	DomainID    DomainID
	Address     Address
	Name        string
	ReplyTo     string
	Note        string
	ConfirmedAt time.Time
	CreatedAt   time.Time
}

// SenderStatus says why an address may send or not.
type SenderStatus int8

// The statuses.
const (
	// SenderUnknown: neither a verified domain nor a signature.
	SenderUnknown SenderStatus = iota
	// SenderUnconfirmed: a signature whose link was not followed.
	SenderUnconfirmed
	// SenderConfirmed: a confirmed signature.
	SenderConfirmed
	// SenderDomain: the domain is verified.
	SenderDomain
)

// SenderMatch is what an account knows of a From address.
type SenderMatch struct {
	Status SenderStatus
	// Name and ReplyTo are those of the signature, if there is one.
	Name, ReplyTo string
	// SignDomain has an active DKIM key; "" when none has.
	SignDomain string
	// ReturnDomain is the verified return-path domain, or "".
	ReturnDomain string
	// TrackDomain is the verified custom tracking domain, or "".
	TrackDomain string
}
