package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const demoFrom = "Shop <orders@" + worldDomain + ">"

// queuedAs is the reply to a message (contract/smtp.md; the id is what the API
// knows it by).
var queuedAs = regexp.MustCompile(`^2\.0\.0 Ok: queued as ([0-9a-f-]{36})$`)

// Recipients that act a part.
const (
	laterTo   = "defer+451@sim.test"
	unknownTo = "bounce+550@sim.test"
)

// pdf stands for an attachment: octets of every value.
func pdf() []byte {
	b := []byte("%PDF-1.4\n")
	for i := range 3000 {
		b = append(b, byte(i*7))
	}
	return b
}

func (d *demo) firstStart(context.Context) error {
	for _, name := range []string{"master.key", firstRunFile} {
		st, err := os.Stat(filepath.Join(d.w.svc.conf.dataDir, name))
		if err != nil {
			return err
		}
		d.check(st.Mode().Perm() == 0o600, "%s made, mode %04o", name, st.Mode().Perm())
	}
	resp, err := http.Get("http://" + d.w.svc.observation[0].Addr().String() + "/readyz") //nolint:noctx // our own listener
	if err != nil {
		return err
	}
	d.check(resp.StatusCode == http.StatusOK, "ready: /readyz answers %d", resp.StatusCode)
	return resp.Body.Close()
}

// accepted notes a message that was taken.
func (d *demo) accepted(id string, to string, w wanted) {
	d.ids = append(d.ids, id)
	d.want[to] = w
}

func (d *demo) sendSMTP(ctx context.Context) error {
	conf, err := d.w.clientTLS()
	if err != nil {
		return err
	}
	s, err := dialSMTP(ctx, d.w.svc.smtp[0].Addr().String(), nil)
	if err != nil {
		return err
	}
	if err := s.startTLS(ctx, conf); err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	d.check(true, "STARTTLS, the certificate is for %s", worldHost)
	if err := s.authPlain(d.w.seed.SMTPUser, d.w.seed.SMTPSecret); err != nil {
		return fmt.Errorf("AUTH PLAIN: %w", err)
	}
	d.check(true, "AUTH PLAIN, user name = server ID %s", d.w.seed.SMTPUser)
	plain := func(to, subject string) []byte {
		return fmt.Appendf(nil, "From: %s\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\n\r\nHello over SMTP.\r\n.A line that begins with a dot.\r\n",
			demoFrom, to, subject, time.Now().UTC().Format(time.RFC1123Z))
	}
	for _, to := range []string{"alice@one.test", laterTo, unknownTo} {
		subject := "By SMTP to " + to
		if err := d.submit(s, []string{to}, plain(to, subject), "STARTTLS", wanted{subject: subject, text: ".A line that begins with a dot."}); err != nil {
			return err
		}
	}
	// Two recipients of which one is hidden, and an attachment.
	hidden := []string{"bob@two.test", "hidden@three.test"}
	w := wanted{subject: "Invoice größer", text: "Please find", files: map[string][]byte{"invoice.pdf": pdf()}}
	if err := d.submit(s, hidden, mixed(hidden[0]), "STARTTLS", w); err != nil {
		return err
	}
	if err := s.quit(); err != nil {
		return err
	}
	return d.submitTLS(ctx, plain)
}

// submitTLS sends on the port with TLS from the start.
func (d *demo) submitTLS(ctx context.Context, plain func(to, subject string) []byte) error {
	conf, err := d.w.clientTLS()
	if err != nil {
		return err
	}
	s, err := dialSMTP(ctx, d.w.svc.smtp[1].Addr().String(), conf)
	if err != nil {
		return err
	}
	if err := s.authLogin(d.w.seed.SMTPUser, d.w.seed.SMTPSecret); err != nil {
		return fmt.Errorf("AUTH LOGIN: %w", err)
	}
	d.check(true, "TLS from the start, AUTH LOGIN")
	const to = "carol@four.test"
	if err := d.submit(s, []string{to}, plain(to, "By SMTP over TLS"), "TLS", wanted{subject: "By SMTP over TLS", text: "Hello over SMTP."}); err != nil {
		return err
	}
	return s.quit()
}

func (d *demo) submit(s *submitter, to []string, msg []byte, how string, w wanted) error {
	reply, err := s.send("orders@"+worldDomain, to, msg)
	if err != nil {
		return fmt.Errorf("send to %s: %w", to, err)
	}
	id := queuedAs.FindStringSubmatch(reply)
	d.check(id != nil, "%s, to %s: 250 %s", how, strings.Join(to, " and "), reply)
	if id == nil {
		return nil
	}
	d.ids = append(d.ids, id[1])
	for n, t := range to {
		one := w
		one.bcc = n > 0
		d.want[t] = one
	}
	return nil
}

// mixed is a message with a text outside ASCII and an attachment, as a mail
// library writes it.
func mixed(to string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: =?utf-8?q?Invoice_gr=C3=B6=C3=9Fer?=\r\nDate: %s\r\n", demoFrom, to, time.Now().UTC().Format(time.RFC1123Z))
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=cut\r\n\r\n")
	b.WriteString("--cut\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nPlease find your invoice: 12 €.\r\n")
	b.WriteString("--cut\r\nContent-Type: application/pdf; name=invoice.pdf\r\nContent-Disposition: attachment; filename=invoice.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	enc := base64.StdEncoding.EncodeToString(pdf())
	for len(enc) > 76 {
		b.WriteString(enc[:76] + "\r\n")
		enc = enc[76:]
	}
	b.WriteString(enc + "\r\n--cut--\r\n")
	return b.Bytes()
}

// sent is the answer to one message (contract/sending.md).
type sent struct {
	ErrorCode int
	Message   string
	MessageID string
	To        string
}

func (d *demo) sendHTTP(ctx context.Context) error {
	api := d.w.api(serverHeader, d.w.seed.ServerToken)
	var one sent
	err := api.call(ctx, "POST", "/email", map[string]any{
		"From": demoFrom, "To": "Dora <dora@five.test>", "Cc": "emil@six.test", "Bcc": "secret@seven.test",
		"Subject": "Your order 1234", "Tag": "order", "Metadata": map[string]string{"order": "1234"},
		"TextBody": "Thank you for your order — it is on its way.", "HtmlBody": "<p>Thank you for your <b>order</b>.</p>",
		"Headers":     []map[string]string{{"Name": "X-Order", "Value": "1234"}},
		"Attachments": []map[string]string{{"Name": "order.pdf", "ContentType": "application/pdf", "Content": base64.StdEncoding.EncodeToString(pdf())}},
	}, &one)
	if err != nil {
		return err
	}
	d.check(one.ErrorCode == 0 && one.MessageID != "", "POST /email with Cc, Bcc and attachment: %s, %s", one.Message, one.MessageID)
	w := wanted{subject: "Your order 1234", text: "it is on its way", files: map[string][]byte{"order.pdf": pdf()}}
	d.accepted(one.MessageID, "dora@five.test", w)
	d.want["emil@six.test"] = w
	w.bcc = true
	d.want["secret@seven.test"] = w
	return d.sendBatch(ctx, api)
}

// batchSize is how many messages the batch has; one of them is refused.
const batchSize = 20

func (d *demo) sendBatch(ctx context.Context, api *client) error {
	var batch []map[string]any
	for n := range batchSize {
		m := map[string]any{
			"From": demoFrom, "To": fmt.Sprintf("u%d@d%d.test", n, n%7), "Subject": fmt.Sprintf("Number %d", n),
			"TextBody": fmt.Sprintf("This is message %d of a batch.", n),
		}
		if n == batchSize/2 {
			m["From"] = "nobody@elsewhere.test"
		}
		batch = append(batch, m)
	}
	var results []sent
	if err := api.call(ctx, "POST", "/email/batch", batch, &results); err != nil {
		return err
	}
	taken, refused := 0, ""
	for n, r := range results {
		if r.ErrorCode != 0 {
			refused = fmt.Sprintf("number %d: %d %s", n, r.ErrorCode, r.Message)
			continue
		}
		taken++
		to := fmt.Sprintf("u%d@d%d.test", n, n%7)
		d.accepted(r.MessageID, to, wanted{subject: fmt.Sprintf("Number %d", n), text: fmt.Sprintf("This is message %d of a batch.", n)})
	}
	d.check(len(results) == batchSize && taken == batchSize-1 && strings.HasPrefix(refused, fmt.Sprintf("number %d: 400 ", batchSize/2)),
		"POST /email/batch: %d of %d taken; %s", taken, batchSize, refused)
	return nil
}

// refusals does what goes wrong on the first day.
func (d *demo) refusals(ctx context.Context) error {
	tests := []struct {
		what, want, also string
		do               func(s *submitter) error
	}{
		{"wrong password", "535 5.7.8 ", "", func(s *submitter) error { return s.authPlain(d.w.seed.SMTPUser, "wrong") }},
		{"API token as password", "535 5.7.8 ", "API token", func(s *submitter) error {
			return s.authPlain(d.w.seed.ServerToken, d.w.seed.ServerToken)
		}},
		{"sender that is not verified", "550 5.7.1 ", "", func(s *submitter) error {
			if err := s.authPlain(d.w.seed.SMTPUser, d.w.seed.SMTPSecret); err != nil {
				return err
			}
			_, err := s.send("orders@elsewhere.test", []string{"alice@one.test"}, []byte("From: orders@elsewhere.test\r\nTo: alice@one.test\r\nSubject: x\r\n\r\nx\r\n"))
			return err
		}},
		{"mail without a login", "5", "", func(s *submitter) error {
			_, err := s.send("a@elsewhere.test", []string{"alice@one.test"}, []byte("Subject: x\r\n\r\nx\r\n"))
			return err
		}},
	}
	conf, err := d.w.clientTLS()
	if err != nil {
		return err
	}
	for _, t := range tests {
		s, err := dialSMTP(ctx, d.w.svc.smtp[1].Addr().String(), conf)
		if err != nil {
			return err
		}
		err = t.do(s)
		reply := "it was accepted"
		if err != nil {
			reply = smtpReply(err)
		}
		d.check(err != nil && strings.HasPrefix(reply, t.want) && strings.Contains(reply, t.also), "%s: %s", t.what, reply)
		_ = s.text.Close()
	}
	return d.refusedLogin(ctx)
}

// refusedLogin tries to log in before TLS, and over HTTP with a wrong token.
func (d *demo) refusedLogin(ctx context.Context) error {
	s, err := dialSMTP(ctx, d.w.svc.smtp[0].Addr().String(), nil)
	if err != nil {
		return err
	}
	err = s.authPlain(d.w.seed.SMTPUser, d.w.seed.SMTPSecret)
	_ = s.text.Close()
	d.check(err != nil && strings.HasPrefix(smtpReply(err), "538 5.7.11 "), "login without TLS: %s", smtpReply(err))
	var refusal *apiError
	err = d.w.api(serverHeader, "4c9fe7f0-0000-4000-8000-000000000000").call(ctx, "POST", "/email", map[string]any{}, nil)
	ok := errors.As(err, &refusal)
	d.check(ok && refusal.Status == http.StatusUnauthorized && refusal.ErrorCode == 10, "HTTP with a wrong token: %v", err)
	return nil
}
