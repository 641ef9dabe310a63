package smtpc

import (
	"fmt"
	"strconv"
)

// Envelope is one message for one recipient.
type Envelope struct {
	// From is the return path, To the recipient: local@domain without angle
	// brackets, the local part quoted where RFC 5321 §4.1.2 asks for it, the
	// domain in A-labels unless UTF8 is set. From may be "", the null path.
	From, To string
	// UTF8 says that an address or a header field is not ASCII, so that the
	// server must offer SMTPUTF8.
	UTF8 bool
	// Size is the number of octets to announce; 0 is that of Parts.
	Size int64
	// Parts are written in order and make the whole message: header fields,
	// blank line, body. Every line of it ends in CRLF, the last one too.
	Parts [][]byte
	// BeforeDot is called right before the write that carries the final dot.
	// Its error ends the connection, and nothing is delivered. It may be nil.
	BeforeDot func() error
}

// maxPath leaves room for what RFC 5321 §4.5.3.1.3 calls the least.
const maxPath = 512

// checkPath sees to it that a path ends where we end it. A parser made it;
// this is the last look before the wire: an unquoted blank or angle bracket
// would begin a parameter of its own (CVE-2025-59937).
func checkPath(p string, utf8 bool) error {
	quoted := false
	for i := 0; i < len(p); i++ {
		switch b := p[i]; {
		case b < 0x20 || b == 0x7f || (b >= 0x80 && !utf8):
			return fmt.Errorf("%w: %q", ErrPath, p)
		case b == '"':
			quoted = !quoted
		case quoted && b == '\\' && i+1 < len(p) && p[i+1] >= 0x20 && p[i+1] < 0x7f:
			i++
		case !quoted && (b == ' ' || b == '<' || b == '>' || b == '\\'):
			return fmt.Errorf("%w: %q", ErrPath, p)
		}
	}
	if quoted || len(p) > maxPath {
		return fmt.Errorf("%w: %q", ErrPath, p)
	}
	return nil
}

func (e *Envelope) inspect() (facts, error) {
	if err := checkPath(e.From, e.UTF8); err != nil {
		return facts{}, err
	}
	if e.To == "" {
		return facts{}, fmt.Errorf("%w: no recipient", ErrPath)
	}
	if err := checkPath(e.To, e.UTF8); err != nil {
		return facts{}, err
	}
	f, err := inspect(e.Parts)
	if e.Size > 0 {
		f.size = e.Size
	}
	return f, err
}

// refuse gives what the server would have to say to a message that it does not
// take, as far as its offers tell.
func (x *extensions) refuse(e *Envelope, f facts) *Reply {
	switch {
	case x.maxSize > 0 && f.size > x.maxSize:
		// RFC 1870 §6.1.
		return local(552, "5.3.4", fmt.Sprintf("message of %d octets is larger than the server takes (SIZE %d)", f.size, x.maxSize))
	case e.UTF8 && !x.utf8:
		// RFC 6531 §3.5.
		return local(550, "5.6.7", "address or header field outside of ASCII, and the server does not offer SMTPUTF8")
	case f.eightBit && !x.eightBit:
		// RFC 6152 §3; RFC 3463 §3.7. Ours are coded in seven bits, so that
		// this is about mail that came as it is.
		return local(554, "5.6.3", "message has 8-bit text, and the server does not offer 8BITMIME")
	}
	return nil
}

func (x *extensions) appendMail(out []byte, e *Envelope, f facts) []byte {
	out = append(append(append(out, "MAIL FROM:<"...), e.From...), '>')
	if x.size {
		out = strconv.AppendInt(append(out, " SIZE="...), f.size, 10)
	}
	if f.eightBit {
		out = append(out, " BODY=8BITMIME"...)
	}
	if e.UTF8 {
		out = append(out, " SMTPUTF8"...)
	}
	return append(out, "\r\n"...)
}

func appendRcpt(out []byte, e *Envelope) []byte {
	return append(append(append(out, "RCPT TO:<"...), e.To...), ">\r\n"...)
}
