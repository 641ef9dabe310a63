package pennypost

import (
	"strings"
	"time"
)

// TemplateID names a template; it fits a signed 32-bit integer
// (contract/clients.md 2.3).
type TemplateID int64

// TemplateType says what a template is for (contract/templates.md A1).
type TemplateType string

// The types of the contract.
const (
	TemplateStandard TemplateType = "Standard" // what is sent
	TemplateLayout   TemplateType = "Layout"   // what stands around others
)

// Template is the current version of a template (contract/templates.md A1).
type Template struct {
	ID       TemplateID
	ServerID ServerID
	Version  int64 // from 1; each edit adds one
	Name     string
	Alias    string
	Type     TemplateType
	// Layout stands around a standard template; 0: none does. LayoutAlias is its
	// alias.
	Layout      TemplateID
	LayoutAlias string

	Subject            string // "" of a layout
	HTMLBody, TextBody string // "" when it has none

	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time // zero while it is in use
}

// Active tells whether a template was not deleted.
func (t *Template) Active() bool { return t.DeletedAt.IsZero() }

// Codes of templates that more than one package refuses with
// (contract/common.md §6.3). They are no constants beside the others, since only
// what sends and edits templates knows them.
const (
	codeTemplateUnknown    Code = 1101
	codeTemplateMissing    Code = 1120
	codeTemplateFormat     Code = 1122
	codeTemplateNotAllowed Code = 1123
)

// NoTemplateID says that a template or a layout named by its id is not there.
func NoTemplateID() *Error {
	return Refuse(codeTemplateUnknown, "The 'TemplateId' associated with this request is not valid or was not found.")
}

// NoTemplateAlias says so of one named by its alias.
func NoTemplateAlias() *Error {
	return Refuse(codeTemplateUnknown, "The Template's 'Alias' associated with this request is not valid or was not found.")
}

// TemplateFieldMissing says that a field, or one of some, is required.
func TemplateFieldMissing(fields ...string) *Error {
	return Refuse(codeTemplateMissing, "The '%s' field is required.", strings.Join(fields, "' or '"))
}

// TemplateBodyMissing says that there is neither of the bodies.
func TemplateBodyMissing() *Error {
	return Refuse(codeTemplateMissing, "Provide either a 'TextBody' or an 'HtmlBody', or both.")
}

// TemplateFieldInvalid refuses what a field holds, with a text of the caller.
func TemplateFieldInvalid(format string, args ...any) *Error {
	return Refuse(codeTemplateFormat, format, args...)
}

// TemplateUnparsable says that a body or subject is no template.
func TemplateUnparsable(field string) *Error {
	return TemplateFieldInvalid("The '%s' could not be parsed.", field)
}

// TemplateFieldNotAllowed refuses a field that cannot stand here, with a text of
// the caller.
func TemplateFieldNotAllowed(format string, args ...any) *Error {
	return Refuse(codeTemplateNotAllowed, format, args...)
}
