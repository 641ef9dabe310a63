package smtpc

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// Sizes of a connection's memory. A reply seldom has 2 KiB; of the message,
// chunk octets are written at once, and keptOut stay allocated in between.
const (
	readBuffer = 2 << 10
	chunk      = 64 << 10
	keptOut    = 16 << 10

	defaultConversation = 16 << 10
)

// Client is one connection to a mail server. Its methods are for one
// goroutine at a time.
type Client struct {
	socket net.Conn
	nc     net.Conn // the socket, or TLS over it
	host   string
	cfg    Config

	in  *bufio.Reader
	out []byte
	raw rawReply
	ext extensions

	begun  time.Time // of the phase at hand
	end    time.Time // when the session cap is reached
	log    transcript
	phases []PhaseTime
	tls    string
	note   string

	messages int  // begun on this connection
	greeted  bool // Hello went well
	broken   bool // nothing can be said any more
	dirty    bool // a transaction may be open: RSET before the next one
	reused   bool // the message at hand is not the first
}

// PhaseTime is how long a phase took.
type PhaseTime struct {
	Phase string
	Took  time.Duration
}

// Info is what is known about a connection and the latest message on it.
type Info struct {
	Host string // name of the mail server as the caller gave it
	IP   string // its address
	// TLS is version and cipher suite, "" in the clear.
	TLS string
	// TLSNote says whether the certificate verified, or why there is no TLS.
	TLSNote    string
	Extensions []string // as offered in the latest reply to EHLO
	// Phases and Conversation are those of the latest message, with all that
	// went before when it was the connection's first.
	Phases       []PhaseTime
	Conversation string
	// Reused: the latest message was not the connection's first.
	Reused bool
}

// New makes a client of a connection to a mail server, whose name is checked
// against its certificate. Nothing is read or written before [Client.Hello].
func New(nc net.Conn, host string, c Config) *Client {
	c.Now = c.clock()
	if c.MaxConversation <= 0 {
		c.MaxConversation = defaultConversation
	}
	c.Timeouts = c.Timeouts.withDefaults()
	return &Client{
		socket: nc, nc: nc, host: host, cfg: c,
		in:  bufio.NewReaderSize(nc, readBuffer),
		log: transcript{max: c.MaxConversation},
	}
}

// Info gives what is known by now.
func (c *Client) Info() Info {
	return Info{
		Host: c.host, IP: ip(c.socket), TLS: c.tls, TLSNote: c.note,
		Extensions: c.ext.lines, Phases: slices.Clone(c.phases), Conversation: string(c.log.buf), Reused: c.reused,
	}
}

func ip(nc net.Conn) string {
	a, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return "" // an in-memory connection
	}
	return a.Addr().Unmap().String()
}

// Reusable tells whether another message may be sent on the connection.
func (c *Client) Reusable() bool {
	return c.greeted && !c.broken && (c.ext.mailMax == 0 || c.messages < c.ext.mailMax)
}

// Quit takes leave and closes the connection. RFC 5321 §4.1.1.10: QUIT comes
// first, and we wait for the reply, though not for long. Nothing depends on
// the error.
func (c *Client) Quit(ctx context.Context) error {
	if c.broken {
		return nil
	}
	stop := c.start(ctx, true)
	c.out = append(c.out[:0], "QUIT\r\n"...)
	err := c.command(ctx, PhaseQuit, c.cfg.Timeouts.Cleanup)
	if err == nil {
		err = c.answer(ctx, PhaseQuit, c.cfg.Timeouts.Cleanup)
	}
	stop()
	if !c.broken {
		c.broken = true
		err = errors.Join(err, c.nc.Close())
	}
	return err
}

// Close ends the connection without a word. It may be called again.
func (c *Client) Close() error {
	if c.broken {
		return nil
	}
	c.broken = true
	return c.socket.Close()
}

// abandon closes a connection that is of no use any more.
func (c *Client) abandon() {
	_ = c.Close() // what failed before is what counts
}

// start lets the end of a context end what follows, until the function that
// it gives is called. The session cap begins anew, except for the
// connection's first message: the greeting counts towards that.
func (c *Client) start(ctx context.Context, anew bool) (stop func()) {
	if anew {
		c.end = time.Now().Add(c.cfg.Timeouts.Session) //nolint:forbidigo // deadlines are compared with the real clock
	}
	c.begun = c.cfg.Now()
	if ctx.Done() == nil {
		return func() {}
	}
	cancel := context.AfterFunc(ctx, func() {
		_ = c.socket.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection has ended anyway
	})
	return func() {
		if !cancel() {
			// The deadline may still be on its way to the socket.
			c.abandon()
		}
	}
}

// allow gives the phase at hand its time.
func (c *Client) allow(ctx context.Context, d time.Duration) error {
	t := time.Now().Add(d) //nolint:forbidigo // deadlines are compared with the real clock
	if t.After(c.end) {
		t = c.end
	}
	_ = c.socket.SetDeadline(t) //nolint:errcheck // what is closed fails at the next read, after what is buffered
	// Looked at after the deadline was set: a context that ends later sets
	// its own, past one.
	return context.Cause(ctx)
}

// write sends what was gathered.
func (c *Client) write(ctx context.Context, d time.Duration) error {
	if err := c.allow(ctx, d); err != nil {
		return err
	}
	_, err := c.nc.Write(c.out)
	return err
}

// command sends the group of commands that was gathered.
func (c *Client) command(ctx context.Context, phase string, d time.Duration) error {
	c.log.commands(c.out)
	return c.failed(ctx, phase, c.write(ctx, d))
}

// answer reads a reply, whatever it is.
func (c *Client) answer(ctx context.Context, phase string, d time.Duration) error {
	err := c.allow(ctx, d)
	if err == nil {
		err = c.raw.read(c.in)
	}
	if err == nil {
		c.log.reply(&c.raw)
	}
	c.took(phase)
	return c.failed(ctx, phase, err)
}

// failed wraps an error with its phase. Nothing more can be said then.
func (c *Client) failed(ctx context.Context, phase string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = cause
	}
	c.abandon()
	return &Error{Phase: phase, Err: err}
}

// took ends a phase.
func (c *Client) took(phase string) {
	now := c.cfg.Now()
	c.phases = append(c.phases, PhaseTime{phase, now.Sub(c.begun)})
	c.begun = now
}

func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// cutOff tells whether the peer, or something on the way, ended the connection.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}
