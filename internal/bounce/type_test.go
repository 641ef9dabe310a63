package bounce

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

// testdata/types.md is the table of contract/bounces.md §5: type, code, name,
// description, "Off".
func TestTypesAreTheContracts(t *testing.T) {
	table, err := os.ReadFile("testdata/types.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		wire := strings.Trim(cells[0], "`")
		typ, err := ParseType(wire)
		if err != nil {
			t.Errorf("%s is missing", wire)
			continue
		}
		n++
		got := []string{typ.String(), strconv.Itoa(typ.Code()), typ.Name(), typ.Description()}
		for i, want := range []string{wire, cells[1], cells[2], cells[3]} {
			if got[i] != want {
				t.Errorf("%s: got %q, want %q", wire, got[i], want)
			}
		}
		off := strings.Contains(cells[4], "yes")
		if typ.Inactive() != off {
			t.Errorf("%s: inactive %v, want %v", wire, typ.Inactive(), off)
		}
		if typ.CanActivate() != (wire != "SpamComplaint") {
			t.Errorf("%s: can activate %v", wire, typ.CanActivate())
		}
		if back, err := TypeOf(typ.Code()); err != nil || back != typ {
			t.Errorf("code %d gives %v, %v", typ.Code(), back, err)
		}
	}
	if n != 22 || len(Types()) != 22 {
		t.Errorf("%d rows, %d types, want 22", n, len(Types()))
	}
}

func TestParseType(t *testing.T) {
	for name, want := range map[string]Type{
		"HardBounce": HardBounce, "hardbounce": HardBounce, "Hard_Bounce": HardBounce, "SOFT_BOUNCE": SoftBounce,
		"dns_error": DNSError, "smtpapierror": SMTPAPIError, "SMTP_API_Error": SMTPAPIError, "dmarc_policy": DMARCPolicy,
	} {
		if got, err := ParseType(name); err != nil || got != want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "_", "Hard Bounce", "hard-bounce", "nonsense", "Type(0)", strings.Repeat("_", 1<<20)} {
		if _, err := ParseType(name); !errors.Is(err, ErrType) {
			t.Errorf("%.20q: got %v", name, err)
		}
	}
	if _, err := TypeOf(0); !errors.Is(err, ErrType) {
		t.Errorf("code 0: %v", err)
	}
	if got := Type(3).String(); got != "Type(3)" {
		t.Errorf("got %q", got)
	}
}
