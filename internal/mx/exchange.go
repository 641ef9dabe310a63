package mx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is the size that we say we take (DNS flag day 2020): larger
	// datagrams may come in fragments, or not at all.
	udpSize = 1232
	// maxStray is how many datagrams that do not fit are passed over.
	maxStray = 64
)

var (
	errQuestion = errors.New("the answer is to another question")
	errStray    = errors.New("too many answers that do not fit")
)

// refusedError is an answer that is none: SERVFAIL, REFUSED and so on.
type refusedError struct{ rcode int }

func (e *refusedError) Error() string {
	if name, ok := dns.RcodeToString[e.rcode]; ok {
		return name
	}
	return fmt.Sprintf("RCODE %d", e.rcode)
}

// roundTrip asks one server, over UDP and where the answer does not fit over
// TCP.
func (r *Resolver) roundTrip(ctx context.Context, server string, q question, edns bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name+".", q.qtype)
	m.Id = dns.Id()
	if edns {
		m.SetEdns0(udpSize, false)
	}
	packed, err := m.Pack()
	if err != nil {
		return nil, err
	}
	reply, err := r.overUDP(ctx, server, packed, q)
	if err == nil && reply == nil {
		reply, err = r.overTCP(ctx, server, packed, q)
	}
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, &refusedError{reply.Rcode}
	}
	return reply, nil
}

// open dials a server. The connection ends with the context.
func (r *Resolver) open(ctx context.Context, network, server string) (nc net.Conn, done func(), err error) {
	nc, err = r.dial(ctx, network, server)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = nc.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection has ended anyway
	})
	return nc, func() {
		stop()
		_ = nc.Close() // all that was wanted was read
	}, nil
}

// overUDP gives no reply and no error when TCP must be tried: the answer was
// cut short, or is damaged.
func (r *Resolver) overUDP(ctx context.Context, server string, packed []byte, q question) (*dns.Msg, error) {
	nc, done, err := r.open(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := nc.Write(packed); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for range maxStray {
		n, err := nc.Read(buf)
		if err != nil {
			return nil, err
		}
		if !answers(buf[:n], packed) {
			continue // of an earlier question, or forged
		}
		if buf[2]&2 != 0 { // TC, RFC 1035 §4.1.1
			return nil, nil //nolint:nilnil // TCP it is
		}
		m, err := parse(buf[:n], q)
		switch {
		case errors.Is(err, errQuestion):
			continue
		case err != nil:
			return nil, nil //nolint:nilnil // TCP may bring it whole
		}
		return m, nil
	}
	return nil, errStray
}

func (r *Resolver) overTCP(ctx context.Context, server string, packed []byte, q question) (*dns.Msg, error) {
	nc, done, err := r.open(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer done()
	// RFC 1035 §4.2.2: a length of two octets goes before each message.
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...) //nolint:gosec // G115: a question is short
	if _, err := nc.Write(framed); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(nc, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(nc, buf); err != nil {
		return nil, err
	}
	if !answers(buf, packed) {
		return nil, errQuestion
	}
	return parse(buf, q)
}

// answers tells whether a message is an answer (QR) with a question's id.
func answers(msg, asked []byte) bool {
	return len(msg) >= 12 && msg[0] == asked[0] && msg[1] == asked[1] && msg[2]&0x80 != 0
}

// parse reads an answer to a question.
func parse(msg []byte, q question) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return nil, err
	}
	// RFC 5452 §9.1: the question must be ours.
	if m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 || m.Question[0].Qtype != q.qtype ||
		m.Question[0].Qclass != dns.ClassINET || !strings.EqualFold(m.Question[0].Name, q.name+".") {
		return nil, errQuestion
	}
	return m, nil
}
