package account

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"pennypost"
	"pennypost/internal/mustache"
)

// TemplateInput is what a call says of a template; nil: it says nothing, and the
// field stays as it is. A nil *TemplateInput is a call without a body.
type TemplateInput struct {
	Name, Alias, Type           *string
	Subject, HTMLBody, TextBody *string
	Layout                      *string // alias; "": none
}

// Limits of a template. Those of subject and bodies are those of a message
// (contract/common.md §8); the others are not published.
const (
	maxTemplateName    = 255     // characters
	maxTemplateAlias   = 255     // characters
	maxTemplateSubject = 2000    // UTF-16 units
	maxTemplateBody    = 5 << 20 // octets
)

func errNoTemplateData() *pennypost.Error {
	return pennypost.Refuse(codeNoTemplateData, "No template data received.")
}

func tooLong(field string, limit int, what string) *pennypost.Error {
	return pennypost.Refuse(codeTemplateLong, "The '%s' is limited to %d %s.", field, limit, what)
}

// validAlias tells whether a text can be an alias (contract/templates.md A1).
func validAlias(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '.' && c != '-' && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= maxTemplateAlias
}

// checkedTemplate is an input whose fields were checked, each by itself.
type checkedTemplate struct {
	*TemplateInput
	parts []checkedPart
}

// checkedPart is a subject or body that was given and says something.
type checkedPart struct {
	field        string
	placeholders int // for layouts
}

// check makes the checks that need not know the rest of the template, among them
// parsing, which takes too long for a transaction.
func (in *TemplateInput) check() (*checkedTemplate, error) {
	c := &checkedTemplate{TemplateInput: in}
	if in.Name != nil {
		if err := checkTemplateName(*in.Name); err != nil {
			return nil, err
		}
	}
	if in.Alias != nil {
		if err := checkTemplateAlias(*in.Alias); err != nil {
			return nil, err
		}
	}
	if in.Subject != nil && len(utf16.Encode([]rune(*in.Subject))) > maxTemplateSubject {
		return nil, tooLong("Subject", maxTemplateSubject, "characters")
	}
	for _, p := range []struct {
		field string
		text  *string
	}{{"Subject", in.Subject}, {"HtmlBody", in.HTMLBody}, {"TextBody", in.TextBody}} {
		if !given(p.text) {
			continue
		}
		if len(*p.text) > maxTemplateBody {
			return nil, tooLong(p.field, maxTemplateBody, "bytes")
		}
		parsed, err := parseTemplate(*p.text)
		if err != nil {
			return nil, pennypost.TemplateUnparsable(p.field)
		}
		c.parts = append(c.parts, checkedPart{field: p.field, placeholders: parsed.Placeholders()})
	}
	return c, nil
}

// parseTemplate reads a template; NUL stands in no mail.
func parseTemplate(text string) (*mustache.Template, error) {
	if n := strings.IndexByte(text, 0); n >= 0 {
		return nil, mustache.SyntaxErrors{{Message: "The content has a NUL character.", Line: 1 + strings.Count(text[:n], "\n"), Position: n - strings.LastIndexByte(text[:n], '\n')}}
	}
	return mustache.Parse(text, mustache.Options{MaxOutput: maxTemplateBody})
}

func checkTemplateName(name string) error {
	switch name = strings.TrimSpace(name); {
	case name == "":
		return pennypost.TemplateFieldMissing("Name")
	case len([]rune(name)) > maxTemplateName:
		return tooLong("Name", maxTemplateName, "characters")
	case !validLine(name, maxTemplateName):
		return pennypost.TemplateFieldInvalid("The 'Name' must be one line of text.")
	}
	return nil
}

func checkTemplateAlias(alias string) error {
	switch {
	case len(alias) > maxTemplateAlias:
		return tooLong("Alias", maxTemplateAlias, "characters")
	case !validAlias(alias):
		return pennypost.TemplateFieldInvalid("The 'Alias' must begin with a letter and have only letters, digits, '.', '-' and '_'.")
	case strings.EqualFold(alias, "validate"), strings.EqualFold(alias, "push"): // paths of their own
		return pennypost.TemplateFieldInvalid("The 'Alias' '%s' is reserved.", alias)
	}
	return nil
}

// templateType reads a type; "" is Standard.
func templateType(s *string) (pennypost.TemplateType, error) {
	if !given(s) {
		return pennypost.TemplateStandard, nil
	}
	t, ok := oneOf(*s, string(pennypost.TemplateStandard), string(pennypost.TemplateLayout))
	if !ok {
		return "", pennypost.TemplateFieldInvalid("The 'TemplateType' must be 'Standard' or 'Layout'.")
	}
	return pennypost.TemplateType(t), nil
}

// newTemplate makes the template that a call asks for, without its layout.
func newTemplate(server pennypost.ServerID, in *TemplateInput) (*pennypost.Template, error) {
	typ, err := templateType(in.Type)
	if err != nil {
		return nil, err
	}
	if in.Name == nil {
		return nil, pennypost.TemplateFieldMissing("Name")
	}
	if in.Alias != nil && *in.Alias == "" { // not given (contract/common.md §3)
		c := *in
		c.Alias, in = nil, &c
	}
	checked, err := in.check()
	if err != nil {
		return nil, err
	}
	t := &pennypost.Template{ServerID: server, Type: typ}
	return t, checked.apply(t)
}

// apply puts the input into t, and checks what comes of it.
func (in *checkedTemplate) apply(t *pennypost.Template) error {
	if typ, err := templateType(in.Type); err != nil {
		return err
	} else if given(in.Type) && typ != t.Type {
		return pennypost.TemplateFieldInvalid("The 'TemplateType' of a template cannot change.")
	}
	for _, f := range []struct {
		from *string
		into *string
	}{{in.Alias, &t.Alias}, {in.Subject, &t.Subject}, {in.HTMLBody, &t.HTMLBody}, {in.TextBody, &t.TextBody}} {
		if f.from != nil {
			*f.into = *f.from
		}
	}
	if in.Name != nil {
		t.Name = strings.TrimSpace(*in.Name)
	}
	switch {
	case t.Type == pennypost.TemplateLayout && t.Subject != "":
		return pennypost.TemplateFieldNotAllowed("The 'Subject' field is not allowed on a layout.")
	case t.Type == pennypost.TemplateStandard && t.Subject == "":
		return pennypost.TemplateFieldMissing("Subject")
	case t.HTMLBody == "" && t.TextBody == "":
		return pennypost.TemplateBodyMissing()
	}
	for _, p := range in.parts { // the others were checked when they came
		if text := placeholderText(t.Type, p.field, p.placeholders); text != "" {
			return pennypost.Refuse(codeLayoutPlaceholder, "%s", text)
		}
	}
	return nil
}

// The texts of code 1131 (contract/common.md §6.3); the first begins as
// published.
const (
	textPlaceholderMissing = "The layout content placeholder must be present in the '%s' of a layout, exactly once: {{{ @content }}}."
	textPlaceholderPresent = "The layout content placeholder must not be present in a non-layout template."
)

// placeholderText says what is wrong with the number of placeholders in a part:
// each body of a layout has one, and nothing else has any (contract/templates.md
// A3). "" is nothing.
func placeholderText(typ pennypost.TemplateType, part string, n int) string {
	switch {
	case typ == pennypost.TemplateStandard && n > 0:
		return textPlaceholderPresent
	case typ == pennypost.TemplateLayout && n != 1:
		return fmt.Sprintf(textPlaceholderMissing, part)
	}
	return ""
}
