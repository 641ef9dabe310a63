package submit

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/eml"
)

// headerKind is what becomes of a header field of a client.
type headerKind int8

const (
	headerPlain headerKind = iota // goes out as it is
	headerFrom                    // the kinds that are read and written anew
	headerTo
	headerCc
	headerReplyTo
	headerSubject
	headerMessageID
	headerControl // X-PM-*: read over SMTP, never goes out
	headerOurs    // never goes out
)

// classify sorts fields by name (contract/sending.md §4).
//
// Beside what the contract lists these are dropped. Sender: the account did not
// prove that it may use that address, and mail programs show it. Resent-*,
// Authentication-Results, ARC and Received-SPF: they would claim what others
// saw of the message. Feedback-ID, X-Complaints-To, X-Job and all of X-PM-*:
// they are ours to write (contract/smtp.md §6), and parsers of bounces and
// complaints trust them.
func classify(name string) headerKind {
	var buf [32]byte
	if len(name) > len(buf) {
		if hasPrefixFold(name, "X-PM-") {
			return headerControl
		}
		if hasPrefixFold(name, "Content-") || hasPrefixFold(name, "Resent-") || hasPrefixFold(name, "ARC-") {
			return headerOurs
		}
		return headerPlain
	}
	lower := buf[:len(name)]
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower) {
	case "from":
		return headerFrom
	case "to":
		return headerTo
	case "cc":
		return headerCc
	case "reply-to":
		return headerReplyTo
	case "subject":
		return headerSubject
	case "message-id":
		return headerMessageID
	case "date", "sender", "bcc", "mime-version", "return-path", "received", "dkim-signature", "domainkey-signature",
		"authentication-results", "received-spf", "feedback-id", "x-complaints-to", "x-job":
		return headerOurs
	}
	switch s := string(lower); {
	case strings.HasPrefix(s, "x-pm-"):
		return headerControl
	case strings.HasPrefix(s, "content-"), strings.HasPrefix(s, "resent-"), strings.HasPrefix(s, "arc-"):
		return headerOurs
	}
	return headerPlain
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// messageID reads a client's Message-ID, with or without its angle brackets;
// "" when no receiver would take it for one (RFC 5322 §3.6.4), and ours is
// used.
func messageID(v string) string {
	const most = 500
	v = strings.TrimSpace(v)
	v = strings.TrimSuffix(strings.TrimPrefix(v, "<"), ">")
	if v == "" || len(v) > most || strings.IndexByte(v, '@') < 0 {
		return ""
	}
	for i := range len(v) {
		if v[i] <= ' ' || v[i] > '~' || v[i] == '<' || v[i] == '>' {
			return ""
		}
	}
	return "<" + v + ">"
}

// mimeStart is where the head of a rendered message ends and its MIME fields
// begin. Nothing before looks like it: package eml writes MIME-Version itself
// and leaves out all others, and a folded line begins with a blank.
const mimeStart = "\r\nMIME-Version: 1.0\r\n"

// header is the head of the message in the order of contract/smtp.md §6.
// X-PM-RCPT differs by recipient and joins at delivery.
func (d *Door) header(dr *draft) []eml.Field {
	id := dr.id.String()
	h := make([]eml.Field, 0, 16+len(dr.headers))
	h = append(h, eml.RawField("Received", d.received(dr, id)),
		eml.AddressField("From", dr.from),
		eml.RawField("Date", dateField(dr.begins())))
	if dr.subject != "" {
		h = append(h, eml.Field{Name: "Subject", Value: dr.subject})
	}
	for _, f := range []struct {
		name string
		list []eml.Mailbox
	}{{"Reply-To", dr.replyTo}, {"To", dr.to}, {"Cc", dr.cc}} {
		if len(f.list) > 0 {
			h = append(h, eml.AddressField(f.name, f.list...))
		}
	}
	if dr.headerID == "" {
		dr.headerID = "<" + id + "@" + d.conf.MessageIDDomain + ">"
	}
	h = append(h, eml.RawField("Message-Id", dr.headerID))
	h = append(h, dr.headers...)
	if dr.unsubscribe != "" {
		h = slices.DeleteFunc(h, isUnsubscribe)
		h = append(h, eml.RawField("List-Unsubscribe", "<"+dr.unsubscribe+">"),
			eml.RawField("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")) // RFC 8058 §3.1
	}
	h = append(h, eml.RawField("Feedback-ID", feedbackID(dr)),
		eml.RawField("X-Complaints-To", d.conf.Complaints),
		eml.RawField("X-Job", itoa(int64(dr.account))+"_"+itoa(int64(dr.server))),
		eml.RawField("X-PM-Message-Id", id))
	if dr.tag != "" {
		h = append(h, eml.Field{Name: "X-PM-Tag", Value: dr.tag})
	}
	return h
}

// isUnsubscribe tells fields that the client cannot set where we handle
// unsubscribing (contract/sending.md §14).
func isUnsubscribe(f eml.Field) bool {
	return strings.EqualFold(f.Name, "List-Unsubscribe") || strings.EqualFold(f.Name, "List-Unsubscribe-Post")
}

// received is the trace of RFC 5321 §4.4, without the client's address, which
// is nobody's business but its own.
func (d *Door) received(dr *draft, id string) string {
	with := ""
	if dr.trace != "" {
		with = " with " + dr.trace
	}
	return "by " + d.conf.Hostname + with + " id " + id + "; " + dateField(dr.at)
}

// dateField is RFC 5322 §3.3 in UTC.
func dateField(t time.Time) string { return t.UTC().Format(time.RFC1123Z) }

// maxFeedbackTag bounds the tag in Feedback-ID, whose readers take no long
// ones.
const maxFeedbackTag = 90

// feedbackID is s{server}-{tag in base64, or _}:s{server}:a{account}:name
// (contract/smtp.md §6).
func feedbackID(dr *draft) string {
	tag := "_"
	if dr.tag != "" {
		cut := dr.tag
		if len(cut) > maxFeedbackTag {
			cut = strings.ToValidUTF8(cut[:maxFeedbackTag], "")
		}
		tag = base64.StdEncoding.EncodeToString([]byte(cut))
	}
	server := "s" + itoa(int64(dr.server))
	return server + "-" + tag + ":" + server + ":a" + itoa(int64(dr.account)) + ":pennypost"
}

func itoa[T int | int64 | pennypost.Code](n T) string { return strconv.FormatInt(int64(n), 10) }
