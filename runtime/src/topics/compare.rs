//! One topic as it is against its plan: every difference, how much it matters, and its cure.
//!
//! Pure. What is more generous than the plan is left alone: nothing is shortened or shrunk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemas::topics::{EVENT_RETENTION_MS, Plan};
use schemas::{Topic, Topics};

use super::Finding;
use super::cluster::Present;
use crate::config::Processor;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// What the broker calls "for ever".
const FOR_EVER: i64 = -1;

/// How much a difference matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Events would be lost or could not be written.
    Fatal,
    /// Not as it should be.
    Wrong,
    /// Works until a disk is lost.
    Weak,
    /// As good as the plan.
    Allowed,
}

/// How a difference goes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cure {
    /// By this setting.
    Set(&'static str, String),
    /// Not by `weir topics apply`.
    None,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) weight: Weight,
    pub(super) message: String,
    pub(super) cure: Cure,
}

/// Retention the changelog needs with `verified-events` as it is: events that are still there must find
/// the state that knows them.
pub(super) fn changelog_retention_ms(topics: &Topics, verified: Option<&Present>) -> i64 {
    match verified.and_then(|present| present.number("retention.ms")) {
        Some(FOR_EVER) => FOR_EVER,
        Some(kept) => topics.longest_window_ms.saturating_add(kept.max(EVENT_RETENTION_MS)).saturating_add(DAY_MS),
        None => topics.changelog_retention_ms(),
    }
}

/// Everything in which a topic differs from its plan. `changelog_ms` is the retention the changelog needs.
pub(super) fn differences(plan: &Plan, present: &Present, changelog_ms: i64, body_limit: u64) -> Vec<Difference> {
    let mut found = Vec::new();
    found.extend(partitions(plan, present.partitions));
    for (name, wanted) in &plan.config {
        let actual = present.value(name);
        found.extend(match *name {
            "max.message.bytes" => size(wanted, actual, body_limit),
            "retention.ms" => retention(plan, wanted, actual, changelog_ms),
            "message.timestamp.type" => timestamps(plan, wanted, actual),
            "cleanup.policy" => cleanup(wanted, actual),
            _ => None,
        });
    }
    found.extend(by_size(plan, present));
    found.extend(replication(plan, present));
    found
}

fn partitions(plan: &Plan, actual: i32) -> Option<Difference> {
    let difference = |weight, message| Some(Difference { weight, message, cure: Cure::None });
    if actual == plan.partitions {
        return None;
    }
    match plan.topic {
        Topic::Verified | Topic::Retry(_) | Topic::Dead | Topic::Changelog => difference(
            Weight::Fatal,
            format!(
                "has {actual} partitions, {} are configured: growing is not available in this version, set `[topics] partitions` to what is there",
                plan.partitions
            ),
        ),
        // Fixed at creation, whatever is configured later: a partition feeds those congruent to it.
        Topic::Clean if actual.count_ones() == 1 => {
            difference(Weight::Allowed, format!("has {actual} partitions, {} are configured: kept", plan.partitions))
        }
        Topic::Clean => difference(Weight::Fatal, format!("has {actual} partitions: it must be a power of two")),
        Topic::Stale => difference(
            Weight::Fatal,
            format!(
                "has {actual} partitions, `clean-events` has {}: both need the same, delete it if it is empty",
                plan.partitions
            ),
        ),
        Topic::Resolutions | Topic::Quarantine => {
            difference(Weight::Allowed, format!("has {actual} partitions instead of {}: kept", plan.partitions))
        }
    }
}

fn size(wanted: &str, actual: Option<&str>, body_limit: u64) -> Option<Difference> {
    let (needed, allowed) = (wanted.parse::<u64>().ok()?, actual?.parse::<u64>().ok()?);
    (allowed < needed).then(|| Difference {
        weight: Weight::Fatal,
        message: format!(
            "max.message.bytes is {allowed}, but {needed} are needed with a largest body_limit of {body_limit}"
        ),
        cure: Cure::Set("max.message.bytes", wanted.to_owned()),
    })
}

fn retention(plan: &Plan, wanted: &str, actual: Option<&str>, changelog_ms: i64) -> Option<Difference> {
    let is_changelog = plan.topic == Topic::Changelog;
    let needed = if is_changelog { changelog_ms } else { wanted.parse().ok()? };
    let kept = actual?.parse::<i64>().ok()?;
    if kept == needed {
        return None;
    }
    if kept == FOR_EVER || (needed != FOR_EVER && kept > needed) {
        let message = format!("retention.ms is {}, more than the {} needed: kept", days(kept), days(needed));
        return Some(Difference { weight: Weight::Allowed, message, cure: Cure::None });
    }
    let reason = if is_changelog { " (longest dedup_window + retention of verified-events + 1 d)" } else { "" };
    Some(Difference {
        weight: if is_changelog { Weight::Fatal } else { Weight::Wrong },
        message: format!("retention.ms is {}, but has to be {}{reason}", days(kept), days(needed)),
        cure: Cure::Set("retention.ms", needed.to_string()),
    })
}

fn timestamps(plan: &Plan, wanted: &str, actual: Option<&str>) -> Option<Difference> {
    let actual = actual?;
    let weight = if plan.topic == Topic::Verified { Weight::Fatal } else { Weight::Wrong };
    (actual != wanted).then(|| Difference {
        weight,
        message: format!("message.timestamp.type is {actual}, but the broker's clock must decide: {wanted}"),
        cure: Cure::Set("message.timestamp.type", wanted.to_owned()),
    })
}

fn cleanup(wanted: &str, actual: Option<&str>) -> Option<Difference> {
    let actual = actual?;
    let set = |policy: &str| policy.split(',').map(|word| word.trim().to_owned()).collect::<BTreeSet<_>>();
    // Compaction drops all but the last record of a key: events, that is.
    let loses = set(actual).contains("compact") && !set(wanted).contains("compact");
    (set(actual) != set(wanted)).then(|| Difference {
        weight: if loses { Weight::Fatal } else { Weight::Wrong },
        message: format!("cleanup.policy is {actual} instead of {wanted}"),
        cure: Cure::Set("cleanup.policy", wanted.to_owned()),
    })
}

/// Deleting by size knows no windows.
fn by_size(plan: &Plan, present: &Present) -> Option<Difference> {
    let bound = present.number("retention.bytes").filter(|bound| *bound != FOR_EVER)?;
    matches!(plan.topic, Topic::Changelog | Topic::Verified).then(|| Difference {
        weight: Weight::Fatal,
        message: format!("retention.bytes is {bound}: records would go before their time"),
        cure: Cure::Set("retention.bytes", FOR_EVER.to_string()),
    })
}

fn replication(plan: &Plan, present: &Present) -> Option<Difference> {
    let in_sync = present.number("min.insync.replicas").unwrap_or(1);
    let copies = i64::from(present.replication);
    if in_sync > copies {
        let message = format!("min.insync.replicas is {in_sync} with {copies} copies: the broker refuses every record");
        return Some(Difference {
            weight: Weight::Fatal,
            message,
            cure: Cure::Set("min.insync.replicas", copies.to_string()),
        });
    }
    if present.replication < plan.replication {
        let message =
            format!("has {copies} copies, {} are configured: add replicas with Kafka's own tools", plan.replication);
        return Some(Difference { weight: Weight::Weak, message, cure: Cure::None });
    }
    if copies < 3 {
        return Some(Difference {
            weight: Weight::Weak,
            message: format!("has {copies} of 3 copies"),
            cure: Cure::None,
        });
    }
    (in_sync < 2).then(|| Difference {
        weight: Weight::Weak,
        message: format!("min.insync.replicas is {in_sync}: an answered event may be on one disk only"),
        cure: Cure::Set("min.insync.replicas", "2".to_owned()),
    })
}

fn days(ms: i64) -> String {
    match ms {
        FOR_EVER => "for ever".to_owned(),
        _ if ms % DAY_MS == 0 => format!("{} d", ms / DAY_MS),
        _ => format!("{ms} ms"),
    }
}

/// What the broker's limits say against the processor's session and transactions.
pub(super) fn session(processor: &Processor, limits: &BTreeMap<String, String>) -> Vec<Finding> {
    let limit = |name: &str| limits.get(name).and_then(|value| value.parse::<u64>().ok()).map(Duration::from_millis);
    let session = processor.session_timeout;
    let finding = |message| Finding { topic: processor.group.clone(), message, is_fatal: true };
    let mut findings = Vec::new();
    for name in ["group.min.session.timeout.ms", "group.max.session.timeout.ms"] {
        let Some(bound) = limit(name) else { continue };
        let is_allowed = if name.contains("min") { session >= bound } else { session <= bound };
        if !is_allowed {
            findings.push(finding(format!(
                "`[processor] session_timeout` is {} ms, but the broker's {name} is {}: change one of them",
                session.as_millis(),
                bound.as_millis()
            )));
        }
    }
    let transaction = processor.transaction_timeout();
    if let Some(bound) = limit("transaction.max.timeout.ms").filter(|bound| transaction > *bound) {
        findings.push(finding(format!(
            "the transaction timeout is {} ms, but the broker's transaction.max.timeout.ms is {}: raise that",
            transaction.as_millis(),
            bound.as_millis()
        )));
    }
    findings
}

#[cfg(test)]
mod tests;
