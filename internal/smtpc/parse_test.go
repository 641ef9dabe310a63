package smtpc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"
)

// O-019: any octets give a reply or an error.
func TestReadReply(t *testing.T) {
	tests := []struct {
		name, in string
		want     string // code, lines divided by "|"
		enhanced string
		err      string
	}{
		{"one line", "250 2.1.0 Ok\r\n", "250 2.1.0 Ok", "2.1.0", ""},
		{"lines", "250-one\r\n250-\r\n250 three\r\n", "250 one||three", "", ""},
		{"no text", "250\r\n", "250 ", "", ""},
		{"no text but a blank", "250 \r\n", "250 ", "", ""},
		{"no text, no end", "250-\r\n250\r\n", "250 |", "", ""},
		{"bare LF", "250-a\n250 b\n", "250 a|b", "", ""},
		{"only the first", "550 no\r\n250 yes\r\n", "550 no", "", ""},
		{"enhanced of another class", "550 4.7.1 later\r\n", "550 4.7.1 later", "4.7.1", ""},
		{"enhanced alone", "550 5.1.1\r\n", "550 5.1.1", "5.1.1", ""},
		{"enhanced at the end of a line", "550-5.1.1\r\n550 who\r\n", "550 5.1.1|who", "5.1.1", ""},
		{"long enhanced", "550 5.999.999 x\r\n", "550 5.999.999 x", "5.999.999", ""},
		{"no enhanced: too long", "550 5.1000.1 x\r\n", "550 5.1000.1 x", "", ""},
		{"no enhanced: an address", "550 5.1.1.4 x\r\n", "550 5.1.1.4 x", "", ""},
		{"no enhanced: class", "550 3.1.1 x\r\n", "550 3.1.1 x", "", ""},
		{"no enhanced: short", "550 5.1.\r\n", "550 5.1.", "", ""},
		{"no enhanced: none", "550 5..1 x\r\n", "550 5..1 x", "", ""},
		{"HTML", "550 <b>no</b>\r\n", "550 <b>no</b>", "", ""},
		{"ANSI", "550 \x1b[31mno\r\n", `550 \x1b[31mno`, "", ""},
		{"NUL", "250 a\x00b\r\n", `250 a\x00b`, "", ""},
		{"bare CR", "250 a\rb\r\r\n", `250 a\x0db\x0d`, "", ""},
		{"invalid UTF-8", "250 a\xff\xc3\r\n", `250 a\xff\xc3`, "", ""},
		{"UTF-8", "550 größer\r\n", "550 größer", "", ""},
		{"direction override", "550 a\u202eb\u0085\r\n", `550 a\u{202e}b\u{85}`, "", ""},
		{"split code", "250-ok\r\n550 no\r\n", "", "", "more than one code: 550 no"},
		{"four digits", "2500 x\r\n", "", "", "not a reply: 2500 x"},
		{"code and text in one", "250ok\r\n", "", "", "not a reply"},
		{"1yz", "150 x\r\n", "", "", "not a reply"},
		{"6yz", "650 x\r\n", "", "", "not a reply"},
		{"no digits", "2a0 x\r\n", "", "", "not a reply"},
		{"empty line", "\r\n", "", "", "not a reply"},
		{"two digits", "25\r\n", "", "", "not a reply"},
		{"nothing", "", "", "", "EOF"},
		{"cut", "250 o", "", "", "unexpected EOF"},
		{"cut between lines", "250-o\r\n", "", "", "unexpected EOF"},
		{"512 lines", strings.Repeat("250-\r\n", 511) + "250 \r\n", "250 " + strings.Repeat("|", 511), "", ""},
		{"513 lines", strings.Repeat("250-\r\n", 512) + "250 \r\n", "", "", "more than 512 lines"},
		{"a million lines", strings.Repeat("250-x\r\n", 1_000_000), "", "", "more than 512 lines"},
		{"long line", "250 " + strings.Repeat("x", 60_000) + "\r\n", "250 " + strings.Repeat("x", 4096) + "…", "", ""},
		{"line of 2 MB", "250 " + strings.Repeat("x", 2<<20) + "\r\n", "", "", "more than 64 KiB"},
		{"long lines", strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 100), "", "", "more than 64 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				var r rawReply
				err := r.read(bufio.NewReaderSize(in, readBuffer))
				if tt.err != "" {
					if err == nil || !strings.Contains(err.Error(), tt.err) {
						t.Fatalf("got %v, want %q", err, tt.err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				got := r.reply(PhaseMail)
				if text := got.Error()[:4] + strings.Join(got.Lines, "|"); text != tt.want {
					t.Errorf("got %q, want %q", clip(text), clip(tt.want))
				}
				if got.Enhanced != tt.enhanced {
					t.Errorf("got enhanced %q, want %q", got.Enhanced, tt.enhanced)
				}
			}
		})
	}
}

// A reply that never ends is given up, without memory growing with it.
func TestEndlessReply(t *testing.T) {
	for _, text := range []string{"250-more\r\n", "2", "250-" + strings.Repeat("\xff", 1<<16)} {
		var r rawReply
		err := r.read(bufio.NewReaderSize(&endless{text: text}, readBuffer))
		var p *ProtocolError
		if !errors.As(err, &p) {
			t.Errorf("%q: got %v, want a *ProtocolError", clip(text), err)
		}
		if cap(r.text) > 4*maxReply {
			t.Errorf("%q: got %d octets of memory, want at most %d", clip(text), cap(r.text), 4*maxReply)
		}
	}
}

type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

// The memory of a long reply is not kept for the short ones that follow.
func TestReplyMemory(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("250 " + strings.Repeat("x", 60_000) + "\r\n250 Ok\r\n"))
	var r rawReply
	for range 2 {
		if err := r.read(in); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.text) > maxKept {
		t.Errorf("got %d octets kept, want at most %d", cap(r.text), maxKept)
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{
		"250 2.1.0 Ok\r\n", "250-a\r\n250 b\r\n", "250\n", "2500 x\r\n", "250-\x00\xff\u202e\r\n250-\r\n250 \r\n", "550-5.1.1\r\n550 5\r\n",
		"220 x\r\n250-mx\r\n250-SIZE 99999999999999999999\r\n250-LIMITS MAILMAX=-1 =\r\n250 AUTH=\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(in), 16)
		log := transcript{max: 512}
		var r rawReply
		for {
			err := r.read(br)
			if err != nil {
				var p *ProtocolError
				if !errors.As(err, &p) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("got %v, want EOF or a *ProtocolError", err)
				}
				return
			}
			got := r.reply(PhaseMail)
			if got.Code < 200 || got.Code > 599 || len(got.Lines) == 0 || len(got.Lines) > maxLines || len(got.Text()) > maxKept+maxLines {
				t.Fatalf("got %+v", got)
			}
			printable(t, got.Error())
			if got.Enhanced != "" && !strings.HasPrefix(got.Lines[0], got.Enhanced) {
				t.Fatalf("got enhanced %q of %q", got.Enhanced, got.Lines[0])
			}
			for _, line := range parseExtensions(&r).lines {
				printable(t, line)
			}
			log.reply(&r)
			if len(log.buf) > log.max {
				t.Fatalf("got a transcript of %d octets, want at most %d", len(log.buf), log.max)
			}
			printable(t, strings.ReplaceAll(string(log.buf), "\n", ""))
		}
	})
}

func printable(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if !unicode.IsPrint(r) {
			t.Fatalf("got %U in %q", r, s)
		}
	}
	if !utf8.ValidString(s) {
		t.Fatalf("got invalid UTF-8 in %q", s)
	}
}

// The conversation is bounded, and one long reply does not take all the room.
func TestTranscript(t *testing.T) {
	log := transcript{max: 4096}
	var r rawReply
	long := strings.Repeat("250-"+strings.Repeat("\xff", 200)+"\r\n", 60) + "250 end\r\n"
	for range 3 {
		if err := r.read(bufio.NewReader(strings.NewReader(long))); err != nil {
			t.Fatal(err)
		}
		log.reply(&r)
	}
	if !strings.HasSuffix(string(log.buf), "S: [more lines]\n") || strings.Count(string(log.buf), "[more lines]") != 3 {
		t.Errorf("got %q, want each reply cut", log.buf)
	}
	for range 100 {
		log.commands([]byte("RSET\r\nMAIL FROM:<" + strings.Repeat("a", 100) + "@b.test>\r\n"))
	}
	if len(log.buf) > log.max || !strings.HasSuffix(string(log.buf), "[cut]\n") {
		t.Errorf("got %d octets ending %q, want at most %d and a mark", len(log.buf), log.buf[len(log.buf)-20:], log.max)
	}
}
