//! Order and numbering: per resource as accepted, each source record used once, sequences without a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::check::{Case, Fates, Finding, Trouble};
use crate::deeds;
use crate::event::Event;
use crate::observed::{Emitted, Position};
use crate::sources::Source;

/// Everything out of order, used twice or missing in a sequence.
pub fn check(case: &Case<'_>, fates: &Fates) -> Vec<Finding> {
    let mut findings = acceptance(case, fates);
    findings.extend(emission("clean-events", &case.observed.clean));
    findings.extend(emission("stale-events", &case.observed.stale));
    findings.extend(once(case));
    findings.extend(sequences(&case.observed.clean));
    findings
}

/// Of two events of a resource, one accepted before the other was sent, the first lies first.
fn acceptance(case: &Case<'_>, fates: &Fates) -> Vec<Finding> {
    let mut resources: HashMap<&str, Vec<usize>> = HashMap::new();
    for (number, event) in case.plan.events.iter().enumerate() {
        if !fates.of[number].verified.is_empty() {
            resources.entry(&event.key).or_default().push(number);
        }
    }
    let mut findings = Vec::new();
    let place = |number: usize| case.observed.verified[fates.of[number].verified[0]].at;
    for mut by_sending in resources.into_values() {
        let mut by_acceptance: Vec<(u64, usize)> =
            by_sending.iter().filter_map(|number| Some((fates.of[*number].accepted_at?, *number))).collect();
        by_acceptance.sort_unstable();
        by_sending.sort_by_key(|number| fates.of[*number].sent);
        let mut earlier = by_acceptance.into_iter().peekable();
        let mut last: Option<usize> = None;
        for number in by_sending {
            while let Some((_, before)) = earlier.next_if(|(at, _)| *at < fates.of[number].sent) {
                last = last.filter(|last| place(*last) > place(before)).or(Some(before));
            }
            if let Some(before) = last.filter(|last| place(*last) > place(number)) {
                let before: &Event = &case.plan.events[before];
                let text = format!("lies before {} in verified-events, which was accepted first", before.name());
                findings.push(Finding::about(&case.plan.events[number], Trouble::Reordered, text));
            }
        }
    }
    findings
}

/// Within a resource, records leave in the order in which they came in.
fn emission(topic: &str, records: &[Emitted]) -> Vec<Finding> {
    let mut sorted: Vec<&Emitted> = records.iter().collect();
    sorted.sort_by_key(|record| record.at);
    let mut last: HashMap<&str, &Emitted> = HashMap::new();
    let mut findings = Vec::new();
    for record in sorted {
        if let Some(before) = last.insert(&record.key, record)
            && before.src() > record.src()
        {
            let text = format!("comes after {} in {topic} and before it in verified-events", name(before));
            findings.push(finding(record, Trouble::Reordered, &text));
        }
    }
    findings
}

/// No record of `verified-events` has two effects, unless somebody redrove it.
fn once(case: &Case<'_>) -> Vec<Finding> {
    let observed = case.observed;
    let emitted = observed.clean.iter().chain(&observed.stale).map(|record| (record.src(), 0, name(record)));
    let dead = observed.dead.iter().map(|record| {
        let generation = deeds::generation(&record.dead_id).unwrap_or_default();
        (record.src(), generation, format!("{}:{}", record.source, record.id))
    });
    let mut used: BTreeMap<(Position, i64), String> = BTreeMap::new();
    let mut findings = Vec::new();
    for (src, generation, name) in emitted.chain(dead) {
        let text = match src {
            None => Some(format!("{name} has no weir-src of the form <partition>:<offset>")),
            Some(src) => used
                .insert((src, generation), name.clone())
                .map(|other| format!("{name} and {other} both come from {src}")),
        };
        findings.extend(text.map(|text| Finding { source: None, trouble: Trouble::Malformed, text }));
    }
    findings
}

/// `weir-seq` is 1, 2, 3, … for each partition of `verified-events`.
fn sequences(clean: &[Emitted]) -> Vec<Finding> {
    let mut seen: BTreeMap<i32, BTreeSet<u64>> = BTreeMap::new();
    let mut findings = Vec::new();
    for record in clean {
        let (Some(src), Some(seq)) = (record.src(), record.header("weir-seq").and_then(|seq| seq.parse().ok())) else {
            findings.push(finding(record, Trouble::Malformed, "has no weir-seq"));
            continue;
        };
        if !seen.entry(src.partition).or_default().insert(seq) {
            findings.push(finding(record, Trouble::Malformed, &format!("has weir-seq {seq} as another has")));
        }
    }
    for (partition, seen) in seen {
        let missing = (1..).zip(&seen).find(|(expected, found)| expected != *found);
        if let Some((expected, found)) = missing {
            let text = format!("weir-seq of partition {partition} goes from {} to {found}", expected - 1);
            findings.push(Finding { source: None, trouble: Trouble::Malformed, text });
        }
    }
    findings
}

fn name(record: &Emitted) -> String {
    let source = super::source_of(record.header("ce_source"));
    format!("{source}:{}", record.header("ce_id").unwrap_or_default())
}

fn finding(record: &Emitted, trouble: Trouble, text: &str) -> Finding {
    let source = Source::find(super::source_of(record.header("ce_source")));
    Finding { source, trouble, text: format!("{} {text}", name(record)) }
}
