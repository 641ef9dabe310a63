package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"os"
	"strings"
	"sync"
	"time"

	"pennypost/internal/fakenet"
)

// devCmd runs a world until it is interrupted.
type devCmd struct {
	Dir   string `name:"dir" placeholder:"DIRECTORY" help:"Keep the data here. Default: a directory that goes when the command ends."`
	Free  bool   `name:"free-ports" help:"Take any free ports in place of the usual ones."`
	Level string `name:"log-level" default:"warn" enum:"debug,info,warn,error" help:"What the service logs: debug, info, warn or error."`
}

// Help is the text above the flags.
func (devCmd) Help() string {
	return `Example:
  pennypost dev

Starts the service with a server, a verified domain and an SMTP token, together
with DNS and mail servers that only this machine can reach: no mail leaves it.
Recipients that act a part, in any domain below .test: bounce+550@sim.test,
defer+451@sim.test, greylist@sim.test, slow@sim.test, drop+dot@sim.test.`
}

// Run is called by kong.
func (c *devCmd) Run(ctx context.Context, a *app) error {
	dir := c.Dir
	if dir == "" {
		temp, err := os.MkdirTemp("", "pennypost-dev-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(temp) }()
		dir = temp
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return err
	}
	show := &shower{out: a.stdout, arrived: make(chan fakenet.Mail, 1000), refused: make(chan fakenet.Refusal, 1000)}
	at := worldAddrs{
		smtp: "127.0.0.1:2525,127.0.0.1:2587", smtps: "127.0.0.1:2465", http: "127.0.0.1:8080",
		operator: "127.0.0.1:9091", metrics: "127.0.0.1:9090",
	}
	if c.Free {
		at = freePorts()
	}
	w, err := newWorld(ctx, dir, at, fakenet.Config{Arrived: show.mail, Refused: show.refusal}, newLog(a.stderr, level, false))
	if err != nil {
		return err
	}
	err = w.run(ctx, func(ctx context.Context) error {
		w.introduce(a)
		show.api = w.api(serverHeader, w.seed.ServerToken)
		show.run(ctx)
		return nil
	})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// introduce prints what a person needs to try it.
func (w *world) introduce(a *app) {
	addr := func(l net.Listener) string { return l.Addr().String() }
	submission, web := addr(w.svc.smtp[len(w.svc.smtp)-2]), addr(w.svc.http[0])
	var starttls []string
	for _, l := range w.svc.smtp {
		if !l.ImplicitTLS {
			starttls = append(starttls, addr(l))
		}
	}
	_, _ = fmt.Fprintf(a.stdout, `Pennypost is up, with a pretend internet. Nothing leaves this machine. Ctrl-C ends it.

  API       http://%[1]s
              server token   %[2]s
              account token  %[3]s
  SMTP      %[4]s (STARTTLS), %[5]s (TLS from the start)
              user           %[6]s
              password       %[7]s
  Operator  http://%[8]s
              token          %[9]s
  Metrics   http://%[10]s/metrics, /healthz, /readyz
  DNS       %[11]s; mail servers on port %[12]d

Send by SMTP:
  swaks --server %[13]s --tls --auth PLAIN --auth-user %[6]s --auth-password %[7]s \
    --from orders@%[14]s --to alice@example.test --header "Subject: Hello by SMTP"

Send by HTTP:
  curl http://%[1]s/email -H "X-Postmark-Server-Token: %[2]s" \
    -H "Accept: application/json" -H "Content-Type: application/json" \
    -d '{"From":"orders@%[14]s","To":"alice@example.test","Subject":"Hello by HTTP","TextBody":"Hello!"}'

Try also bounce+550@sim.test, defer+451@sim.test, slow@sim.test. What arrives is shown here.

`, web, w.seed.ServerToken, w.seed.AccountToken, strings.Join(starttls, ", "), addr(w.svc.smtp[len(w.svc.smtp)-1]),
		w.seed.SMTPUser, w.seed.SMTPSecret, addr(w.svc.operator[0]), w.seed.OperatorToken, addr(w.svc.observation[0]),
		w.net.DNSAddr(), w.net.MXPort(), submission, worldDomain)
}

// shower prints what happens in the pretend internet.
type shower struct {
	out     io.Writer
	api     *client
	arrived chan fakenet.Mail
	refused chan fakenet.Refusal
	mu      sync.Mutex
}

// mail and refusal are called by mail servers, which must not wait for a slow
// terminal: what does not fit is not shown.
func (s *shower) mail(m fakenet.Mail) {
	select {
	case s.arrived <- m:
	default:
	}
}

func (s *shower) refusal(r fakenet.Refusal) {
	select {
	case s.refused <- r:
	default:
	}
}

func (s *shower) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-s.arrived:
			s.showMail(ctx, &m)
		case r := <-s.refused:
			s.print("%s  %s refused at %s: %s (%s)\n", r.At.UTC().Format("15:04:05.000"), r.To, r.Stage, orNone(r.Reply), r.Host)
		}
	}
}

func orNone(reply string) string {
	if reply == "" {
		return "no answer"
	}
	return reply
}

func (s *shower) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.out, format, args...)
}

// recordedWithin is how long the service may take to note what it was told.
const recordedWithin = 2 * time.Second

// showMail prints the way of the message that arrived, once the service has
// recorded it, or else what the mail server saw.
func (s *shower) showMail(ctx context.Context, m *fakenet.Mail) {
	id := messageIDOf(m.Data)
	for end := time.Now().Add(recordedWithin); id != "" && time.Now().Before(end); {
		w, err := wayOf(ctx, s.api, id)
		if err != nil {
			break
		}
		if one := w.only(m.To); one != nil {
			var b bytes.Buffer
			one.print(&b)
			s.print("%s", b.Bytes())
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.print("%s  arrived at %s: to %s, from <%s>, %d octets, TLS %q\n",
		m.At.UTC().Format("15:04:05.000"), m.Host, strings.Join(m.To, ", "), m.From, len(m.Data), m.TLS)
}

// only gives the way of some recipients once it has ended for them, else nil.
func (w *way) only(to []string) *way {
	one := *w
	one.Recipients = nil
	for _, r := range w.Recipients {
		for _, t := range to {
			if strings.EqualFold(r.Recipient, t) && r.final() {
				one.Recipients = append(one.Recipients, r)
			}
		}
	}
	if len(one.Recipients) == 0 {
		return nil
	}
	return &one
}

// messageIDOf finds the id that the service gave a message.
func messageIDOf(raw []byte) string {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return ""
	}
	return m.Header.Get("X-PM-Message-Id")
}
