package track

import (
	"strings"

	"pennypost"
)

// agentKind is what kind of program a user agent belongs to.
type agentKind int8

const (
	agentReader  agentKind = iota // a browser, a mail program or something unknown
	agentProxy                    // fetches images for the readers of a mailbox provider
	agentLibrary                  // an HTTP library: a program of somebody's, mostly in a data centre
	agentScanner                  // looks at mail or links for their safety, or for a preview
)

// agent is what a user agent tells.
type agent struct {
	kind       agentKind
	client, os pennypost.Software
	platform   pennypost.Platform
}

// agents reads user agents by the tables of agenttable.go. Well-known libraries
// take the proxy of Gmail for Firefox and Thunderbird for an unknown Gecko, so
// the tables are our own.
type agents struct {
	scanners, libraries []string
	clients             []clientRow
	windows             map[string]string
}

func newAgents() *agents {
	return &agents{scanners: scannerMarks(), libraries: libraryMarks(), clients: clientRows(), windows: windowsNames()}
}

// read takes what a user agent says about itself, which anybody can write.
func (a *agents) read(ua string) agent {
	ua = strings.TrimSpace(ua)
	if ua == "" {
		return agent{platform: pennypost.PlatformUnknown}
	}
	lower := strings.ToLower(ua)
	// Cubot makes telephones.
	if hasMark(strings.ReplaceAll(lower, "cubot", ""), a.scanners) {
		return agent{kind: agentScanner, platform: pennypost.PlatformUnknown}
	}
	if hasMark(lower, a.libraries) {
		return agent{kind: agentLibrary, platform: pennypost.PlatformUnknown}
	}
	// Apple's Mail Privacy Protection says this and nothing else.
	if ua == "Mozilla/5.0" {
		return agent{kind: agentProxy, client: appleMail(), platform: pennypost.PlatformUnknown}
	}
	found := agent{os: a.system(ua)}
	mobile := found.os.Family == "iOS" || found.os.Family == "Android" || found.os.Family == "Windows Phone"
	for i := range a.clients {
		row := &a.clients[i]
		at := strings.Index(ua, row.mark)
		if at < 0 || row.not != "" && strings.Contains(ua, row.not) {
			continue
		}
		if row.proxy { // the rest of it is made up
			return agent{kind: agentProxy, client: row.software(""), platform: pennypost.PlatformWebMail}
		}
		found.client = row.software(version(ua, at+len(row.mark), row.version))
		if mobile && row.mobile != "" {
			found.client.Family = row.mobile
			found.client.Name = strings.TrimSpace(row.mobile + strings.TrimPrefix(found.client.Name, row.family))
		}
		break
	}
	switch {
	case mobile || strings.Contains(ua, "Mobile"):
		found.platform = pennypost.PlatformMobile
	case found.os.Family != "" || found.client.Family != "":
		found.platform = pennypost.PlatformDesktop
	default:
		found.platform = pennypost.PlatformUnknown
	}
	return found
}

func hasMark(lower string, marks []string) bool {
	for _, m := range marks {
		if strings.Contains(lower, m) {
			return true
		}
	}
	return false
}

// version gives the first two numbers of the version that begins at an index,
// or behind another mark.
func version(ua string, at int, mark string) string {
	if mark != "" {
		i := strings.Index(ua, mark)
		if i < 0 {
			return ""
		}
		at = i + len(mark)
	}
	end, dots := at, 0
	for ; end < len(ua) && end-at < 16; end++ {
		c := ua[end]
		if c == '.' || c == '_' {
			if dots++; dots == 2 {
				break
			}
			continue
		}
		if c < '0' || c > '9' {
			break
		}
	}
	return strings.TrimSuffix(strings.ReplaceAll(ua[at:end], "_", "."), ".")
}

// system finds the operating system.
func (a *agents) system(ua string) pennypost.Software {
	named := func(family, company, v string) pennypost.Software {
		return pennypost.Software{Name: strings.TrimSpace(family + " " + v), Company: company, Family: family}
	}
	after := func(mark string) (string, bool) {
		i := strings.Index(ua, mark)
		if i < 0 {
			return "", false
		}
		return version(ua, i+len(mark), ""), true
	}
	if v, ok := after("Windows Phone "); ok {
		return named("Windows Phone", microsoft, v)
	}
	if v, ok := after("Windows NT "); ok {
		return named("Windows", microsoft, a.windows[v])
	}
	if v, ok := after("iPhone OS "); ok {
		return named("iOS", apple, v)
	}
	if v, ok := after("CPU OS "); ok {
		return named("iOS", apple, v)
	}
	if v, ok := after("Android "); ok {
		return named("Android", google, v)
	}
	if v, ok := after("Mac OS X "); ok {
		return named("macOS", apple, v)
	}
	switch {
	case strings.Contains(ua, "Outlook-iOS"), strings.Contains(ua, "iPhone"), strings.Contains(ua, "iPad"):
		return named("iOS", apple, "")
	case strings.Contains(ua, "Android"):
		return named("Android", google, "")
	case strings.Contains(ua, "Macintosh"):
		return named("macOS", apple, "")
	case strings.Contains(ua, "Windows"):
		return named("Windows", microsoft, "")
	case strings.Contains(ua, "CrOS"):
		return named("Chrome OS", google, "")
	case strings.Contains(ua, "Linux"):
		return named("Linux", "", "")
	}
	return pennypost.Software{}
}
