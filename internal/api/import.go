package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"pennypost"
	"pennypost/internal/account"
	"pennypost/internal/web"
)

// importLimit is the size of a file of suppressions.
const importLimit = 20 << 20

// wireImport is an import (docs/api.md).
type wireImport struct {
	ID                              pennypost.ImportID
	MessageStream                   pennypost.StreamID
	Status                          pennypost.ImportStatus
	Total, Processed, Added, Failed int
	Errors                          []wireImportError
	CreatedAt                       string
	FinishedAt                      *string
}

type wireImportError struct {
	Line         int
	EmailAddress string
	Message      string
}

func importAnswer(im *pennypost.Import, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	w := wireImport{
		ID: im.ID, MessageStream: im.Stream, Status: im.Status, Total: im.Total, Processed: im.Processed, Added: im.Added, Failed: im.Failed,
		Errors: make([]wireImportError, len(im.Errors)), CreatedAt: timeText(im.CreatedAt), FinishedAt: timeOrNull(im.FinishedAt),
	}
	for n, e := range im.Errors {
		w.Errors[n] = wireImportError{Line: e.Line, EmailAddress: e.Address, Message: e.Text}
	}
	return w, nil
}

// importStream tells into which stream of which server a call imports: the
// caller's, or the one that the operator names. What follows it in the path is
// given too.
func (c *call) importStream() (pennypost.ServerID, pennypost.StreamID, []string) {
	if c.who.Kind == pennypost.CallerOperator {
		return c.server(), pennypost.StreamID(c.ids[1]), c.ids[2:]
	}
	return c.who.ServerID, c.stream(), c.ids[1:]
}

// importSuppressions is POST …/suppressions/import.
func (a *API) importSuppressions(ctx context.Context, c *call) (any, error) {
	server, stream, _ := c.importStream()
	if _, err := a.conf.Accounts.Stream(ctx, server, stream); err != nil {
		return nil, err
	}
	f := &account.ImportFile{}
	room := importRoom{bodies: a.bodies}
	defer func() { room.release() }()
	read := a.readJSONImport
	if isCSV(c.r) {
		read = a.readCSVImport
	}
	err := read(ctx, c.body, func(e *account.ImportEntry) error {
		if err := f.Add(e); err != nil {
			return err
		}
		return room.hold(ctx, f.Size())
	})
	if err != nil {
		return nil, err
	}
	if f.Entries() == 0 {
		return nil, pennypost.Refuse(codeSuppressionBody, "A proper request body must be provided.")
	}
	return importAnswer(a.conf.Accounts.Import(ctx, server, stream, f))
}

// importRoom is the memory of the entries of a file, which may take several
// times what the file does: out of the budget of bodies, as they come.
type importRoom struct {
	bodies *web.Bodies
	held   int
	give   []func()
}

// importStep is how much of it is taken at a time.
const importStep = 4 << 20

// hold sees to it that there is room for size octets.
func (r *importRoom) hold(ctx context.Context, size int) error {
	for r.held < size {
		give, err := r.bodies.Reserve(ctx, importStep)
		if err != nil {
			return err
		}
		r.held, r.give = r.held+importStep, append(r.give, give)
	}
	return nil
}

func (r *importRoom) release() {
	for _, give := range r.give {
		give()
	}
}

// getImport is GET …/suppressions/import/{id}.
func (a *API) getImport(ctx context.Context, c *call) (any, error) {
	server, stream, rest := c.importStream()
	return importAnswer(a.conf.Accounts.ImportState(ctx, server, stream, pennypost.ImportID(parseID(rest[0]))))
}

func isCSV(r *http.Request) bool {
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && typ == "text/csv"
}

// The columns of a file, by the letters of their titles: those of Postmark's
// export and dump, and what people write.
func columnOf(title string) string {
	letters := strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, title)
	switch letters {
	case "emailaddress", "email", "address", "recipient":
		return "address"
	case "suppressionreason", "reason", "type":
		return "reason"
	case "origin", "source":
		return "origin"
	case "createdat", "created", "createddate", "date", "datecreated", "suppressedat":
		return "created"
	}
	return ""
}

// readCSVImport reads a file with a line of titles, or with addresses alone in
// the first column.
func (a *API) readCSVImport(ctx context.Context, body []byte, take func(*account.ImportEntry) error) error {
	body = bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF"))
	if !utf8.Valid(body) {
		return suppressionFault("The file is not UTF-8.")
	}
	r := csv.NewReader(bytes.NewReader(body))
	r.FieldsPerRecord, r.ReuseRecord, r.TrimLeadingSpace, r.LazyQuotes = -1, true, true, true
	if first, _, _ := bytes.Cut(body, []byte("\n")); !bytes.Contains(first, []byte(",")) && bytes.Contains(first, []byte(";")) {
		r.Comma = ';' // as spreadsheets of half the world write it
	}
	columns := map[string]int{"address": 0}
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return suppressionFault("The file cannot be read as CSV: %v.", err)
		}
		if n == 0 {
			if titles := columnsOf(record); titles != nil {
				columns = titles
				continue
			}
		}
		if isBlank(record) {
			continue // as spreadsheets leave them
		}
		line, _ := r.FieldPos(0)
		field := func(name string) string {
			if i, ok := columns[name]; ok && i < len(record) {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		e := a.importEntry(line, field("address"), field("reason"), field("origin"), field("created"))
		if err := take(e); err != nil {
			return err
		}
	}
}

func isBlank(record []string) bool {
	return !slices.ContainsFunc(record, func(field string) bool { return strings.TrimSpace(field) != "" })
}

// columnsOf reads a line of titles; nil: it is none.
func columnsOf(record []string) map[string]int {
	columns := map[string]int{}
	for i, title := range record {
		if name := columnOf(title); name != "" && !strings.Contains(title, "@") {
			if _, twice := columns[name]; !twice {
				columns[name] = i
			}
		}
	}
	if _, ok := columns["address"]; !ok {
		return nil
	}
	return columns
}

func (a *API) importEntry(line int, address, reason, origin, created string) *account.ImportEntry {
	e := &account.ImportEntry{Line: line, Address: strings.Clone(address), Reason: strings.Clone(reason), Origin: strings.Clone(origin)}
	if created == "" {
		return e
	}
	at, _, ok := parseQueryTime(created, a.eastern)
	if !ok {
		e.Fault = "The date is invalid."
	}
	e.At = at
	return e
}

// readJSONImport reads the answer of a dump, or a bare list: of objects as a
// dump has them, or of addresses.
func (a *API) readJSONImport(ctx context.Context, body []byte, take func(*account.ImportEntry) error) error {
	if isEmpty(body) {
		return nil
	}
	if !utf8.Valid(body) {
		return errJSON()
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	t, err := dec.Token()
	if err != nil {
		return errJSON()
	}
	switch t {
	case json.Delim('['):
		err = a.readImportList(ctx, dec, take)
	case json.Delim('{'):
		err = a.readImportObject(ctx, dec, take)
	default:
		return fieldError()
	}
	if err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errJSON()
	}
	return nil
}

// readImportObject takes the list of Suppressions, and passes what else there is.
func (a *API) readImportObject(ctx context.Context, dec *json.Decoder, take func(*account.ImportEntry) error) error {
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return errJSON()
		}
		text, ok := name.(string)
		if !ok {
			return errJSON()
		}
		if !strings.EqualFold(text, "Suppressions") {
			var other json.RawMessage
			if err := dec.Decode(&other); err != nil {
				return errJSON()
			}
			continue
		}
		t, err := dec.Token()
		switch {
		case err != nil:
			return errJSON()
		case t == nil: // null
			continue
		case t != json.Delim('['):
			return fieldError("Suppressions")
		}
		if err := a.readImportList(ctx, dec, take); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errJSON()
	}
	return nil
}

func (a *API) readImportList(ctx context.Context, dec *json.Decoder, take func(*account.ImportEntry) error) error {
	for n := 1; dec.More(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return errJSON()
		}
		var w struct{ EmailAddress, SuppressionReason, Reason, Origin, CreatedAt string }
		if raw[0] != '"' {
			if err := decode(raw, &w); err != nil {
				return err
			}
		} else if err := json.Unmarshal(raw, &w.EmailAddress); err != nil {
			return errJSON()
		}
		if w.SuppressionReason == "" {
			w.SuppressionReason = w.Reason
		}
		if err := take(a.importEntry(n, w.EmailAddress, w.SuppressionReason, w.Origin, w.CreatedAt)); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errJSON()
	}
	return nil
}
