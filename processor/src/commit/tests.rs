//! What a transaction does when the client never answers, on a cluster in memory whose brokers can be switched off.

use std::time::Instant;

use rdkafka::consumer::DefaultConsumerContext;
use rdkafka::mocking::{MockCluster, MockCoordinator};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(1);
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "group";
const ID: &str = "group-test-0";
/// The broker that is asked about the group, and about nothing else.
const OF_GROUP: i32 = 3;

fn topics() -> OutTopics {
    let named = |name: &str| name.to_owned();
    OutTopics {
        clean: named("clean"),
        stale: named("stale"),
        dead: named("dead"),
        resolutions: named("resolutions"),
        changelog: named("changelog"),
        retry: Vec::new(),
    }
}

fn member(cluster: &MockCluster<'_, impl ClientContext>) -> BaseConsumer<DefaultConsumerContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", GROUP);
    config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "200").set("log_level", "0");
    let consumer: BaseConsumer<_> = config.create().expect("a consumer");
    consumer.subscribe(&["input"]).expect("a subscription");
    consumer
}

fn wait_to_be_member(consumer: &BaseConsumer<DefaultConsumerContext>) {
    let deadline = Instant::now() + PATIENCE;
    while group::membership(consumer).is_none() {
        assert!(Instant::now() < deadline, "the group does not take it in");
        drop(consumer.poll(Duration::from_millis(50)));
    }
}

#[test]
fn offsets_whose_coordinator_is_away_hold_nobody_up() {
    let cluster = MockCluster::new(OF_GROUP).expect("a cluster");
    for topic in ["input", "clean", "changelog"] {
        cluster.create_topic(topic, 1, 1).expect("created");
        cluster.partition_leader(topic, 0, Some(1)).expect("a leader");
    }
    cluster.coordinator(MockCoordinator::Group(GROUP.to_owned()), OF_GROUP).expect("chosen");
    cluster.coordinator(MockCoordinator::Transaction(ID.to_owned()), 1).expect("chosen");
    let consumer = member(&cluster);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("transactional.id", ID);
    config.set("transaction.timeout.ms", "1000").set("message.timeout.ms", "800").set("socket.timeout.ms", "800");
    let mut transactions = Transactions::new(config, topics(), TIMEOUT, Recycle::AfterTrouble);
    patiently(|| {
        wait_to_be_member(&consumer);
        transactions.recycle()?;
        transactions.begin(&consumer)
    });
    cluster.broker_down(OF_GROUP).expect("switched off");
    let offsets = [(0, 7, String::new())];
    let began = Instant::now();
    let Err(Fault::Unsure { doing, detail }) = transactions.send_offsets("input", &offsets) else {
        panic!("nobody could take these offsets")
    };
    assert_eq!(doing, "send offsets");
    assert!(began.elapsed() < PATIENCE / 2, "{detail}");
    // Another producer does what this one could not.
    cluster.broker_up(OF_GROUP).expect("switched on");
    patiently(|| {
        wait_to_be_member(&consumer);
        transactions.recycle()?;
        transactions.begin(&consumer)?;
        transactions.send_offsets("input", &offsets)?;
        transactions.commit()
    });
}

/// Does it until it succeeds: on a busy machine a second may be too short.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Fault>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(fault) = attempt() {
        assert!(Instant::now() < deadline, "{fault}");
    }
}
