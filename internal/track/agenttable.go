package track

import "pennypost"

const (
	apple     = "Apple"
	google    = "Google"
	microsoft = "Microsoft"
	mozilla   = "Mozilla Foundation"
)

func appleMail() pennypost.Software {
	return pennypost.Software{Name: "Apple Mail", Company: apple, Family: "Apple Mail"}
}

// clientRow knows a program by a mark in the user agent. The first row that
// fits counts.
type clientRow struct {
	mark, not       string // not must be absent
	version         string // what stands before the version; "": the mark itself
	family, company string
	mobile          string // its family on a telephone, when it is another
	proxy           bool
}

func (r *clientRow) software(v string) pennypost.Software {
	s := pennypost.Software{Name: r.family, Company: r.company, Family: r.family}
	if v != "" {
		s.Name += " " + v
	}
	return s
}

// clientRows has what fetches images for the readers of a mailbox provider,
// then mail programs, then browsers, which nearly all claim to be others too.
func clientRows() []clientRow {
	const none = "\x00" // in no user agent: the version is left out
	return []clientRow{
		{mark: "GoogleImageProxy", family: "Gmail", company: google, proxy: true},
		{mark: "YahooMailProxy", family: "Yahoo! Mail", company: "Yahoo", proxy: true},
		{mark: "YandexImageResizer", family: "Yandex Mail", company: "Yandex", proxy: true},

		{mark: "Thunderbird/", family: "Thunderbird", company: mozilla},
		{mark: "Outlook-iOS", version: none, family: "Outlook", company: microsoft, mobile: "Outlook Mobile"},
		{mark: "Outlook-Android", version: none, family: "Outlook", company: microsoft, mobile: "Outlook Mobile"},
		{mark: "Microsoft Outlook ", family: "Outlook", company: microsoft},
		{mark: "MacOutlook/", family: "Outlook", company: microsoft},
		{mark: "MSOffice 12", version: none, family: "Outlook 2007", company: microsoft},
		{mark: "MSOffice 14", version: none, family: "Outlook 2010", company: microsoft},
		{mark: "MSOffice 15", version: none, family: "Outlook 2013", company: microsoft},
		{mark: "MSOffice 16", version: none, family: "Outlook 2016", company: microsoft},
		{mark: "ms-office", version: none, family: "Outlook", company: microsoft},
		{mark: "Windows Live Mail", version: none, family: "Windows Live Mail", company: microsoft},
		{mark: "Postbox/", family: "Postbox", company: "Postbox"},
		{mark: "Evolution/", family: "Evolution", company: "GNOME"},
		{mark: "KMail/", family: "KMail", company: "KDE"},
		{mark: "Lotus-Notes/", family: "Lotus Notes", company: "HCL"},
		{mark: "eM Client", version: none, family: "eM Client", company: "eM Client"},
		{mark: "Airmail", version: none, family: "Airmail", company: "Bloop"},
		{mark: "Mailbird", version: none, family: "Mailbird", company: "Mailbird"},
		{mark: "AquaMail", version: none, family: "Aqua Mail", company: "MobiSystems"},
		{mark: "K-9 Mail", version: none, family: "K-9 Mail", company: mozilla},
		{mark: "Zimbra", version: none, family: "Zimbra", company: "Synacor"},

		{mark: "Edg/", family: "Edge", company: microsoft},
		{mark: "EdgA/", family: "Edge", company: microsoft, mobile: "Edge Mobile"},
		{mark: "EdgiOS/", family: "Edge", company: microsoft, mobile: "Edge Mobile"},
		{mark: "Edge/", family: "Edge", company: microsoft, mobile: "Edge Mobile"},
		{mark: "OPR/", family: "Opera", company: "Opera", mobile: "Opera Mobile"},
		{mark: "Opera", version: "Version/", family: "Opera", company: "Opera", mobile: "Opera Mobile"},
		{mark: "SamsungBrowser/", family: "Samsung Internet", company: "Samsung"},
		{mark: "YaBrowser/", family: "Yandex Browser", company: "Yandex"},
		{mark: "Vivaldi/", family: "Vivaldi", company: "Vivaldi"},
		{mark: "UCBrowser/", family: "UC Browser", company: "UCWeb"},
		{mark: "FxiOS/", family: "Firefox", company: mozilla, mobile: "Firefox Mobile"},
		{mark: "CriOS/", family: "Chrome", company: google, mobile: "Chrome Mobile"},
		{mark: "Firefox/", family: "Firefox", company: mozilla, mobile: "Firefox Mobile"},
		{mark: "Chrome/", family: "Chrome", company: google, mobile: "Chrome Mobile"},
		{mark: "Android ", not: "Chrome/", version: none, family: "Android Browser", company: google},
		{mark: "MSIE ", family: "Internet Explorer", company: microsoft},
		{mark: "Trident/", version: "rv:", family: "Internet Explorer", company: microsoft},
		{mark: "Safari/", version: "Version/", family: "Safari", company: apple, mobile: "Safari mobile"},

		// Apple's mail programs are its browser without its name.
		{mark: "AppleWebKit/", not: "Linux", version: none, family: "Apple Mail", company: apple},
	}
}

// scannerMarks are of what looks at mail and links without a person: search
// engines, previews in chats, mail security. In lower case.
func scannerMarks() []string {
	return []string{
		"bot", "spider", "crawl", "slurp", "facebookexternalhit", "whatsapp", "skypeuripreview", "linkpreview", "previewer",
		"headless", "phantomjs", "selenium", "puppeteer", "playwright", "lighthouse",
		"proofpoint", "mimecast", "barracuda", "ironport", "messagelabs", "symantec", "trendmicro", "trend micro", "forcepoint",
		"websense", "sophos", "fortiguard", "fireeye", "cloudmark", "bitdefender", "kaspersky", "mcafee", "zscaler", "netcraft",
		"virustotal", "urlscan", "safebrowsing", "google-safety", "microsoft-safelinks", "phish", "malware", "scanner",
		"linkcheck", "link checker", "validator", "uptime", "pingdom", "monitor",
	}
}

// libraryMarks are of HTTP libraries and tools. In lower case.
func libraryMarks() []string {
	return []string{
		"curl/", "wget/", "python", "aiohttp", "httpx", "go-http-client", "java/", "apache-httpclient", "httpclient", "okhttp",
		"axios/", "node-fetch", "undici", "node.js", "libwww-perl", "lwp", "guzzle", "php/", "ruby", "faraday", "postmanruntime",
		"insomnia", "dart/", "winhttp", "powershell", "reqwest", "hyper/", "jakarta", "scrapy", "httpie",
	}
}

// windowsNames gives the name of a version. Windows 11 says 10.0 too.
func windowsNames() map[string]string {
	return map[string]string{
		"10.0": "10", "6.3": "8.1", "6.2": "8", "6.1": "7", "6.0": "Vista", "5.2": "XP", "5.1": "XP", "5.0": "2000",
	}
}
