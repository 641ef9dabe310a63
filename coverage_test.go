package pennypost_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/contract-coverage.md names tests for each fact of the contract, which
// exist, or says that it is not built yet.
func TestContractCoverage(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasSuffix(path, ".txtar") {
			tests[d.Name()] = true
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, found := range declared.FindAllStringSubmatch(string(text), -1) {
			tests[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("docs/contract-coverage.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)\w+|\b[\w-]+\.txtar\b`)
	rows := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Section |") {
			continue
		}
		rows++
		cells := strings.Split(strings.ReplaceAll(line, `\|`, ""), " | ")
		list := named.FindAllString(cells[len(cells)-1], -1)
		if len(list) == 0 && strings.TrimSuffix(cells[len(cells)-1], " |") != "not built yet" {
			t.Errorf("no test is named: %s", line)
		}
		for _, name := range list {
			if !tests[name] {
				t.Errorf("%s is not a test: %s", name, line)
			}
		}
	}
	if rows < 100 {
		t.Errorf("%d rows were found", rows)
	}
}
