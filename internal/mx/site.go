package mx

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// maxSite bounds a site's name in octets: it is a key of tables and limits.
const maxSite = 200

// site gives the name of the site that hosts belong to. What depends on it is
// whom the recipient's domain shares connections, limits and rests with.
func site(domain string, hosts []Host) string {
	names := make([]string, 0, len(hosts))
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if s := common(names, provider); s != "" {
		return s
	}
	// A domain's own servers are not rolled up: below a suffix that the list
	// does not know, each name may be somebody else.
	if s := common(names, registrable); s != "" && s != registrable(domain) {
		return s
	}
	joined := strings.Join(names, ",")
	if len(joined) <= maxSite {
		return joined
	}
	sum := sha256.Sum256([]byte(joined))
	return names[0][:min(len(names[0]), maxSite-20)] + ",+" + hex.EncodeToString(sum[:8])
}

// common gives what a function says of all names, or "" when it says more than
// one thing, or nothing.
func common(names []string, of func(string) string) string {
	s := of(names[0])
	for _, n := range names[1:] {
		if of(n) != s {
			return ""
		}
	}
	return s
}

// registrable gives the registrable domain of a name, or "".
func registrable(name string) string {
	d, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return ""
	}
	return d
}

// provider gives the site of a known provider's host, or "". The names of their
// hosts are spread over several domains, or differ for each customer.
func provider(host string) string {
	for _, p := range providers() {
		for suffix := range strings.FieldsSeq(p.suffixes) {
			if rest, ok := strings.CutSuffix(host, suffix); ok && (rest == "" || strings.HasSuffix(rest, ".")) {
				return p.site
			}
		}
	}
	return ""
}

type providerRow struct{ site, suffixes string }

// providers are those whose hosts are seen most. One site is one set of
// servers with one policy.
func providers() []providerRow {
	return []providerRow{
		// aspmx.l.google.com, alt1.aspmx.l.google.com, aspmx2.googlemail.com,
		// gmail-smtp-in.l.google.com, smtp.google.com
		{"google.com", "google.com googlemail.com psmtp.com"},
		// example-com.mail.protection.outlook.com, example-com.b-v1.mx.microsoft,
		// outlook-com.olc.protection.outlook.com
		{"outlook.com", "protection.outlook.com mx.microsoft eo.outlook.com protection.office365.us"},
		{"outlook.cn", "protection.partner.outlook.cn"},
		// mta5.am0.yahoodns.net; AOL, AT&T, Sky and others too
		{"yahoodns.net", "yahoodns.net"},
		{"yahoo.co.jp", "mail.yahoo.co.jp"},
		// mx01.mail.icloud.com, of people's own domains too
		{"icloud.com", "mail.icloud.com mail.me.com"},
		{"mimecast.com", "mimecast.com mimecast.co.za mimecast-offshore.com mimecast.org"},
		{"pphosted.com", "pphosted.com gpphosted.com"},
		{"ppe-hosted.com", "ppe-hosted.com"},
		{"messagelabs.com", "messagelabs.com"},
		{"iphmx.com", "iphmx.com"},
		{"barracudanetworks.com", "barracudanetworks.com"},
		{"trendmicro.com", "in.tmes.trendmicro.com in.tmes.trendmicro.eu in.hes.trendmicro.com in.hes.trendmicro.eu"},
		{"sophos.com", "prod.hydra.sophos.com mail.sophos.com"},
		{"fireeyecloud.com", "fireeyecloud.com fireeyegov.com"},
		{"mailcontrol.com", "mailcontrol.com"},
		{"hornetsecurity.com", "hornetsecurity.com antispameurope.com"},
		{"antispamcloud.com", "antispamcloud.com spamexperts.com spamexperts.net spamexperts.eu"},
		// Fastmail
		{"messagingengine.com", "messagingengine.com"},
		{"zoho.com", "zoho.com zoho.eu zoho.in zoho.com.au zoho.jp zohomail.com zohomail.eu zohomail.in zohocloud.ca zoho.sa"},
		{"one.com", "one.com"},
		{"protonmail.ch", "protonmail.ch"},
		{"yandex.net", "yandex.net yandex.ru"},
		{"mail.ru", "mail.ru"},
		{"qq.com", "qq.com"},
		{"netease.com", "netease.com ym.163.com"},
		{"mxhichina.com", "mxhichina.com aliyun.com alibaba-inc.com"},
		{"gmx.net", "gmx.net web.de mail.com"},
		{"ionos.com", "ionos.de ionos.com ionos.co.uk ionos.fr ionos.es ionos.it kundenserver.de 1and1.com 1and1.co.uk 1and1.fr 1and1.es perfora.net"},
		{"strato.de", "rzone.de"},
		{"ovh.net", "ovh.net ovh.ca"},
		{"gandi.net", "gandi.net"},
		{"infomaniak.com", "infomaniak.ch infomaniak.com"},
		{"secureserver.net", "secureserver.net"},
		{"emailsrvr.com", "emailsrvr.com"},
		{"registrar-servers.com", "registrar-servers.com"},
		{"privateemail.com", "privateemail.com"},
		{"hostinger.com", "hostinger.com"},
		{"titan.email", "titan.email flockmail.com"},
		{"migadu.com", "migadu.com"},
		{"forwardemail.net", "forwardemail.net"},
		{"improvmx.com", "improvmx.com"},
		{"cloudflare.net", "mx.cloudflare.net"},
		{"simplelogin.co", "simplelogin.co"},
		// inbound-smtp.eu-west-1.amazonaws.com
		{"amazonses.com", "inbound-smtp.us-east-1.amazonaws.com inbound-smtp.us-west-2.amazonaws.com inbound-smtp.eu-west-1.amazonaws.com"},
		{"mailgun.org", "mailgun.org"},
		{"sendgrid.net", "mx.sendgrid.net"},
	}
}
