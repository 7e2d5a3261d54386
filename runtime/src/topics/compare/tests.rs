//! What counts as different, how much it matters, and what is left alone.

use super::*;

fn topics() -> Topics {
    Topics {
        prefix: String::new(),
        partitions: 16,
        replication: 3,
        retry_delays: vec!["5s".to_owned()],
        body_limit: 1 << 20,
        longest_window_ms: 4 * DAY_MS,
    }
}

/// A topic exactly as planned, with these settings instead of the plan's.
fn present(plan: &Plan, changed: &[(&str, &str)]) -> Present {
    let planned = plan.config.iter().map(|(name, value)| (*name, value.as_str()));
    Present::example(plan.partitions, plan.replication, planned.chain(changed.iter().copied()))
}

fn plan(topic: &Topic) -> Plan {
    topics().plan().into_iter().find(|plan| plan.topic == *topic).unwrap()
}

fn found(topic: &Topic, changed: &[(&str, &str)]) -> Vec<Difference> {
    let plan = plan(topic);
    differences(&plan, &present(&plan, changed), topics().changelog_retention_ms(), topics().body_limit)
}

#[test]
fn a_topic_as_planned_has_no_difference() {
    for plan in topics().plan() {
        assert_eq!(found(&plan.topic, &[]), [], "{}", plan.name);
    }
}

#[test]
fn settings_that_lose_events_are_fatal_and_curable() {
    let cases = [
        (Topic::Verified, "message.timestamp.type", "CreateTime", Weight::Fatal, "LogAppendTime"),
        (Topic::Dead, "message.timestamp.type", "CreateTime", Weight::Wrong, "LogAppendTime"),
        (Topic::Verified, "max.message.bytes", "1048588", Weight::Fatal, "1310720"),
        (Topic::Dead, "max.message.bytes", "1310720", Weight::Fatal, "1572864"),
        (Topic::Changelog, "retention.ms", "604800000", Weight::Fatal, "1036800000"),
        (Topic::Dead, "retention.ms", "604800000", Weight::Wrong, "2592000000"),
        (Topic::Changelog, "retention.bytes", "1000000", Weight::Fatal, "-1"),
        (Topic::Clean, "cleanup.policy", "compact", Weight::Fatal, "delete"),
        (Topic::Resolutions, "cleanup.policy", "delete", Weight::Wrong, "compact,delete"),
        (Topic::Clean, "min.insync.replicas", "1", Weight::Weak, "2"),
        (Topic::Clean, "min.insync.replicas", "4", Weight::Fatal, "3"),
    ];
    for (topic, name, value, weight, cure) in cases {
        let differences = found(&topic, &[(name, value)]);
        let [difference] = differences.as_slice() else { panic!("{topic:?} {name}: {differences:?}") };
        assert_eq!(difference.weight, weight, "{topic:?} {name}");
        assert_eq!(difference.cure, Cure::Set(name, cure.to_owned()), "{topic:?} {name}");
    }
}

#[test]
fn what_is_too_small_names_both_numbers() {
    let differences = found(&Topic::Verified, &[("max.message.bytes", "1000")]);
    assert_eq!(
        differences.first().unwrap().message,
        "max.message.bytes is 1000, but 1310720 are needed with a largest body_limit of 1048576"
    );
    let differences = found(&Topic::Changelog, &[("retention.ms", "86400000")]);
    assert_eq!(
        differences.first().unwrap().message,
        "retention.ms is 1 d, but has to be 12 d (longest dedup_window + retention of verified-events + 1 d)"
    );
}

#[test]
fn what_is_more_generous_than_the_plan_is_kept() {
    for (topic, name, value) in [
        (Topic::Verified, "max.message.bytes", "33816576"),
        (Topic::Changelog, "retention.ms", "-1"),
        (Topic::Dead, "retention.ms", "9999999999999"),
        (Topic::Resolutions, "cleanup.policy", "delete, compact"),
    ] {
        let differences = found(&topic, &[(name, value)]);
        assert!(differences.iter().all(|difference| difference.weight == Weight::Allowed), "{differences:?}");
    }
}

#[test]
fn partition_counts_are_never_changed() {
    let weight = |topic: Topic, partitions| {
        let plan = plan(&topic);
        let mut present = present(&plan, &[]);
        present.partitions = partitions;
        let found = differences(&plan, &present, topics().changelog_retention_ms(), 1);
        let [difference] = found.as_slice() else { panic!("{topic:?} {partitions}: {found:?}") };
        assert_eq!(difference.cure, Cure::None);
        difference.weight
    };
    assert_eq!(weight(Topic::Verified, 8), Weight::Fatal);
    assert_eq!(weight(Topic::Retry("5s".to_owned()), 32), Weight::Fatal);
    assert_eq!(weight(Topic::Changelog, 1), Weight::Fatal);
    assert_eq!(weight(Topic::Clean, 4), Weight::Allowed);
    assert_eq!(weight(Topic::Stale, 12), Weight::Fatal);
    assert_eq!(weight(Topic::Resolutions, 3), Weight::Allowed);
}

#[test]
fn the_changelog_follows_a_longer_retention_of_the_events() {
    let verified = |retention: &str| Present::example(16, 3, [("retention.ms", retention)]);
    let needed = |retention: &str| changelog_retention_ms(&topics(), Some(&verified(retention)));
    assert_eq!(changelog_retention_ms(&topics(), None), 12 * DAY_MS);
    assert_eq!(needed("86400000"), 12 * DAY_MS, "never below the plan");
    assert_eq!(needed("2592000000"), 35 * DAY_MS);
    assert_eq!(needed("-1"), FOR_EVER);
    let plan = plan(&Topic::Changelog);
    let found = differences(&plan, &present(&plan, &[]), FOR_EVER, 1);
    assert_eq!(found.first().unwrap().cure, Cure::Set("retention.ms", "-1".to_owned()));
}

#[test]
fn the_brokers_limits_must_allow_the_session() {
    let processor = |seconds| {
        let loaded = crate::config::parse(
            &format!("[processor]\nsession_timeout = \"{seconds}s\""),
            std::path::Path::new("weir.toml"),
            [],
        );
        loaded.unwrap_or_else(|problems| panic!("{problems}")).config.processor
    };
    let limits = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let usual = limits(&[
        ("group.min.session.timeout.ms", "6000"),
        ("group.max.session.timeout.ms", "1800000"),
        ("transaction.max.timeout.ms", "900000"),
    ]);
    assert_eq!(session(&processor(15), &usual), []);
    assert_eq!(session(&processor(15), &BTreeMap::new()), []);
    let strict = limits(&[("group.min.session.timeout.ms", "20000"), ("transaction.max.timeout.ms", "5000")]);
    let found = session(&processor(15), &strict);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|finding| finding.is_fatal && finding.topic == "weir"));
    assert!(
        found.first().unwrap().message.contains("15000 ms, but the broker's group.min.session.timeout.ms is 20000")
    );
    let short = limits(&[("group.max.session.timeout.ms", "10000")]);
    assert_eq!(session(&processor(15), &short).len(), 1);
}
