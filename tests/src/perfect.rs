//! A perfect day made by hand, for the tests of what must find fault with others.

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use crate::check::Case;
use crate::event::{Event, Place, idempotency_key};
use crate::ledger::{Entry, Ledger};
use crate::murmur;
use crate::observed::{DeadLetter, Emitted, Observed, Position, Verified};
use crate::payloads::Payloads;
use crate::plan::{Delivery, Plan};

/// N.
pub const PARTITIONS: i32 = 8;
const NOW_MS: i64 = 1_790_000_000_000;

/// A plan, played without a fault.
#[derive(Clone)]
pub struct Day {
    pub plan: Plan,
    pub ledger: Ledger,
    pub observed: Observed,
}

impl Day {
    /// A small day. Making it is slow, so it is made once.
    pub fn perfect() -> Self {
        static DAY: OnceLock<Day> = OnceLock::new();
        DAY.get_or_init(Self::make).clone()
    }

    fn make() -> Self {
        let plan = Plan::new(17, 1500, NOW_MS, &Payloads::own("test"));
        let mut day = Self {
            ledger: Ledger { entries: vec![Entry::default(); plan.deliveries.len()] },
            observed: Observed::default(),
            plan,
        };
        let mut moment = 0;
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut seen = HashSet::new();
        for step in day.plan.lanes.concat() {
            for number in step {
                let entry = &mut day.ledger.entries[number];
                (entry.sent, entry.answered) = (moment + 1, moment + 2);
                moment += 2;
                match day.plan.deliveries[number] {
                    Delivery::Event { event, .. } => {
                        entry.status = 200;
                        let record = verified(&day.plan.events[event], &mut next);
                        if seen.insert(event) {
                            day.emit(event, &record);
                        }
                        day.observed.verified.push(record);
                    }
                    Delivery::Forged { forgery, .. } => entry.status = forgery.answer().0,
                    Delivery::Door(case) => entry.status = case.answer().0,
                    Delivery::Challenge => entry.status = 200,
                }
            }
        }
        day
    }

    /// Puts an event where it belongs.
    fn emit(&mut self, event: usize, first: &Verified) {
        let event = &self.plan.events[event];
        match event.place {
            Place::Clean { flagged } => {
                let mut record = emitted(event, first, self.observed.clean.len());
                let of_partition =
                    |other: &&Emitted| other.src().is_some_and(|src| src.partition == first.at.partition);
                let seq = self.observed.clean.iter().filter(of_partition).count() + 1;
                record.headers.push(("weir-seq".to_owned(), seq.to_string()));
                record.headers.extend(flagged.then(|| ("ce_stale".to_owned(), "true".to_owned())));
                self.observed.clean.push(record);
            }
            Place::StaleRouted => {
                self.observed.stale.push(emitted(event, first, self.observed.stale.len()));
            }
            Place::Dead(reason) => self.observed.dead.push(dead(event, first, reason)),
            Place::StaleDropped | Place::Conflict | Place::Refused => {}
        }
    }

    /// What the check looks at.
    pub fn case(&self) -> Case<'_> {
        Case {
            plan: &self.plan,
            ledger: &self.ledger,
            observed: &self.observed,
            partitions: PARTITIONS,
            verified_topic: "verified-events",
            deeds: &crate::deeds::NONE,
        }
    }
}

/// An event's next record in `verified-events`.
pub fn verified(event: &Event, next: &mut BTreeMap<i32, i64>) -> Verified {
    let partition = murmur::partition(event.key.as_bytes(), PARTITIONS);
    let offset = next.entry(partition).or_default();
    *offset += 1;
    Verified {
        at: Position { partition, offset: *offset - 1 },
        appended_ms: NOW_MS + *offset,
        key: event.key.clone(),
        source: event.source.name().to_owned(),
        id: event.id.clone(),
        digest: event.digest,
    }
}

fn rfc3339(ms: i64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(ms).expect("a time"))
}

/// An event's record in `clean-events`, but for `weir-seq`, or in `stale-events`.
pub fn emitted(event: &Event, first: &Verified, offset: usize) -> Emitted {
    let source = event.source.name();
    let mut headers = vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", event.id.clone()),
        ("ce_source", format!("/hooks/{source}")),
        ("ce_type", format!("{}.{}", event.source.type_prefix(), event.event_type)),
        ("ce_subject", event.key.split_once('|').expect("a key of parts").1.to_owned()),
        ("content-type", event.content_type().to_owned()),
        ("ce_idempotencykey", idempotency_key(source, &event.id)),
        ("ce_receivedtime", rfc3339(first.appended_ms)),
        ("ce_assurance", event.source.assurance().to_owned()),
        ("ce_attempt", "1".to_owned()),
        ("ce_origin", "live".to_owned()),
        ("weir-src", first.at.to_string()),
    ];
    headers.extend(event.occurred_ms.map(|ms| ("ce_time", rfc3339(ms))));
    Emitted {
        at: Position { partition: first.at.partition, offset: offset as i64 },
        key: event.key.clone(),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        digest: event.digest,
        beginning: String::new(),
    }
}

fn dead(event: &Event, first: &Verified, reason: &str) -> DeadLetter {
    DeadLetter {
        at: first.at,
        key: event.key.clone(),
        headers: [("weir-reason", reason.to_owned()), ("weir-src", first.at.to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        dead_id: format!("{}-{}-0", first.at.partition, first.at.offset),
        reason: reason.to_owned(),
        attempts: 1,
        source: event.source.name().to_owned(),
        id: event.id.clone(),
        event_type: event.event_type.clone(),
        source_topic: "verified-events".to_owned(),
        original: first.at,
        received_ms: first.appended_ms,
        original_key: event.key.clone(),
        digest: event.digest,
    }
}
