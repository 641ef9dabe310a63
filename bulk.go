package pennypost

import "time"

// BulkID names a bulk request.
type BulkID [16]byte

// String gives the form of a MessageID.
func (id BulkID) String() string { return MessageID(id).String() }

// ParseBulkID reads the form of String.
func ParseBulkID(s string) (BulkID, error) {
	id, err := ParseMessageID(s)
	return BulkID(id), err
}

// BulkState is where a bulk request stands.
type BulkState int8

// The states of a bulk request. The last two are final.
const (
	// BulkReceiving: it is being stored and does not exist yet for its sender.
	BulkReceiving BulkState = iota
	// BulkAccepted: all of it is stored, nothing of it was begun.
	BulkAccepted
	// BulkProcessing: some of its messages have been made.
	BulkProcessing
	// BulkCompleted: all of them have.
	BulkCompleted
	// BulkCancelled: the rest of them will not be.
	BulkCancelled
)

// String gives the word of the contract (contract/sending.md §13).
func (s BulkState) String() string {
	switch s {
	case BulkReceiving:
		return "Receiving"
	case BulkAccepted:
		return "Accepted"
	case BulkProcessing:
		return "Processing"
	case BulkCompleted:
		return "Completed"
	case BulkCancelled:
		return "Cancelled"
	}
	return "Unknown"
}

// BulkRequest is a request for many personalised messages of one content,
// without that content and without the messages.
type BulkRequest struct {
	ID          BulkID
	AccountID   AccountID
	ServerID    ServerID
	Stream      StreamID
	Subject     string // with its placeholders; "" when a template has it
	SubmittedAt time.Time
	State       BulkState
	Total       int // messages
	Released    int // messages that went on their way
	Failed      int // messages that did not
}

// Done is how many of its messages were seen to, which are its first ones.
func (b *BulkRequest) Done() int { return b.Released + b.Failed }
