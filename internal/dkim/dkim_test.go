package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// testRSA is one key for all tests, as making one takes a while.
var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := GenerateRSA(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// The secret key of RFC 8463 A.1.
func testEd25519(tb testing.TB) ed25519.PrivateKey {
	tb.Helper()
	seed, err := base64.StdEncoding.DecodeString("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	if err != nil {
		tb.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func testKeys(tb testing.TB) []*Key {
	tb.Helper()
	return []*Key{
		{Domain: "acme.example", Selector: "20260302141507pm", Signer: NewRSASigner(testRSA())},
		{Domain: "acme.example", Selector: "ed", Signer: testEd25519(tb)},
	}
}

// zone answers look-ups with the records of keys.
func zone(tb testing.TB, keys ...*Key) map[string]string {
	tb.Helper()
	z := make(map[string]string)
	for _, k := range keys {
		txt, err := TXTValue(k.Signer)
		if err != nil {
			tb.Fatal(err)
		}
		z[k.Selector+"._domainkey."+k.Domain] = txt
	}
	return z
}

func lookupIn(z map[string]string) LookupTXT {
	return func(_ context.Context, name string) ([]string, error) {
		if txt, ok := z[name]; ok {
			return []string{txt}, nil
		}
		return nil, nil
	}
}

func fixedNow() time.Time { return time.Unix(1780000000, 0) }

const simpleMessage = "From: Ann <ann@acme.example>\r\n" +
	"Date: Mon, 2 Mar 2026 14:15:07 +0000\r\n" +
	"Subject: Your  receipt\r\n" +
	"To: Bob <bob@dead.example>\r\n" +
	"Message-ID: <1@acme.example>\r\n" +
	"X-PM-RCPT: |bTF8MQ==|\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=UTF-8\r\n" +
	"\r\n" +
	"Hello  Bob, \r\n\r\nthank\tyou.\r\n\r\n\r\n"

func sign(tb testing.TB, message string, keys ...*Key) string {
	tb.Helper()
	sigs, err := NewSigner(Options{Now: fixedNow}).Sign([]byte(message), keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return string(sigs)
}

func verify(tb testing.TB, message string, z map[string]string) []Result {
	tb.Helper()
	v := Verifier{Lookup: lookupIn(z), Now: fixedNow}
	results, err := v.Verify(tb.Context(), []byte(message))
	if err != nil {
		tb.Fatal(err)
	}
	return results
}

func TestSignedFields(t *testing.T) {
	keys := testKeys(t)
	sigs := sign(t, simpleMessage, keys...)
	if !strings.HasSuffix(sigs, "\r\n") || strings.Count(sigs, "DKIM-Signature:") != 2 {
		t.Fatalf("want two complete fields, got %q", sigs)
	}
	for line := range strings.SplitSeq(sigs, "\r\n") {
		if len(line) > 78 {
			t.Errorf("line of %d columns: %q", len(line), line)
		}
	}
	fields, _, err := split([]byte(sigs))
	if err != nil || len(fields) != 2 {
		t.Fatalf("got %d fields, err %v", len(fields), err)
	}
	for i, want := range []map[string]string{
		{"a": RSASHA256, "s": "20260302141507pm"},
		{"a": Ed25519SHA256, "s": "ed"},
	} {
		tags, err := parseTags(string(fields[i].value))
		if err != nil {
			t.Fatal(err)
		}
		want["v"], want["c"], want["d"], want["t"] = "1", "relaxed/relaxed", "acme.example", "1780000000"
		for name, value := range want {
			if tags[name] != value {
				t.Errorf("signature %d: %s=%q, want %q", i, name, tags[name], value)
			}
		}
		for _, name := range []string{"l", "x", "i"} {
			if _, ok := tags[name]; ok {
				t.Errorf("signature %d has %s=", i, name)
			}
		}
		wantCounts(t, noSpace(tags["h"]))
	}
}

func wantCounts(t *testing.T, h string) {
	t.Helper()
	got := make(map[string]int)
	for name := range strings.SplitSeq(strings.ToLower(h), ":") {
		got[name]++
	}
	want := map[string]int{
		"from": 2, "to": 2, "subject": 2, "date": 2, "message-id": 2, "content-type": 2,
		"reply-to": 1, "cc": 1, "mime-version": 1, "x-pm-rcpt": 0, "received": 0,
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("h= names %s %d times, want %d: %s", name, got[name], n, h)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key := testKeys(t)[1]
	for name, tt := range map[string]struct {
		message string
		key     *Key
		want    error
	}{
		"no From":          {"To: a@b.example\r\n\r\nx\r\n", key, ErrMessage},
		"no colon":         {"From: a@b.example\r\nnonsense\r\n\r\nx\r\n", key, ErrMessage},
		"bare LF":          {"From: a@b.example\nBcc: x\r\n\r\nx\r\n", key, ErrMessage},
		"bare CR":          {"From: a@b.example\rBcc: x\r\n\r\nx\r\n", key, ErrMessage},
		"too many fields":  {strings.Repeat("X: y\r\n", maxFields+1) + "From: a@b.example\r\n\r\n", key, ErrMessage},
		"too large":        {"From: a@b.example\r\nX: " + strings.Repeat("y", maxHeaderBytes) + "\r\n\r\n", key, ErrMessage},
		"no signer":        {simpleMessage, &Key{Domain: "a.example", Selector: "s"}, ErrKey},
		"nil key":          {simpleMessage, nil, ErrKey},
		"domain injection": {simpleMessage, &Key{Domain: "a.example; l=0", Selector: "s", Signer: key.Signer}, ErrKey},
		"empty selector":   {simpleMessage, &Key{Domain: "a.example", Signer: key.Signer}, ErrKey},
		"long label":       {simpleMessage, &Key{Domain: strings.Repeat("a", 64) + ".example", Selector: "s", Signer: key.Signer}, ErrKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewSigner(Options{}).Sign([]byte(tt.message), tt.key)
			wantErr(t, err, tt.want)
		})
	}
}

func TestSignHasOptions(t *testing.T) {
	s := NewSigner(Options{
		Headers: []string{"subject", "List-*", "Received", "X-PM-RCPT"}, Oversign: []string{"Subject"}, Now: fixedNow,
	})
	message := "Received: by x\r\nReturn-Path: <>\r\nX-PM-RCPT: x\r\nList-Id: <a>\r\nList-;b: c\r\nDate: now\r\n" +
		"From: a@acme.example\r\nSubject: s\r\n\r\n"
	sigs, err := s.Sign([]byte(message), testKeys(t)...)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := parseTags(string(newField(sigs[:fieldEnd(sigs)]).value))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := noSpace(tags["h"]), "Subject:From:List-Id:Subject"; got != want {
		t.Errorf("h=%s, want %s", got, want)
	}
}

// Long names leave the line as late as they can, and are never broken.
func TestSignLongNames(t *testing.T) {
	label := strings.Repeat("a", 55)
	key := &Key{Domain: label + "." + label + "." + label + ".example", Selector: label + ".pm", Signer: testEd25519(t)}
	sigs := sign(t, simpleMessage, key)
	for _, r := range verify(t, sigs+simpleMessage, zone(t, key)) {
		wantErr(t, r.Err, nil)
	}
}

func TestAddedFieldsBreakSignature(t *testing.T) {
	keys := testKeys(t)
	z := zone(t, keys...)
	signed := sign(t, simpleMessage, keys...) + simpleMessage
	wantAll(t, verify(t, signed, z), nil)
	wantAll(t, verify(t, "Received: from x by y\r\nX-Spam: no\r\n"+signed, z), nil)
	wantAll(t, verify(t, strings.Replace(signed, "|bTF8MQ==|", "|bTF8Mg==|", 1), z), nil)
	for _, name := range DefaultOversign() {
		field := name + ": Eve <eve@evil.example>\r\n"
		wantAll(t, verify(t, field+signed, z), ErrSignature)
		wantAll(t, verify(t, strings.Replace(signed, "\r\nMIME-Version: 1.0", "\r\n"+field+"MIME-Version: 1.0", 1), z), ErrSignature)
	}
	wantAll(t, verify(t, strings.Replace(signed, "receipt", "invoice", 1), z), ErrSignature)
	wantAll(t, verify(t, signed+"more\r\n", z), ErrBodyHash)
	wantAll(t, verify(t, strings.Replace(signed, "Hello", "Hallo", 1), z), ErrBodyHash)
}

func wantAll(t *testing.T, results []Result, want error) {
	t.Helper()
	if len(results) != 2 {
		t.Errorf("got %d results, want 2", len(results))
	}
	for _, r := range results {
		wantErr(t, r.Err, want)
		if (r.Status == Pass) != (want == nil) {
			t.Errorf("status %v with %v", r.Status, r.Err)
		}
	}
}

// randomMessage makes messages of odd white space, folds and line lengths.
func randomMessage(r *mathrand.Rand) string {
	words := []string{"a", "Zürich", " ", "  ", "\t", "x=3D", "word", ";", "b=", ":", strings.Repeat("y", 70)}
	text := func(n int) string {
		var b strings.Builder
		for range r.IntN(n) {
			b.WriteString(words[r.IntN(len(words))])
		}
		return b.String()
	}
	var b strings.Builder
	names := append(DefaultHeaders(), "X-Other", "Received", "Subject", "To")
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	b.WriteString("From: a@acme.example\r\n")
	for _, name := range names[:r.IntN(len(names))] {
		b.WriteString(strings.Replace(name, "*", "Unsubscribe", 1) + ": v" + text(8))
		for range r.IntN(3) {
			b.WriteString("\r\n " + text(4) + "w")
		}
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n")
	for range r.IntN(30) {
		b.WriteString(text(12) + "\r\n")
	}
	return b.String()
}

func TestSecondOpinion(t *testing.T) {
	keys := testKeys(t)
	z := zone(t, keys...)
	signer := NewSigner(Options{Now: fixedNow})
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for range 300 {
		message := randomMessage(r)
		sigs, err := signer.Sign([]byte(message), keys...)
		if err != nil {
			t.Fatalf("%v: %q", err, message)
		}
		wantAll(t, verify(t, string(sigs)+message, z), nil)
		theirs, err := msgauth.VerifyWithOptions(strings.NewReader(string(sigs)+message), &msgauth.VerifyOptions{
			LookupTXT: func(name string) ([]string, error) { return []string{z[name]}, nil },
		})
		if err != nil || len(theirs) != 2 {
			t.Fatalf("they found %d signatures, err %v, in %q", len(theirs), err, message)
		}
		for _, v := range theirs {
			if v.Err != nil {
				t.Fatalf("they say %v to %q", v.Err, string(sigs)+message)
			}
		}
	}
}

func TestVerifiesOthers(t *testing.T) {
	keys := testKeys(t)
	z := zone(t, keys...)
	r := mathrand.New(mathrand.NewPCG(3, 4))
	canons := []msgauth.Canonicalization{msgauth.CanonicalizationSimple, msgauth.CanonicalizationRelaxed}
	for i := range 200 {
		message, key := randomMessage(r), keys[i%2]
		var b bytes.Buffer
		err := msgauth.Sign(&b, strings.NewReader(message), &msgauth.SignOptions{
			Domain: key.Domain, Selector: key.Selector, Signer: key.Signer, Hash: crypto.SHA256,
			HeaderCanonicalization: canons[i/2%2], BodyCanonicalization: canons[i/4%2],
		})
		if err != nil {
			t.Fatal(err)
		}
		results := verify(t, b.String(), z)
		if len(results) != 1 || results[0].Status != Pass {
			t.Fatalf("got %+v for %q", results, b.String())
		}
	}
}

// The triples of testdata: a message, the DNS, and what we say to each signature.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no triples: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			base := strings.TrimSuffix(path, ".eml")
			z := make(map[string]string)
			for line := range strings.Lines(read(t, base+".dns")) {
				name, txt, _ := strings.Cut(strings.TrimSpace(line), " ")
				z[name] = txt
			}
			var got strings.Builder
			for _, r := range verify(t, read(t, path), z) {
				fmt.Fprintf(&got, "%v d=%s s=%s a=%s i=%s\n", r.Status, r.Domain, r.Selector, r.Algorithm, r.Identity)
			}
			if want := read(t, base+".want"); got.String() != want {
				t.Errorf("got:\n%swant:\n%s", got.String(), want)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path) //nolint:gosec // a test's own file
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// RFC 6376 §3.4.5.
func TestCanonicalisationOfRFC(t *testing.T) {
	const message = "A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n"
	fields, body, err := split([]byte(message))
	if err != nil {
		t.Fatal(err)
	}
	var header []byte
	for _, f := range fields {
		header = append(appendRelaxed(header, f.name, f.value), "\r\n"...)
	}
	if want := "a:X\r\nb:Y Z\r\n"; string(header) != want {
		t.Errorf("header %q, want %q", header, want)
	}
	got := sha256.New()
	hashRelaxedBody(got, body)
	if want := sha256.Sum256([]byte(" C\r\nD E\r\n")); !bytes.Equal(got.Sum(nil), want[:]) {
		t.Error("relaxed body differs")
	}
	got.Reset()
	hashSimpleBody(got, body)
	if want := sha256.Sum256([]byte(" C \r\nD \t E\r\n")); !bytes.Equal(got.Sum(nil), want[:]) {
		t.Error("simple body differs")
	}
}

// RFC 6376 §3.4.3 and §3.4.4 give the hashes of the empty body.
func TestEmptyBody(t *testing.T) {
	h := sha256.New()
	hashSimpleBody(h, nil)
	if got, want := base64.StdEncoding.EncodeToString(h.Sum(nil)), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="; got != want {
		t.Errorf("simple: %s, want %s", got, want)
	}
	h.Reset()
	hashRelaxedBody(h, []byte(" \t\r\n\r\n"))
	if got, want := base64.StdEncoding.EncodeToString(h.Sum(nil)), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; got != want {
		t.Errorf("relaxed: %s, want %s", got, want)
	}
}

var (
	wspRun    = regexp.MustCompile(`[ \t]+`)
	wspAtEnd  = regexp.MustCompile(` \r\n`)
	emptyTail = regexp.MustCompile(`(\r\n)*$`)
)

// relaxedBody is RFC 6376 §3.4.4 word for word, slowly.
func relaxedBody(body string) string {
	body = wspRun.ReplaceAllString(body, " ")
	if body != "" && !strings.HasSuffix(body, "\r\n") {
		body += "\r\n"
	}
	body = wspAtEnd.ReplaceAllString(body, "\r\n")
	body = emptyTail.ReplaceAllString(body, "")
	if body == "" {
		return ""
	}
	return body + "\r\n"
}

func FuzzRelaxedBody(f *testing.F) {
	for _, s := range []string{"", " ", "a\r\n", "a \r\n\r\n \t\r\n", "a\nb \n c\r \r\n", "\r", "\n", " \r\n a\t\tb", "a\r\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := sha256.New()
		hashRelaxedBody(got, body)
		want := relaxedBody(string(body))
		if sum := sha256.Sum256([]byte(want)); !bytes.Equal(got.Sum(nil), sum[:]) {
			t.Errorf("%q should become %q", body, want)
		}
	})
}

func FuzzParseTags(f *testing.F) {
	for _, s := range []string{"", ";", "v=1; a=rsa-sha256;", "v=1;v=1", "k=rsa; p=", "= ", "a=b;;c=d", "a b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseTags(s)
		if (err == nil) == (tags == nil) {
			t.Errorf("%q gives %v and %v", s, tags, err)
		}
		for name, value := range tags {
			if name == "" || strings.ContainsAny(name, " ;=") || strings.Contains(value, ";") {
				t.Errorf("%q gives tag %q=%q", s, name, value)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	key := &Key{Domain: "acme.example", Selector: "ed", Signer: testEd25519(f)}
	z := zone(f, key)
	f.Add([]byte(simpleMessage), z["ed._domainkey.acme.example"])
	f.Add([]byte(sign(f, simpleMessage, key)+simpleMessage), z["ed._domainkey.acme.example"])
	f.Fuzz(func(t *testing.T, message []byte, txt string) {
		v := Verifier{Now: fixedNow, Lookup: func(context.Context, string) ([]string, error) { return []string{txt}, nil }}
		results, err := v.Verify(t.Context(), message)
		if err != nil && results != nil {
			t.Error("both results and error")
		}
		for _, r := range results {
			if (r.Err == nil) != (r.Status == Pass) {
				t.Errorf("status %v with %v", r.Status, r.Err)
			}
		}
	})
}

func benchMessage() []byte {
	line := "This is a line of text of a length that is usual in mail, =E2=82=AC 10.\r\n"
	head := strings.Replace(simpleMessage[:strings.Index(simpleMessage, "\r\n\r\n")+4], "\r\n\r\n",
		"\r\nFeedback-ID: s1-_:s1:a1:pennypost\r\nX-PM-Message-Id: 8072efcd-0000-4000-8000-000000000000\r\n\r\n", 1)
	return []byte(head + strings.Repeat(line, (4096-len(head))/len(line)))
}

// What is left when the signature itself costs nothing.
func BenchmarkCanonicaliseAndHash4KiB(b *testing.B) {
	message := benchMessage()
	s := NewSigner(Options{Now: fixedNow})
	key := &Key{Domain: "acme.example", Selector: "s", Signer: nullSigner{testRSA()}}
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(message, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashBodyHTML1MiB(b *testing.B) {
	body := []byte(strings.Repeat("\t<td style=\"a\">   text </td>\r\nplain line of text that is clean and long enough\r\n", (1<<20)/80))
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		hashRelaxedBody(sha256.New(), body)
	}
}

func BenchmarkSign(b *testing.B) {
	message := benchMessage()
	s := NewSigner(Options{Now: fixedNow})
	for name, signer := range map[string]crypto.Signer{
		"crypto-rsa": testRSA(), "default": NewRSASigner(testRSA()), "ed25519": testEd25519(b),
	} {
		key := &Key{Domain: "acme.example", Selector: "s", Signer: signer}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Sign(message, key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A nullSigner answers at once with an empty signature of the right size.
type nullSigner struct{ *rsa.PrivateKey }

// Sign gives 256 zeros.
func (nullSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, 256), nil
}
