package smtpd

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/auth"
	"pennypost/internal/inbound"
	"pennypost/internal/store"
)

// reply is a whole reply in one line: code, enhanced code (RFC 3463), text.
type reply string

// The fixed replies. Those in docs/smtp.md are tested to stand there.
const (
	replyOK       reply = "250 2.0.0 Ok"
	replySender   reply = "250 2.1.0 Ok"
	replyRcpt     reply = "250 2.1.5 Ok"
	replyBye      reply = "221 2.0.0 Bye"
	replyHelp     reply = "214 2.0.0 See RFC 5321; this server's manual is docs/smtp.md"
	replyVerify   reply = "252 2.5.2 Cannot verify, but will try to deliver"
	replyStartTLS reply = "220 2.0.0 Ready to start TLS"
	replyData     reply = "354 End data with <CR><LF>.<CR><LF>"
	replyAuth     reply = "235 2.7.0 Authentication successful"

	replyUnknown    reply = "500 5.5.1 Error: unknown command"
	replyNotHere    reply = "502 5.5.1 Error: command not implemented"
	replyBareLF     reply = "500 5.5.2 Error: a line must end with CR LF"
	replyLineLong   reply = "500 5.5.2 Error: line too long"
	replyControl    reply = "501 5.5.2 Error: control character in command"
	replyNotASCII   reply = "501 5.5.2 Error: command is not ASCII"
	replyNotUTF8    reply = "501 5.5.2 Error: address is not valid UTF-8"
	replyNotSMTP    reply = "554 5.5.1 Error: this is an SMTP server"
	replyHelo       reply = "501 5.5.4 Error: say EHLO and the name of your host, at most 255 characters"
	replyHeloFirst  reply = "503 5.5.1 Error: send EHLO first"
	replyNoArgument reply = "501 5.5.4 Error: this command has no argument"
	replyNoMail     reply = "503 5.5.1 Error: need MAIL command"
	replyNested     reply = "503 5.5.1 Error: nested MAIL command"
	replyNoRcpt     reply = "503 5.5.1 Error: need RCPT command"
	replyNoGoodRcpt reply = "554 5.5.1 Error: no valid recipients"
	replyMidBDAT    reply = "503 5.5.1 Error: BDAT has begun; end it with LAST, or send RSET"
	replyBDAT       reply = "501 5.5.4 Error: say BDAT, the number of octets, and LAST for the last"
	replyNoBDAT     reply = "502 5.5.1 Error: BDAT needs EHLO"
	replyTwiceTLS   reply = "503 5.5.1 Error: TLS is already in use"

	replyMailSyntax  reply = "501 5.5.4 Error: say MAIL FROM:<address>"
	replyRcptSyntax  reply = "501 5.5.4 Error: say RCPT TO:<address>"
	replyParam       reply = "555 5.5.4 Error: parameter not supported"
	replyParamValue  reply = "501 5.5.4 Error: bad parameter value"
	replyParamTwice  reply = "501 5.5.4 Error: parameter given twice"
	replyParamHelo   reply = "501 5.5.2 Error: parameters need EHLO"
	replyNeedsUTF8   reply = "553 5.6.7 Error: address needs the SMTPUTF8 parameter of MAIL"
	replyBadSender   reply = "553 5.1.7 Error: sender address is not valid"
	replyBadRcpt     reply = "553 5.1.3 Error: recipient address is not valid"
	replyNoMailbox   reply = "550 5.1.1 Error: no such mailbox here"
	replyRelay       reply = "550 5.7.1 Error: relay access denied; to send mail, log in first (AUTH, after STARTTLS)"
	replyTooManyRcpt reply = "452 4.5.3 Error: too many recipients in one message; send another for the rest"

	replyTooLarge   reply = "552 5.3.4 Error: message exceeds the size limit"
	replyHeaderSize reply = "552 5.3.4 Error: message header exceeds the size limit"
	replyBareData   reply = "550 5.6.0 Error: message has a bare CR or NUL; lines end with CR LF"
	replyBareAny    reply = "550 5.6.0 Error: message has a bare CR, bare LF or NUL; lines end with CR LF"

	replyAuthFirst     reply = "530 5.7.0 Error: log in first (AUTH, after STARTTLS)"
	replyAuthNeedsTLS  reply = "538 5.7.11 Error: encryption required; send STARTTLS before AUTH, or use port 465"
	replyAuthTwice     reply = "503 5.5.1 Error: already logged in"
	replyAuthInMail    reply = "503 5.5.1 Error: no AUTH within a mail transaction"
	replyAuthSyntax    reply = "501 5.5.4 Error: say AUTH PLAIN or AUTH LOGIN"
	replyAuthMechanism reply = "504 5.5.4 Error: mechanism not supported; use PLAIN or LOGIN"
	replyAuthMalformed reply = "501 5.5.2 Error: malformed authentication response"
	replyAuthCancelled reply = "501 5.7.0 Error: authentication cancelled"
	replyAuthLong      reply = "500 5.5.6 Error: authentication exchange line is too long"
	replyAuthWrong     reply = "535 5.7.8 Error: authentication failed: user name or password is wrong"

	replyThrottled   reply = "421 4.7.0 Error: too many failed logins; try again later"
	replyTooWrong    reply = "421 4.7.0 Error: too many errors"
	replyTooIdle     reply = "421 4.7.0 Error: too many commands without a message"
	replyTooRefused  reply = "421 4.7.0 Error: too many refused recipients"
	replyTooManyConn reply = "421 4.7.0 Error: too many connections"
	replyTimeout     reply = "421 4.4.2 Error: timeout exceeded"
	replyStopping    reply = "421 4.3.2 Error: service is shutting down; try again"
	replyRevoked     reply = "421 4.7.0 Error: the credentials of this session were revoked"
	replyPanic       reply = "421 4.3.0 Error: internal fault; try again"
	replyFault       reply = "451 4.3.0 Error: temporary local fault; try again later"
	replyNoStorage   reply = "452 4.3.1 Error: insufficient system storage; try again later"
	replyNoMemory    reply = "452 4.3.1 Error: too many messages at once; try again later"
)

// code gives the three digits.
func (r reply) code() string { return string(r[:3]) }

// queued is the reply to a message that is on stable storage.
func queued(id pennypost.MessageID) reply { return reply("250 2.0.0 Ok: queued as " + id.String()) }

// codeSMTPOff: SMTP was switched off for the server (contract/common.md §6.6).
const codeSMTPOff pennypost.Code = 1460

// statusOf is the one table from the contract's codes to reply codes. Codes that
// are not here refuse for good, except over the limit and our own.
func statusOf(e *pennypost.Error) string {
	switch e.Code {
	case pennypost.CodeMaintenance:
		return "451 4.3.2"
	case pennypost.CodeFault:
		return "451 4.3.0"
	case pennypost.CodeOverLimit:
		return "452 4.7.1"
	case pennypost.CodeTooManyRequests:
		return "451 4.7.1"
	case pennypost.CodeToken, pennypost.CodeAttachmentType:
		return "554 5.7.1"
	case pennypost.CodeSenderUnknown, pennypost.CodeSenderUnconfirmed, pennypost.CodeInactive,
		pennypost.CodePendingDomain, pennypost.CodeNotApproved, pennypost.CodeServerUnusable,
		pennypost.CodeStreamUnknown, pennypost.CodeStreamType, codeSMTPOff:
		return "550 5.7.1"
	case pennypost.CodeInvalid, pennypost.CodeJSON, pennypost.CodeFieldType, pennypost.CodeHeaders, pennypost.CodeBatchSize:
		if e.Status == http.StatusRequestEntityTooLarge {
			return "552 5.3.4"
		}
		return "554 5.6.0"
	}
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		return "552 5.3.4"
	case e.Status >= http.StatusInternalServerError:
		return "451 4.3.0"
	}
	return "554 5.7.1"
}

// refusal turns an error into the reply for it. ours says that it is our own
// fault, to be logged: always 4yz, because the peer can come again.
func refusal(err error) (r reply, ours bool) {
	var caller *pennypost.Error
	var own interface {
		SMTPReply() (code int, enhanced, text string)
	}
	switch {
	case errors.As(err, &caller):
		return reply(statusOf(caller) + " " + caller.Text), false
	case errors.As(err, &own):
		code, enhanced, text := own.SMTPReply()
		if code < 400 || code > 599 {
			return replyFault, true
		}
		return reply(fmt.Sprintf("%d %s %s", code, enhanced, text)), false
	case errors.Is(err, auth.ErrCredentials):
		return replyAuthWrong, false
	case errors.Is(err, auth.ErrThrottled):
		return replyThrottled, false
	case errors.Is(err, inbound.ErrUnknown):
		return replyNoMailbox, false
	case errors.Is(err, inbound.ErrForeign):
		return replyRelay, false
	case errors.Is(err, store.ErrUnavailable):
		return replyNoStorage, true
	}
	return replyFault, true
}

// RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets with its CRLF.
const (
	maxReplyLine  = 510
	maxReplyLines = 8
)

// appendTo writes the reply as it goes over the wire, in several lines when it
// is long (RFC 5321 §4.2.1), each with the enhanced code (RFC 2034 §4). What
// does not fit into maxReplyLines is cut.
func (r reply) appendTo(b []byte) []byte {
	text := asciiOnly(string(r))
	if len(text) <= maxReplyLine {
		return append(append(b, text...), "\r\n"...)
	}
	code, status, text := text[:3], "", text[4:]
	if i := strings.IndexByte(text, ' '); i > 0 && strings.Count(text[:i], ".") == 2 {
		status, text = text[:i+1], text[i+1:]
	}
	room := maxReplyLine - len(code) - 1 - len(status)
	for n := 1; ; n++ {
		line := text
		if len(line) > room {
			line = line[:room]
			if i := strings.LastIndexByte(line, ' '); i > room/2 {
				line = line[:i]
			}
		}
		text = strings.TrimPrefix(text[len(line):], " ")
		last := text == "" || n == maxReplyLines
		sep := byte('-')
		if last {
			sep = ' '
		}
		b = append(append(append(append(append(b, code...), sep), status...), line...), "\r\n"...)
		if last {
			return b
		}
	}
}

// asciiOnly makes text fit for a reply: printable ASCII, everything else
// escaped as \x{HEX} as in RFC 6533 §3, control characters as blanks.
func asciiOnly(s string) string {
	plain := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		case c < utf8.RuneSelf:
			b.WriteByte(byte(c))
		default:
			b.WriteString(`\x{` + strings.ToUpper(strconv.FormatInt(int64(c), 16)) + "}")
		}
	}
	return b.String()
}

// shown makes text of a client fit for a log line: cut, escaped.
func shown(s string) string {
	const most = 120
	if len(s) > most {
		s = s[:most]
	}
	q := strconv.QuoteToASCII(s)
	return q[1 : len(q)-1]
}
