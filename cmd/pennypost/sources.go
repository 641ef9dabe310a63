package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

const envPrefix = "PENNYPOST_"

// otherEnv are variables of other commands, which may be set for `serve` too.
func otherEnv() []string {
	return []string{envPrefix + "CONFIG", envPrefix + "OPERATOR_URL"}
}

// maxSecretFile bounds what is read of a secret's file.
const maxSecretFile = 64 << 10

// settingsError is all that is wrong with the settings.
type settingsError struct{ faults []string }

func (e *settingsError) Error() string {
	if len(e.faults) == 1 {
		return "a setting is wrong: " + e.faults[0]
	}
	return fmt.Sprintf("%d settings are wrong:\n  %s", len(e.faults), strings.Join(e.faults, "\n  "))
}

// written is a setting with the place where it was written.
type written struct{ text, at string }

// sources collects the settings: the command line goes before the environment,
// that before the file.
type sources struct {
	list   []declared
	values map[string]written
	faults []string
}

func (s *sources) fault(at, format string, args ...any) {
	s.faults = append(s.faults, at+": "+fmt.Sprintf(format, args...))
}

// collect reads all sources. Unknown names are faults.
func collect(flags *settings, env []string, configFile string) *sources {
	s := &sources{list: declarations(), values: make(map[string]written)}
	for _, d := range s.list {
		if text := flags.given(d); text != "" {
			s.values[d.name] = written{text, "--" + d.name}
		}
	}
	vars := ours(env)
	s.fromEnv(vars)
	if configFile == "" {
		configFile = vars[envPrefix+"CONFIG"]
	}
	if configFile != "" {
		s.fromFile(configFile)
	}
	return s
}

// ours are the variables with our prefix.
func ours(env []string) map[string]string {
	m := make(map[string]string)
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, envPrefix) {
			m[k] = v
		}
	}
	return m
}

func (s *sources) fromEnv(vars map[string]string) {
	names := otherEnv()
	for _, d := range s.list {
		names = append(names, d.env())
		s.add(d, written{vars[d.env()], d.env()})
		if d.secret {
			names = append(names, d.env()+"_FILE")
			s.addSecretFile(d, vars[d.env()] != "", vars[d.env()+"_FILE"], d.env()+"_FILE")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		if !slices.Contains(names, k) {
			s.fault(k, "unknown setting%s", meant(k, names))
		}
	}
}

// add takes a setting unless a source before gave it.
func (s *sources) add(d declared, w written) {
	if _, has := s.values[d.name]; has || w.text == "" {
		return
	}
	s.values[d.name] = w
}

func (s *sources) addSecretFile(d declared, also bool, file, at string) {
	if file == "" {
		return
	}
	if also {
		s.fault(at, "given beside %s", strings.TrimSuffix(strings.TrimSuffix(at, "_FILE"), "_file"))
		return
	}
	text, err := readSecret(file)
	if err != nil {
		s.fault(at, "%v", err)
		return
	}
	s.add(d, written{text, at})
}

// readSecret reads a secret; line ends behind it are not part of it.
func readSecret(file string) (string, error) {
	f, err := os.Open(file) //nolint:gosec // G304: the operator names it
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(b), "\r\n")
	switch {
	case len(b) > maxSecretFile:
		return "", errors.New("file is too large for a secret")
	case text == "":
		return "", errors.New("file is empty")
	}
	return text, nil
}

func (s *sources) fromFile(name string) {
	at := func(key string) string { return name + ": " + key }
	var keys map[string]any
	if _, err := toml.DecodeFile(name, &keys); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			s.fault(name, "line %d: %s", parse.Position.Line, parse.Message)
			return
		}
		s.fault(name, "%v", err)
		return
	}
	text := func(key string) string {
		v, ok := keys[key]
		if !ok {
			return ""
		}
		t, ok := asText(v)
		if !ok {
			s.fault(at(key), "must be a text, a number, true, false, or a list of texts")
		}
		return t
	}
	var names []string
	for _, d := range s.list {
		names = append(names, d.key())
		own := text(d.key())
		s.add(d, written{own, at(d.key())})
		if d.secret {
			names = append(names, d.key()+"_file")
			s.addSecretFile(d, own != "", text(d.key()+"_file"), at(d.key()+"_file"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(names, key) {
			s.fault(at(key), "unknown setting%s", meant(key, names))
		}
	}
}

// asText gives a value of the file as the environment would have it.
func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case []any:
		var parts []string
		for _, one := range v {
			t, ok := asText(one)
			if !ok {
				return "", false
			}
			parts = append(parts, t)
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

// meant suggests the known name that is nearest, if one is near.
func meant(name string, known []string) string {
	best, at := 1+len(name)/4, ""
	for _, k := range known {
		if d := distance(name, k); d < best {
			best, at = d, k
		}
	}
	if at == "" {
		return ""
	}
	return ", did you mean " + at + "?"
}

// distance is how many letters must change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
