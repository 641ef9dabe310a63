package pennypost

import "time"

// The reasons of a suppression (contract/bounces.md §11).
const (
	ReasonHardBounce = "HardBounce"
	ReasonComplaint  = "SpamComplaint"
	ReasonManual     = "ManualSuppression"
)

// Who caused a suppression.
const (
	OriginRecipient = "Recipient"
	OriginCustomer  = "Customer"
	OriginAdmin     = "Admin"
)

// Deletable tells whether the customer may take the address off the list
// (contract/bounces.md §11): neither who complained or unsubscribed, nor what
// the operator put there.
func (s *Suppression) Deletable() bool {
	switch {
	case s.Origin == OriginAdmin, s.Reason == ReasonComplaint:
		return false
	case s.Reason == ReasonManual:
		return s.Origin == OriginCustomer
	}
	return true
}

// ArchivedFor is how long an archived stream stays (contract/streams.md §2).
const ArchivedFor = 45 * 24 * time.Hour

// ImportID names an import of suppressions; it fits a signed 32-bit integer.
type ImportID int64

// ImportStatus is where an import of suppressions stands.
type ImportStatus string

// The statuses. An import of which the parts were not all stored when the
// process ended stays Receiving and is forgotten: nobody was told of it.
const (
	ImportReceiving  ImportStatus = "Receiving"
	ImportWaiting    ImportStatus = "Waiting"
	ImportProcessing ImportStatus = "Processing"
	ImportCompleted  ImportStatus = "Completed"
)

// Import is a file of suppressions that is worked through step by step.
type Import struct {
	ID                              ImportID
	ServerID                        ServerID
	Stream                          StreamID
	Status                          ImportStatus
	Total, Processed, Added, Failed int           // entries
	Errors                          []ImportError // the first hundred
	CreatedAt                       time.Time
	FinishedAt                      time.Time // zero until then
}

// ImportError says what is wrong with an entry.
type ImportError struct {
	Line    int // of the file; of JSON the number of the entry, from 1
	Address string
	Text    string
}
