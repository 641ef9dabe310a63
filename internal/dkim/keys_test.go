package dkim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

func wantErr(tb testing.TB, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) || (want == nil && got != nil) {
		tb.Errorf("got error %v, want %v", got, want)
	}
}

func TestPKCS8RoundTrip(t *testing.T) {
	for _, key := range []crypto.Signer{testRSA(), NewRSASigner(testRSA()), testEd25519(t)} {
		der, err := MarshalPKCS8(key)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParsePKCS8(der)
		if err != nil {
			t.Fatal(err)
		}
		txt, err := TXTValue(back)
		if err != nil {
			t.Fatal(err)
		}
		if !MatchTXT(txt, key.Public()) {
			t.Errorf("%T came back as another key", key)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, err = MarshalPKCS8(other)
	wantErr(t, err, ErrKey)
	_, err = TXTValue(other)
	wantErr(t, err, ErrKey)
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParsePKCS8(der)
	wantErr(t, err, ErrKey)
	if _, err = ParsePKCS8([]byte("nonsense")); err == nil {
		t.Error("nonsense parsed")
	}
}

func TestTXTValue(t *testing.T) {
	got, err := TXTValue(testEd25519(t))
	if err != nil {
		t.Fatal(err)
	}
	// RFC 8463 A.2.
	if want := "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got, err = TXTValue(&testRSA().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	// contract/senders.md §3: 2,048 bits begin so and end so.
	if !strings.HasPrefix(got, "k=rsa; p=MIIBIjANBgkq") || !strings.HasSuffix(got, "IDAQAB") {
		t.Errorf("got %s", got)
	}
}

func TestMatchTXT(t *testing.T) {
	pub := testEd25519(t).Public()
	const p = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	for record, want := range map[string]bool{
		"k=ed25519; p=" + p:                            true,
		"k=ed25519;p=" + p:                             true,
		"v=DKIM1; k=ed25519; p=" + p + ";":             true,
		"v=DKIM1;p=" + p[:20] + " \t\r\n" + p[20:]:     true,
		`"v=DKIM1; p=` + p[:20] + `" "` + p[20:] + `"`: true,
		"p=" + strings.TrimRight(p, "="):               true,
		"k=rsa; t=y; n=note; p=" + p:                   true,
		"":                                             false,
		"p=":                                           false,
		"k=ed25519":                                    false,
		"p=" + p[:20]:                                  false,
		"p=" + strings.ToLower(p):                      false,
		"v=spf1 -all":                                  false,
		"xp=" + p:                                      false,
		"p=" + p + strings.Repeat(" ", maxRecord): false,
	} {
		if got := MatchTXT(record, pub); got != want {
			t.Errorf("%q: got %v, want %v", record, got, want)
		}
	}
	if MatchTXT("p="+p, nil) {
		t.Error("nil key matched")
	}
}

// The default signer, whatever it is, gives the bytes that crypto/rsa gives.
func TestBackendsAgree(t *testing.T) {
	t.Logf("backend: %s", Backend())
	signer := NewRSASigner(testRSA())
	for i := range 50 {
		digest := sha256.Sum256([]byte{byte(i)})
		got, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		want, err := rsa.SignPKCS1v15(nil, testRSA(), crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Fatalf("got %s, want %s", base64.StdEncoding.EncodeToString(got), base64.StdEncoding.EncodeToString(want))
		}
	}
}

// What libcrypto is not asked for still works.
func TestSignerDoesTheRest(t *testing.T) {
	signer := NewRSASigner(testRSA())
	long := make([]byte, crypto.SHA512.Size())
	if sig, err := signer.Sign(rand.Reader, long, crypto.SHA512); err != nil ||
		rsa.VerifyPKCS1v15(&testRSA().PublicKey, crypto.SHA512, long, sig) != nil {
		t.Errorf("SHA-512: %v", err)
	}
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}
	if sig, err := signer.Sign(rand.Reader, long[:32], pss); err != nil ||
		rsa.VerifyPSS(&testRSA().PublicKey, crypto.SHA256, long[:32], sig, pss) != nil {
		t.Errorf("PSS: %v", err)
	}
	if _, err := signer.Sign(rand.Reader, long[:5], crypto.SHA256); err == nil {
		t.Error("a digest of five octets was signed")
	}
}

// Keys come and go while others sign and the collector never rests.
func TestSignerUnderCollection(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	shared := NewRSASigner(testRSA())
	digest := sha256.Sum256([]byte("x"))
	want, err := shared.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 60 {
				signer := shared
				if i%4 == 0 {
					signer = NewRSASigner(testRSA())
				}
				waste := make([]byte, 32)
				copy(waste, digest[:])
				sig, err := signer.Sign(rand.Reader, waste, crypto.SHA256)
				if err != nil || string(sig) != string(want) {
					t.Errorf("wrong signature, err %v", err)
				}
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
}

func BenchmarkRSA(b *testing.B) {
	digest := sha256.Sum256([]byte("x"))
	for name, signer := range map[string]crypto.Signer{"crypto-rsa": testRSA(), "default": NewRSASigner(testRSA())} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
