package smtpd

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Why a read ended other than by the network.
var (
	errStopping = errors.New("server is stopping")
	errRevoked  = errors.New("token was revoked")
	errTooSlow  = errors.New("peer is too slow")
)

// The reasons to end a connection from outside, kept in conn.end.
const (
	endNot int32 = iota
	endStop
	endRevoked
)

// wire is the one place that reads from and writes to the socket of a session.
type wire struct {
	nc net.Conn
	// secure: reading from nc may write to it.
	secure bool

	in  *bufio.Reader
	out *bufio.Writer
	lim *Limits
	now func() time.Time

	// until is when the present line or wait must have ended.
	until time.Time
	// data switches to the minimum rate: got octets since from.
	data bool
	got  int
	from time.Time
	// hard ends everything.
	hard time.Time

	// busy: within a transaction, which may go on for the grace time.
	busy  bool
	end   *atomic.Int32
	grace *atomic.Int64 // Unix µs when the grace time ends
}

const (
	inBuffer  = 8192
	outBuffer = 2048
)

// flushBefore reads for the bufio.Reader: our replies go out before we wait.
type flushBefore struct{ w *wire }

func (f flushBefore) Read(p []byte) (int, error) { return f.w.read(p) }

// timedWriter gives the peer Limits.Write to take our replies.
type timedWriter struct{ w *wire }

func (t timedWriter) Write(p []byte) (int, error) {
	if err := t.w.nc.SetWriteDeadline(t.w.now().Add(t.w.lim.Write)); err != nil {
		return 0, err
	}
	return t.w.nc.Write(p)
}

func (w *wire) init() {
	w.in = bufio.NewReaderSize(flushBefore{w}, inBuffer)
	w.out = bufio.NewWriterSize(timedWriter{w}, outBuffer)
}

func (w *wire) read(p []byte) (int, error) {
	if w.out.Buffered() > 0 {
		if err := w.out.Flush(); err != nil {
			return 0, err
		}
	}
	for {
		if err := w.setDeadline(); err != nil {
			return 0, err
		}
		// Whoever ends us sets the flag, then the deadline: looked at in the
		// opposite order, so that it is never missed.
		if err := w.ended(); err != nil {
			return 0, err
		}
		n, err := w.nc.Read(p)
		if n > 0 {
			w.count(n)
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
		if err := w.ended(); err != nil {
			return 0, err
		}
		if !w.now().Before(w.deadline()) {
			return 0, errTooSlow
		}
	}
}

// setDeadline is for reading; within TLS an answer to KeyUpdate (RFC 8446
// §4.6.3) is written meanwhile, which a deadline of the past would spoil.
func (w *wire) setDeadline() error {
	if w.secure {
		return w.nc.SetDeadline(w.deadline())
	}
	return w.nc.SetReadDeadline(w.deadline())
}

func (w *wire) ended() error {
	switch w.end.Load() {
	case endRevoked:
		return errRevoked
	case endStop:
		if !w.busy || w.now().UnixMicro() >= w.grace.Load() {
			return errStopping
		}
	}
	return nil
}

func (w *wire) deadline() time.Time {
	d := w.until
	if w.data {
		d = w.from.Add(w.lim.RateWindow)
	}
	if w.hard.Before(d) {
		d = w.hard
	}
	if w.end.Load() == endStop {
		if g := time.UnixMicro(w.grace.Load()); g.Before(d) {
			d = g
		}
	}
	return d
}

// count tells the minimum rate that octets came.
func (w *wire) count(n int) {
	if !w.data {
		return
	}
	if w.got += n; w.got >= w.lim.RateOctets {
		w.got, w.from = 0, w.now()
	}
}

// beginData starts the minimum rate, endData ends it.
func (w *wire) beginData() { w.data, w.got, w.from = true, 0, w.now() }
func (w *wire) endData()   { w.data = false }

// The limits of lines. RFC 5321 §4.5.3.1.4 wants 512 octets for a command and
// more with extensions; RFC 4954 §4 wants 12288 in AUTH.
const (
	maxCommand  = 1000
	maxAuthLine = 12288 // with its CRLF
	maxDiscard  = 64 << 10
	bareLFWait  = 2 * time.Second
)

// lineFault says what is wrong with a line that was read to its end.
type lineFault int

const (
	lineGood   lineFault = iota
	lineLong             // longer than maxAuthLine
	lineHuge             // longer than maxDiscard: the end was not looked for
	lineBareLF           // LF without CR within
)

// readLine gives a line without its CRLF. It keeps at most maxAuthLine octets
// and is valid until the next read. A bare LF ends nothing; after one the CRLF
// has to come soon, so that a client that never sends any gets an answer.
func (w *wire) readLine() (line []byte, fault lineFault, err error) {
	chunk, err := w.in.ReadSlice('\n')
	if err == nil && len(chunk) >= 2 && chunk[len(chunk)-2] == '\r' {
		return chunk[:len(chunk)-2], lineGood, nil
	}
	var keep []byte
	var last byte
	total := 0
	for {
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if fault == lineBareLF && errors.Is(err, errTooSlow) {
				return keep, lineBareLF, err
			}
			return nil, fault, err
		}
		total += len(chunk)
		if total > maxDiscard {
			return keep, lineHuge, nil
		}
		keep = append(keep, chunk[:min(len(chunk), maxAuthLine-len(keep))]...)
		if err == nil {
			if len(chunk) >= 2 {
				last = chunk[len(chunk)-2]
			}
			if last == '\r' {
				break
			}
			fault = lineBareLF
			if soon := w.now().Add(bareLFWait); soon.Before(w.until) {
				w.until = soon
			}
		}
		last = chunk[len(chunk)-1]
		chunk, err = w.in.ReadSlice('\n')
	}
	if fault == lineBareLF {
		return keep, fault, nil
	}
	if total > maxAuthLine {
		return keep, lineLong, nil
	}
	return keep[:total-2], lineGood, nil
}

// readData reads up to CRLF.CRLF (RFC 5321 §4.1.1.4) and gives what stood
// before it to b, without the dots of RFC 5321 §4.5.2. The line of DATA itself
// ended in CRLF, so a first line of one dot is the end. Once b is full and as
// much again went by, it gives errTooMuch.
func (w *wire) readData(b *buffer) error {
	w.beginData()
	defer w.endData()
	begin := true // after CRLF
	var last byte
	for {
		line, err := w.in.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !full {
			return err
		}
		if begin && line[0] == '.' {
			if len(line) == 3 && line[1] == '\r' && !full {
				return nil
			}
			b.add(line[1:])
		} else {
			b.add(line)
		}
		if b.tooMuch() {
			return errTooMuch
		}
		n := len(line)
		if n >= 2 {
			last = line[n-2]
		}
		begin = !full && last == '\r'
		last = line[n-1]
	}
}

// readChunk reads exactly n octets (RFC 3030 §2) and gives them to b.
func (w *wire) readChunk(n int64, b *buffer) error {
	w.beginData()
	defer w.endData()
	for n > 0 {
		if _, err := w.in.Peek(1); err != nil {
			return err
		}
		p, err := w.in.Peek(int(min(n, int64(w.in.Buffered()))))
		if err != nil {
			return err
		}
		b.add(p)
		n -= int64(len(p))
		if _, err := w.in.Discard(len(p)); err != nil {
			return err
		}
	}
	return nil
}
