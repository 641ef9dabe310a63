package measure

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A table has a header row first.
type table struct {
	title string
	rows  [][]string
	notes []string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// WriteText writes the tables for a terminal.
func (r *Result) WriteText(w io.Writer) error {
	var b bytes.Buffer
	for _, line := range r.about() {
		fmt.Fprintln(&b, line)
	}
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "\n%s\n", t.title)
		tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
		for _, row := range t.rows {
			fmt.Fprintln(tw, strings.Join(row, "\t"))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		for _, n := range t.notes {
			fmt.Fprintln(&b, n)
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintln(&b, "\nPROBLEM:", p)
	}
	for _, m := range r.Missing {
		fmt.Fprintln(&b, "\nMISSING:", m)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteMarkdown writes them for docs/performance.md.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	for _, line := range r.about() {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "- **missing**: %s\n", m)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "- **problem**: %s\n", p)
	}
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "\n### %s\n\n", t.title)
		for i, row := range t.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintln(&b, strings.Repeat("| --- ", len(row))+"|")
			}
		}
		for _, n := range t.notes {
			fmt.Fprintf(&b, "\n%s\n", n)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Result) about() []string {
	m := r.Machine
	lines := []string{
		fmt.Sprintf("%s, %s run of %.0f s: %s of %g s each, medians (lowest-highest)", r.Start.Format("2006-01-02 15:04 UTC"), r.Mode, r.TookS, count(r.Rounds, "round"), r.EachS),
		fmt.Sprintf("%s, %s, %d GiB; %s on %s; %s, Linux %s; %s, OpenSSL %s", m.CPU, count(m.Cores, "core"), m.MemoryGiB, m.FileSystem, orNone(m.Device), m.System, m.Kernel, m.Go, orNone(m.OpenSSL)),
		fmt.Sprintf("load averages before %s, after %s; the device did %s flushes/s without us; load generator, sink and DNS share the machine", m.LoadBefore, m.LoadAfter, number(r.IdleFlushes)),
		"measured: " + r.Ours,
	}
	for _, p := range r.Peers {
		lines = append(lines, "beside: "+p)
	}
	return lines
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (r *Result) tables() []table {
	var list []table
	for _, t := range []table{r.goalTable(), r.throughputTable(), r.costTable(), r.latencyTable(), r.backlogTable(), r.memoryTable(), r.limitTable()} {
		if len(t.rows) > 1 {
			list = append(list, t)
		}
	}
	return list
}

func (r *Result) goalTable() table {
	t := table{title: "Goals"}
	t.add("goal", "wanted", "got", "")
	for _, g := range r.Goals {
		verdict := "met"
		switch {
		case !g.Measured:
			verdict = ""
		case !g.Met:
			verdict = "MISSED"
		}
		t.add(g.Text, g.Want, g.Got, verdict)
	}
	return t
}

// serverText names a server with what it did to the mail.
func serverText(row Row) string {
	switch {
	case row.Server == postfixMTA && row.Way == signed:
		return "Postfix + OpenDKIM"
	case row.Server == postfixMTA && row.Way == unsigned:
		return "Postfix, unsigned"
	}
	return row.Server
}

// A column reads a figure of a sample.
type column func(Sample) float64

func (c column) of(row Row) string { return spread(figures(row.Samples, c)).text() }

func (r *Result) throughputTable() table {
	t := table{title: "Throughput"}
	t.add("load", "server", "accepted/s", "accepted p50 ms", "p99 ms", "end to end/s", "Pennypost accepts", "Pennypost delivers")
	r.closedLoop(func(title string, ours []Sample, row Row) {
		times := func(of column) string { return withUnit(spread(ratios(ours, row.Samples, of)), " ×") }
		t.add(title, serverText(row), column(rate).of(row), column(p50).of(row), column(p99).of(row), column(endToEnd).of(row), times(rate), times(endToEnd))
	})
	return t
}

func (r *Result) costTable() table {
	t := table{title: "Cost"}
	t.add("load", "server", "CPU-s per 1,000", "Pennypost takes", "KiB written each", "KiB on the device", "flushes each", "commits each", "per connection out", "peak MB")
	r.closedLoop(func(title string, ours []Sample, row Row) {
		t.add(title, serverText(row), column(cpu).of(row), withUnit(spread(ratios(ours, row.Samples, cpu)), " ×"),
			column(func(s Sample) float64 { return float64(s.WriteKiB) }).of(row), column(func(s Sample) float64 { return float64(s.DiskKiB) }).of(row),
			column(flushes).of(row), column(func(s Sample) float64 { return float64(s.Commits) }).of(row),
			column(func(s Sample) float64 { return float64(s.PerConn) }).of(row), column(peak).of(row))
	})
	return t
}

// closedLoop gives each row that was measured at full speed, with what ours had
// in the same group when the row is another's. The title comes once.
func (r *Result) closedLoop(each func(title string, ours []Sample, row Row)) {
	for _, g := range r.Groups {
		var ours []Sample
		title := g.Title
		for _, row := range g.Rows {
			if len(row.Samples) == 0 || row.Samples[0].Offered > 0 {
				continue
			}
			if row.Server == pennypost {
				each(title, nil, row)
				ours = row.Samples
			} else {
				each(title, ours, row)
			}
			title = ""
		}
	}
}

func withUnit(s Spread, unit string) string {
	if !s.known() {
		return ""
	}
	return s.text() + unit
}

func (r *Result) latencyTable() table {
	t := table{title: "Latency, open loop"}
	t.add("load", "server", "offered/s", "accepted p50 ms", "accepted p99 ms", "arrived p50 ms", "arrived p99 ms", "delivered meanwhile/s")
	for _, g := range r.Groups {
		for _, row := range g.Rows {
			if len(row.Samples) == 0 || row.Samples[0].Offered == 0 {
				continue
			}
			t.add(g.Title, serverText(row), column(func(s Sample) float64 { return s.Offered }).of(row), column(p50).of(row), column(p99).of(row),
				column(arrive50).of(row), column(arrive99).of(row), column(func(s Sample) float64 { return float64(s.Meanwhile) }).of(row))
		}
	}
	return t
}

func (r *Result) backlogTable() table {
	t := table{title: "Fresh mail beside a backlog"}
	t.add("backlog", "server", "filled/s", "CPU-s per 1,000 filled", "end to end/s without", "with", "share", "accepted p50/p99 ms without", "with", "arrived p50/p99 ms without", "with", "peak MB", "start: ready s", "first delivery s", "MB", "queue MB")
	for i := range r.Backlog {
		b := &r.Backlog[i]
		med := func(list []Sample, of func(Sample) float64) string { return number(spread(figures(list, of)).Median) }
		pair := func(list []Sample, a, b func(Sample) float64) string { return med(list, a) + " / " + med(list, b) }
		start := []string{"", "", "", ""}
		if b.ReadyS > 0 {
			start = []string{number(b.ReadyS), number(b.FirstS), number(b.StartMB), number(b.QueueMB)}
		}
		name := fmt.Sprintf("%s, %s, %s", thousands(float64(b.Filled)), count(b.Domains, "domain"), b.Kind)
		if b.Kind == sick {
			name += fmt.Sprintf(" (%s attempts made)", thousands(float64(b.Tried)))
		}
		t.add(append([]string{
			name, b.Server, number(b.FillRate), number(b.FillCPU), med(b.Before, endToEnd), med(b.With, endToEnd), b.share(endToEnd, false).text(),
			pair(b.BeforeHalf, p50, p99), pair(b.WithHalf, p50, p99), pair(b.BeforeHalf, arrive50, arrive99), pair(b.WithHalf, arrive50, arrive99), number(b.PeakMB),
		}, start...)...)
	}
	return t
}

func (r *Result) memoryTable() table {
	t := table{title: "Memory at rest, MB"}
	t.add("server", "after its start", "with pages of files", "after all rounds")
	for _, m := range r.Memory {
		t.add(m.Server, number(m.FreshMB), number(m.FreshRSSMB), one(m.AfterMB).text())
	}
	if s := r.Soak; s != nil && len(s.Points) > 0 {
		first, last := s.Points[0], s.Points[len(s.Points)-1]
		t.notes = append(t.notes, fmt.Sprintf("Soak of %.0f minutes at %s messages/s: %s MB after the first minutes, %s MB at the end; goroutines %s and %s, open files %s and %s; p99 of acceptance %s ms.",
			s.Minutes, number(s.Rate), number(first.MB), number(last.MB), number(first.Goroutines), number(last.Goroutines), number(first.Files), number(last.Files), number(s.P99)))
	}
	return t
}

func (r *Result) limitTable() table {
	t := table{title: "Limits of the machine, per second"}
	l := r.Limits
	if l == nil {
		return t
	}
	t.add("what", "1", "2", "4", "10", "20", "64", "100")
	row := func(name string, m map[string]float64) {
		if len(m) == 0 {
			return
		}
		cells := []string{name}
		for _, n := range t.rows[0][1:] {
			cells = append(cells, "")
			if v, ok := m[n]; ok {
				cells[len(cells)-1] = number(v)
			}
		}
		if cores := fmt.Sprint(r.Machine.Cores); m[cores] > 0 && !strings.Contains(" 1 2 4 10 20 64 100 ", " "+cores+" ") {
			cells[0] += fmt.Sprintf("; by %s: %s", cores, number(m[cores]))
		}
		t.add(cells...)
	}
	row("new 4 KiB file, fsync file and directory (by writers)", l.FsyncFile)
	row("append 4 KiB, fsync (by writers)", l.FsyncAppend)
	row("overwrite 4 KiB, fdatasync (by writers)", l.FdatasyncPre)
	row("messages of 4 KiB, one writer, one fsync per batch (by batch)", l.GroupBytes)
	row("RSA-2048 signatures, Go (by goroutines)", l.RSA2048)
	row("RSA-2048 signatures, openssl (by processes)", l.RSA2048Lib)
	row("Ed25519 signatures, Go (by goroutines)", l.Ed25519)
	row("TLS 1.3 handshakes, both ends here (by connections)", l.TLSFull)
	return t
}
