package dkim

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// handSign signs simpleMessage with tags of our choice, before which v=, bh=
// and b= are put unless they are given.
func handSign(t *testing.T, key ed25519.PrivateKey, tags string) string {
	t.Helper()
	_, body, err := split([]byte(simpleMessage))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tags, "bh=") {
		h := sha256.New()
		hashRelaxedBody(h, body)
		tags += "; bh=" + base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	if !strings.Contains(tags, "v=") {
		tags = "v=1; " + tags
	}
	s := &signature{relaxedHeader: true, field: newField([]byte("DKIM-Signature: " + tags + "; b="))}
	fields, _, err := split([]byte(simpleMessage))
	if err != nil {
		t.Fatal(err)
	}
	s.headers = []string{"from"}
	digest := (&signed{fields: fields, byName: byName(fields)}).headerHash(s)
	return string(s.field.raw) + base64.StdEncoding.EncodeToString(ed25519.Sign(key, digest)) + "\r\n" + simpleMessage
}

const goodTags = "a=ed25519-sha256; c=relaxed/relaxed; d=acme.example; s=ed; h=From"

func TestVerifySignatureTags(t *testing.T) {
	key := testEd25519(t)
	z := zone(t, &Key{Domain: "acme.example", Selector: "ed", Signer: key})
	for tags, want := range map[string]error{
		goodTags:                                                     nil,
		goodTags + "; t=1; x=2":                                      ErrExpired,
		goodTags + "; x=1780000001":                                  nil,
		goodTags + "; t=9; x=8":                                      ErrSyntax,
		goodTags + "; t=-1":                                          ErrSyntax,
		goodTags + "; t=1234567890123":                               ErrSyntax,
		goodTags + "; l=10":                                          ErrPartial,
		goodTags + "; l=":                                            ErrPartial,
		goodTags + "; q=dns/txt":                                     nil,
		goodTags + "; q=dns/foo":                                     ErrSyntax,
		goodTags + "; i=x@acme.example":                              nil,
		goodTags + "; i=x@sub.ACME.example":                          nil,
		goodTags + "; i=x@evilacme.example":                          ErrIdentity,
		goodTags + "; i=x@example":                                   ErrIdentity,
		goodTags + "; i=nonsense":                                    ErrSyntax,
		goodTags + "; a=rsa-sha256":                                  ErrSyntax, // twice
		goodTags + "; z=From:x|To:y; r=y":                            nil,
		goodTags + "; v=2":                                           ErrSyntax,
		strings.Replace(goodTags, "ed25519-sha256", "rsa-sha1", 1):   ErrAlgorithm,
		strings.Replace(goodTags, "ed25519-sha256", "rsa-sha256", 1): ErrKeyUse,
		strings.Replace(goodTags, "acme", "ACME", 1):                 nil,
		strings.Replace(goodTags, "acme", "other", 1):                ErrNoKey,
		strings.Replace(goodTags, "s=ed", "s=e d", 1):                ErrSyntax,
		strings.Replace(goodTags, "relaxed/relaxed", "relaxed", 1):   ErrBodyHash, // body simple
		strings.Replace(goodTags, "relaxed/relaxed", "nofws", 1):     ErrSyntax,
		strings.Replace(goodTags, "h=From", "h=To", 1):               ErrFrom,
		strings.Replace(goodTags, "h=From", "h=From:", 1):            ErrSyntax,
		strings.Replace(goodTags, "h=From", "h=From"+strings.Repeat(":x", maxSigned), 1): ErrSyntax,
		strings.Replace(goodTags, "d=acme.example; ", "", 1):                             ErrSyntax,
		goodTags + "; bh=AAAA": ErrBodyHash,
		goodTags + "; bh=!":    ErrSyntax,
	} {
		results := verify(t, handSign(t, key, tags), z)
		if len(results) != 1 {
			t.Fatalf("%s: %d results", tags, len(results))
		}
		if !errors.Is(results[0].Err, want) {
			t.Errorf("%s: got %v, want %v", tags, results[0].Err, want)
		}
	}
}

func TestVerifyKeyRecords(t *testing.T) {
	key := testEd25519(t)
	good, err := TXTValue(key)
	if err != nil {
		t.Fatal(err)
	}
	message := handSign(t, key, goodTags)
	below := handSign(t, key, goodTags+"; i=@sub.acme.example")
	other := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, tt := range map[string]struct {
		message string
		records []string
		want    error
	}{
		"good":             {message, []string{good}, nil},
		"with v":           {message, []string{"v=DKIM1; " + good + ";"}, nil},
		"after another":    {message, []string{"v=spf1 -all", good}, nil},
		"none":             {message, nil, ErrNoKey},
		"only another":     {message, []string{"v=spf1 -all"}, ErrNoKey},
		"too far down":     {message, []string{"v=a", "v=b", "v=c", "v=d", good}, ErrNoKey},
		"revoked":          {message, []string{"v=DKIM1; p="}, ErrRevoked},
		"nonsense":         {message, []string{"nonsense"}, ErrRecord},
		"no p":             {message, []string{"k=ed25519"}, ErrRecord},
		"too long":         {message, []string{good + strings.Repeat(" ", maxRecord)}, ErrRecord},
		"not base64":       {message, []string{"k=ed25519; p=*"}, ErrRecord},
		"too short":        {message, []string{"k=ed25519; p=AAAA"}, ErrRecord},
		"rsa of nonsense":  {message, []string{"p=AAAA"}, ErrRecord},
		"unknown kind":     {message, []string{"k=x; p=AAAA"}, ErrKeyUse},
		"other key":        {message, []string{"k=ed25519; p=" + other}, ErrSignature},
		"sha1 only":        {message, []string{good + "; h=sha1"}, ErrKeyUse},
		"sha256 too":       {message, []string{good + "; h=sha1 : sha256"}, nil},
		"other service":    {message, []string{good + "; s=tlsrpt"}, ErrKeyUse},
		"any service":      {message, []string{good + "; s=x:*"}, nil},
		"strict":           {message, []string{good + "; t=s"}, nil},
		"strict and below": {below, []string{good + "; t=y:s"}, ErrIdentity},
		"below":            {below, []string{good}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := Verifier{Lookup: func(_ context.Context, asked string) ([]string, error) {
				if asked != "ed._domainkey.acme.example" {
					t.Errorf("asked for %q", asked)
				}
				return tt.records, nil
			}}
			results, err := v.Verify(t.Context(), []byte(tt.message))
			if err != nil || len(results) != 1 {
				t.Fatalf("got %v, %v", results, err)
			}
			wantErr(t, results[0].Err, tt.want)
		})
	}
}

func TestVerifyShortRSA(t *testing.T) {
	pub := rsaPublicOf(t, 1023)
	_, err := parseRecord("p=" + base64.StdEncoding.EncodeToString(pub))
	wantErr(t, err, ErrWeakKey)
	_, err = parseRecord("p=" + base64.StdEncoding.EncodeToString(rsaPublicOf(t, 8193)))
	wantErr(t, err, ErrRecord)
	r, err := parseRecord("p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&testRSA().PublicKey)))
	if err != nil || !testRSA().PublicKey.Equal(r.public) {
		t.Errorf("bare RSAPublicKey: %v", err)
	}
}

// rsaPublicOf gives a public key of so many bits that fits no private one.
func rsaPublicOf(t *testing.T, bits uint) []byte {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	pub := &rsa.PublicKey{E: 65537, N: n.SetBit(n, 0, 1)}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestVerifyLookupErrors(t *testing.T) {
	message := []byte(handSign(t, testEd25519(t), goodTags))
	for err, want := range map[error]error{
		&net.DNSError{IsNotFound: true}: ErrNoKey,
		&net.DNSError{IsTimeout: true}:  ErrLookup,
		fmt.Errorf("SERVFAIL"):          ErrLookup,
	} {
		v := Verifier{Lookup: func(context.Context, string) ([]string, error) { return nil, err }}
		results, verr := v.Verify(t.Context(), message)
		if verr != nil || len(results) != 1 {
			t.Fatalf("got %v, %v", results, verr)
		}
		wantErr(t, results[0].Err, want)
		if temporary := results[0].Status == TempError; temporary != errors.Is(want, ErrLookup) {
			t.Errorf("%v is %v", err, results[0].Status)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	v := Verifier{Lookup: func(ctx context.Context, _ string) ([]string, error) {
		cancel()
		return nil, ctx.Err()
	}}
	_, err := v.Verify(ctx, message)
	wantErr(t, err, context.Canceled)
}

// At most eight signatures are looked at, and eight questions asked.
func TestVerifyManySignatures(t *testing.T) {
	key := testEd25519(t)
	sig, _, _ := strings.Cut(handSign(t, key, goodTags), "From: Ann")
	asked := 0
	z := zone(t, &Key{Domain: "acme.example", Selector: "ed", Signer: key})
	v := Verifier{Lookup: func(ctx context.Context, name string) ([]string, error) {
		asked++
		return lookupIn(z)(ctx, name)
	}}
	results, err := v.Verify(t.Context(), []byte(strings.Repeat(sig, 1000)+simpleMessage))
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 9 || asked != 8 {
		t.Errorf("%d results, %d questions, want 9 and 8", len(results), asked)
	}
	for i, r := range results {
		if i < 8 {
			wantErr(t, r.Err, nil)
			continue
		}
		wantErr(t, r.Err, ErrSignatures)
	}
}

func TestVerifyOddMessages(t *testing.T) {
	for message, want := range map[string]error{
		"":                                      nil,
		"\r\n":                                  nil,
		"nonsense":                              nil,
		"From me\r\n\r\nbody\r\n":               nil,
		strings.Repeat("X: y\r\n", maxFields+1): ErrMessage,
		"X: " + strings.Repeat("y", maxHeaderBytes): ErrMessage,
	} {
		v := Verifier{Lookup: lookupIn(nil)}
		results, err := v.Verify(t.Context(), []byte(message))
		wantErr(t, err, want)
		if len(results) != 0 {
			t.Errorf("%.20q has signatures: %v", message, results)
		}
	}
}

// The name of the key is asked for in A-labels (RFC 8616 §5).
func TestVerifyAsksInALabels(t *testing.T) {
	key := testEd25519(t)
	z := zone(t, &Key{Domain: "xn--bcher-kva.example", Selector: "ed", Signer: key})
	for _, r := range verify(t, handSign(t, key, strings.Replace(goodTags, "acme", "bücher", 1)), z) {
		wantErr(t, r.Err, nil)
	}
}

func TestStatusNames(t *testing.T) {
	for s, want := range map[Status]string{
		Pass: "pass", Fail: "fail", Policy: "policy", TempError: "temperror", PermError: "permerror", 0: "Status(0)",
	} {
		if got := s.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDefaultClock(t *testing.T) {
	key := testEd25519(t)
	signed, err := NewSigner(Options{}).Sign([]byte(simpleMessage), &Key{Domain: "acme.example", Selector: "ed", Signer: key})
	if err != nil {
		t.Fatal(err)
	}
	tags, err := parseTags(string(newField(signed[:fieldEnd(signed)]).value))
	if err != nil {
		t.Fatal(err)
	}
	made, err := parseTime(tags, "t")
	if age := time.Since(made); err != nil || age < 0 || age > time.Minute {
		t.Errorf("t=%s, err %v", tags["t"], err)
	}
	if _, err := GenerateEd25519(rand.Reader); err != nil {
		t.Error(err)
	}
}
