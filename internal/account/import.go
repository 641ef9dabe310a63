package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pennypost"
	"pennypost/internal/store"
)

const (
	partEntries      = 500 // of a part, which is one transaction
	partsAtOnce      = 16  // stored with one transaction
	importErrors     = 100 // kept of an import
	importsAtOnce    = 5   // of a server
	maxImportAddress = 320 // octets kept of a text
	maxImportEntries = 1_000_000
	breakOffWithin   = 30 * time.Second
)

// ImportEntry is one line of a file of suppressions, as the edge read it.
// Reason and Origin are "" for what the customer does by hand.
type ImportEntry struct {
	Line                    int
	Address, Reason, Origin string
	At                      time.Time // zero: now
	Fault                   string    // what the edge found wrong, or ""
}

// importRow is how an entry is kept.
type importRow struct {
	Line    int    `json:"l"`
	Address string `json:"a"`
	Reason  string `json:"r,omitempty"`
	Origin  string `json:"o,omitempty"`
	At      int64  `json:"t,omitempty"` // microseconds; 0: now
	Fault   string `json:"f,omitempty"`
}

// ImportFile collects the entries of a file.
type ImportFile struct {
	parts [][]byte
	size  int // of parts
	rows  []importRow
	total int
}

// Entries is how many there are.
func (f *ImportFile) Entries() int { return f.total }

// Size is how many octets of memory they take, but for some hundred kilobytes.
func (f *ImportFile) Size() int { return f.size }

// Add takes an entry.
func (f *ImportFile) Add(e *ImportEntry) error {
	if f.total >= maxImportEntries {
		return pennypost.Refuse(codeSuppression, "%s The file has more than 1,000,000 entries; import it in parts.", textSuppressionFault)
	}
	row := importRow{Line: e.Line, Address: cutText(e.Address), Reason: cutText(e.Reason), Origin: cutText(e.Origin), Fault: e.Fault}
	if !e.At.IsZero() {
		row.At = e.At.UnixMicro()
	}
	f.rows = append(f.rows, row)
	f.total++
	if len(f.rows) < partEntries {
		return nil
	}
	return f.cut()
}

func cutText(s string) string {
	if len(s) > maxImportAddress {
		return strings.ToValidUTF8(s[:maxImportAddress], "")
	}
	return s
}

// cut ends a part.
func (f *ImportFile) cut() error {
	if len(f.rows) == 0 {
		return nil
	}
	b, err := json.Marshal(f.rows)
	f.parts, f.rows, f.size = append(f.parts, b), f.rows[:0], f.size+cap(b)
	return err
}

// Import stores the entries of a file, to be put on a stream's list step by
// step (Run), and gives the import. When it returns without an error all of them
// are on stable storage, and will be on the list whatever happens.
func (a *Accounts) Import(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, f *ImportFile) (*pennypost.Import, error) {
	if err := f.cut(); err != nil {
		return nil, fmt.Errorf("encode entries: %w", err)
	}
	im := &pennypost.Import{ServerID: server, Stream: stream, Status: pennypost.ImportReceiving, Total: f.total}
	err := a.update(ctx, "begin import", func(tx *store.Tx) error {
		if _, err := tx.StreamsToChange(ctx, server); err != nil { // nobody else begins one meanwhile
			return err
		}
		if _, err := tx.Stream(ctx, server, stream); err != nil {
			return ifMissing(err, errNoStream())
		}
		open, err := tx.OpenImports(ctx)
		if err != nil {
			return err
		}
		n := 0
		for i := range open {
			if open[i].ServerID == server {
				n++
			}
		}
		if n >= importsAtOnce {
			return pennypost.Refuse(codeSuppression, "%s The server has %d imports under way; try again when one is complete.", textSuppressionFault, n)
		}
		return tx.AddImport(ctx, im)
	})
	if err == nil {
		err = a.receive(ctx, im, f)
	}
	if err != nil {
		if im.ID != 0 {
			a.breakOff(ctx, im)
		}
		return nil, err
	}
	a.log.InfoContext(ctx, "import of suppressions begun", "server", int64(server), "stream", string(stream), "import", int64(im.ID), "total", im.Total)
	select {
	case a.imports <- struct{}{}:
	default:
	}
	return im, nil
}

// receive stores the entries of an import, and opens it.
func (a *Accounts) receive(ctx context.Context, im *pennypost.Import, f *ImportFile) error {
	// Not in one transaction: mail would wait for it.
	for n := 0; n < len(f.parts); n += partsAtOnce {
		err := a.update(ctx, "store import", func(tx *store.Tx) error {
			for i := n; i < min(n+partsAtOnce, len(f.parts)); i++ {
				if err := tx.AddImportPart(ctx, im.ID, i, f.parts[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return a.update(ctx, "begin import", func(tx *store.Tx) error {
		// The stream may have been archived and purged meanwhile.
		if _, err := tx.Stream(ctx, im.ServerID, im.Stream); err != nil {
			return ifMissing(err, errNoStream())
		}
		im.Status = pennypost.ImportWaiting
		return tx.SetImport(ctx, im)
	})
}

// breakOff deletes what was stored of an import that was not opened: it counts
// among those of the server. What cannot be deleted now goes with time.
func (a *Accounts) breakOff(ctx context.Context, im *pennypost.Import) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), breakOffWithin)
	defer cancel()
	for more := true; more; {
		err := a.conf.Store.UpdateSoon(ctx, func(tx *store.Tx) (err error) {
			more, err = tx.DropImport(ctx, im.ID)
			return err
		})
		if err != nil {
			a.log.WarnContext(ctx, "import that broke off not deleted", "import", int64(im.ID), "err", err)
			return
		}
	}
}

// ImportState gives an import of a server's stream.
func (a *Accounts) ImportState(ctx context.Context, server pennypost.ServerID, stream pennypost.StreamID, id pennypost.ImportID) (*pennypost.Import, error) {
	var im *pennypost.Import
	err := a.view(ctx, "read import", func(tx *store.Tx) error {
		_, err := tx.Stream(ctx, server, stream)
		if err != nil {
			return ifMissing(err, errNoStream())
		}
		im, err = tx.Import(ctx, server, stream, id)
		if err == nil && im.Status == pennypost.ImportReceiving {
			err = store.ErrNotFound // nobody was told of it
		}
		return ifMissing(err, pennypost.Refuse(codeSuppression, "%s This import was not found.", textSuppressionFault))
	})
	return im, err
}

// importEvery is how often imports are looked for that nobody told of: those of
// an earlier life, and of another process.
const importEvery = 10 * time.Second

// RunImports works through imports until ctx ends: a step of each in turn. It is
// a part of Run.
func (a *Accounts) RunImports(ctx context.Context) error {
	t := time.NewTicker(importEvery)
	defer t.Stop()
	for {
		busy, err := a.stepImports(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "import not gone on with", "err", err)
			busy = false
		}
		if busy && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-a.imports:
		}
	}
}

// stepImports takes each open import on by one part, and tells whether there
// was one. One that fails does not stop the others.
func (a *Accounts) stepImports(ctx context.Context) (busy bool, err error) {
	var open []pennypost.Import
	err = a.view(ctx, "read imports", func(tx *store.Tx) (err error) {
		open, err = tx.OpenImports(ctx)
		return err
	})
	for i := range open {
		if open[i].Status == pennypost.ImportReceiving || ctx.Err() != nil {
			continue
		}
		busy = true
		err = errors.Join(err, a.stepImport(ctx, &open[i]))
	}
	return busy, err
}

// stepImport deals with one part of an import: its entries, and how far the
// import has come, in one transaction.
func (a *Accounts) stepImport(ctx context.Context, im *pennypost.Import) error {
	var n int
	var entries []byte
	err := a.view(ctx, "read part of import", func(tx *store.Tx) (err error) {
		n, entries, err = tx.ImportPart(ctx, im.ID)
		return err
	})
	last := errors.Is(err, store.ErrNotFound)
	damaged := errors.Is(err, store.ErrDamaged)
	if err != nil && !last && !damaged {
		return err
	}
	var rows []importRow
	if !last && !damaged {
		if err := json.NewDecoder(bytes.NewReader(entries)).Decode(&rows); err != nil {
			return fmt.Errorf("part %d of import %d: %w", n, im.ID, err)
		}
	}
	list, faults := importable(im, rows)
	err = a.update(ctx, "import suppressions", func(tx *store.Tx) error {
		if !last {
			if err := tx.EndImportPart(ctx, im.ID, n); err != nil {
				return err
			}
		}
		now, err := tx.Import(ctx, im.ServerID, im.Stream, im.ID) // as another process may have left it
		if err != nil {
			return err
		}
		if last {
			now.Status, now.FinishedAt = pennypost.ImportCompleted, tx.Now()
			if left := now.Total - now.Processed; left > 0 { // of parts that were damaged
				now.Processed, now.Failed = now.Total, now.Failed+left
				now.Errors = firstErrors(now.Errors, pennypost.ImportError{Text: fmt.Sprintf("%d entries were lost by a fault of ours.", left)})
			}
			return tx.SetImport(ctx, now)
		}
		added, err := tx.SuppressAll(ctx, clamped(list, tx.Now()))
		if err != nil {
			return err
		}
		now.Status = pennypost.ImportProcessing
		now.Processed += len(rows)
		now.Added += added
		now.Failed += len(faults)
		now.Errors = firstErrors(now.Errors, faults...)
		return tx.SetImport(ctx, now)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // another process did it, or the import is gone
	}
	if err == nil && (last || damaged) {
		a.log.InfoContext(ctx, "import of suppressions ends", "server", int64(im.ServerID), "import", int64(im.ID), "damaged", damaged)
	}
	return err
}

func firstErrors(have []pennypost.ImportError, more ...pennypost.ImportError) []pennypost.ImportError {
	for i := range more {
		if len(have) < importErrors {
			have = append(have, more[i])
		}
	}
	return have
}

// clamped keeps times from lying in the future.
func clamped(list []pennypost.Suppression, now time.Time) []pennypost.Suppression {
	for i := range list {
		if list[i].At.After(now) {
			list[i].At = now
		}
	}
	return list
}

// importable sorts entries into those that can be suppressed and those that
// cannot.
func importable(im *pennypost.Import, rows []importRow) ([]pennypost.Suppression, []pennypost.ImportError) {
	list := make([]pennypost.Suppression, 0, len(rows))
	var faults []pennypost.ImportError
	for i := range rows {
		r := &rows[i]
		s := pennypost.Suppression{ServerID: im.ServerID, Stream: im.Stream}
		fault := r.Fault
		var ok bool
		if s.Address, ok = parseAddress(r.Address); !ok {
			fault = textBadAddress
		}
		reason, ok := suppressionReason(r.Reason)
		if !ok && fault == "" {
			fault = "The reason is invalid."
		}
		origin, ok := suppressionOrigin(r.Origin)
		if !ok && fault == "" {
			fault = "The origin is invalid."
		}
		if fault != "" {
			faults = append(faults, pennypost.ImportError{Line: r.Line, Address: r.Address, Text: fault})
			continue
		}
		s.Reason, s.Origin = reason, origin
		if r.At != 0 {
			s.At = time.UnixMicro(r.At)
		}
		list = append(list, s)
	}
	return list, faults
}

// suppressionReason reads the reason of an entry. Blanks in it, as in "Hard
// bounce", do not count.
func suppressionReason(given string) (string, bool) {
	if given == "" {
		return pennypost.ReasonManual, true
	}
	return SuppressionReason(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(given))
}

func suppressionOrigin(given string) (string, bool) {
	if given == "" {
		return pennypost.OriginCustomer, true
	}
	return SuppressionOrigin(given)
}

// SuppressionReason reads a reason, in any case.
func SuppressionReason(given string) (string, bool) {
	return oneOf(given, pennypost.ReasonHardBounce, pennypost.ReasonComplaint, pennypost.ReasonManual)
}

// SuppressionOrigin reads an origin, in any case.
func SuppressionOrigin(given string) (string, bool) {
	return oneOf(given, pennypost.OriginRecipient, pennypost.OriginCustomer, pennypost.OriginAdmin)
}
