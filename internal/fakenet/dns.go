package fakenet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// dnsServer serves a zone on UDP and TCP at one port.
type dnsServer struct {
	zone *zone
	addr string
	udp  net.PacketConn
	tcp  net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  bool
}

// memoryDNS is the address of the DNS server without sockets.
const memoryDNS = "127.0.0.1:53"

func newDNSServer(z *zone, memory bool) (*dnsServer, error) {
	d := &dnsServer{zone: z, addr: memoryDNS, conns: make(map[net.Conn]bool)}
	if memory {
		return d, nil
	}
	var err error
	// A port that is free for TCP may be taken for UDP: another one then.
	for range 10 {
		var lc net.ListenConfig
		if d.tcp, err = lc.Listen(context.Background(), "tcp4", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		d.addr = d.tcp.Addr().String()
		if d.udp, err = lc.ListenPacket(context.Background(), "udp4", d.addr); err == nil {
			return d, nil
		}
		_ = d.tcp.Close()
	}
	return nil, err
}

// run serves until ctx ends.
func (d *dnsServer) run(ctx context.Context) error {
	if d.udp == nil {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, d.close)
	defer stop()
	var wg sync.WaitGroup
	var packets error
	wg.Go(func() { packets = d.packets(); d.close() })
	streams := d.streams(&wg)
	d.close()
	wg.Wait()
	if ctx.Err() != nil {
		return nil // the end was asked for
	}
	return errors.Join(packets, streams)
}

func (d *dnsServer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done = true; d.udp != nil {
		_ = d.udp.Close()
		_ = d.tcp.Close()
	}
	for c := range d.conns {
		_ = c.Close()
	}
}

func (d *dnsServer) packets() error {
	buf := make([]byte, 4096)
	for {
		n, from, err := d.udp.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("read question: %w", err)
		}
		if out := d.reply(buf[:n], true); out != nil {
			// A client that is gone asks again or not at all.
			_, _ = d.udp.WriteTo(out, from) //nolint:errcheck // as above
		}
	}
}

func (d *dnsServer) streams(wg *sync.WaitGroup) error {
	for {
		c, err := d.tcp.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		wg.Go(func() { d.stream(c) })
	}
}

// stream answers the questions of one connection (RFC 7766).
func (d *dnsServer) stream(c net.Conn) {
	if !d.keep(c) {
		return
	}
	defer d.drop(c)
	var size [2]byte
	for {
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		out := d.reply(q, false)
		if out == nil {
			continue
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(out))) //nolint:gosec // G115: Pack gives at most 64 KiB
		if _, err := c.Write(append(framed, out...)); err != nil {
			return
		}
	}
}

// packet answers the questions of one in-memory connection that carries
// packets.
func (d *dnsServer) packet(c net.Conn) {
	if !d.keep(c) {
		return
	}
	defer d.drop(c)
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if out := d.reply(buf[:n], true); out != nil {
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
}

func (d *dnsServer) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		_ = c.Close()
		return false
	}
	d.conns[c] = true
	return true
}

func (d *dnsServer) drop(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
	_ = c.Close()
}

// reply answers one question in wire form; nil is silence.
func (d *dnsServer) reply(raw []byte, udp bool) []byte {
	q := new(dns.Msg)
	if q.Unpack(raw) != nil || q.Response {
		return nil
	}
	a := d.zone.answer(q, udp)
	if a == nil {
		return nil
	}
	out, err := a.Pack()
	if err != nil {
		return nil
	}
	return out
}

// serve answers on one in-memory connection.
func (d *dnsServer) serve(c net.Conn, network string) {
	if isPacket(network) {
		d.packet(c)
		return
	}
	d.stream(c)
}

func isPacket(network string) bool { return strings.HasPrefix(network, "udp") }

// packetPipe is an in-memory connection on which each Write is a packet and
// each Read gives one. DNS libraries tell it from a stream by its methods.
type packetPipe struct{ net.Conn }

func (p packetPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.RemoteAddr(), err
}

func (p packetPipe) WriteTo(b []byte, _ net.Addr) (int, error) { return p.Write(b) }
