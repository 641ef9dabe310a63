package track

import (
	"testing"

	"pennypost"
)

// User agents as they are seen in the wild, and what events are to say of them
// (contract/tracking.md §4, contract/webhooks.md §6.4 and §6.5).
func TestAgents(t *testing.T) {
	soft := func(name, company, family string) pennypost.Software {
		return pennypost.Software{Name: name, Company: company, Family: family}
	}
	var unknown pennypost.Software
	linux := soft("Linux", "", "Linux")
	windows := soft("Windows 10", microsoft, "Windows")
	macos := soft("macOS 10.15", apple, "macOS")
	const safariTail = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
	const chromeTail = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0"
	tests := []struct {
		ua         string
		kind       agentKind
		client, os pennypost.Software
		platform   pennypost.Platform
	}{
		{
			"Mozilla/5.0 (X11; Linux x86_64; rv:137.0) Gecko/20100101 Firefox/137.0", agentReader,
			soft("Firefox 137.0", mozilla, "Firefox"), linux, pennypost.PlatformDesktop,
		},
		{
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + chromeTail + " Safari/537.36", agentReader,
			soft("Chrome 119.0", google, "Chrome"), windows, pennypost.PlatformDesktop,
		},
		{
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + chromeTail + " Safari/537.36 Edg/119.0.2151.44", agentReader,
			soft("Edge 119.0", microsoft, "Edge"), windows, pennypost.PlatformDesktop,
		},
		{
			"Mozilla/5.0 (Windows NT 6.1) " + chromeTail + " Safari/537.36 OPR/105.0.0.0", agentReader,
			soft("Opera 105.0", "Opera", "Opera"), soft("Windows 7", microsoft, "Windows"), pennypost.PlatformDesktop,
		},
		{
			"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + safariTail + " Version/17.1 Safari/605.1.15", agentReader,
			soft("Safari 17.1", apple, "Safari"), macos, pennypost.PlatformDesktop,
		},
		{
			"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_1 like Mac OS X) " + safariTail + " Version/17.1 Mobile/15E148 Safari/604.1", agentReader,
			soft("Safari mobile 17.1", apple, "Safari mobile"), soft("iOS 17.1", apple, "iOS"), pennypost.PlatformMobile,
		},
		{
			"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) " + safariTail + " CriOS/119.0.6045.41 Mobile/15E148 Safari/604.1", agentReader,
			soft("Chrome Mobile 119.0", google, "Chrome Mobile"), soft("iOS 16.6", apple, "iOS"), pennypost.PlatformMobile,
		},
		{
			"Mozilla/5.0 (Linux; Android 14; Pixel 8) " + chromeTail + " Mobile Safari/537.36", agentReader,
			soft("Chrome Mobile 119.0", google, "Chrome Mobile"), soft("Android 14", google, "Android"), pennypost.PlatformMobile,
		},
		{
			"Mozilla/5.0 (Android 13; Mobile; rv:120.0) Gecko/120.0 Firefox/120.0", agentReader,
			soft("Firefox Mobile 120.0", mozilla, "Firefox Mobile"), soft("Android 13", google, "Android"), pennypost.PlatformMobile,
		},
		{
			"Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36", agentReader,
			soft("Samsung Internet 23.0", "Samsung", "Samsung Internet"), soft("Android 13", google, "Android"), pennypost.PlatformMobile,
		},
		{
			"Mozilla/5.0 (Linux; Android 12; CUBOT KINGKONG) " + chromeTail + " Mobile Safari/537.36", agentReader,
			soft("Chrome Mobile 119.0", google, "Chrome Mobile"), soft("Android 12", google, "Android"), pennypost.PlatformMobile,
		},
		{
			"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", agentReader,
			soft("Internet Explorer 11.0", microsoft, "Internet Explorer"), soft("Windows 7", microsoft, "Windows"), pennypost.PlatformDesktop,
		},
		{
			"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + chromeTail + " Safari/537.36", agentReader,
			soft("Chrome 119.0", google, "Chrome"), soft("Chrome OS", google, "Chrome OS"), pennypost.PlatformDesktop,
		},

		{
			"Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.4.1", agentReader,
			soft("Thunderbird 115.4", mozilla, "Thunderbird"), linux, pennypost.PlatformDesktop,
		},
		{
			"Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/8.0; .NET4.0C; Microsoft Outlook 16.0.17029; ms-office; MSOffice 16)", agentReader,
			soft("Outlook 16.0", microsoft, "Outlook"), windows, pennypost.PlatformDesktop,
		},
		{
			"Mozilla/4.0 (compatible; ms-office; MSOffice 16)", agentReader,
			soft("Outlook 2016", microsoft, "Outlook 2016"), unknown, pennypost.PlatformDesktop,
		},
		{
			"Outlook-iOS/711.2620504.prod.iphone (2.100.0)", agentReader,
			soft("Outlook Mobile", microsoft, "Outlook Mobile"), soft("iOS", apple, "iOS"), pennypost.PlatformMobile,
		},
		{
			"Outlook-Android/2.0", agentReader,
			soft("Outlook Mobile", microsoft, "Outlook Mobile"), soft("Android", google, "Android"), pennypost.PlatformMobile,
		},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + safariTail, agentReader, appleMail(), macos, pennypost.PlatformDesktop},
		{
			"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) " + safariTail + " Mobile/15E148", agentReader,
			appleMail(), soft("iOS 17.1", apple, "iOS"), pennypost.PlatformMobile,
		},

		// What fetches for many readers: nothing of the rest is true.
		{
			"Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", agentProxy,
			soft("Gmail", google, "Gmail"), unknown, pennypost.PlatformWebMail,
		},
		{
			"YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", agentProxy,
			soft("Yahoo! Mail", "Yahoo", "Yahoo! Mail"), unknown, pennypost.PlatformWebMail,
		},
		{"Mozilla/5.0", agentProxy, appleMail(), unknown, pennypost.PlatformUnknown},

		{"", agentReader, unknown, unknown, pennypost.PlatformUnknown},
		{"Something/1.0", agentReader, unknown, unknown, pennypost.PlatformUnknown},
		{"Go-http-client/2.0", agentLibrary, unknown, unknown, pennypost.PlatformUnknown},
		{"python-requests/2.31.0", agentLibrary, unknown, unknown, pennypost.PlatformUnknown},
		{"curl/8.4.0", agentLibrary, unknown, unknown, pennypost.PlatformUnknown},
		{"Java/17.0.8", agentLibrary, unknown, unknown, pennypost.PlatformUnknown},
		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", agentScanner, unknown, unknown, pennypost.PlatformUnknown},
		{"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", agentScanner, unknown, unknown, pennypost.PlatformUnknown},
		{
			"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/119.0.0.0 Safari/537.36", agentScanner,
			unknown, unknown, pennypost.PlatformUnknown,
		},
		{"facebookexternalhit/1.1", agentScanner, unknown, unknown, pennypost.PlatformUnknown},
	}
	a := newAgents()
	for _, tt := range tests {
		got := a.read(tt.ua)
		if want := (agent{tt.kind, tt.client, tt.os, tt.platform}); got != want {
			t.Errorf("%s\n got %+v\nwant %+v", tt.ua, got, want)
		}
	}
}

// Any text is read without a fault, and what it names comes from our tables:
// statistics have the families as keys.
func FuzzAgent(f *testing.F) {
	for _, s := range []string{"Mozilla/5.0 (Windows NT ) Chrome/", "Version/", "Android ", "Firefox/..1", "MSIE \xff", "Outlook-iOS Mac OS X 1_"} {
		f.Add(s)
	}
	a := newAgents()
	families := map[string]bool{"": true, "Apple Mail": true}
	for _, row := range a.clients {
		families[row.family], families[row.mobile] = true, true
	}
	f.Fuzz(func(t *testing.T, ua string) {
		got := a.read(ua)
		if !families[got.client.Family] {
			t.Errorf("%q is of family %q", ua, got.client.Family)
		}
		if len(got.client.Name) > 60 || len(got.os.Name) > 60 {
			t.Errorf("%q has names %q and %q", ua, got.client.Name, got.os.Name)
		}
		switch got.platform {
		case pennypost.PlatformWebMail, pennypost.PlatformDesktop, pennypost.PlatformMobile, pennypost.PlatformUnknown:
		default:
			t.Errorf("%q has platform %q", ua, got.platform)
		}
	})
}
