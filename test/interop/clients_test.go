package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"pennypost/internal/fakenet"
	"pennypost/internal/mx"
)

// TestClients sends with the clients that customers use. Each mail must arrive
// once, signed so that a verifier of another project accepts it.
func TestClients(t *testing.T) {
	n := pretendNet(t)
	in := start(t, n, n.DNSAddr())
	swaks, msmtp, curl, python := program(t, "swaks"), program(t, "msmtp"), program(t, "curl"), program(t, "python3")
	split := func(addr string) (host, port string) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return host, port
	}
	dir := t.TempDir()
	mail := func(name, to string) string {
		file := filepath.Join(dir, name+".eml")
		text := "From: Shop <" + sender + ">\r\nTo: <" + to + ">\r\nSubject: from " + name + "\r\n\r\nHello from " + name + "\r\n.\r\n..two\r\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}

	clients := map[string]func(t *testing.T, to string){}
	for port, addr := range map[string]string{"587": in.submission, "25": in.port25} {
		clients["swaks-"+port] = func(t *testing.T, to string) {
			t.Helper()
			mustRun(t, swaks, "--server", addr, "--tls", "--auth", "PLAIN", "--auth-user", in.user, "--auth-password", in.secret,
				"--from", sender, "--to", to, "--header", "Subject: from swaks-"+port)
		}
		clients["swaks-login-"+port] = func(t *testing.T, to string) {
			t.Helper()
			mustRun(t, swaks, "--server", addr, "--tls", "--auth", "LOGIN", "--auth-user", in.user, "--auth-password", in.secret,
				"--from", sender, "--to", to, "--header", "Subject: from swaks-login-"+port)
		}
		clients["curl-"+port] = func(t *testing.T, to string) {
			t.Helper()
			mustRun(t, curl, "-sS", "--fail", "--ssl-reqd", "--insecure", "--url", "smtp://"+addr, "--user", in.user+":"+in.secret,
				"--mail-from", sender, "--mail-rcpt", to, "--upload-file", mail("curl-"+port, to))
		}
		clients["smtplib-"+port] = func(t *testing.T, to string) {
			t.Helper()
			host, p := split(addr)
			mustRun(t, python, "-c", pythonSend, host, p, "starttls", in.user, in.secret, sender, to, "from smtplib-"+port)
		}
		clients["msmtp-"+port] = func(t *testing.T, to string) {
			t.Helper()
			host, p := split(addr)
			out, err := run(t, nil, "sh", "-c", `exec "$0" --file=/dev/null --host="$1" --port="$2" --auth=plain --user="$3" --passwordeval="echo $4" --tls=on --tls-starttls=on --tls-certcheck=off --from="$5" "$6" <"$7"`,
				msmtp, host, p, in.user, in.secret, sender, to, mail("msmtp-"+port, to))
			if err != nil {
				t.Fatalf("msmtp: %v\n%s", err, out)
			}
		}
	}
	clients["swaks-465"] = func(t *testing.T, to string) {
		t.Helper()
		mustRun(t, swaks, "--server", in.smtps, "--tls-on-connect", "--auth", "PLAIN", "--auth-user", in.user, "--auth-password", in.secret,
			"--from", sender, "--to", to, "--header", "Subject: from swaks-465")
	}
	clients["curl-465"] = func(t *testing.T, to string) {
		t.Helper()
		mustRun(t, curl, "-sS", "--fail", "--insecure", "--url", "smtps://"+in.smtps, "--user", in.user+":"+in.secret,
			"--mail-from", sender, "--mail-rcpt", to, "--upload-file", mail("curl-465", to))
	}
	clients["smtplib-465"] = func(t *testing.T, to string) {
		t.Helper()
		host, p := split(in.smtps)
		mustRun(t, python, "-c", pythonSend, host, p, "tls", in.user, in.secret, sender, to, "from smtplib-465")
	}
	clients["msmtp-465"] = func(t *testing.T, to string) {
		t.Helper()
		host, p := split(in.smtps)
		out, err := run(t, nil, "sh", "-c", `exec "$0" --file=/dev/null --host="$1" --port="$2" --auth=plain --user="$3" --passwordeval="echo $4" --tls=on --tls-starttls=off --tls-certcheck=off --from="$5" "$6" <"$7"`,
			msmtp, host, p, in.user, in.secret, sender, to, mail("msmtp-465", to))
		if err != nil {
			t.Fatalf("msmtp: %v\n%s", err, out)
		}
	}
	clients["curl-http"] = func(t *testing.T, to string) {
		t.Helper()
		out, err := run(t, nil, curl, "-sS", "--fail-with-body", "http://"+in.web+"/email", "-H", "Accept: application/json",
			"-H", "Content-Type: application/json", "-H", "X-Postmark-Server-Token: "+in.token,
			"-d", `{"From":"Shop <`+sender+`>","To":"`+to+`","Subject":"from curl-http","TextBody":"Hello"}`)
		if err != nil || !strings.Contains(out, `"Message":"OK"`) {
			t.Fatalf("curl: %v\n%s", err, out)
		}
	}

	for name, send := range clients {
		t.Run(name, func(t *testing.T) {
			to := name + "@customer.test"
			send(t, to)
			checkOne(t, n, to, "from "+name)
		})
	}
}

const pythonSend = `
import smtplib, ssl, sys
from email.message import EmailMessage
host, port, how, user, secret, sender, to, subject = sys.argv[1:]
ctx = ssl._create_unverified_context()
s = smtplib.SMTP_SSL(host, int(port), context=ctx, timeout=20) if how == "tls" else smtplib.SMTP(host, int(port), timeout=20)
if how == "starttls":
    s.starttls(context=ctx)
s.login(user, secret)
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "Sh\u00f6p <%s>" % sender, to, subject
m.set_content("Gr\u00fc\u00dfe\n.\n..dots\n")
m.add_alternative("<p>Gr\u00fc\u00dfe</p>", subtype="html")
m.add_attachment(b"\x00\x01\x02", maintype="application", subtype="octet-stream", filename="b\u00fcn.dat")
refused = s.send_message(m)
assert not refused, refused
s.quit()
`

// checkOne waits for the only mail to a recipient and verifies it.
func checkOne(t *testing.T, n *fakenet.Net, to, subject string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := n.Box().WaitFor(ctx, to, 1)
	if err != nil {
		t.Fatal(err)
	}
	m := got[0]
	if !bytes.Contains(m.Data, []byte("Subject: "+subject+"\r\n")) {
		t.Errorf("mail to %s has not the subject %q:\n%s", to, subject, m.Data)
	}
	if m.TLS == "" {
		t.Errorf("mail to %s came in the clear", to)
	}
	if len(m.Faults) > 0 {
		t.Errorf("mail to %s: protocol faults %v", to, m.Faults)
	}
	verify(t, n.DNSAddr(), m.Data)
	time.Sleep(100 * time.Millisecond)
	if all := n.Box().ByRecipient(to); len(all) != 1 {
		t.Errorf("%d mails to %s, want 1", len(all), to)
	}
}

// verify checks the signature of our domain with go-msgauth, asking a real DNS.
func verify(t *testing.T, dns string, data []byte) {
	t.Helper()
	r, err := mx.NewResolver(mx.ResolverConfig{Servers: []string{dns}})
	if err != nil {
		t.Fatal(err)
	}
	results, err := msgauth.VerifyWithOptions(bytes.NewReader(data), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return r.TXT(t.Context(), name) },
	})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	ok := false
	for _, v := range results {
		if v.Err != nil {
			t.Errorf("signature of %s: %v", v.Domain, v.Err)
		}
		ok = ok || v.Domain == "shop.test" && v.Err == nil
	}
	if !ok {
		t.Errorf("no valid signature of shop.test in\n%s", data)
	}
}

// TestNode sends with nodemailer and with the official client, whose answers
// are compared with the contract.
func TestNode(t *testing.T) {
	n := pretendNet(t)
	in := start(t, n, n.DNSAddr())
	node := program(t, "node")
	if out, err := run(t, nil, program(t, "npm"), "ci", "--prefix", "clients", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	send := func(what string, settings map[string]any) map[string]any {
		b, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		out, err := run(t, nil, node, "clients/send.mjs", what, string(b))
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		var answer map[string]any
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		return answer
	}
	for name, addr := range map[string]string{"nodemailer-587": in.submission, "nodemailer-25": in.port25, "nodemailer-465": in.smtps} {
		t.Run(name, func(t *testing.T) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			to := name + "@customer.test"
			got := send("nodemailer", map[string]any{
				"host": host, "port": json.Number(port), "secure": addr == in.smtps, "user": in.user, "pass": in.secret,
				"from": "Shop <" + sender + ">", "to": to, "subject": "from " + name,
			})
			if r, ok := got["response"].(string); !ok || !strings.HasPrefix(r, "250 2.0.0 Ok: queued as ") {
				t.Errorf("response %v", got["response"])
			}
			checkOne(t, n, to, "from "+name)
			data := n.Box().ByRecipient(to)[0].Data
			for _, want := range []string{"X-PM-Tag: nodemailer\r\n", "receipt.txt"} {
				if !bytes.Contains(data, []byte(want)) {
					t.Errorf("%q is not in\n%s", want, data)
				}
			}
			if bytes.Contains(data, []byte("X-PM-Metadata")) {
				t.Error("metadata reached the recipient")
			}
		})
	}
	t.Run("postmark", func(t *testing.T) { official(t, n, in, send) })
	t.Run("postmark templates", func(t *testing.T) { officialTemplates(t, n, in, send) })
}

func official(t *testing.T, n *fakenet.Net, in *instance, send func(string, map[string]any) map[string]any) {
	t.Helper()
	got := send("postmark", map[string]any{
		"host": in.web, "token": in.token, "from": "Shop <" + sender + ">", "to": "Ann <js@customer.test>",
		"batchTo": "js-batch@customer.test", "partTo": "js-part@customer.test", "subject": "from postmark",
	})
	checkOne(t, n, "js@customer.test", "from postmark")
	checkOne(t, n, "js-batch@customer.test", "from postmark batch")
	want := map[string]any{
		"one.To": "Ann <js@customer.test>", "one.ErrorCode": 0.0, "one.Message": "OK",
		"batch.0.ErrorCode": 0.0, "batch.1.ErrorCode": 300.0, "batch.1.MessageID": nil,
		"errors.sender.class": "ApiInputError", "errors.sender.code": 400.0, "errors.sender.status": 422.0,
		"errors.body.class": "InvalidEmailRequestError", "errors.body.code": 300.0,
		"errors.token.class": "InvalidAPIKeyError", "errors.token.code": 10.0, "errors.token.status": 401.0,
		"server.Name": "Interop", "streams.TotalCount": 3.0,
		"details.Tag": "js", "details.Metadata.order": "8", "details.Recipients.0": "js@customer.test", "details.Status": "Sent",
		"details.MessageEvents.0.Type": "Delivered", "details.TextBody": "Hello from the official client",
		"list.TotalCount": 1.0, "list.Messages.0.Subject": "from postmark", "list.Messages.0.Attachments.0": "a.txt",
		"dump":                      true,
		"created.MessageStreamType": "Broadcasts", "created.UpdatedAt": nil, "created.ArchivedAt": nil,
		"created.SubscriptionManagementConfiguration.UnsubscribeHandlingType": "Postmark",
		"edited.Name": "Edited", "edited.Description": "y", "filtered.TotalCount": 2.0, "hidden": 3.0, "shown": 4.0,
		"archived.ID": dig(got, []string{"created", "ID"}), "archived.ServerID": dig(got, []string{"created", "ServerID"}), "unarchived.ArchivedAt": nil,
		"errors.stream.code": 1226.0, "errors.stream.status": 422.0, "errors.stream.message": "The message stream for the provided 'ID' was not found.",
		"suppressed.Suppressions.0.EmailAddress": "Left@customer.test", "suppressed.Suppressions.0.Status": "Suppressed", "suppressed.Suppressions.0.Message": nil,
		"suppressed.Suppressions.1.Status": "Failed", "suppressed.Suppressions.1.Message": "An invalid email address was provided.",
		"dumped.Suppressions.0.EmailAddress": "left@customer.test", "dumped.Suppressions.0.Origin": "Customer", "dumped.Suppressions.1": nil,
		"errors.inactive.class": "InactiveRecipientsError", "errors.inactive.code": 406.0, "errors.inactive.recipients.0": "left@customer.test",
		"partly.ErrorCode": 0.0, "partly.Message": "Message OK, but will not deliver to these inactive addresses: left@customer.test.",
		"reactivated.Suppressions.0.Status": "Deleted", "reactivated.Suppressions.0.Message": nil, "emptied": 0.0,
	}
	checkOne(t, n, "js-part@customer.test", "from postmark partly")
	for path, w := range want {
		if g := dig(got, strings.Split(path, ".")); g != w {
			t.Errorf("%s = %#v, want %#v", path, g, w)
		}
	}
}

// dig follows a path of names and numbers.
func dig(v any, path []string) any {
	for _, p := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[p]
		case []any:
			if p != "0" && p != "1" || len(at) <= int(p[0]-'0') {
				return nil
			}
			v = at[p[0]-'0']
		default:
			return nil
		}
	}
	return v
}

// TestMailServers delivers to Postfix and Exim, found through unbound.
func TestMailServers(t *testing.T) {
	n := pretendNet(t)
	port := func(ip string) string { return net.JoinHostPort(ip, itoa(n.MXPort())) }
	for domain, ip := range map[string]string{"postfix.test": "127.0.7.1", "exim.test": "127.0.7.2"} {
		for _, line := range []string{domain + ". 60 IN MX 10 mx." + domain + ".", "mx." + domain + ". 60 IN A " + ip} {
			if err := n.Record(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	resolver := freeAddrs(t, 1)[0]
	unbound(t, resolver, n.DNSAddr())
	maildirs := map[string]string{
		"postfix.test": postfix(t, "postfix.test", port("127.0.7.1")),
		"exim.test":    exim(t, "exim.test", port("127.0.7.2")),
	}
	in := start(t, n, resolver)
	for domain, maildir := range maildirs {
		t.Run(domain, func(t *testing.T) {
			var answer struct{ Message, MessageID string }
			in.call(t, "POST", "/email", "X-Postmark-Server-Token", in.token,
				`{"From":"`+sender+`","To":"user@`+domain+`, nobody@`+domain+`","Subject":"to `+domain+`","TextBody":"dots\n.\n..\nüü","HtmlBody":"<p>x</p>"}`, &answer)
			text := arrived(t, maildir)
			raw := strings.ReplaceAll(text, "\n", "\r\n")
			if !strings.Contains(raw, "Subject: to "+domain+"\r\n") || !strings.Contains(raw, "X-PM-Message-Id: "+answer.MessageID) {
				t.Errorf("not our mail:\n%s", text)
			}
			// Both put header fields in front; the signature holds.
			verify(t, resolver, []byte(raw))
			if domain == "postfix.test" && !strings.Contains(text, "TLSv1.3") {
				t.Errorf("Postfix saw no TLS 1.3:\n%s", text)
			}
			in.bounced(t, answer.MessageID, "nobody@"+domain)
		})
	}
}

// bounced waits until the other recipient, whom the mail server refused, has
// bounced.
func (in *instance) bounced(t *testing.T, id, rcpt string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var d struct {
			MessageEvents []struct{ Recipient, Type string }
		}
		in.call(t, "GET", "/messages/outbound/"+id+"/details", "X-Postmark-Server-Token", in.token, "", &d)
		for _, e := range d.MessageEvents {
			if e.Recipient == rcpt && e.Type == "Bounced" {
				return
			}
		}
	}
	t.Errorf("%s has not bounced", rcpt)
}
