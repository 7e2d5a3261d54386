//! Each record that was found, as the contract says it must look: headers, key, partition, provenance.
//!
//! Bodies need no look: records are sorted by the hash of their bytes.

use jiff::Timestamp;

use crate::check::{Case, Fate, Fates, Finding, Trouble};
use crate::deeds;
use crate::event::{Event, Place, idempotency_key};
use crate::murmur;
use crate::observed::{DeadLetter, Emitted, Position, Verified, header};

/// Headers of `clean-events` and `stale-events` besides those of the contract that every record has.
const OPTIONAL: [&str; 5] = ["ce_time", "content-type", "ce_stale", "weir-seq", "weir-txn"];
const REQUIRED: [&str; 10] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_idempotencykey",
    "ce_receivedtime",
    "ce_assurance",
    "ce_attempt",
    "ce_origin",
];

/// Every record with something wrong about it.
pub fn check(case: &Case<'_>, fates: &Fates) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (event, fate) in case.plan.events.iter().zip(&fates.of) {
        let first = fate.verified.first().map(|number| &case.observed.verified[*number]);
        for (topic, at, complaints) in complaints(case, event, fate, first) {
            for complaint in complaints {
                let text = format!("is in {topic} at {at} with {complaint}");
                findings.push(Finding::about(event, Trouble::Malformed, text));
            }
        }
    }
    findings
}

type Complaints = (&'static str, Position, Vec<String>);

fn complaints(case: &Case<'_>, event: &Event, fate: &Fate, first: Option<&Verified>) -> Vec<Complaints> {
    let mut all = Vec::new();
    for record in fate.verified.iter().map(|number| &case.observed.verified[*number]) {
        let mut wrong = Wrong(Vec::new());
        wrong.key(event, &record.key, record.at, case.partitions);
        wrong.equal("the source", &record.source, event.source.name());
        wrong.equal("the event id", &record.id, &event.id);
        all.push(("verified-events", record.at, wrong.0));
    }
    for record in fate.clean.iter().map(|number| &case.observed.clean[*number]) {
        let mut wrong = emitted(case, event, record, first);
        let flagged = matches!(event.place, Place::Clean { flagged: true }).then_some("true");
        wrong.header(record, "ce_stale", flagged);
        all.push(("clean-events", record.at, wrong.0));
    }
    for record in fate.stale.iter().map(|number| &case.observed.stale[*number]) {
        let mut wrong = emitted(case, event, record, first);
        wrong.header(record, "ce_stale", None);
        wrong.header(record, "weir-seq", None);
        all.push(("stale-events", record.at, wrong.0));
    }
    for record in fate.dead.iter().map(|number| &case.observed.dead[*number]) {
        all.push(("dead-events", record.at, dead(case, event, record, first).0));
    }
    all
}

/// What is the same in `clean-events` and in `stale-events`.
fn emitted(case: &Case<'_>, event: &Event, record: &Emitted, first: Option<&Verified>) -> Wrong {
    let source = event.source;
    let mut wrong = Wrong(Vec::new());
    wrong.key(event, &record.key, record.at, case.partitions);
    wrong.header(record, "ce_specversion", Some("1.0"));
    wrong.header(record, "ce_id", Some(&event.id));
    wrong.header(record, "ce_source", Some(&format!("/hooks/{}", source.name())));
    wrong.header(record, "ce_type", Some(&format!("{}.{}", source.type_prefix(), event.event_type)));
    wrong.header(record, "ce_subject", event.key.split_once('|').map(|(_, subject)| subject));
    wrong.header(record, "content-type", Some(event.content_type()));
    wrong.header(record, "ce_idempotencykey", Some(&idempotency_key(source.name(), &event.id)));
    wrong.header(record, "ce_assurance", Some(source.assurance()));
    let attempt = record.header("ce_attempt").and_then(|attempt| attempt.parse().ok());
    let can_be = attempt.is_some_and(|attempt: i64| (1..=case.deeds.attempts_max).contains(&attempt));
    wrong.unless(can_be, || format!("ce_attempt {:?}", record.header("ce_attempt")));
    wrong.header(record, "ce_origin", Some("live"));
    wrong.time(record, "ce_time", event.occurred_ms);
    if let Some(first) = first {
        wrong.time(record, "ce_receivedtime", Some(first.appended_ms));
        wrong.header(record, "weir-src", Some(&first.at.to_string()));
    }
    for (name, _) in &record.headers {
        let known = name == "weir-src" || REQUIRED.contains(&name.as_str()) || OPTIONAL.contains(&name.as_str());
        wrong.unless(known, || format!("the header {name}, which the contract does not know"));
        let times = record.headers.iter().filter(|(other, _)| other == name).count();
        wrong.unless(times == 1, || format!("the header {name} {times} times"));
    }
    wrong
}

fn dead(case: &Case<'_>, event: &Event, record: &DeadLetter, first: Option<&Verified>) -> Wrong {
    let mut wrong = Wrong(Vec::new());
    let reason = match event.place {
        Place::Dead(reason) => reason,
        _ => "no reason to be here",
    };
    wrong.key(event, &record.key, record.at, case.partitions);
    wrong.equal("original_key", &record.original_key, &event.key);
    wrong.equal("reason", &record.reason, reason);
    wrong.equal("weir-reason", header(&record.headers, "weir-reason").unwrap_or_default(), reason);
    wrong.equal("source", &record.source, event.source.name());
    wrong.equal("event_id", &record.id, &event.id);
    // What could not be understood may have no type.
    if !(event.id.starts_with("sha256:") && record.event_type.is_empty()) {
        wrong.equal("event_type", &record.event_type, &event.event_type);
    }
    wrong.equal("source_topic", &record.source_topic, case.verified_topic);
    let generation = deeds::generation(&record.dead_id).unwrap_or_default();
    wrong.equal("attempts", &record.attempts.to_string(), &(generation + 1).to_string());
    if let Some(first) = first {
        let Position { partition, offset } = first.at;
        wrong.equal("dead_id", &record.dead_id, &format!("{partition}-{offset}-{generation}"));
        wrong.equal("the original's place", &record.original.to_string(), &first.at.to_string());
        wrong.equal("weir-src", header(&record.headers, "weir-src").unwrap_or_default(), &first.at.to_string());
        wrong.equal("received_at_ms", &record.received_ms.to_string(), &first.appended_ms.to_string());
    }
    wrong
}

/// What is wrong with one record.
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        if !holds {
            self.0.push(complaint());
        }
    }

    fn equal(&mut self, what: &str, found: &str, expected: &str) {
        self.unless(found == expected, || format!("{what} {found:?} instead of {expected:?}"));
    }

    fn header(&mut self, record: &Emitted, name: &str, expected: Option<&str>) {
        let found = record.header(name);
        self.unless(found == expected, || format!("{name} {found:?} instead of {expected:?}"));
    }

    /// RFC 3339 in UTC, to the millisecond the same.
    fn time(&mut self, record: &Emitted, name: &str, expected_ms: Option<i64>) {
        let found = record.header(name);
        let found_ms = found.filter(|text| text.ends_with('Z')).and_then(|text| text.parse::<Timestamp>().ok());
        let found_ms = found_ms.map(Timestamp::as_millisecond);
        let is_right = found_ms == expected_ms && found.is_some() == expected_ms.is_some();
        self.unless(is_right, || format!("{name} {found:?} instead of {expected_ms:?} ms"));
    }

    fn key(&mut self, event: &Event, key: &str, at: Position, partitions: i32) {
        self.equal("the key", key, &event.key);
        let expected = murmur::partition(event.key.as_bytes(), partitions);
        self.unless(at.partition == expected, || format!("partition {} instead of {expected}", at.partition));
    }
}
