package bounce

import "strings"

// trust is how far an enhanced code decides.
type trust int8

const (
	// whole: the code is precise and the text is not asked.
	whole trust = iota + 1
	// hard: the code means HardBounce unless the text names another cause.
	hard
	// some: the text may say it more exactly, but nothing makes a HardBounce.
	some
	// open: the code says little; the text may say anything.
	open
)

type row struct {
	match
	trust trust
}

// enhancedRow gives what an enhanced code's subject and detail mean
// (RFC 3463 §3, the registry of RFC 5248, Exchange's and Gmail's own).
func enhancedRow(sd string) (row, bool) {
	r, ok := exactRow(sd)
	if !ok {
		r, ok = subjectRow(sd)
	}
	r.rule = "status-" + sd
	return r, ok
}

func exactRow(sd string) (row, bool) {
	switch sd {
	case "1.1", // bad destination mailbox
		"1.2",  // bad destination system: contract/bounces.md §6
		"1.6",  // moved, no forwarding address
		"1.10": // RFC 7505 null MX; Exchange: recipient not found by SMTP address lookup
		return row{match{typ: HardBounce}, hard}, true
	case "1.3": // bad syntax
		return row{match{typ: BadEmailAddress}, some}, true
	case "1.4": // ambiguous
		return row{match{typ: SoftBounce}, some}, true
	case "1.7", "1.8": // the sender's address
		return row{match{typ: Blocked}, whole}, true
	case "2.1": // disabled: contract/bounces.md §5 says soft; Gmail: also too many for one user
		return row{match{typ: SoftBounce}, some}, true
	case "2.2", "2.3", "3.4": // full; too long for it; too big for the system
		return row{match{typ: SoftBounce}, whole}, true
	case "2.4", "3.1", "3.2", "3.3": // list expansion; system full, closed, not capable
		return row{match{typ: SoftBounce}, some}, true
	case "4.3", "4.4", "4.6", "4.14", "4.310", "4.312": // directory, routing, loop, DNS
		return row{match{typ: DNSError}, whole}, true
	case "6.7", "6.8", "6.9", "6.10": // RFC 6531: internationalised mail not possible
		return row{match{typ: SoftBounce}, whole}, true
	case "7.23", "7.24", "7.27": // RFC 7372 SPF, RFC 7505 sender with null MX: the sender domain's
		return row{match{typ: Blocked}, some}, true
	case "7.509": // Exchange Online: DMARC
		return row{match{typ: DMARCPolicy}, whole}, true
	case "7.25", "7.28", "7.511", "7.606", "7.705", "7.708", "7.750":
		// no reverse DNS (RFC 7372); mail flood (RFC 7372's successor); Exchange
		// Online: banned, banned address, quota, low reputation, unregistered
		return row{match{typ: Blocked, block: true}, some}, true
	case "7.20", "7.21", "7.22", "7.26", "7.29", "7.515": // authentication of the sender domain
		return row{match{typ: Blocked}, some}, true
	case "7.13", "7.17", "7.18", "7.19": // user disabled, owner changed: RFC 7293
		return row{match{typ: SoftBounce}, some}, true
	case "7.124", "7.129", "7.130", "7.131", "7.132", "7.133", "7.134", "7.135", "7.136", "7.193":
		return row{match{typ: Blocked}, whole}, true // Exchange: this recipient takes mail of some senders only
	case "7.501", "7.502", "7.503", "7.506": // Exchange Online: spam
		return row{match{typ: SpamNotification, block: true}, whole}, true
	}
	return row{}, false
}

// subjectRow gives what a subject means with a detail that we have no row for.
func subjectRow(sd string) (row, bool) {
	subject, _, _ := strings.Cut(sd, ".")
	switch subject {
	case "0", "1", "2", "3", "5":
		return row{match{typ: Unknown}, open}, true
	case "4":
		return row{match{typ: SoftBounce}, some}, true
	case "6":
		return row{match{typ: SoftBounce}, some}, true
	case "7":
		return row{match{typ: Blocked, block: true}, some}, true
	}
	return row{}, false
}

const patternsGreylist = "greylist|graylist|grey list|gray list|grey-list|gray-list|postgrey|milter-greylist|" +
	"unknown triplet|new triplet"

type textRule struct {
	match
	patterns string
}

// textRules gives the rules on words, the first that fits deciding. What says
// nothing about the recipient stands before what says the recipient is
// unknown. Words are those of real servers.
func textRules() []textRule {
	return []textRule{
		{match{"virus-text", VirusNotification, false}, "virus detected|virus found|contains a virus|" +
			"contained a virus|infected with|infected message|message infected|message is infected|malware detected|" +
			"contains malware|contained malware|found virus|virus infected|clamav|eicar|virus (|virus:|virus rejected|" +
			"carries a virus|virus in |a known virus"},
		{match{"dmarc-text", DMARCPolicy, false}, "dmarc"},
		{match{"challenge-text", ChallengeVerification, false}, "spam arrest|spamarrest|mailfrontier|boxbe|" +
			"challenge-response|challenge/response|challenge response"},
		{match{"subscribe-text", Subscribe, false}, "list has no subscribers"},
		{match{"greylist-text", SoftBounce, false}, patternsGreylist},
		{match{"recipient-restricted-text", Blocked, false}, "authrequired|notauthorized|" +
			"not allowed to send to this|not permitted to send to this|restricted to authenticated|" +
			"only accepts messages from|only accept mail from|sender not allowed for this recipient|" +
			"blocked by recipient|blocked by the recipient|blocked by user|recipient has blocked|recipient's blocklist"},
		{match{"rate-text", Blocked, true}, "too many messages|too many connections|too many concurrent|" +
			"too many sessions|too many mails|too many emails|too many errors|too many bad|too many invalid|" +
			"too much mail|too many unknown|rate limit|ratelimit|rate-limit|throttl|exceeded the rate|sending rate|" +
			"connection rate|message rate|connection limit|connections from your|maximum number of connections|" +
			"excessive|unusual rate|too fast|mail flood|flooding|max message per connection|" +
			"number of messages&exceed|user complaints|temporarily deferred due to|[tss0|[tss1|[ts0|[ts1"},
		{match{"recipient-rate-text", SoftBounce, false}, "receiving mail at a rate|receiving mail too quickly|" +
			"too many messages to this recipient|too many recipients"},
		{match{"spam-text", SpamNotification, false}, "likely unsolicited|looks like spam|considered spam|" +
			"detected as spam|identified as spam|classified as spam|appears to be spam|looks spam|spam score|spam detected|" +
			"spam message|message is spam|is spam|as spam|spam content|spam-like|rejected as spam|suspected spam|" +
			"probable spam|contains spam|high spam|spam found|spam filter|spam rejected|rejected for spam|spam mail|" +
			"content filter|content rejected|message content&reject|rejected due to content|because of its content|" +
			"due to unacceptable content|unacceptable content|rejected by content|phish|bulk mail|junk mail|suspicious content|" +
			"url in this email|uri listed|antispam|anti-spam|spamassassin|mxh-rejected|detected that this message is"},
		{match{"blocklist-text", Blocked, true}, "spamhaus|spamcop|barracudacentral|sorbs|uceprotect|surbl|uribl|" +
			"dnsbl|dns bl|rbl-|rbl |(rbl| rbl|blacklist|black list|blocklist|block list|block-list|denylist|" +
			"blocked using|blocked by|is blocked|been blocked|was blocked|are blocked|senderscore|sender score|cloudmark|" +
			"invaluement|mailspike|abusix|nixspam|psbl|listed at|listed on|listed in|banned|denied by|" +
			"[ph01]|[bl2|[cs01]|block&ip address|on our block"},
		{match{"reputation-text", Blocked, true}, "reputation|bad ip|suspicious activity|unsolicited mail originating|" +
			"unsolicited email|sent spam|source of spam|sending spam|spam source|spammer|abuse|ip is refused|" +
			"ip address is not allowed|ip not allowed|ip is not allowed|your ip|network is on|mail from ip|" +
			"client host rejected|connection refused by policy|not accepting mail from|is not allowed to send|" +
			"messages from your|messages from [|your network|hs1|hvu|refused to talk"},
		{match{"source-dns-text", Blocked, true}, "reverse dns|rdns|ptr record|ptr lookup|no ptr|reverse hostname|" +
			"reverse lookup|cannot find your|helo|generic host|dynamic ip|dynamic pool|dial-up|dialup|bad dns ptr"},
		{match{"authentication-text", Blocked, false}, "spf|dkim|unauthenticated|not authenticated|" +
			"authentication checks|sender id|5322.from"},
		{match{"relay-text", SoftBounce, false}, "relay access denied|relaying denied|relay not permitted|" +
			"relaying not|not permitted to relay|unable to relay|not relay|relay denied|no relaying|" +
			"relaying is prohibited|relaying prohibited|authentication required|authentication is required|" +
			"not local&gateway|rcpthosts|must authenticate|please authenticate"},
		{match{"loop-text", DNSError, false}, "loops back|mail loop|too many hops|routing loop|hop count|" +
			"loop detected|loop back to myself|too many received"},
		{match{"sender-text", Blocked, false}, "sender address|sender domain|sender verif|verify sender|sender rejected|" +
			"sender denied|sender unknown|sender is not|sender not|sender&does not exist|sender&not found|callout|" +
			"envelope sender|envelope from|from address|from: address|from header|mail from&reject|mail from:|return-path|" +
			"return path|domain of sender|sender's domain|your domain|access denied&sender|from domain|originator|" +
			"domain name not found&sender|backscatter"},
		{match{"full-text", SoftBounce, false}, "mailbox full|mailbox is full|mailbox&full|over quota|overquota|" +
			"over-quota|quota exceeded|exceeded quota|exceeded&quota|exceeds&quota|quota full|quota violation|" +
			"out of quota|exceeded storage|exceeds storage|storage limit|storage quota|disk quota|disk full|" +
			"insufficient disk|insufficient system storage|insufficient storage|out of storage|inbox full|inbox is full|" +
			"storage allocation|no space left|not enough space|quotaexceeded|allotted|maildir over|full mailbox|" +
			"mailfolder is full|user is over|account is full|not enough storage"},
		{match{"size-text", SoftBounce, false}, "message too large|message too big|message is too large|" +
			"message is too big|size limit|exceeds size|message size exceeds|exceeds maximum|exceeds fixed|" +
			"larger than|maximum message size|size exceeds|too large message|message exceeds"},
		{match{"later-text", SoftBounce, false}, "try again|try later|temporarily|temporary|timed out|timeout|" +
			"server busy|service unavailable|service not available|overload|system load|local error|lookup failure|" +
			"unable to verify|could not verify|verification failed|internal error|out of memory|resources"},
		{match{"disabled-text", SoftBounce, false}, "disabled|deactivated|suspended|inactive|not active|" +
			"account is locked|account locked|mailbox is locked|mailbox locked|expired|frozen|discontinued|dormant|" +
			"on hold|is closed"},
		{match{"policy-text", Blocked, true}, "policy|not accepted due to|administratively|administrative prohibition|" +
			"prohibited|not authorized|not authorised|unauthorized|delivery not authorized|message refused|" +
			"rejected by recipient&policy|security reasons|local rule|access denied|permission denied|forbidden"},
		{match{"dns-text", DNSError, false}, "host not found|name service error|name server|nameserver|no mx|" +
			"mx record|dns error|dns fail|dns lookup|unrouteable mail domain|unroutable mail domain|nullmx|null mx|" +
			"domain not found|host unknown|unknown host|unknown domain|domain name not found|domain unknown"},
		{match{"unknown-user-text", HardBounce, false}, "user unknown|unknown user|no such user|no such recipient|" +
			"no such mailbox|no such person|no such address|no such account|no such local user|no such email|" +
			"recipient unknown|unknown recipient|unknown local|user not found|user is not found|mailbox not found|" +
			"recipient not found|recipientnotfound|recipnotfound|address not found|account not found|address unknown|" +
			"unknown address|unknown mailbox|mailbox unknown|mailbox does not exist|mailbox doesn't exist|" +
			"recipient does not exist|recipient address does not exist|user does not exist|user doesn't exist|" +
			"account does not exist|account that you tried to reach does not exist|address does not exist|" +
			"address doesn't exist|addressee unknown|does not have an account|doesn't have a|does not have a|" +
			"invalid recipient|invalid mailbox|invalid user|no mailbox here|mailbox not exist|user not exist|" +
			"not a known user|not our customer|is not a valid mailbox|no valid recipient|not a valid user|" +
			"no account by that name|unknown in virtual|unknown in local|unknown in relay|user undefined|" +
			"there is no one at this address|no one by that name|" +
			"mailbox unavailable&s2017062302|5.1.0 address rejected|unknown or illegal alias|not listed in&directory|" +
			"recipient&not exist|mailbox for @ not|benutzer unbekannt|empfänger unbekannt|utilisateur inconnu|" +
			"adresse inconnue|usuario desconocido|utente sconosciuto|invalid address&recipient"},
	}
}
