//! The producer without a broker: what it is configured to, and that an absent cluster costs nobody time or memory.

use std::path::Path;
use std::time::Instant;

use rdkafka::message::Timestamp;

use super::reports::{SKEW_MEMORY_MS, is_from_broker};
use super::*;

fn config(toml: &str) -> config::Config {
    let loaded = config::parse(toml, Path::new("weir.toml"), std::iter::empty());
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config
}

/// A log whose brokers are an address where nobody listens.
fn absent() -> KafkaLog {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let config = config(&format!("[kafka]\nbrokers = \"{port}\"\n"));
    KafkaLog::new(&config.kafka, &config.topics).expect("a client")
}

fn record(size: usize) -> Record {
    Record { key: "s|event|1".to_owned(), partition: 0, value: vec![0; size] }
}

#[test]
fn the_producer_is_idempotent_and_gives_up_before_any_provider_does() {
    let config = config("[kafka.client]\n\"compression.type\" = \"zstd\"\n");
    let producer = producer_config(&config.kafka, sizes::event_record_bytes(config.topics.body_limit));
    let expected = [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("message.timeout.ms", "9000"),
        ("compression.type", "zstd"),
        ("linger.ms", "2"),
        ("message.max.bytes", "1310720"),
    ];
    for (property, value) in expected {
        assert_eq!(producer.get(property), Some(value), "{property}");
    }
}

#[tokio::test]
async fn without_a_broker_a_record_is_refused_at_once_but_for_one_probe() {
    let log = Arc::new(absent());
    let probing = Arc::clone(&log);
    let probe = tokio::spawn(async move { probing.append(record(100)).await });
    let deadline = Instant::now() + Duration::from_secs(5);
    while log.shared.health.is_idle() {
        assert!(Instant::now() < deadline, "the probe was never sent");
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(log.append(record(1024 * 1024)).await, Err(AppendError::Unavailable));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!log.complaints().is_empty());
    probe.abort();
}

#[tokio::test]
async fn a_probe_that_is_given_up_makes_way_for_the_next() {
    let log = absent();
    assert_eq!(log.append(record(100)).await, Err(AppendError::Unavailable), "after the message timeout");
    assert!(log.shared.health.is_idle(), "nothing waits any more");
}

#[test]
fn local_errors_are_told_from_a_brokers() {
    assert!(is_from_broker(RDKafkaErrorCode::NotEnoughReplicas));
    assert!(is_from_broker(RDKafkaErrorCode::MessageSizeTooLarge));
    assert!(!is_from_broker(RDKafkaErrorCode::MessageTimedOut));
    assert!(!is_from_broker(RDKafkaErrorCode::PurgeQueue));
}

#[test]
fn only_what_the_delivery_does_not_explain_is_a_difference_of_clocks() {
    let shared = Arc::new(Shared::default());
    let reports = Reports::new(&shared);
    for (appended, expected) in [(1_500, 0), (1_000, 0), (2_000, 0), (900, -100), (2_300, 300)] {
        reports.note_clock(Timestamp::LogAppendTime(appended), 1_000, 2_000);
        assert_eq!(shared.skew_ms(shared.uptime_ms()), expected);
    }
    reports.note_clock(Timestamp::CreateTime(9_999), 1_000, 2_000);
    assert_eq!(shared.skew_ms(shared.uptime_ms()), 300, "a time of our own says nothing");
}

#[test]
fn a_difference_of_clocks_is_forgotten_when_nothing_is_delivered_any_more() {
    let log = absent();
    let says_so = |log: &KafkaLog| log.complaints().iter().any(|complaint| complaint.contains("differ by 61 s"));
    log.shared.note_skew(SKEW_MAX_MS + 1_000, log.shared.uptime_ms());
    assert!(says_so(&log));
    let noted_ms = 1_000;
    log.shared.note_skew(SKEW_MAX_MS + 1_000, noted_ms);
    assert_eq!(log.shared.skew_ms(noted_ms + SKEW_MEMORY_MS), SKEW_MAX_MS + 1_000);
    assert_eq!(log.shared.skew_ms(noted_ms + SKEW_MEMORY_MS + 1), 0);
    log.shared.note_skew(SKEW_MAX_MS + 1_000, -SKEW_MEMORY_MS - 1);
    assert!(!says_so(&log), "it is ready again without a delivery");
}

#[tokio::test]
async fn an_error_under_whatever_code_has_the_producer_looked_at_but_a_lost_connection_does_not() {
    let is_noticed = async |code: RDKafkaErrorCode| {
        let reports = reports::Reports::new(&Arc::default());
        rdkafka::ClientContext::error(&reports, KafkaError::Global(code), "told by a test");
        tokio::time::timeout(Duration::ZERO, reports.shared.broken.notified()).await.is_ok()
    };
    // What a fatal error is reported as: the code of its cause.
    assert!(is_noticed(RDKafkaErrorCode::OutOfOrderSequenceNumber).await);
    assert!(is_noticed(RDKafkaErrorCode::InvalidProducerEpoch).await);
    assert!(!is_noticed(RDKafkaErrorCode::BrokerTransportFailure).await);
}

#[test]
fn nothing_that_a_producer_reports_after_it_gave_a_record_up_is_believed() {
    let shared = Arc::new(Shared::default());
    let reports = Reports::new(&shared);
    let ack = Ok(Ack { partition: 1, offset: 7 });
    assert_eq!((reports.believed(ack), reports.is_suspect()), (ack, false));
    assert_eq!(reports.believed(Err(AppendError::Unavailable)), Err(AppendError::Unavailable));
    assert_eq!((reports.believed(ack), reports.is_suspect()), (Err(AppendError::Unavailable), true));
    assert_eq!(Reports::new(&shared).believed(ack), ack, "its successor knows nothing of it");
}

#[test]
fn a_record_that_is_too_large_for_its_broker_fails_alone() {
    let reports = Reports::new(&Arc::default());
    let ack = Ok(Ack { partition: 1, offset: 7 });
    assert_eq!(reports.refused(Some(RDKafkaErrorCode::MessageSizeTooLarge)), Err(AppendError::Unavailable));
    assert_eq!((reports.believed(ack), reports.is_suspect()), (ack, false));
    assert_eq!(reports.refused(Some(RDKafkaErrorCode::MessageTimedOut)), Err(AppendError::Unavailable));
    assert_eq!((reports.believed(ack), reports.is_suspect()), (Err(AppendError::Unavailable), true));
}

#[tokio::test]
async fn a_producer_that_gave_a_record_up_is_replaced() {
    let log = Arc::new(absent());
    let first = Arc::as_ptr(&log.producer.load_full());
    let supervised = tokio::spawn(Arc::clone(&log).supervise());
    let broken = log.producer.load_full().client().context().believed(Err(AppendError::Unavailable));
    assert_eq!(broken, Err(AppendError::Unavailable));
    let deadline = Instant::now() + Duration::from_secs(20);
    while Arc::as_ptr(&log.producer.load_full()) == first {
        assert!(Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!log.is_suspect());
    supervised.abort();
}
