//go:build !race

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pennypost/internal/fakenet"
)

// TestKillAtNamedPoints kills the program when a mail server, or a submitter, is
// just at a point of docs/lifecycle.md, under a little load.
func TestKillAtNamedPoints(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.pad = padding(4 << 10)
	stop := w.load()
	defer stop()
	sink := func(stage fakenet.Stage, later time.Duration) func() {
		return func() { w.killAtSink(stage, later) }
	}
	points := []struct {
		row  string // of docs/lifecycle.md
		name string
		die  func()
	}{
		{"1", "a submitter got its answer to RCPT", func() { w.killAtSubmitter(beforeData) }},
		{"2", "a submitter is in the middle of DATA", func() { w.killAtSubmitter(inData) }},
		{"4-5", "a submitter sent the dot and read nothing", func() { w.killAtSubmitter(afterDot) }},
		{"6", "a submitter read 250", func() { w.killAtSubmitter(afterReply) }},
		{"4-5", "an HTTP request is written and nothing read", w.killAtRequest},
		{"8", "the sink is connected to", sink(fakenet.Connect, 0)},
		{"8", "the sink sees RCPT", sink(fakenet.RcptTo, 0)},
		{"8", "the sink sees DATA", sink(fakenet.Data, 0)},
		{"9", "the sink has said 354", sink(fakenet.Data, 500*time.Microsecond)},
		{"10", "the sink has the dot and answers nothing", sink(fakenet.Dot, 0)},
		{"11", "the sink has just answered the dot", sink(fakenet.Dot, 200*time.Microsecond)},
		{"11-12", "the sink answered the dot 5 ms ago", sink(fakenet.Dot, 5*time.Millisecond)},
		{"13", "the sink has just deferred", w.killAtDeferral},
	}
	for round := range rounds(1, 16) {
		for _, p := range points {
			if !w.accepted(10, 20*time.Second) {
				t.Fatalf("round %d, before: %s", round, p.name)
			}
			cuts := len(w.cuts)
			p.die()
			if len(w.cuts) != cuts+1 {
				t.Fatalf("row %s, %s: not killed", p.row, p.name)
			}
			w.reboot()
		}
	}
	stop()
	w.acts(func(fakenet.Moment) fakenet.Act { return fakenet.Act{} })
	w.reconcile(nil)
}

// killAtSink kills the program when a mail server is at a stage, before it
// answers, or some time after that.
func (w *world) killAtSink(stage fakenet.Stage, later time.Duration) {
	w.t.Helper()
	hit, dead := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	w.acts(func(m fakenet.Moment) fakenet.Act {
		if m.Stage != stage || !once.CompareAndSwap(false, true) {
			return slowDots(m)
		}
		if later > 0 {
			time.AfterFunc(later, func() { close(hit) })
			return fakenet.Act{}
		}
		close(hit)
		<-dead // it answers nobody
		return fakenet.Act{}
	})
	defer close(dead)
	w.killWhen(hit)
}

// killAtDeferral kills the program right after a mail server deferred.
func (w *world) killAtDeferral() {
	w.t.Helper()
	hit := make(chan struct{})
	var once atomic.Bool
	w.acts(func(m fakenet.Moment) fakenet.Act {
		if m.Stage != fakenet.RcptTo || m.Before > 0 || rand.IntN(2) == 0 {
			return slowDots(m)
		}
		if once.CompareAndSwap(false, true) {
			time.AfterFunc(time.Duration(rand.IntN(10_000))*time.Microsecond, func() { close(hit) })
		}
		return fakenet.Act{Reply: "451 4.3.0 Busy, try again in 1 seconds"}
	})
	w.killWhen(hit)
}

func (w *world) killWhen(hit <-chan struct{}) {
	w.t.Helper()
	select {
	case <-hit:
		w.kill()
	case <-time.After(20 * time.Second):
		w.t.Error("the point was not reached")
	}
}

// The points of a submission.
type point int

const (
	beforeData point = iota
	inData
	afterDot
	afterReply
)

// killAtSubmitter submits one message up to a point, and kills the program
// there.
func (w *world) killAtSubmitter(at point) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, conn, err := w.dial(ctx)
	if conn != nil {
		defer func() { _ = conn.Close() }()
	}
	to := w.fresh()
	if err == nil {
		err = c.Mail(sender)
	}
	if err == nil {
		err = c.Rcpt(to)
	}
	if err != nil {
		w.t.Errorf("submit: %v", err)
		return
	}
	if at == beforeData {
		w.kill()
		return
	}
	if err := c.Text.PrintfLine("DATA"); err != nil {
		w.t.Error(err)
		return
	}
	if _, _, err := c.Text.ReadResponse(354); err != nil {
		w.t.Error(err)
		return
	}
	text := w.mail(to)
	if at == inData {
		text = text[:len(text)/2]
	} else {
		text += ".\r\n"
	}
	if _, err = c.Text.W.WriteString(text); err == nil {
		err = c.Text.W.Flush()
	}
	if err != nil {
		w.t.Error(err)
		return
	}
	switch at {
	case afterReply:
		if _, _, err := c.Text.ReadResponse(250); err != nil {
			w.t.Error(err)
			return
		}
		w.ack(to)
	case beforeData, inData, afterDot: // commits take some milliseconds
		time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond)
	}
	w.kill()
}

// killAtRequest writes a request and kills the program while it is carried out.
func (w *world) killAtRequest() {
	w.t.Helper()
	to := w.fresh()
	body, err := json.Marshal(map[string]string{"From": sender, "To": to, "Subject": to, "TextBody": w.text(to)})
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", w.web)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "POST /email HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
		strings.Split(w.web, ":")[0], serverHeader, w.token, len(body), body); err != nil {
		w.t.Error(err)
		return
	}
	time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond)
	w.kill()
}
