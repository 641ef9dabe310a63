package smtpd

import (
	"sync/atomic"

	"pennypost/internal/metrics"
)

// stats is what the server counts. All labels are from closed sets.
type stats struct {
	connections *metrics.Counter
	auth        *metrics.Counter
	replies     *metrics.Counter
	messages    *metrics.Counter
	panics      *metrics.Counter
	noMemory    *metrics.Counter
	accept      *metrics.Histogram
}

func newStats(m *metrics.Set, open *atomic.Int64) *stats {
	m.Gauge("smtp_connections_open", "Open SMTP connections.", func() float64 { return float64(open.Load()) })
	return &stats{
		connections: m.Counter("smtp_connections", "SMTP connections by what became of them: accepted, refused.", "result"),
		auth:        m.Counter("smtp_auth", "Logins over SMTP: ok, failed, throttled, fault.", "result"),
		replies:     m.Counter("smtp_replies", "SMTP replies by first digit.", "class"),
		panics:      m.Counter("smtp_panics", "SMTP sessions that ended by a fault of the program."),
		noMemory:    m.Counter("smtp_no_memory", "Messages refused since those on their way in had taken all memory for them."),
		messages:    m.Counter("smtp_messages", "Messages by way (submission, inbound) and result (accepted, refused, fault).", "way", "result"),
		accept:      m.Histogram("smtp_accept", "Time from the end of a message to our reply.", "way"),
	}
}
