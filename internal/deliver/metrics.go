package deliver

import (
	"pennypost"
	"pennypost/internal/metrics"
)

// counters are what deliveries count.
type counters struct {
	outcomes, signatures, ambiguous, leaseLost, panics, noteRetries, unrecorded, starved *metrics.Counter
	delivered                                                                            *metrics.Histogram
}

func newCounters(m *metrics.Set) counters {
	return counters{
		outcomes:    m.Counter("delivery_outcomes", "What came of recipients' jobs.", "outcome"),
		signatures:  m.Counter("dkim_signatures", "DKIM signatures made."),
		ambiguous:   m.Counter("delivery_ambiguous", "Attempts without a reply to the final dot; each may have delivered."),
		leaseLost:   m.Counter("delivery_lease_lost", "Results dropped because another session has the recipient."),
		panics:      m.Counter("delivery_panics", "Attempts that panicked."),
		noteRetries: m.Counter("delivery_note_retries", "Results that had to be written again."),
		starved:     m.Counter("delivery_starved", "Pauses in which no connection was made for want of descriptors, ports or memory."),
		unrecorded:  m.Counter("delivery_unrecorded", "Results that could not be written; the job waits for the next session."),
		delivered:   m.Histogram("delivery_time", "From acceptance to the server's 250."),
	}
}

func (d *Deliverer) count(k *letter, r *result) {
	d.met.outcomes.Add(1, r.outcome.String())
	if r.ambiguous {
		d.met.ambiguous.Add(1)
	}
	if r.outcome == pennypost.OutcomeDelivered {
		d.met.delivered.Observe(d.c.Now().Sub(k.m.Begins()))
	}
}
