package submit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"pennypost"
	"pennypost/internal/eml"
	"pennypost/internal/track"
)

// render writes the message. What the client can be told of is a
// *pennypost.Error.
func (d *Door) render(dr *draft) error {
	m := eml.Message{Header: d.header(dr), Root: dr.root, Boundary: boundaryTag(dr.id)}
	if dr.personal {
		m.Whole = d.conf.Dress.Token(dr.id, track.Copy)
	}
	content, err := m.Append(nil)
	var bad *eml.FieldError
	switch {
	case errors.Is(err, eml.ErrNot7Bit):
		return pennypost.Invalid("A signed or encrypted part has 8-bit characters or lines of more than 998 characters, and cannot be sent without changing it. Encode it in quoted-printable or base64 before signing.")
	case errors.As(err, &bad):
		return pennypost.Invalid("Invalid header '%s': %s.", short(bad.Name), bad.Reason)
	case err != nil:
		return fmt.Errorf("render message: %w", err)
	}
	dr.content = content
	dr.needsUTF8 = dr.needsUTF8 || m.NeedsUTF8()
	dr.root = nil
	return nil
}

// boundaryTag makes boundaries of messages differ: the random half of the id.
func boundaryTag(id pennypost.MessageID) string { return hex.EncodeToString(id[8:]) }

// lend gives the message what a sender signature has and the client left out:
// a display name and a reply address (contract/sending.md §1). The head is
// then written anew.
func (d *Door) lend(dr *draft, m *pennypost.SenderMatch) error {
	changed := false
	if dr.from.Name == "" && m.Name != "" {
		dr.from.Name, changed = m.Name, true
	}
	if len(dr.replyTo) == 0 && m.ReplyTo != "" {
		if reply, err := eml.ParseMailbox(m.ReplyTo); err == nil {
			dr.replyTo, changed = []eml.Mailbox{reply}, true
		}
	}
	if !changed {
		return nil
	}
	h := eml.Message{Header: d.header(dr)}
	head, err := h.Append(nil)
	if err != nil {
		return fmt.Errorf("render head of message: %w", err)
	}
	end, start := bytes.Index(head, []byte(mimeStart)), bytes.Index(dr.content, []byte(mimeStart))
	if end < 0 || start < 0 {
		return errors.New("rendered message has no MIME-Version")
	}
	tail := dr.content[start:]
	content := make([]byte, 0, end+len(tail))
	dr.content = append(append(content, head[:end]...), tail...)
	dr.needsUTF8 = dr.needsUTF8 || h.NeedsUTF8()
	return nil
}
