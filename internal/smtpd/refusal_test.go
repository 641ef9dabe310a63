package smtpd

import (
	"fmt"
	"strings"
	"testing"

	"pennypost"
	"pennypost/internal/store"
)

// records gives the bounces of the server, oldest first.
func (w *whole) records() []pennypost.Bounce {
	w.t.Helper()
	var list []pennypost.Bounce
	err := w.st.View(w.ctx, func(tx *store.Tx) (err error) {
		list, _, err = tx.Bounces(w.ctx, w.server.ID, pennypost.StreamOutbound, 500, 0)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// rejects sets the way of the server.
func (w *whole) rejects(way pennypost.SMTPRejection) {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		w.server.SMTPRejection = way
		return tx.SetServer(w.ctx, &w.server)
	})
}

// Every refusal of a message is on record as SMTPApiError, those for its octets
// too. At once it has its reply, which the manual shows; with SmtpRejection
// "Accept" it is taken, but for what is over the announced size
// (contract/smtp.md §5, design §8).
func TestRefusalsAreRecorded(t *testing.T) {
	const (
		head   = "From: Ann <ann@acme.example>\r\nTo: bob@x.example\r\nSubject: hello\r\n"
		queued = "250 2.0.0 Ok: queued as "
	)
	attached := head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\nContent-Type: application/octet-stream; name=%s\r\n\r\n%s\r\n--b--\r\n"
	size := int64(20480000)
	for _, tc := range []struct {
		name, to, data string
		reply          string // at once
		accept         string // with Accept
		short, long    string
	}{
		{"suppressed", "gone@x.example", head + "\r\nhi\r\n", "550 5.7.1 You tried to send to recipient(s) that have been marked as inactive.", queued, "Inactive recipient", "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: gone@x.example."},
		{"sender", "bob@x.example", strings.Replace(head, "acme", "elsewhere", 1) + "\r\nhi\r\n", "550 5.7.1 The 'From' address you supplied (Ann <ann@elsewhere.example>) is not a Sender Signature on your account.", queued, "Sender signature not found", "The 'From' address you supplied"},
		{"stream", "bob@x.example", head + "X-PM-Message-Stream: nowhere\r\n\r\nhi\r\n", "550 5.7.1 The stream provided: 'nowhere' does not exist on this server.", queued, "Message stream not found", "The stream provided: 'nowhere' does not exist on this server."},
		{"attachment", "bob@x.example", fmt.Sprintf(attached, "run.exe", "MZ"), "554 5.7.1 Attachment file type not allowed.", queued, "Attachment file type not allowed", "Attachment file type not allowed."},
		{"field", "bob@x.example", head + "X-PM-TrackLinks: All\r\n\r\nhi\r\n", "554 5.6.0 Invalid 'TrackLinks' value.", queued, "Invalid message", "Invalid 'TrackLinks' value."},
		{"over 10 MB", "bob@x.example", fmt.Sprintf(attached, "a.txt", strings.Repeat(strings.Repeat("x", 76)+"\r\n", 140000)), "552 5.3.4 Attachments too big.", queued, "Message too big", "Attachments too big. The total size should be less than 10485760 bytes."},
		{"bare CR", "bob@x.example", head + "\r\na\rb\r\n", string(replyBareData), queued, "Invalid message", "The message has a bare CR or NUL; lines end with CR LF."},
		{"NUL", "bob@x.example", head + "\r\na\x00b\r\n", string(replyBareData), queued, "Invalid message", "The message has a bare CR or NUL; lines end with CR LF."},
		{"header", "bob@x.example", head + strings.Repeat("X: y\r\n", 2000) + "\r\nhi\r\n", string(replyHeaderSize), queued, "Message too big", "The message header exceeds the size limit."},
		{"over SIZE", "bob@x.example", head + "\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", int(size/78)), string(replyTooLarge), string(replyTooLarge), "Message too big", "The message exceeds the size limit."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := startWhole(t)
			for n, way := range []pennypost.SMTPRejection{pennypost.RejectImmediate, pennypost.RejectAccept} {
				w.rejects(way)
				p := w.logsIn()
				p.enter(tc.to)
				p.send(tc.data + ".\r\n")
				want := tc.reply
				if way == pennypost.RejectAccept {
					want = tc.accept
				}
				if tc.name == "field" { // the manual has one row for all such texts
					p.want(reply(want))
				} else {
					p.manually(want)
				}
				list := w.records()
				if len(list) != n+1 {
					t.Fatalf("%s: %d records, want %d", way, len(list), n+1)
				}
				b := list[n]
				if b.Type != "SMTPApiError" || b.TypeCode != 100007 || b.Details != tc.short || b.Recipient != pennypost.Address(tc.to) || b.Subject != "hello" {
					t.Errorf("%s: record %+v", way, b)
				}
				if long, rest, ok := strings.Cut(b.Dump, "\r\nError code: "); !ok || !strings.HasPrefix(long, tc.long) || !strings.Contains(rest, "\r\n\r\nFrom: Ann <ann@") {
					t.Errorf("%s: dump %.300q", way, b.Dump)
				}
				p.submits("bob@x.example", "ann@acme.example") // the session goes on
				p.want("250 2.0.0 Ok: queued as ")
			}
		})
	}
}

// By BDAT, and so far over the limit that the end is not waited for.
func TestOverSizeIsRecordedOnce(t *testing.T) {
	for _, way := range []pennypost.SMTPRejection{pennypost.RejectImmediate, pennypost.RejectAccept} {
		w := startWhole(t)
		w.rejects(way)
		w.srv.lim.Size = 1000
		p := w.logsIn()
		begin := func() {
			p.say("MAIL FROM:<s@client.example>", replySender)
			p.say("RCPT TO:<bob@x.example>", replyRcpt)
		}
		chunk := func(command string, n int, want reply) {
			p.send(command + "\r\n" + strings.Repeat("x", n))
			p.want(want)
		}
		begin()
		chunk("BDAT 1500", 1500, replyTooLarge)
		chunk("BDAT 10 LAST", 10, replyTooLarge)
		if n := len(w.records()); n != 1 {
			t.Errorf("%s: %d records of a message in two chunks, want 1", way, n)
		}
		begin()
		chunk("BDAT 900", 900, "250 2.0.0 Ok: 900 octets received")
		p.say("RSET", replyOK)
		begin()
		p.say("BDAT 5000 LAST", replyTooLarge)
		p.closed()
		if n := len(w.records()); n != 2 {
			t.Errorf("%s: %d records, want 2", way, n)
		}
		p = w.logsIn()
		p.say("BDAT 5000 LAST", replyTooLarge) // no message was on its way
		p.closed()
		p = w.logsIn()
		p.enter("bob@x.example")
		p.send(strings.Repeat("x\r\n", 2000))
		p.want(replyTooLarge)
		p.closed()
		if n := len(w.records()); n != 3 {
			t.Errorf("%s: %d records, want 3", way, n)
		}
	}
}

// Over 50 recipients: 452 for the surplus, the message goes to the others, and
// one SMTPApiError lists those refused; also with SmtpRejection "Accept", since
// what gets a 452 is sent again (design §8, contract/smtp.md §5).
func TestSurplusIsRecorded(t *testing.T) {
	for _, way := range []pennypost.SMTPRejection{pennypost.RejectImmediate, pennypost.RejectAccept} {
		w := startWhole(t)
		w.rejects(way)
		p := w.logsIn()
		p.say("MAIL FROM:<ann@acme.example>", replySender)
		for i := range 53 {
			want := replyRcpt
			if i >= 50 {
				want = replyTooManyRcpt
			}
			p.say(fmt.Sprintf("RCPT TO:<r%d@x.example>", i), want)
		}
		p.say("DATA", replyData)
		p.send(message("ann@acme.example", "hello"))
		p.want("250 2.0.0 Ok: queued as ")
		list := w.records()
		if len(list) != 1 || list[0].Details != "Too many recipients" || list[0].Recipient != "r50@x.example" ||
			!strings.Contains(list[0].Dump, "These recipients were refused: r50@x.example, r51@x.example, r52@x.example.") {
			t.Errorf("%s: records %+v", way, list)
		}
		err := w.st.View(w.ctx, func(tx *store.Tx) error {
			got, total, err := tx.SearchMessages(w.ctx, store.MessageFilter{Server: w.server.ID}, 10, 0)
			if err == nil && (total != 1 || got[0].Recipients != 50) {
				t.Errorf("%s: %d messages, want one to 50", way, total)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// A refusal for octets tells nobody of strangers' mail.
func TestStrangersAreNotRecorded(t *testing.T) {
	w := startWhole(t)
	p := w.dial(w.mx).hello()
	p.say("MAIL FROM:<>", replySender)
	p.say("RCPT TO:<postmaster>", replyRcpt)
	p.say("DATA", replyData)
	p.send("Subject: x\r\n\r\na\rb\r\n.\r\n")
	p.want(replyBareAny)
	p.closed()
	if list := w.records(); len(list) != 0 {
		t.Errorf("records %+v", list)
	}
}
