//go:build !nolibcrypto && (linux || darwin) && (amd64 || arm64) && !android && !ios && !faketime

package dkim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// errLibcrypto says that libcrypto is missing, too old, or refused something.
var errLibcrypto = errors.New("libcrypto")

// RSA_PKCS1_PADDING of openssl/rsa.h.
const rsaPKCS1Padding = 1

// libcrypto is the system's OpenSSL, version 3 or later: addresses of the
// functions that we call. All of them are thread-safe on objects that no other
// thread writes; a key is only read once it is made.
type libcrypto struct {
	version uintptr

	bioNewMemBuf, bioFree, d2iPrivateKeyBio, pkeyFree      uintptr
	ctxNew, ctxFree, signInit, setPadding, setMD, pkeySign uintptr
	sha256MD, errClear                                     uintptr
}

// openLibcrypto opens the library at its first use. It is never closed:
// OpenSSL does not expect to be unloaded.
//
//nolint:gochecknoglobals // a library is loaded once per process, as the process's, not as ours
var openLibcrypto = sync.OnceValues(func() (*libcrypto, error) {
	for _, name := range libcryptoNames() {
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			continue
		}
		if lib, err := newLibcrypto(handle); err == nil {
			return lib, nil
		}
	}
	return nil, fmt.Errorf("%w: no usable version found", errLibcrypto)
})

// libcryptoNames are tried in order. On darwin never the bare libcrypto.dylib:
// the system ends a process that opens its own.
func libcryptoNames() []string {
	if runtime.GOOS == "darwin" {
		return []string{
			"libcrypto.3.dylib",
			"/opt/homebrew/opt/openssl@3/lib/libcrypto.3.dylib",
			"/usr/local/opt/openssl@3/lib/libcrypto.3.dylib",
		}
	}
	return []string{"libcrypto.so.3", "libcrypto.so"}
}

func newLibcrypto(handle uintptr) (*libcrypto, error) {
	var lib libcrypto
	var versionNum, sha256MD uintptr
	for name, fn := range map[string]*uintptr{
		"OpenSSL_version_num":           &versionNum,
		"BIO_new_mem_buf":               &lib.bioNewMemBuf,
		"BIO_free":                      &lib.bioFree,
		"d2i_PrivateKey_bio":            &lib.d2iPrivateKeyBio,
		"EVP_PKEY_free":                 &lib.pkeyFree,
		"EVP_PKEY_CTX_new":              &lib.ctxNew,
		"EVP_PKEY_CTX_free":             &lib.ctxFree,
		"EVP_PKEY_sign_init":            &lib.signInit,
		"EVP_PKEY_CTX_set_rsa_padding":  &lib.setPadding,
		"EVP_PKEY_CTX_set_signature_md": &lib.setMD,
		"EVP_PKEY_sign":                 &lib.pkeySign,
		"EVP_sha256":                    &sha256MD,
		"ERR_clear_error":               &lib.errClear,
	} {
		addr, err := purego.Dlsym(handle, name)
		if err != nil || addr == 0 {
			return nil, fmt.Errorf("%w: %s is missing", errLibcrypto, name)
		}
		*fn = addr
	}
	// OPENSSL_VERSION_NUMBER: 0xMNN00PP0, M the major version.
	lib.version = call(versionNum)
	if lib.version>>28&0xf < 3 {
		return nil, fmt.Errorf("%w: version %#x is too old", errLibcrypto, lib.version)
	}
	lib.sha256MD = call(sha256MD)
	return &lib, nil
}

// call calls a C function. A pointer to Go memory must be converted in the
// argument list itself, which keeps it alive and in its place (package unsafe,
// Pointer, rule 4).
//
//go:uintptrescapes
func call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...) //nolint:dogsled // the other results mean nothing here
	return r
}

// callInt calls a C function that returns int, of which only 32 bits count.
//
//go:uintptrescapes
func callInt(fn uintptr, args ...uintptr) int32 {
	return int32(call(fn, args...)) //nolint:gosec // G115: the upper half of the register is undefined
}

// parse makes an EVP_PKEY of PKCS #8.
func (lib *libcrypto) parse(der []byte) (uintptr, error) {
	bio := call(lib.bioNewMemBuf, uintptr(unsafe.Pointer(&der[0])), uintptr(len(der))) //nolint:gosec // G103: C takes an address; call keeps der in place
	if bio == 0 {
		return 0, fmt.Errorf("%w: BIO_new_mem_buf", errLibcrypto)
	}
	pkey := call(lib.d2iPrivateKeyBio, bio, 0)
	call(lib.bioFree, bio)
	runtime.KeepAlive(der)
	if pkey == 0 {
		call(lib.errClear)
		return 0, fmt.Errorf("%w: d2i_PrivateKey_bio", errLibcrypto)
	}
	return pkey, nil
}

// context makes a context to sign SHA-256 digests as PKCS #1 v1.5 with a key. It
// may sign often, one at a time (EVP_PKEY_sign(3)). To make it takes a tenth of
// the time of a signature.
func (lib *libcrypto) context(pkey uintptr) (uintptr, error) {
	ctx := call(lib.ctxNew, pkey, 0)
	if ctx == 0 {
		return 0, fmt.Errorf("%w: EVP_PKEY_CTX_new", errLibcrypto)
	}
	if callInt(lib.signInit, ctx) <= 0 ||
		callInt(lib.setPadding, ctx, rsaPKCS1Padding) <= 0 ||
		callInt(lib.setMD, ctx, lib.sha256MD) <= 0 {
		call(lib.errClear)
		call(lib.ctxFree, ctx)
		return 0, fmt.Errorf("%w: EVP_PKEY_sign_init", errLibcrypto)
	}
	return ctx, nil
}

// sign makes a signature of size octets over a digest.
func (lib *libcrypto) sign(ctx uintptr, digest []byte, size int) ([]byte, error) {
	sig := make([]byte, size)
	n := new(uintptr)
	*n = uintptr(size)
	if callInt(lib.pkeySign, ctx, uintptr(unsafe.Pointer(&sig[0])), uintptr(unsafe.Pointer(n)), //nolint:gosec // G103: as above
		uintptr(unsafe.Pointer(&digest[0])), uintptr(len(digest))) <= 0 { //nolint:gosec // G103: as above
		// Its queue of errors belongs to whichever thread we ran on.
		call(lib.errClear)
		return nil, fmt.Errorf("%w: EVP_PKEY_sign", errLibcrypto)
	}
	if *n != uintptr(size) {
		return nil, fmt.Errorf("%w: signature of %d octets", errLibcrypto, *n)
	}
	return sig, nil
}

// maxContexts is how many contexts of a key are kept; more are freed after use.
const maxContexts = 8

// contexts are those of a key, and the key.
type contexts struct {
	lib  *libcrypto
	pkey uintptr
	mu   sync.Mutex
	idle []uintptr
}

// take gives a context that nobody else uses.
func (c *contexts) take() (uintptr, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		ctx := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return ctx, nil
	}
	c.mu.Unlock()
	return c.lib.context(c.pkey)
}

// giveBack keeps a context for the next, if there is room.
func (c *contexts) giveBack(ctx uintptr) {
	c.mu.Lock()
	full := len(c.idle) >= maxContexts
	if !full {
		c.idle = append(c.idle, ctx)
	}
	c.mu.Unlock()
	if full {
		call(c.lib.ctxFree, ctx)
	}
}

// sign makes a signature. A context that failed is not used again.
func (c *contexts) sign(digest []byte, size int) ([]byte, error) {
	ctx, err := c.take()
	if err != nil {
		return nil, err
	}
	sig, err := c.lib.sign(ctx, digest, size)
	if err != nil {
		call(c.lib.ctxFree, ctx)
		return nil, err
	}
	c.giveBack(ctx)
	return sig, nil
}

// free frees what is outside of Go's memory.
func (c *contexts) free() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ctx := range c.idle {
		call(c.lib.ctxFree, ctx)
	}
	call(c.lib.pkeyFree, c.pkey)
}

// A libSigner signs with libcrypto.
type libSigner struct {
	key      *rsa.PrivateKey
	contexts *contexts
}

// NewRSASigner gives the fastest signer there is for a key: libcrypto when it
// is there and signs a test correctly with this key, else the key itself. It
// takes about 2 ms: keep the result. It is safe for several goroutines; its
// memory outside Go's is freed when it is collected.
func NewRSASigner(key *rsa.PrivateKey) crypto.Signer {
	lib, err := openLibcrypto()
	if err != nil {
		return key
	}
	s, err := newLibSigner(lib, key)
	if err != nil {
		return key
	}
	return s
}

func newLibSigner(lib *libcrypto, key *rsa.PrivateKey) (*libSigner, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("marshal key for libcrypto: %w", err)
	}
	defer clear(der)
	pkey, err := lib.parse(der)
	if err != nil {
		return nil, err
	}
	s := &libSigner{key: key, contexts: &contexts{lib: lib, pkey: pkey}}
	runtime.AddCleanup(s, (*contexts).free, s.contexts)

	digest := sha256.Sum256([]byte("pennypost"))
	sig, err := s.contexts.sign(digest[:], key.Size())
	if err != nil {
		return nil, err
	}
	if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], sig); err != nil {
		return nil, fmt.Errorf("check libcrypto's signature: %w", err)
	}
	runtime.KeepAlive(s)
	return s, nil
}

// Public gives the *rsa.PublicKey.
func (s *libSigner) Public() crypto.PublicKey { return &s.key.PublicKey }

// Sign signs a SHA-256 digest as PKCS #1 v1.5. All else, and what libcrypto
// fails at, is left to crypto/rsa.
func (s *libSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return s.key.Sign(random, digest, opts)
	}
	sig, err := s.contexts.sign(digest, s.key.Size())
	runtime.KeepAlive(s)
	if err != nil {
		return s.key.Sign(random, digest, opts)
	}
	return sig, nil
}

func (s *libSigner) privateKey() *rsa.PrivateKey { return s.key }

// Backend says what signs RSA: "crypto/rsa", or "libcrypto" and the version of
// the library.
func Backend() string {
	lib, err := openLibcrypto()
	if err != nil {
		return "crypto/rsa"
	}
	v := lib.version
	return fmt.Sprintf("libcrypto %d.%d.%d", v>>28&0xf, v>>20&0xff, v>>4&0xff)
}
