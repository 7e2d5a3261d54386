//! The comparison: what was planned and answered against what was found, id by id.
//!
//! Every event must be in its place exactly once and look as the contract says; nothing else may be there. What
//! is found wrong is listed, never counted away.

mod answers;
mod places;
mod record;
mod order;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::deeds::Deeds;
use crate::event::{Digest, Event};
use crate::ledger::Ledger;
use crate::observed::{DeadLetter, Emitted, Observed, Position, Verified};
use crate::plan::{Delivery, Plan};
use crate::sources::Source;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose, when that is known.
    pub source: Option<Source>,
    /// Of what kind.
    pub trouble: Trouble,
    /// A sentence with the id in it.
    pub text: String,
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// Accepted, and not where it belongs.
    Lost,
    /// There more than once.
    Doubled,
    /// Somewhere else.
    Misplaced,
    /// Not one of ours.
    Foreign,
    /// In its place, with a wrong header, key, partition or body.
    Malformed,
    /// Not in the order in which its resource's events were accepted.
    Reordered,
    /// The door answered something else.
    Answer,
}

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What was to happen.
    pub plan: &'a Plan,
    /// What the providers were told.
    pub ledger: &'a Ledger,
    /// What was found.
    pub observed: &'a Observed,
    /// N.
    pub partitions: i32,
    /// Full name of `verified-events`.
    pub verified_topic: &'a str,
    /// What handlers and people did besides.
    pub deeds: &'a Deeds,
}

/// What became of one event.
#[derive(Debug, Clone, Default)]
pub struct Fate {
    /// Deliveries that were accepted.
    pub accepted: u32,
    /// Attempts of which nobody knows.
    pub unknown: u32,
    /// When its first attempt began.
    pub sent: u64,
    /// When it was first known to be accepted.
    pub accepted_at: Option<u64>,
    /// Its records in `verified-events` (numbers in [`Observed`]), the oldest first.
    pub verified: Vec<usize>,
    /// Its records in `clean-events`.
    pub clean: Vec<usize>,
    /// Its records in `stale-events`.
    pub stale: Vec<usize>,
    /// Its records in `dead-events`.
    pub dead: Vec<usize>,
}

/// The fate of every event of the plan, and the records that belong to none.
#[derive(Debug)]
pub struct Fates {
    /// One for each event, in the plan's order.
    pub of: Vec<Fate>,
    foreign: Vec<Finding>,
}

/// Compares. Nothing found: the books balance.
pub fn check(case: &Case<'_>, fates: &Fates) -> Vec<Finding> {
    let mut findings = answers::check(case);
    findings.extend(fates.foreign.iter().cloned());
    findings.extend(places::check(case, fates));
    findings.extend(record::check(case, fates));
    findings.extend(order::check(case, fates));
    findings
}

impl Finding {
    pub(crate) fn about(event: &Event, trouble: Trouble, text: impl std::fmt::Display) -> Self {
        Self { source: Some(event.source), trouble, text: format!("{} {text}", event.name()) }
    }
}

impl Fates {
    /// Sorts answers and records by the event that they belong to. Bodies tell events apart.
    pub fn new(case: &Case<'_>) -> Self {
        let events = case.plan.events.iter().enumerate();
        let by_digest: HashMap<Digest, usize> = events.map(|(number, event)| (event.digest, number)).collect();
        let mut fates = Self { of: vec![Fate::default(); case.plan.events.len()], foreign: Vec::new() };
        fates.add_answers(case);
        let mut add = |found: &Found<'_>, put: &dyn Fn(&mut Fate)| match by_digest.get(found.digest) {
            Some(event) => put(&mut fates.of[*event]),
            None => fates.foreign.push(found.foreign(case.plan)),
        };
        let Observed { verified, clean, stale, dead } = case.observed;
        for (number, record) in verified.iter().enumerate() {
            let Verified { at, source, id, digest, .. } = record;
            add(&Found { topic: "verified-events", at, source, id, digest }, &|fate| fate.verified.push(number));
        }
        for (number, record) in clean.iter().enumerate() {
            add(&Found::emitted("clean-events", record), &|fate| fate.clean.push(number));
        }
        for (number, record) in stale.iter().enumerate() {
            add(&Found::emitted("stale-events", record), &|fate| fate.stale.push(number));
        }
        for (number, record) in dead.iter().enumerate() {
            let DeadLetter { at, source, id, digest, .. } = record;
            add(&Found { topic: "dead-events", at, source, id, digest }, &|fate| fate.dead.push(number));
        }
        for fate in &mut fates.of {
            fate.verified.sort_by_key(|number| verified[*number].at);
        }
        fates
    }

    fn add_answers(&mut self, case: &Case<'_>) {
        for (delivery, entry) in case.plan.deliveries.iter().zip(&case.ledger.entries) {
            let Delivery::Event { event, .. } = *delivery else { continue };
            let fate = &mut self.of[event];
            fate.sent = if fate.sent == 0 { entry.sent } else { fate.sent.min(entry.sent) };
            fate.unknown += entry.unknown();
            if entry.is_accepted() {
                fate.accepted += 1;
                fate.accepted_at = Some(fate.accepted_at.map_or(entry.answered, |at| at.min(entry.answered)));
            }
        }
    }
}

/// A record, as far as it says whose it is.
struct Found<'a> {
    topic: &'static str,
    at: &'a Position,
    source: &'a str,
    id: &'a str,
    digest: &'a Digest,
}

impl<'a> Found<'a> {
    fn emitted(topic: &'static str, record: &'a Emitted) -> Self {
        let (source, id) = (source_of(record.header("ce_source")), record.header("ce_id").unwrap_or_default());
        Self { topic, at: &record.at, source, id, digest: &record.digest }
    }

    fn foreign(&self, plan: &Plan) -> Finding {
        let Self { topic, at, source, id, .. } = self;
        let is_known = plan.events.iter().any(|event| event.id == *id && event.source.name() == *source);
        let what = if is_known { "with another body" } else { "which was never sent" };
        let text = format!("{source}:{id} {what} is in {topic} at {at}");
        Finding { source: Source::find(source), trouble: Trouble::Foreign, text }
    }
}

impl Fate {
    /// Whether it must have reached its place: it is in `verified-events`, or somebody was told so.
    pub fn counts(&self) -> bool {
        self.accepted > 0 || !self.verified.is_empty()
    }
}

/// `github` of `/hooks/github`.
fn source_of(header: Option<&str>) -> &str {
    header.and_then(|value| value.strip_prefix("/hooks/")).unwrap_or_default()
}
