//! Names that stand in the contract, spelled a second time: renaming a constant must not go unnoticed.

use schemas::{Topics, headers, partition};

#[test]
fn record_headers_have_the_names_of_the_contract() {
    let names = [
        (headers::SPECVERSION, "ce_specversion"),
        (headers::ID, "ce_id"),
        (headers::SOURCE, "ce_source"),
        (headers::TYPE, "ce_type"),
        (headers::TIME, "ce_time"),
        (headers::SUBJECT, "ce_subject"),
        (headers::CONTENT_TYPE, "content-type"),
        (headers::IDEMPOTENCY_KEY, "ce_idempotencykey"),
        (headers::RECEIVED_TIME, "ce_receivedtime"),
        (headers::ASSURANCE, "ce_assurance"),
        (headers::ATTEMPT, "ce_attempt"),
        (headers::ORIGIN, "ce_origin"),
        (headers::STALE, "ce_stale"),
        (headers::WEIR_SRC, "weir-src"),
        (headers::WEIR_SEQ, "weir-seq"),
        (headers::WEIR_TXN, "weir-txn"),
        (headers::WEIR_COMMAND, "weir-command"),
        (headers::WEIR_DEAD_ID, "weir-dead-id"),
        (headers::WEIR_SOURCE, "weir-source"),
        (headers::WEIR_GENERATION, "weir-generation"),
        (headers::WEIR_NOTE, "weir-note"),
        (headers::WEIR_OPERATOR, "weir-operator"),
    ];
    for (ours, contract) in names {
        assert_eq!(ours, contract);
    }
}

#[test]
fn topics_are_those_of_the_contract() {
    let topics = Topics {
        prefix: String::new(),
        partitions: 16,
        replication: 3,
        retry_delays: ["5s", "1m", "10m", "1h"].map(str::to_owned).to_vec(),
        body_limit: 1024 * 1024,
        longest_window_ms: 4 * 86_400_000,
    };
    let day = 86_400_000_i64;
    let expected = [
        ("verified-events", 16, "delete", 7 * day),
        ("retry-events-5s", 16, "delete", 7 * day),
        ("retry-events-1m", 16, "delete", 7 * day),
        ("retry-events-10m", 16, "delete", 7 * day),
        ("retry-events-1h", 16, "delete", 7 * day),
        ("clean-events", 16, "delete", 7 * day),
        ("stale-events", 16, "delete", 7 * day),
        ("dead-events", 16, "delete", 30 * day),
        ("dead-resolutions", 1, "compact,delete", 60 * day),
        ("quarantine-events", 4, "delete", 7 * day),
        ("state-changelog", 16, "delete", 12 * day),
    ];
    let plan = topics.plan();
    assert_eq!(plan.len(), expected.len());
    for (plan, (name, partitions, cleanup, retention)) in plan.iter().zip(expected) {
        let config = |key: &str| plan.config.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
        assert_eq!((plan.name.as_str(), plan.partitions), (name, partitions));
        assert_eq!(config("cleanup.policy"), Some(cleanup), "{name}");
        assert_eq!(config("retention.ms"), Some(retention.to_string().as_str()), "{name}");
        assert_eq!(config("min.insync.replicas"), Some("2"), "{name}");
    }
}

#[test]
fn resource_keys_escape_their_separators() {
    assert_eq!(partition::resource_key("a", "b|c", "50%"), "a|b%7Cc|50%25");
    assert_eq!(partition::event_key("a", "x|y"), "a|event|x%7Cy");
}
