package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pennypost"
	"pennypost/internal/account"
	"pennypost/internal/auth"
	"pennypost/internal/bulk"
	"pennypost/internal/mx"
	"pennypost/internal/store"
	"pennypost/internal/submit"
)

// The names of the service under test.
const (
	bounceDomain  = "pm.mail.test"
	trackDomain   = "track.mail.test"
	spfDomain     = "spf.mail.test"
	inboundDomain = "inbound.mail.test"
	publicURL     = "https://console.mail.test"

	firstToken    = "11111111-1111-4111-8111-111111111111"
	operatorToken = "22222222-2222-4222-8222-222222222222"
	testToken     = "POSTMARK_API_TEST"
)

// rig is the whole API on a real store, without delivery.
type rig struct {
	st        *store.Store
	accounts  *account.Accounts
	elsewhere *bulk.Requests // of another node with the same store
	bulk      *bulk.Requests
	api       *API
	url       string // of the customers' listener
	whole     string // the same, unless a test put another handler there
	opURL     string // of the operator's
	dns       *zone
	log       *lockedBuffer
	dir       string
	lenient   bool // requests may have what is understood, but not described

	mu      sync.Mutex
	mails   []account.Mail
	discard func(context.Context, pennypost.ServerID) (int, error)
}

// templates are data directories that were set up once: making RSA keys takes
// most of the time of a set-up.
type templates struct {
	mu    sync.Mutex
	dir   string
	empty bool // made
	acme  *tenant
	txt   map[string][]string // of the second one
}

var made templates

func TestMain(m *testing.M) {
	code := func() int {
		var err error
		if made.dir, err = os.MkdirTemp("", "api"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(made.dir)
		return m.Run()
	}()
	os.Exit(code)
}

// newRig gives a service right after its first start.
func newRig(t *testing.T) *rig {
	t.Helper()
	made.mu.Lock()
	defer made.mu.Unlock()
	from := filepath.Join(made.dir, "empty")
	if !made.empty {
		made.empty = true
		if err := os.Mkdir(from, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := openRig(t, from).st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return openRig(t, copied(t, from))
}

// newShop gives a service with a server of the first account that may send from
// acme.test.
func newShop(t *testing.T) (*rig, *tenant) {
	t.Helper()
	made.mu.Lock()
	from := filepath.Join(made.dir, "acme")
	if made.acme == nil {
		made.mu.Unlock()
		r := newRig(t)
		c := r.tenant(t, firstToken, "acme.test")
		if err := r.st.Close(); err != nil {
			t.Fatal(err)
		}
		made.mu.Lock()
		if err := os.CopyFS(from, os.DirFS(r.dir)); err != nil {
			t.Fatal(err)
		}
		made.acme, made.txt = c, r.dns.txt
	}
	defer made.mu.Unlock()
	r, c := openRig(t, copied(t, from)), *made.acme
	r.dns.set(func() { r.dns.txt = maps.Clone(made.txt) })
	return r, &c
}

func copied(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "master.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openRig(t *testing.T, dir string) *rig {
	t.Helper()
	r := &rig{dns: &zone{}, log: &lockedBuffer{}, dir: dir}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if r.st, err = store.Open(t.Context(), store.Config{Dir: dir, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.st.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	keys, err := auth.LoadKeys(t.Context(), r.st, filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	who, err := auth.New(auth.Config{Store: r.st, Keys: keys, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	door, err := submit.New(submit.Config{
		Store: r.st, Check: who.CheckAccept, Hostname: "mail.test.example", BounceDomain: bounceDomain, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.accounts, err = account.New(account.Config{
		Store: r.st, Auth: who, Keys: keys, Resolver: r.dns, Send: r.send, PublicURL: publicURL,
		BounceDomain: bounceDomain, TrackDomain: trackDomain, InboundDomain: inboundDomain, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.accounts.Bootstrap(t.Context(), account.Settings{AccountToken: firstToken, OperatorToken: operatorToken}); err != nil {
		t.Fatal(err)
	}
	conf := bulk.Config{Store: r.st, Door: door, Auth: who, Keys: keys, Log: log}
	if r.bulk, err = bulk.New(conf); err != nil {
		t.Fatal(err)
	}
	if r.elsewhere, err = bulk.New(conf); err != nil {
		t.Fatal(err)
	}
	r.api, err = New(Config{
		Store: r.st, Auth: who, Door: door, Accounts: r.accounts, Bulk: r.bulk, ConsoleURL: publicURL + "/",
		InboundDomain: inboundDomain, BounceDomain: bounceDomain, TrackDomain: trackDomain, SPFDomain: spfDomain,
		SMTPHost: "smtp.mail.test", SMTPPorts: []int{587, 2525}, Log: log,
		BodyLimit: 200 << 10, BatchLimit: 400 << 10,
		Discard: func(ctx context.Context, id pennypost.ServerID) (int, error) { return r.discard(ctx, id) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.url, r.opURL = listen(t, r.api.Handler()), listen(t, r.api.OperatorHandler())
	r.whole = r.url
	return r
}

func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func (r *rig) send(_ context.Context, m account.Mail) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails = append(r.mails, m)
	return nil
}

// lastLink gives the token of the link in the latest confirmation mail.
func (r *rig) lastLink(t *testing.T) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mails) == 0 {
		t.Fatal("no mail was sent")
	}
	m := regexp.MustCompile(regexp.QuoteMeta(publicURL+account.ConfirmPath) + `(\S+)`).FindStringSubmatch(r.mails[len(r.mails)-1].Text)
	if m == nil {
		t.Fatalf("no link in %q", r.mails[len(r.mails)-1].Text)
	}
	return m[1]
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// zone is the DNS that the service asks.
type zone struct {
	mu    sync.Mutex
	txt   map[string][]string
	cname map[string]string
	mx    map[string][]mx.Host
}

func (z *zone) set(fill func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.txt == nil {
		z.txt, z.cname, z.mx = map[string][]string{}, map[string]string{}, map[string][]mx.Host{}
	}
	fill()
}

func (z *zone) TXT(_ context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if v, ok := z.txt[name]; ok {
		return v, nil
	}
	return nil, &mx.Error{Name: name, Kind: mx.NoName}
}

func (z *zone) CNAME(_ context.Context, name string) (string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if v, ok := z.cname[name]; ok {
		return v, nil
	}
	return "", &mx.Error{Name: name, Kind: mx.NoName}
}

func (z *zone) MX(_ context.Context, name string) ([]mx.Host, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if v, ok := z.mx[name]; ok {
		return v, nil
	}
	return nil, &mx.Error{Name: name, Kind: mx.NoRecord}
}

// who is a header with a token.
type who struct{ header, token string }

func server(token string) who    { return who{serverHeader, token} }
func accountOf(token string) who { return who{accountHeader, token} }
func operator() who              { return who{operatorHeader, operatorToken} }

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   string
}

// call makes a request as the official clients do. A body that is not "" is
// sent as JSON.
func (r *rig) call(t *testing.T, by who, method, path, body string) answer {
	t.Helper()
	return r.request(t, by, method, path, body, nil)
}

// request is call with a change of the request before it is sent.
func (r *rig) request(t *testing.T, by who, method, path, body string, change func(*http.Request)) answer {
	t.Helper()
	base := r.url
	if by.header == operatorHeader {
		base = r.opURL
	}
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if by.header != "" {
		req.Header.Set(by.header, by.token)
	}
	if change != nil {
		change(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{t: t, what: method + " " + path, status: res.StatusCode, header: res.Header, body: string(b)}
	if base == r.whole {
		r.described(t, req, a)
	}
	return a
}

// ok demands a 200 and gives the object.
func (a answer) ok() object {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("%s: got %d %s, want 200", a.what, a.status, a.body)
	}
	var o object
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.UseNumber()
	if err := dec.Decode(&o); err != nil {
		a.t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return o
}

// items demands a 200 and gives the array.
func (a answer) items() []object {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("%s: got %d %s, want 200", a.what, a.status, a.body)
	}
	var list []object
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		a.t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return list
}

// refused demands an error object of exactly two keys.
func (a answer) refused(status, code int, text string) {
	a.t.Helper()
	want := errorBody(code, text)
	if a.status != status || a.body != want {
		a.t.Errorf("%s: got %d %s, want %d %s", a.what, a.status, a.body, status, want)
	}
	if got := a.header.Get("X-PM-ApiErrorCode"); got != strconv.Itoa(code) {
		a.t.Errorf("%s: X-PM-ApiErrorCode = %q, want %d", a.what, got, code)
	}
}

// refusedWith demands a code, for texts that the contract does not give.
func (a answer) refusedWith(status, code int, part string) {
	a.t.Helper()
	var e struct {
		ErrorCode int
		Message   string
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != status || e.ErrorCode != code || !strings.Contains(e.Message, part) {
		a.t.Errorf("%s: got %d %s, want %d with code %d and %q", a.what, a.status, a.body, status, code, part)
	}
}

func errorBody(code int, text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"ErrorCode":%d,"Message":%s}`, code, strings.TrimSpace(b.String()))
}

// object is a JSON object; numbers are json.Number.
type object map[string]any

func (o object) text(t *testing.T, name string) string {
	t.Helper()
	s, ok := o[name].(string)
	if !ok {
		t.Fatalf("%s is %v, want a string, in %v", name, o[name], o)
	}
	return s
}

func (o object) id(t *testing.T) string {
	t.Helper()
	n, ok := o["ID"].(json.Number)
	if !ok {
		t.Fatalf("ID is %v, want a number, in %v", o["ID"], o)
	}
	return n.String()
}

func (o object) list(t *testing.T, name string) []object {
	t.Helper()
	raw, ok := o[name].([]any)
	if !ok {
		t.Fatalf("%s is %v, want a list", name, o[name])
	}
	list := make([]object, len(raw))
	for n := range raw {
		list[n], ok = raw[n].(map[string]any)
		if !ok {
			t.Fatalf("%s[%d] is %v, want an object", name, n, raw[n])
		}
	}
	return list
}

// tenant is an account with a server that may send from acme.test.
type tenant struct {
	account who
	server  who
	id      string // of the server
	number  pennypost.ServerID
	domain  string // id of the domain
}

// tenant sets up an account over the API, with a verified domain of that name.
func (r *rig) tenant(t *testing.T, token, domain string) *tenant {
	t.Helper()
	c := &tenant{account: accountOf(token)}
	s := r.newServer(t, c.account, `{"Name": "Shop of `+domain+`"}`)
	c.server, c.id, c.number = s.server, s.id, s.number
	d := r.call(t, c.account, post, "/domains", `{"Name": "`+domain+`"}`).ok()
	c.domain = d.id(t)
	r.verify(t, c.account, d)
	return c
}

// newServer makes a server.
func (r *rig) newServer(t *testing.T, by who, body string) *tenant {
	t.Helper()
	s := r.call(t, by, post, "/servers", body).ok()
	tokens, ok := s["ApiTokens"].([]any)
	if !ok || len(tokens) != 1 {
		t.Fatalf("ApiTokens = %v, want one", s["ApiTokens"])
	}
	token, ok := tokens[0].(string)
	if !ok || len(token) != 36 {
		t.Fatalf("ApiTokens[0] = %v, want 36 characters", tokens[0])
	}
	n, err := strconv.ParseInt(s.id(t), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &tenant{account: by, server: server(token), id: s.id(t), number: pennypost.ServerID(n)}
}

// verify publishes the pending key of a domain and has it found.
func (r *rig) verify(t *testing.T, by who, d object) {
	t.Helper()
	r.dns.set(func() {
		r.dns.txt[d.text(t, "DKIMPendingHost")] = []string{d.text(t, "DKIMPendingTextValue")}
	})
	if got := r.call(t, by, put, "/domains/"+d.id(t)+"/verifyDkim", "").ok(); got["DKIMVerified"] != true {
		t.Fatalf("domain is not verified: %v", got)
	}
}

// second makes another account and gives its token.
func (r *rig) second(t *testing.T) string {
	t.Helper()
	return r.call(t, operator(), post, "/operator/accounts", `{"Name": "Second account"}`).ok().text(t, "AccountToken")
}

// update writes to the store.
func (r *rig) update(t *testing.T, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := r.st.Update(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// suppress puts an address on a stream's list.
func (r *rig) suppress(t *testing.T, s pennypost.ServerID, stream pennypost.StreamID, addr pennypost.Address) {
	t.Helper()
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Suppress(ctx, pennypost.Suppression{
			ServerID: s, Stream: stream, Address: addr, Reason: "HardBounce", Origin: "Recipient",
		})
		return err
	})
}

var wireTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?Z$`)

// wantRecent checks the form of a time and that it is now.
func wantRecent(t *testing.T, what, s string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !wireTime.MatchString(s) {
		t.Errorf("%s = %q, want UTC with at most seven digits", what, s)
		return
	}
	if age := time.Since(at); age < -time.Minute || age > time.Minute {
		t.Errorf("%s = %s, want now", what, s)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func mxHost(name string) mx.Host { return mx.Host{Name: name, Pref: 10} }

// addStream gives a server a stream for broadcasts; no call makes one yet.
func (r *rig) addStream(t *testing.T, s pennypost.ServerID, id pennypost.StreamID) {
	t.Helper()
	r.update(t, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddStream(ctx, &pennypost.Stream{
			ServerID: s, ID: id, Type: pennypost.StreamBroadcasts, Name: "Stream " + string(id),
			Unsubscribe: pennypost.UnsubscribePostmark, RetryFor: 72 * time.Hour,
		})
	})
}

func sha256Base64(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
