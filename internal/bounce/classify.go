package bounce

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Class is what a reply means for the message.
type Class int8

// The classes.
const (
	// Deferred: it is tried again.
	Deferred Class = iota + 1
	// Permanent: it is given up for this recipient.
	Permanent
)

// String gives the lower-case name.
func (c Class) String() string {
	switch c {
	case Deferred:
		return "deferred"
	case Permanent:
		return "permanent"
	}
	return fmt.Sprintf("Class(%d)", int8(c))
}

// The stages of an SMTP session that Classify tells apart, in lower case.
// Another text, or none, counts as StageRcpt.
const (
	StageConnect  = "connect"
	StageGreeting = "greeting" // the 220 banner
	StageEHLO     = "ehlo"     // and HELO
	StageSTARTTLS = "starttls"
	StageAuth     = "auth"
	StageMail     = "mail"
	StageRcpt     = "rcpt"
	StageData     = "data" // the answer to DATA
	StageDot      = "dot"  // the answer to the message
)

// A Reply is an answer that is not a success: from an SMTP server, out of a
// DSN, or our own in place of one (a name that does not exist: 550 5.1.2).
type Reply struct {
	// Code is the basic code, or 0 when there was none: no connection, or a DSN.
	Code int
	// Enhanced is the enhanced status code (RFC 3463), such as "5.1.1". When
	// empty it is looked for at the start of Text.
	Enhanced string
	// Text is what followed the codes, of all lines.
	Text string
	// Stage is what the server answered to, one of the Stage constants.
	Stage string
}

// A Verdict is what a [Reply] means.
type Verdict struct {
	Class Class
	// Type is the type of the bounce: of a deferral [Transient].
	Type Type
	// Final is the type to record when a deferral was the last answer before
	// the message expired (contract/bounces.md §6). It never deactivates the
	// address. Of a permanent failure it is Type.
	Final Type
	// Rule names what decided, for people to read and to search for.
	Rule string
	// Hint is how long the server asks us to wait, up to a day; 0 if it said
	// nothing. Only deferrals have it.
	Hint time.Duration
	// Greylist says that the server refuses whom it sees first: the same
	// address must come again.
	Greylist bool
	// Block says that the server refuses us, not this message or recipient:
	// policy, reputation, block lists, rates. The source address should rest
	// towards this provider.
	Block bool
}

const (
	maxText = 4096
	maxHint = 24 * time.Hour
)

// Classify gives the verdict on a reply. It never fails: what it does not
// know is [Unknown] when the basic code is permanent, and deferred otherwise.
func Classify(r Reply) Verdict {
	q := newQuestion(r)
	if q.permanent {
		m := q.decide()
		return Verdict{Class: Permanent, Type: m.typ, Final: m.typ, Rule: m.rule, Block: m.block}
	}
	q.mayBeHard = false
	m := q.decide()
	if m.typ == Unknown || m.typ == BadEmailAddress || m.typ == AddressChange {
		m.typ = SoftBounce
	}
	return Verdict{
		Class: Deferred, Type: Transient, Final: m.typ, Rule: m.rule, Block: m.block && !q.greylist(m),
		Hint: q.hint(), Greylist: q.greylist(m),
	}
}

// A question is a reply made ready for the rules.
type question struct {
	text      string // lower case, single blanks, no addresses
	code      int
	subject   string // subject and detail of the enhanced code, "1.1"; "" if none
	stage     string
	permanent bool
	mayBeHard bool // the recipient was named, and nothing says otherwise
}

func newQuestion(r Reply) *question {
	q := &question{code: r.Code, stage: strings.ToLower(r.Stage), text: normalise(r.Text)}
	enhanced := r.Enhanced
	if len(enhanced) > len("5.999.999") || !enhancedWhole.MatchString(enhanced) {
		enhanced = enhancedCode.FindString(q.text)
	}
	class := r.Code / 100
	if enhanced = strings.TrimPrefix(strings.TrimSpace(enhanced), "#"); enhanced != "" {
		q.subject = enhanced[2:]
		// The basic code decides, as it is the protocol's (RFC 5321 §4.2.1,
		// RFC 2034 §4): the enhanced one only where there is no basic one.
		if r.Code == 0 {
			class = int(enhanced[0] - '0')
		}
	}
	q.permanent = class == 5 && !q.early() && !q.askedBack()
	q.mayBeHard = q.permanent && q.stage != StageMail
	return q
}

// early tells whether nothing was said about any message yet. Another host, or
// this one later, may well take it, so that a refusal there never ends it.
func (q *question) early() bool {
	switch q.stage {
	case StageConnect, StageGreeting, StageEHLO, "helo", StageSTARTTLS, StageAuth:
		return true
	}
	return false
}

// askedBack tells whether a 5yz reply asks in words to be tried again.
// RFC 5321 §4.2.1 would give up; to believe the words is our choice.
func (q *question) askedBack() bool { return has(q.text, patternsGreylist) }

var (
	enhancedWhole = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)
	// At the start, perhaps behind "smtp; 550 " or in "#5.1.0" form.
	enhancedCode = regexp.MustCompile(`^#?[245]\.[0-9]{1,3}\.[0-9]{1,3}\b`)
	leadingCode  = regexp.MustCompile(`^(?:(?:smtp|x-[a-z0-9-]+) ?; ?)?(?:[245][0-9]{2}[ -])?`)
	address      = regexp.MustCompile(`[^\s<>"'()\[\],;:]*@[^\s<>"'(),;]*`)
)

// normalise bounds a text, lowers its case, makes one line of it and takes
// out the addresses, which may contain any word we look for.
func normalise(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	text = strings.ToLower(strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	text = text[len(leadingCode.FindString(text)):]
	return address.ReplaceAllString(text, "@")
}

// A match is what a rule says.
type match struct {
	rule  string
	typ   Type
	block bool
}

// decide asks the enhanced code, then the text, then the basic code.
func (q *question) decide() match {
	row, known := enhancedRow(q.subject)
	if known && row.trust == whole {
		return q.finish(row.match)
	}
	if known && row.trust == hard {
		// The code alone would cost the recipient: any words for another
		// cause outweigh it.
		if m, ok := q.byText(false); ok {
			return q.finish(m)
		}
		return q.finish(row.match)
	}
	if m, ok := q.byText(!known || row.trust == open); ok {
		return q.finish(m)
	}
	if known && row.typ != Unknown {
		return q.finish(row.match)
	}
	return q.finish(q.byCode())
}

// finish keeps a verdict from costing a recipient when it may not.
func (q *question) finish(m match) match {
	if m.typ == HardBounce && !q.mayBeHard {
		return match{rule: m.rule + "-soft", typ: SoftBounce}
	}
	return m
}

// byText gives the first rule that fits. Unless hardToo, rules that would be
// HardBounce are passed over.
func (q *question) byText(hardToo bool) (match, bool) {
	for _, r := range textRules() {
		if r.typ == HardBounce && !hardToo {
			continue
		}
		if has(q.text, r.patterns) {
			return r.match, true
		}
	}
	return match{}, false
}

// byCode gives what the basic code alone allows to say (RFC 5321 §4.2.3).
func (q *question) byCode() match {
	rule := "code-" + strconv.Itoa(q.code)
	switch q.code {
	case 0:
		return match{rule: "no-reply", typ: SoftBounce}
	case 551:
		return match{rule: rule, typ: AddressChange}
	case 552:
		return match{rule: rule, typ: SoftBounce}
	case 553:
		if q.stage == StageMail {
			return match{rule: rule, typ: Unknown}
		}
		return match{rule: rule, typ: BadEmailAddress}
	case 556:
		return match{rule: rule, typ: HardBounce} // RFC 7504 §4: the domain takes no mail
	}
	return match{rule: rule, typ: Unknown}
}

// has tells whether a text has one of the patterns, which are divided by "|";
// the parts of one that are divided by "&" must all be there.
func has(text, patterns string) bool {
	for p := range strings.SplitSeq(patterns, "|") {
		if hasAll(text, p) {
			return true
		}
	}
	return false
}

func hasAll(text, pattern string) bool {
	for part := range strings.SplitSeq(pattern, "&") {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// greylist tells whether a deferral is greylisting: said in words, or the
// usual "451 4.7.1 try again later" to RCPT with no other reason given.
func (q *question) greylist(m match) bool {
	if has(q.text, patternsGreylist) {
		return true
	}
	plain := m.rule == "status-7.1" || m.rule == "policy-text"
	return plain && q.subject == "7.1" && (q.stage == StageRcpt || q.stage == "") &&
		has(q.text, "try again|try later|come back")
}

var (
	hintContext = regexp.MustCompile(`try|retry|back|wait|again|gr[ea]y|defer|delay`)
	hintUnits   = regexp.MustCompile(`\b(?:in|after|for|wait|least|about|within) ([0-9]{1,7}) ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b`)
	hintClock   = regexp.MustCompile(`\b(?:in|after|for|wait) ([0-9]{1,2}):([0-9]{2}):([0-9]{2})\b`)
	hintHeader  = regexp.MustCompile(`\bretry[- ]?after[:= ]+([0-9]{1,7})\b`)
)

// hint reads how long we are asked to wait.
func (q *question) hint() time.Duration {
	if !hintContext.MatchString(q.text) {
		return 0
	}
	var d time.Duration
	if m := hintUnits.FindStringSubmatch(q.text); m != nil {
		d = count(m[1]) * unit(m[2])
	} else if m := hintClock.FindStringSubmatch(q.text); m != nil {
		d = count(m[1])*time.Hour + count(m[2])*time.Minute + count(m[3])*time.Second
	} else if m := hintHeader.FindStringSubmatch(q.text); m != nil {
		d = count(m[1]) * time.Second
	}
	return min(d, maxHint)
}

// count reads digits, of which the patterns let through seven at most.
func count(digits string) time.Duration {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return time.Duration(n)
}

func unit(name string) time.Duration {
	switch name[0] {
	case 'h':
		return time.Hour
	case 'm':
		return time.Minute
	}
	return time.Second
}
