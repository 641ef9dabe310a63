package fakenet

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// Stage is a point of an SMTP session.
type Stage string

// The stages. Dot is when the whole message is there, not yet answered.
const (
	Connect  Stage = "connect"
	Hello    Stage = "ehlo"
	StartTLS Stage = "starttls"
	MailFrom Stage = "mail"
	RcptTo   Stage = "rcpt"
	Data     Stage = "data"
	Dot      Stage = "dot"
)

// Script is how a mail server acts. The zero value takes everything.
type Script struct {
	// Silent servers accept connections and never say a word.
	Silent bool
	// NoTLS servers do not offer STARTTLS; BrokenTLS ones break the handshake
	// off.
	NoTLS, BrokenTLS bool
	// NoPipelining servers do not offer it, and note it when it is done.
	NoPipelining bool
	// NoUTF8 servers do not offer SMTPUTF8.
	NoUTF8 bool
	// Act says what to do at a moment; nil, and the zero Act, do what the local
	// part of the recipient says.
	Act func(Moment) Act
}

// Moment is where a session stands.
type Moment struct {
	Stage Stage
	Helo  string
	From  string
	To    string // the recipient; at Data and Dot each in turn
	// Before is how often this sender, recipient and stage were seen before,
	// and Since how long ago for the first time.
	Before int
	Since  time.Duration
}

// Act is what a server does out of the ordinary.
type Act struct {
	Delay time.Duration // before anything else
	Reply string        // such as "451 4.7.1 later"; "" as usual
	Drop  bool          // the connection, without a reply; at Dot the message counts as taken
	Mute  bool          // no answer, the connection stays
}

func (a Act) none() bool { return a == Act{} }

// act asks the script and the local part.
func (h *host) act(m Moment) Act {
	if h.script.Act != nil {
		if a := h.script.Act(m); !a.none() {
			return a
		}
	}
	return byLocalPart(m, h.net.conf.Again)
}

// byLocalPart plays the parts of doc.go.
func byLocalPart(m Moment, again time.Duration) Act {
	local, _, _ := strings.Cut(m.To, "@")
	words := strings.Split(strings.ToLower(local), "+")
	arg := func(i int, def string) string {
		if i < len(words) && words[i] != "" {
			return words[i]
		}
		return def
	}
	num := func(i, def int) int {
		n, err := strconv.Atoi(arg(i, ""))
		if err != nil || n < 0 || n > 86400 {
			return def
		}
		return n
	}
	switch {
	case words[0] == "bounce" && m.Stage == RcptTo:
		return Act{Reply: refusal(num(1, 550), again)}
	case words[0] == "defer" && m.Stage == RcptTo && m.Before < num(2, 1):
		return Act{Reply: refusal(num(1, 451), again)}
	case words[0] == "greylist" && m.Stage == RcptTo:
		if wait := time.Duration(num(1, int(again/time.Second))) * time.Second; m.Since < wait {
			return Act{Reply: "450 4.2.0 Greylisted, try again in " + seconds(wait-m.Since)}
		}
	case words[0] == "slow" && m.Stage == Dot:
		return Act{Delay: time.Duration(num(1, 5)) * time.Second}
	case words[0] == "drop" && arg(1, "dot") == string(m.Stage) && m.Before < num(2, 1):
		return Act{Drop: true}
	case words[0] == "mute" && arg(1, "rcpt") == string(m.Stage):
		return Act{Mute: true}
	}
	return Act{}
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d+time.Second-1)/time.Second)) + " seconds"
}

// refusal gives a usual text for a code, as real servers word it.
func refusal(code int, again time.Duration) string {
	texts := map[int]string{
		421: "4.3.2 Service shutting down, try again in " + seconds(again),
		450: "4.2.1 Mailbox busy, try again in " + seconds(again),
		451: "4.3.0 Local error in processing, try again in " + seconds(again),
		452: "4.2.2 Mailbox full, try again in " + seconds(again),
		550: "5.1.1 User unknown",
		551: "5.1.6 User has moved",
		552: "5.2.2 Mailbox full",
		553: "5.1.3 Mailbox name not allowed",
		554: "5.7.1 Message refused by policy",
	}
	text, ok := texts[code]
	switch {
	case ok:
	case code >= 400 && code < 500:
		text = "4.0.0 Not now, try again in " + seconds(again)
	case code >= 500 && code < 600:
		text = "5.0.0 No"
	default:
		code, text = 550, texts[550]
	}
	return strconv.Itoa(code) + " " + text
}

// history remembers what was seen, within a bound.
type history struct {
	mu   sync.Mutex
	seen map[string]sighting
}

type sighting struct {
	first time.Time
	times int
}

const maxHistory = 100_000

func newHistory() *history { return &history{seen: make(map[string]sighting)} }

// note counts a sighting and tells what was before it.
func (h *history) note(now time.Time, stage Stage, from, to string) (before int, since time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.seen) >= maxHistory {
		clear(h.seen)
	}
	key := string(stage) + " " + from + " " + strings.ToLower(to)
	s, ok := h.seen[key]
	if !ok {
		s.first = now
	}
	before = s.times
	s.times++
	h.seen[key] = s
	return before, now.Sub(s.first)
}
