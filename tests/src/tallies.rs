//! The tallies: what the processes counted against what the generator knows.
//!
//! The expected place of every id was known before it was sent. How often an event reached `verified-events` is
//! the provider's own number; only where an answer was lost on the way does the reader's count decide.

use std::collections::BTreeMap;

use crate::check::{Case, Fates};
use crate::door::{self, Expected};
use crate::event::Place;
use crate::plan::Delivery;
use crate::scrape::Metrics;
use crate::sources::Source;

/// What a source's books must say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    /// Deliveries made.
    pub sent: u64,
    /// Deliveries told 200.
    pub accepted: u64,
    /// Attempts of which nobody knows whether they were counted.
    pub unknown: u64,
    /// Deliveries refused.
    pub refused: u64,
    /// Events in `clean-events`.
    pub clean: u64,
    /// Copies.
    pub duplicate: u64,
    /// Events set aside as stale, in `stale-events` or dropped.
    pub stale: u64,
    /// Dead letters.
    pub dead: u64,
    /// Events that a person gave up.
    pub discarded: u64,
}

/// How often a reason stands in the door's metrics: at least, at most.
type Reasons = BTreeMap<(String, String), (u64, u64)>;

/// What all books must say.
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    /// By source.
    pub rows: BTreeMap<Source, Row>,
    /// By source (nothing: no source is known) and exact reason.
    reasons: Reasons,
    /// Deliveries to an address that is no source's.
    pub astray: u64,
    /// Handshakes that were answered.
    pub handshakes: u64,
    /// Refusals by the reason that the callers were told.
    pub refused: BTreeMap<String, u64>,
    /// All refusals, at least and at most.
    refusals: (u64, u64),
}

impl Tallies {
    /// Works them out.
    pub fn new(case: &Case<'_>, fates: &Fates) -> Self {
        let mut tallies = Self { rows: Source::ALL.map(|source| (source, Row::default())).into(), ..Self::default() };
        tallies.count_deliveries(case);
        for (event, fate) in case.plan.events.iter().zip(&fates.of) {
            let row = tallies.rows.entry(event.source).or_default();
            let copies = fate.verified.len() as u64;
            if copies == 0 {
                continue;
            }
            let place = match event.place {
                Place::Clean { .. } => &mut row.clean,
                Place::StaleRouted | Place::StaleDropped => &mut row.stale,
                Place::Dead(_) => {
                    let src = case.observed.verified[fate.verified[0]].at;
                    if case.deeds.is_discarded(src, fate.dead.len()) { &mut row.discarded } else { &mut row.dead }
                }
                // The one it contradicts came first; a refused one is found by the check of places.
                Place::Conflict | Place::Refused => {
                    row.duplicate += copies;
                    continue;
                }
            };
            *place += 1;
            row.duplicate += copies - 1;
        }
        tallies
    }

    fn count_deliveries(&mut self, case: &Case<'_>) {
        for (number, (delivery, entry)) in case.plan.deliveries.iter().zip(&case.ledger.entries).enumerate() {
            let source = door::source(case.plan, *delivery);
            let name = source.map_or("", Source::name);
            for (reason, times) in &entry.put_off {
                self.reason(name, reason, (u64::from(*times), u64::from(*times)));
            }
            if let Expected::Refused(_, reason) = door::expected(case.plan, number) {
                *self.refused.entry(reason.to_owned()).or_default() += u64::from(entry.status >= 400);
            }
            let possible: &[&str] = match delivery {
                Delivery::Forged { forgery, .. } => forgery.reasons(),
                Delivery::Door(case) => &[case.answer().1],
                Delivery::Event { .. } | Delivery::Challenge => &[],
            };
            let most = 1 + u64::from(entry.broken);
            for reason in possible {
                self.reason(name, reason, (u64::from(possible.len() == 1), most));
            }
            let refusals = u64::from(entry.put_off.values().sum::<u32>()) + u64::from(entry.status >= 400);
            self.refusals = (self.refusals.0 + refusals, self.refusals.1 + refusals + u64::from(entry.broken));
            if let Delivery::Challenge = delivery {
                self.handshakes += u64::from(entry.is_accepted());
            }
            let Some(source) = source else {
                self.astray += 1;
                continue;
            };
            let row = self.rows.entry(source).or_default();
            row.sent += 1;
            row.unknown += u64::from(entry.unknown());
            if let Delivery::Event { .. } = delivery {
                row.accepted += u64::from(entry.is_accepted());
            }
            row.refused += u64::from(entry.status >= 400);
        }
    }

    fn reason(&mut self, source: &str, reason: &str, (least, most): (u64, u64)) {
        let bounds = self.reasons.entry((source.to_owned(), reason.to_owned())).or_default();
        *bounds = (bounds.0 + least, bounds.1 + most);
    }

    /// The processors' books, all processes together. What differs.
    pub fn compare_processor(&self, metrics: &Metrics) -> Vec<String> {
        let mut differences = Vec::new();
        let mut all = 0;
        for (source, row) in &self.rows {
            let source = source.name();
            let outcomes = [
                ("clean", row.clean),
                ("duplicate", row.duplicate),
                ("stale", row.stale),
                ("discarded", row.discarded),
            ];
            for (outcome, expected) in outcomes {
                let labels = [("source", source), ("outcome", outcome)];
                let name = format!("weir_processor_events_total of {source}, {outcome}");
                differ(&mut differences, &name, metrics.sum("weir_processor_events_total", &labels), expected);
                all += expected;
            }
            let gauges = [("dead", row.dead), ("parked", 0), ("retrying", 0)];
            for (gauge, expected) in gauges {
                let found = metrics.sum(&format!("weir_processor_{gauge}"), &[("source", source)]);
                differ(&mut differences, &format!("weir_processor_{gauge} of {source}"), found, expected);
            }
        }
        // Nothing may be counted under a source or an outcome that does not exist.
        differ(&mut differences, "weir_processor_events_total", metrics.sum("weir_processor_events_total", &[]), all);
        differences
    }

    /// The door's counters, of one process that took every request. What differs.
    pub fn compare_ingest(&self, metrics: &Metrics) -> Vec<String> {
        let mut differences = Vec::new();
        for (source, row) in &self.rows {
            let found = metrics.sum("weir_ingest_events_total", &[("source", source.name())]);
            let name = format!("weir_ingest_events_total of {}", source.name());
            between(&mut differences, &name, found, (row.accepted, row.accepted + row.unknown));
        }
        for ((source, reason), bounds) in &self.reasons {
            // Before a source is known the label is the door's own affair.
            let labels = [("reason", reason.as_str()), ("source", source.as_str())];
            let labels = if source.is_empty() { &labels[..1] } else { &labels[..] };
            let found = metrics.sum("weir_ingest_refused_total", labels);
            between(&mut differences, &format!("weir_ingest_refused_total of {source}, {reason}"), found, *bounds);
        }
        let found = metrics.sum("weir_ingest_refused_total", &[]);
        between(&mut differences, "weir_ingest_refused_total", found, self.refusals);
        for reason in metrics.values("weir_ingest_refused_total", "reason") {
            let found = metrics.sum("weir_ingest_refused_total", &[("reason", reason)]);
            let expected = self.reasons.keys().any(|(_, known)| known == reason);
            if found > 0 && !expected {
                differences.push(format!("weir_ingest_refused_total of {reason} is {found}; nobody expected it"));
            }
        }
        differences
    }
}

fn differ(differences: &mut Vec<String>, name: &str, found: u64, expected: u64) {
    between(differences, name, found, (expected, expected));
}

fn between(differences: &mut Vec<String>, name: &str, found: u64, (least, most): (u64, u64)) {
    if !(least..=most).contains(&found) {
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        differences.push(format!("{name} is {found} instead of {expected}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perfect::Day;

    fn tallies(day: &Day) -> Tallies {
        let case = day.case();
        Tallies::new(&case, &Fates::new(&case))
    }

    /// The pages of processes that counted a day right.
    fn pages(tallies: &Tallies) -> String {
        let mut page = String::new();
        for (source, row) in &tallies.rows {
            let source = source.name();
            for (outcome, value) in [("clean", row.clean), ("duplicate", row.duplicate), ("stale", row.stale)] {
                let labels = format!("source=\"{source}\",outcome=\"{outcome}\"");
                page.push_str(&format!("weir_processor_events_total{{{labels}}} {value}\n"));
            }
            page.push_str(&format!("weir_processor_dead{{source=\"{source}\"}} {}\n", row.dead));
            page.push_str(&format!("weir_ingest_events_total{{source=\"{source}\"}} {}\n", row.accepted));
        }
        let mut left = tallies.refusals.0;
        for ((source, reason), (least, _)) in &tallies.reasons {
            left -= least;
            let labels = format!("source=\"{source}\",reason=\"{reason}\"");
            page.push_str(&format!("weir_ingest_refused_total{{{labels}}} {least}\n"));
        }
        // What may be called either way.
        page.push_str(&format!("weir_ingest_refused_total{{reason=\"signature_mismatch\"}} {left}\n"));
        page
    }

    fn differences(tallies: &Tallies, page: &str) -> Vec<String> {
        let metrics = Metrics::parse(page).expect("metrics");
        [tallies.compare_processor(&metrics), tallies.compare_ingest(&metrics)].concat()
    }

    #[test]
    fn everything_that_was_accepted_has_one_place() {
        let day = Day::perfect();
        for (source, row) in tallies(&day).rows {
            assert!(row.clean > 0 && row.duplicate > 0, "{source:?}: {row:?}");
            assert_eq!(row.accepted, row.clean + row.duplicate + row.stale + row.dead, "{source:?}: {row:?}");
        }
    }

    #[test]
    fn books_that_are_right_have_no_difference_and_every_wrong_number_is_one() {
        let tallies = tallies(&Day::perfect());
        let page = pages(&tallies);
        assert_eq!(differences(&tallies, &page), [""; 0]);
        let mut wrong_lines = 0;
        for line in page.lines() {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            let more = format!("{series} {}", value.parse::<u64>().expect("a number") + 1);
            let page = page.replacen(line, &more, 1);
            assert!(!differences(&tallies, &page).is_empty(), "{more} was not noticed");
            wrong_lines += 1;
        }
        assert!(wrong_lines > 40);
        let stray = format!("{page}weir_processor_events_total{{source=\"unknown\",outcome=\"clean\"}} 1\n");
        assert_eq!(differences(&tallies, &stray).len(), 1);
        let stray = format!("{page}weir_processor_dead{{source=\"github\"}} 1\n");
        assert_eq!(differences(&tallies, &stray).len(), 1);
    }
}
