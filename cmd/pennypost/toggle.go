package main

import (
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// toggle is a setting that is true or false. On the command line its name alone
// means true. What stands there is judged with all other settings, so that all
// faults are told at once.
type toggle string

// Decode takes what follows an equals sign, if anything does.
func (f *toggle) Decode(c *kong.DecodeContext) error { //nolint:unparam // the signature is kong's
	*f = "true"
	if c.Scan.Peek().Type == kong.FlagValueToken {
		*f = toggle(c.Scan.Pop().String())
	}
	return nil
}

// IsBool tells kong that the name can stand alone.
func (toggle) IsBool() bool { return true }

// declared is one setting of the struct above.
type declared struct {
	name   string // as a flag
	def    string
	help   string
	secret bool
	index  int
}

func (d declared) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(d.name, "-", "_"))
}

func (d declared) key() string { return strings.ReplaceAll(d.name, "-", "_") }

// declarations reads the tags, so that each setting is written down once.
func declarations() []declared {
	t := reflect.TypeFor[settings]()
	list := make([]declared, 0, t.NumField())
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		_, secret := tag.Lookup("secret")
		list = append(list, declared{
			name: tag.Get("name"), def: tag.Get("def"), help: tag.Get("help"), secret: secret, index: i,
		})
	}
	return list
}

// given is what the command line says of a setting.
func (s *settings) given(d declared) string { return reflect.ValueOf(s).Elem().Field(d.index).String() }

// settingHelp is the text of a flag in --help: what it is, its default and its
// environment variable.
func settingHelp(v *kong.Value) string {
	if v.Tag == nil || !v.Tag.Has("def") {
		return kong.DefaultHelpValueFormatter(v)
	}
	d := declared{name: v.Name}
	def := strings.Trim(v.Tag.Get("def"), "()")
	if def == "" {
		def = "none"
	}
	env := d.env()
	if v.Tag.Has("secret") {
		env += " or " + env + "_FILE"
	}
	return v.Help + " Default: " + def + ". [" + env + "]"
}
