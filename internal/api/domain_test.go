package api

import (
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	selectorHost = regexp.MustCompile(`^\d{14}pm\._domainkey\.acme\.test$`)
	keyText      = regexp.MustCompile(`^k=rsa; p=[A-Za-z0-9+/]{300,}=*$`)
)

func TestNewDomain(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	d := r.call(t, by, post, "/domains", `{"Name": "Acme.TEST", "ReturnPathDomain": null}`).ok()
	want := object{
		"ID": d["ID"], "Name": "acme.test", "SPFVerified": false, "SPFHost": "acme.test",
		"SPFTextValue": "v=spf1 a mx include:spf.mail.test ~all", "DKIMVerified": false, "WeakDKIM": false, "DKIMHost": "", "DKIMTextValue": "",
		"DKIMPendingHost": d["DKIMPendingHost"], "DKIMPendingTextValue": d["DKIMPendingTextValue"],
		"DKIMRevokedHost": "", "DKIMRevokedTextValue": "", "SafeToRemoveRevokedKeyFromDNS": false, "DKIMUpdateStatus": "Pending",
		"ReturnPathDomain": "", "ReturnPathDomainVerified": false, "ReturnPathDomainCNAMEValue": "pm.mail.test",
		"CustomTrackingDomain": "", "CustomTrackingDomainCNAMEValue": "", "CustomTrackingVerified": false,
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if host := d.text(t, "DKIMPendingHost"); !selectorHost.MatchString(host) {
		t.Errorf("DKIMPendingHost = %q", host)
	}
	if text := d.text(t, "DKIMPendingTextValue"); !keyText.MatchString(text) {
		t.Errorf("DKIMPendingTextValue = %q", text)
	}
	if diff := cmp.Diff(d, r.call(t, by, get, "/domains/"+d.id(t), "").ok()); diff != "" {
		t.Errorf("read back -created +got:\n%s", diff)
	}
	list := r.call(t, by, get, "/domains/?count=500&offset=0", "").ok()
	wantList := object{"TotalCount": json.Number("1"), "Domains": []any{map[string]any{
		"Name": "acme.test", "SPFVerified": false, "DKIMVerified": false, "WeakDKIM": false, "ReturnPathDomainVerified": false,
		"CustomTrackingVerified": false, "ID": d["ID"],
	}}}
	if diff := cmp.Diff(wantList, list); diff != "" {
		t.Errorf("list -want +got:\n%s", diff)
	}
}

func TestDomainLife(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	d := r.call(t, by, post, "/domains", `{"name": "acme.test", "returnPathDomain": "pm-bounces.acme.test"}`).ok()
	path := "/domains/" + d.id(t)
	if d["ReturnPathDomain"] != "pm-bounces.acme.test" || d["ReturnPathDomainVerified"] != false {
		t.Errorf("return path %v, %v", d["ReturnPathDomain"], d["ReturnPathDomainVerified"])
	}
	change := func(what string, got object, want object) object {
		t.Helper()
		all := maps.Clone(d)
		maps.Copy(all, want)
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("%s -want +got:\n%s", what, diff)
		}
		return got
	}
	d = change("verify without records", r.call(t, by, put, path+"/verifyDkim", "null").ok(), nil)
	d = change("verify return path without records", r.call(t, by, put, path+"/verifyReturnPath", "").ok(), nil)
	r.call(t, by, post, path+"/rotatedkim", "").refused(422, 505, "This DKIM is already being renewed.")

	host, text := d.text(t, "DKIMPendingHost"), d.text(t, "DKIMPendingTextValue")
	r.dns.set(func() {
		r.dns.txt[host] = []string{"v=DKIM1; " + strings.ReplaceAll(text, " ", "")}
		r.dns.cname["pm-bounces.acme.test"] = bounceDomain
	})
	d = change("verify", r.call(t, by, put, path+"/verifyDKIM", "").ok(), object{
		"DKIMVerified": true, "DKIMHost": host, "DKIMTextValue": text, "DKIMPendingHost": "", "DKIMPendingTextValue": "", "DKIMUpdateStatus": "Verified",
	})
	d = change("verify return path", r.call(t, by, put, path+"/verifyReturnPath", "").ok(), object{"ReturnPathDomainVerified": true})

	rotated := r.call(t, by, post, path+"/rotatedkim", "null").ok()
	want := object{
		"Name": "acme.test", "DKIMVerified": true, "WeakDKIM": false, "DKIMHost": host, "DKIMTextValue": text,
		"DKIMPendingHost": rotated["DKIMPendingHost"], "DKIMPendingTextValue": rotated["DKIMPendingTextValue"],
		"DKIMRevokedHost": "", "DKIMRevokedTextValue": "", "SafeToRemoveRevokedKeyFromDNS": false, "DKIMUpdateStatus": "Pending", "ID": d["ID"],
	}
	if diff := cmp.Diff(want, rotated); diff != "" {
		t.Errorf("rotate -want +got:\n%s", diff)
	}
	newHost, newText := rotated.text(t, "DKIMPendingHost"), rotated.text(t, "DKIMPendingTextValue")
	if newHost == host || !selectorHost.MatchString(newHost) || newText == text || !keyText.MatchString(newText) {
		t.Errorf("rotated to %s %s", newHost, newText)
	}
	r.dns.set(func() { r.dns.txt[newHost] = []string{newText} })
	d = change("verify the new key", r.call(t, by, put, path+"/verifydkim/", "").ok(), object{
		"DKIMHost": newHost, "DKIMTextValue": newText, "DKIMRevokedHost": host, "DKIMRevokedTextValue": text,
	})
	// Once verified it stays so, also when the record goes.
	r.dns.set(func() { clear(r.dns.txt) })
	d = change("verify after the record went", r.call(t, by, put, path+"/verifyDkim", "").ok(), nil)

	spf := r.call(t, by, post, path+"/verifySPF", "").ok()
	if diff := cmp.Diff(object{"SPFHost": "acme.test", "SPFVerified": true, "SPFTextValue": "v=spf1 a mx include:spf.mail.test ~all"}, spf); diff != "" {
		t.Errorf("verifyspf -want +got:\n%s", diff)
	}
	if got := r.call(t, by, put, path+"/verifyspf", "").ok(); got["SPFVerified"] != true {
		t.Errorf("PUT verifyspf: %v", got)
	}
	d["SPFVerified"] = true

	d = change("another return path is not verified", r.call(t, by, put, path, `{"ReturnPathDomain": "b.acme.test"}`).ok(),
		object{"ReturnPathDomain": "b.acme.test", "ReturnPathDomainVerified": false})
	d = change("an unknown field is passed over", r.call(t, by, put, path, `{"Name": "evil.test", "DKIMVerified": false, "ID": 1}`).ok(), nil)
	d = change("null clears the return path", r.call(t, by, put, path, `{"ReturnPathDomain": null}`).ok(), object{"ReturnPathDomain": ""})
	r.call(t, by, put, path, `{"returnPathDomain": "c.acme.test"}`).ok()
	d = change("empty clears the return path", r.call(t, by, put, path, `{"ReturnPathDomain": ""}`).ok(), nil)

	d = change("tracking domain", r.call(t, by, put, path, `{"CustomTrackingDomain": "t.acme.test"}`).ok(),
		object{"CustomTrackingDomain": "t.acme.test", "CustomTrackingDomainCNAMEValue": trackDomain})
	r.dns.set(func() { r.dns.cname["t.acme.test"] = trackDomain })
	d = change("verify tracking", r.call(t, by, put, path+"/verifyCustomTracking", "").ok(), object{"CustomTrackingVerified": true})

	ed := r.call(t, by, post, path+"/ed25519", "").ok()
	if !selectorHost.MatchString(ed.text(t, "DKIMEd25519Host")) || !strings.HasPrefix(ed.text(t, "DKIMEd25519TextValue"), "k=ed25519; p=") || ed["DKIMEd25519Verified"] != false {
		t.Errorf("Ed25519: %v", ed)
	}

	if got := r.call(t, by, del, path, ""); got.status != 200 || got.body != `{"ErrorCode":0,"Message":"Domain acme.test removed."}` {
		t.Errorf("delete: got %d %s", got.status, got.body)
	}
	r.call(t, by, get, path, "").refused(422, 510, "This domain was not found.")
	r.call(t, by, post, "/domains", `{"Name": "acme.test"}`).ok() // the name can be added again
}

func TestDomainRefusals(t *testing.T) {
	r := newRig(t)
	by := accountOf(firstToken)
	d := r.call(t, by, post, "/domains", `{"Name": "acme.test"}`).ok()
	path := "/domains/" + d.id(t)
	tests := []struct {
		name, method, path, body string
		status, code             int
		text                     string
	}{
		{"no body", post, "/domains", "", 422, 514, "Name is a required field to create a Domain."},
		{"no name", post, "/domains", "{}", 422, 514, "Name is a required field to create a Domain."},
		{"empty name", post, "/domains", `{"Name": ""}`, 422, 514, "Name is a required field to create a Domain."},
		{"name of 256 characters", post, "/domains", `{"Name": "` + strings.Repeat("a", 251) + `.test"}`, 422, 515, ""},
		{"thisisntadomain", post, "/domains", `{"Name": "thisisntadomain"}`, 422, 516, "Name format is invalid."},
		{"an address", post, "/domains", `{"Name": "a@acme.test"}`, 422, 516, "Name format is invalid."},
		{"exists", post, "/domains", `{"Name": "ACME.test"}`, 422, 512, "Domain already exists."},
		{"public mailbox provider", post, "/domains", `{"Name": "gmail.com"}`, 422, 503, "You can't use public domains."},
		{"public suffix", post, "/domains", `{"Name": "co.uk"}`, 422, 503, "You can't use public domains."},
		{"return path elsewhere", post, "/domains", `{"Name": "b.test", "ReturnPathDomain": "pm.other.test"}`, 422, 522, ""},
		{"return path is the domain", put, path, `{"ReturnPathDomain": "acme.test"}`, 422, 522, ""},
		{"return path is no name", put, path, `{"ReturnPathDomain": "a b.acme.test"}`, 422, 522, ""},
		{"return path too long", put, path, `{"ReturnPathDomain": "` + strings.Repeat("a.", 150) + `acme.test"}`, 422, 521, ""},
		{"tracking domain elsewhere", put, path, `{"CustomTrackingDomain": "t.other.test"}`, 422, 522, ""},
		{"edit without a body", put, path, "", 422, 511, "Invalid fields supplied."},
		{"wrong type", put, path, `{"ReturnPathDomain": false}`, 422, 403, "Invalid request field(s): 'ReturnPathDomain'."},
		{"wrong type on create", post, "/domains", `{"Name": ["a"]}`, 422, 403, "Invalid request field(s): 'Name'."},
		{"no JSON", post, "/domains", `{`, 422, 402, "Invalid JSON."},
		{"unknown", get, "/domains/999999", "", 422, 510, "This domain was not found."},
		{"unknown to edit", put, "/domains/999999", `{"ReturnPathDomain": ""}`, 422, 510, "This domain was not found."},
		{"unknown to delete", del, "/domains/999999", "", 422, 510, "This domain was not found."},
		{"unknown to verify", put, "/domains/999999/verifyDkim", "", 422, 510, "This domain was not found."},
		{"unknown to verify return path", put, "/domains/999999/verifyReturnPath", "", 422, 510, "This domain was not found."},
		{"unknown to verify SPF", post, "/domains/999999/verifyspf", "", 422, 510, "This domain was not found."},
		{"unknown to rotate", post, "/domains/999999/rotatedkim", "", 422, 510, "This domain was not found."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.call(t, by, tt.method, tt.path, tt.body)
			if tt.text == "" {
				got.refusedWith(tt.status, tt.code, "")
				return
			}
			got.refused(tt.status, tt.code, tt.text)
		})
	}
	if diff := cmp.Diff(d, r.call(t, by, get, path, "").ok()); diff != "" {
		t.Errorf("refused calls changed the domain -before +after:\n%s", diff)
	}
}
