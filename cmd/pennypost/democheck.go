package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"time"

	"pennypost/internal/dkim"
	"pennypost/internal/fakenet"
)

// await waits until everything that can arrive has.
func (d *demo) await(ctx context.Context) error {
	begun := time.Now()
	expected := len(d.want) - 1 // one bounces
	if _, err := d.w.net.Box().Wait(ctx, expected); err != nil {
		d.check(false, "%v", err)
	}
	api := d.w.api(serverHeader, d.w.seed.ServerToken)
	for _, id := range d.ids {
		if err := settled(ctx, api, id); err != nil {
			d.check(false, "%v", err)
			break
		}
	}
	// Nothing may come a second time; whatever would is on its way by now.
	d.arrivals = d.w.net.Box().All()
	d.check(len(d.arrivals) == expected, "%d mails arrived, %d were expected, after %.1f s", len(d.arrivals), expected, time.Since(begun).Seconds())
	return nil
}

// settled waits until nothing more will happen to a message.
func settled(ctx context.Context, api *client, id string) error {
	for {
		w, err := wayOf(ctx, api, id)
		if err != nil {
			return err
		}
		if w.final() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("message %s has not ended: %w", id, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// inspect looks into every mail that arrived.
func (d *demo) inspect(ctx context.Context) error {
	verifier := &dkim.Verifier{Lookup: d.lookup}
	var signed, whole, once, private, secure, clean int
	paths := make(map[string]bool)
	for to, w := range d.want {
		if to == unknownTo {
			continue
		}
		got := d.w.net.Box().ByRecipient(to)
		if len(got) != 1 {
			d.check(false, "%s got %d copies", to, len(got))
			continue
		}
		once++
		m := got[0]
		signed += d.count(d.verify(ctx, verifier, &m), "signature of the copy for %s", to)
		whole += d.count(contents(&m, w), "content of the copy for %s", to)
		private += d.count(notNamed(&m, to, w), "hidden recipient %s", to)
		secure += d.count(orError(strings.HasPrefix(m.TLS, "TLS 1.3"), m.TLS), "TLS of the copy for %s", to)
		clean += d.count(orError(len(m.Faults) == 0, strings.Join(m.Faults, ", ")), "protocol of the copy for %s", to)
		paths[m.From] = true
	}
	all := len(d.want) - 1
	d.check(once == all, "%d of %d recipients got their copy once", once, all)
	d.check(signed == all, "%d of %d carry a valid DKIM signature of %s, its key asked from DNS", signed, all, worldDomain)
	d.check(whole == all, "%d of %d have subject, text and attachments as sent", whole, all)
	d.check(private == all, "%d of %d name no hidden recipient", private, all)
	d.check(secure == all, "%d of %d came over TLS 1.3", secure, all)
	d.check(clean == all, "%d of %d came without a fault in SMTP", clean, all)
	d.check(len(paths) == all, "%d return paths, one for each recipient", len(paths))
	return nil
}

// count is 1 when there is no error; else it shows it.
func (d *demo) count(err error, format string, args ...any) int {
	if err == nil {
		return 1
	}
	d.check(false, "%s: %v", fmt.Sprintf(format, args...), err)
	return 0
}

func orError(ok bool, text string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%q", text)
}

// lookup asks DNS for a key with the standard library's resolver, over real
// packets.
func (d *demo) lookup(ctx context.Context, name string) ([]string, error) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, d.w.net.DNSAddr())
	}}
	return r.LookupTXT(ctx, name)
}

func (d *demo) verify(ctx context.Context, v *dkim.Verifier, m *fakenet.Mail) error {
	results, err := v.Verify(ctx, m.Data)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Status == dkim.Pass && r.Domain == worldDomain {
			return nil
		}
	}
	return fmt.Errorf("results %v", results)
}

// contents compares a mail with what was sent, read by the standard library.
func contents(m *fakenet.Mail, w wanted) error {
	msg, err := mail.ReadMessage(bytes.NewReader(m.Data))
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil || subject != w.subject {
		return fmt.Errorf("subject %q, %w", subject, err)
	}
	text, files, err := parts(msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), "", msg.Body)
	switch {
	case err != nil:
		return err
	case !strings.Contains(text, w.text):
		return fmt.Errorf("text %q", text)
	case !maps.EqualFunc(files, w.files, bytes.Equal):
		return fmt.Errorf("attachments %q", slices.Collect(maps.Keys(files)))
	}
	return nil
}

// parts gives the plain text and the attachments of a part and those in it.
func parts(contentType, encoding, disposition string, body io.Reader) (text string, files map[string][]byte, err error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", nil, fmt.Errorf("content type %q: %w", contentType, err)
	}
	files = make(map[string][]byte)
	if strings.HasPrefix(kind, "multipart/") {
		r := multipart.NewReader(body, params["boundary"])
		for {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return text, files, nil
			}
			if err != nil {
				return "", nil, err
			}
			t, f, err := parts(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p.Header.Get("Content-Disposition"), p)
			if err != nil {
				return "", nil, err
			}
			text += t
			maps.Copy(files, f)
		}
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return "", nil, err
	}
	if how, at, err := mime.ParseMediaType(disposition); err == nil && how == "attachment" {
		files[at["filename"]] = b
		return "", files, nil
	}
	if kind == "text/plain" {
		text = string(b)
	}
	return text, files, nil
}

// notNamed looks for a hidden recipient in the message. X-PM-RCPT names in
// each copy only its own recipient, encoded.
func notNamed(m *fakenet.Mail, to string, w wanted) error {
	if w.bcc && bytes.Contains(bytes.ToLower(m.Data), []byte(to)) {
		return fmt.Errorf("%s is named in the message", to)
	}
	if bytes.Contains(bytes.ToLower(m.Data), []byte("\r\nbcc:")) {
		return errors.New("there is a Bcc field")
	}
	return nil
}

// explain shows each message's way and compares it with what happened.
func (d *demo) explain(ctx context.Context) error {
	api := d.w.api(serverHeader, d.w.seed.ServerToken)
	states := make(map[string]int)
	for n, id := range d.ids {
		w, err := wayOf(ctx, api, id)
		if err != nil {
			return err
		}
		w.print(d.out)
		for i := range w.Recipients {
			r := &w.Recipients[i]
			states[strings.ToLower(r.State)]++
			d.compare(r)
		}
		if n == 0 {
			d.check(w.SignedBy == worldDomain && w.From != "", "the message is signed by %s", w.SignedBy)
		}
	}
	d.check(states["bounced"] == 1 && states["delivered"] == len(d.want)-1 && len(states) == 2,
		"%d delivered, %d bounced, nothing else: %v", states["delivered"], states["bounced"], states)
	return d.search(ctx, api)
}

// compare checks the way of the recipients that act a part.
func (d *demo) compare(r *wayRecipient) {
	var outcomes []string
	for _, a := range r.Attempts {
		outcomes = append(outcomes, strings.ToLower(a.Outcome))
	}
	switch r.Recipient {
	case laterTo:
		d.check(slices.Equal(outcomes, []string{"deferred", "delivered"}) && r.Attempts[0].Code == 451,
			"%s: %s", r.Recipient, strings.Join(outcomes, ", then "))
	case unknownTo:
		d.check(slices.Equal(outcomes, []string{"bounced"}) && r.Attempts[0].Code == 550 && r.State != "",
			"%s: %s, by rule %q", r.Recipient, strings.Join(outcomes, ", "), r.Attempts[len(r.Attempts)-1].Rule)
	default:
		if !slices.Equal(outcomes, []string{"delivered"}) {
			d.check(false, "%s: %v", r.Recipient, outcomes)
		}
	}
}

// search finds the messages as the activity page does.
func (d *demo) search(ctx context.Context, api *client) error {
	var page struct {
		TotalCount int
		Messages   []struct{ MessageID string }
	}
	if err := api.call(ctx, "GET", "/messages/outbound?count=50&offset=0", nil, &page); err != nil {
		return err
	}
	d.check(page.TotalCount == len(d.ids), "GET /messages/outbound has %d messages, %d were accepted", page.TotalCount, len(d.ids))
	var refused sent
	err := api.call(ctx, "POST", "/email", map[string]any{
		"From": demoFrom, "To": unknownTo, "Subject": "Again", "TextBody": "Again",
	}, &refused)
	var e *apiError
	d.check(errors.As(err, &e) && e.ErrorCode == 406, "the address that bounced is not written to again: %v", err)
	return nil
}
