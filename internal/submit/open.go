package submit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"pennypost/internal/shed"
)

// A ClosedError says that no mail is let in for now, for a reason of our own that
// passes. The text is for the client.
type ClosedError struct{ Text string }

// Error gives the text.
func (e *ClosedError) Error() string { return "closed: " + e.Text }

// SMTPReply is 452 4.3.1 (RFC 3463 §3.4, mail system full): the client comes
// again.
func (e *ClosedError) SMTPReply() (code int, enhanced, text string) {
	return 452, "4.3.1", "Error: " + e.Text + "; try again later"
}

// Why a door is closed.
const (
	openDoor int32 = iota
	closedDisk
	closedDelay
)

// sayEvery bounds how often it is logged that the door is closed because of the
// delay, which may come and go with every commit.
const sayEvery = 30 * time.Second

// opening is what a door knows of its being open.
type opening struct {
	why  atomic.Int32
	said atomic.Int64 // Unix ns of the last line about a delay
}

// Open tells whether new mail is let in, before any of it is read: nil, or a
// *ClosedError. What is in goes on.
func (d *Door) Open(ctx context.Context) error { return d.open(ctx, d.conf.MaxWait) }

// stillOpen is Open for a message that is there, all of it: to send it again
// costs more than to wait a little longer.
func (d *Door) stillOpen(ctx context.Context) error { return d.open(ctx, 2*d.conf.MaxWait) }

func (d *Door) open(ctx context.Context, most time.Duration) error {
	if d.conf.Disk.Short() {
		d.turn(ctx, closedDisk)
		d.turned.Add(1, "disk")
		return &ClosedError{Text: "insufficient system storage"}
	}
	wait := d.conf.Store.Wait()
	was := d.opening.why.Load()
	switch {
	case wait > most:
		d.turn(ctx, closedDelay)
		d.turned.Add(1, "delay")
		return &ClosedError{Text: "the service cannot keep up"}
	case was == closedDisk, was == closedDelay && wait <= most/2:
		d.turn(ctx, openDoor)
	}
	return nil
}

// turn notes a change of state.
func (d *Door) turn(ctx context.Context, why int32) {
	was := d.opening.why.Swap(why)
	if was == why {
		return
	}
	switch why {
	case closedDisk:
		free, reserve := d.conf.Disk.Room()
		d.log.WarnContext(ctx, "new mail is refused: the disk is nearly full", "free", free, "reserve", reserve)
	case closedDelay:
		now, said := d.conf.Now().UnixNano(), d.opening.said.Load()
		if now-said >= int64(sayEvery) && d.opening.said.CompareAndSwap(said, now) {
			d.log.WarnContext(ctx, "new mail is refused now and then: the disk is slow", "wait", d.conf.Store.Wait())
		}
	case openDoor:
		if was == closedDisk {
			d.log.InfoContext(ctx, "new mail is taken again: the disk has room")
		}
	}
}

// Closed says why no mail is let in, "" when it is.
func (d *Door) Closed() string {
	if d.conf.Disk.Short() {
		free, reserve := d.conf.Disk.Room()
		return fmt.Sprintf("the data directory has %d MiB left, the last %d MiB are not for new mail", free>>20, reserve>>20)
	}
	if wait := d.conf.Store.Wait(); wait > d.conf.MaxWait {
		return fmt.Sprintf("the disk is slow: what comes now would wait for %v", wait.Round(100*time.Millisecond))
	}
	return ""
}

// workFactor is how much a message takes beside itself while it is made ready
// and stored, in times of its size: its parts decoded, the message rendered,
// what the database keeps of it until the commit.
const workFactor = 4

// workWithin bounds the wait for a share of that memory.
const workWithin = 5 * time.Second

// letIn waits until there is memory to make a message ready that is here, all of
// it. The share is to be closed. The error is a *ClosedError, or that of the
// context.
func (d *Door) letIn(ctx context.Context, size int64) (*share, error) {
	if err := d.stillOpen(ctx); err != nil {
		return nil, err
	}
	room := &share{door: d, size: size}
	if err := room.take(ctx); err != nil {
		return nil, err
	}
	return room, nil
}

// A share is what messages have of the memory for work.
type share struct {
	door  *Door
	size  int64 // of the messages
	taken int64
}

func (s *share) take(ctx context.Context) (err error) {
	s.taken, err = s.door.conf.Work.Take(ctx, workFactor*s.size, workWithin)
	if errors.Is(err, shed.ErrNoMemory) {
		s.door.turned.Add(1, "memory")
		return &ClosedError{Text: "too many messages at once"}
	}
	return err
}

// growFrom is from which growth on a share grows with its messages.
const growFrom = 32 << 10

// grow makes a share fit messages that become larger. All of it is given back and
// taken anew: whoever held one part and waited for another could wait for
// himself.
func (s *share) grow(ctx context.Context, dr *draft, by int64) error {
	if s == nil || by < growFrom {
		return nil
	}
	s.close()
	s.size += by
	dr.grown += by
	return s.take(ctx)
}

// shrink forgets what a draft grew by that is made anew. It counts with the next
// growth.
func (s *share) shrink(dr *draft) {
	if s != nil {
		s.size -= dr.grown
	}
}

func (s *share) close() {
	s.door.conf.Work.Give(s.taken)
	s.taken = 0
}

// size is about what a submission holds.
func (s *Submission) size() int64 {
	n := len(s.TextBody) + len(s.HTMLBody)
	if s.Template != nil {
		n += len(s.Template.Model)
	}
	for i := range s.Attachments {
		n += len(s.Attachments[i].Content)
	}
	return int64(n)
}
