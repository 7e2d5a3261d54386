//! The stateless bound: consume, unwrap, produce in a transaction with the headers Weir writes. No state at all.
//!
//! The least that anything can do which reads `verified-events` and writes `clean-events` exactly once through
//! this client library. What it has over Weir is the price of Weir's state. Runs until it is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Message, Offset, TopicPartitionList};
use schemas::{VerifiedEvent, headers, partition, time};

use crate::args::Stateless;

/// As Weir's `commit_interval` and `batch_events`.
const INTERVAL: Duration = Duration::from_millis(100);
const EVENTS: usize = 50_000;
const TIMEOUT: Duration = Duration::from_secs(10);

struct Bound {
    input: String,
    output: String,
    producer: BaseProducer,
    next: BTreeMap<i32, i64>,
    seq: BTreeMap<i32, u64>,
    txn: u64,
    received: (i64, String),
    scratch: String,
}

/// Runs until it is killed.
#[expect(clippy::disallowed_methods, reason = "a contestant with transactions of its own")]
pub fn run(args: &Stateless) -> Result<()> {
    let consumer: BaseConsumer = consumer(args).create().context("cannot make a consumer")?;
    consumer.subscribe(&[&args.input]).context("cannot subscribe")?;
    let producer: BaseProducer = producer(args).create().context("cannot make a producer")?;
    producer.client().fetch_metadata(Some(&args.output), TIMEOUT).context("the cluster does not answer")?;
    producer.init_transactions(TIMEOUT).context("cannot start transactions")?;
    let mut bound = Bound {
        input: args.input.clone(),
        output: args.output.clone(),
        producer,
        next: BTreeMap::new(),
        seq: BTreeMap::new(),
        txn: 0,
        received: (0, time::rfc3339(0)),
        scratch: String::new(),
    };
    loop {
        bound.transaction(&consumer)?;
    }
}

impl Bound {
    /// Records are produced as they come; nothing is copied on the way.
    #[expect(clippy::disallowed_methods, reason = "a contestant with transactions of its own")]
    fn transaction(&mut self, consumer: &BaseConsumer) -> Result<()> {
        let began = Instant::now();
        let mut count = 0;
        self.next.clear();
        self.txn += 1;
        while count < EVENTS {
            let left = INTERVAL.saturating_sub(began.elapsed());
            if left.is_zero() && count > 0 {
                break;
            }
            match consumer.poll(left.max(Duration::from_millis(1))) {
                Some(record) => {
                    if count == 0 {
                        self.producer.begin_transaction().context("cannot begin")?;
                    }
                    count += 1;
                    self.produce(&record.context("cannot consume")?)?;
                }
                None if count == 0 => break,
                None => {}
            }
        }
        if count > 0 { self.commit(consumer) } else { Ok(()) }
    }

    fn produce(&mut self, record: &BorrowedMessage<'_>) -> Result<()> {
        let value = record.payload().context("a record without a value")?;
        let event = VerifiedEvent::decode(value).context("not a verified event")?;
        self.next.insert(record.partition(), record.offset() + 1);
        let headers = self.headers(record, &event);
        let mut next = BaseRecord::<[u8], [u8]>::to(&self.output)
            .partition(record.partition())
            .key(record.key().unwrap_or_default())
            .payload(event.body)
            .headers(headers);
        loop {
            match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(Duration::from_millis(1));
                    next = back;
                }
                Err((error, _)) => return Err(error).context("cannot produce"),
            }
        }
    }

    /// The header set of a clean event: the same names, values of the same length.
    fn headers(&mut self, record: &BorrowedMessage<'_>, event: &VerifiedEvent<'_>) -> OwnedHeaders {
        let seq = self.seq.entry(record.partition()).or_default();
        *seq += 1;
        let appended = record.timestamp().to_millis().unwrap_or_default();
        if self.received.0 != appended {
            self.received = (appended, time::rfc3339(appended));
        }
        headers::idempotency_key(event.source, event.event_id, &mut self.scratch);
        let text = |key, value| Header { key, value: Some(value) };
        OwnedHeaders::new_with_capacity(16)
            .insert(text(headers::SPECVERSION, "1.0"))
            .insert(text(headers::ID, event.event_id))
            .insert(text(headers::SOURCE, &format!("/hooks/{}", event.source)))
            .insert(text(headers::TYPE, &format!("{}.{}", event.preset, event.event_type)))
            .insert(text(headers::TIME, &time::rfc3339(event.occurred_at_ms.unwrap_or_default())))
            .insert(Header { key: headers::SUBJECT, value: Some(partition::subject(record.key().unwrap_or_default())) })
            .insert(text(headers::CONTENT_TYPE, event.content_type))
            .insert(text(headers::IDEMPOTENCY_KEY, &self.scratch))
            .insert(text(headers::RECEIVED_TIME, &self.received.1))
            .insert(text(headers::ASSURANCE, "a3"))
            .insert(text(headers::ATTEMPT, "1"))
            .insert(text(headers::ORIGIN, "live"))
            .insert(text(headers::WEIR_SRC, &format!("{}:{}", record.partition(), record.offset())))
            .insert(text(headers::WEIR_SEQ, &seq.to_string()))
            .insert(text(headers::WEIR_TXN, &self.txn.to_string()))
    }

    /// Looks every half a millisecond until everything is delivered, as Weir does: the client's own flush waits
    /// 100 ms, and a poll of a millisecond spins.
    #[expect(clippy::disallowed_methods, reason = "a contestant with transactions of its own")]
    fn commit(&mut self, consumer: &BaseConsumer) -> Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in &self.next {
            offsets.add_partition_offset(&self.input, *partition, Offset::Offset(*next)).context("no such offset")?;
        }
        while self.producer.in_flight_count() > 0 {
            for _ in 0..64 {
                self.producer.poll(Duration::ZERO);
            }
            std::thread::park_timeout(Duration::from_micros(500));
        }
        let member = consumer.group_metadata().context("not a member of the group")?;
        self.producer.send_offsets_to_transaction(&offsets, &member, TIMEOUT).context("cannot send offsets")?;
        self.producer.commit_transaction(Timeout::Never).context("cannot commit")
    }
}

fn consumer(args: &Stateless) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("group.id", &args.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "32768");
    config
}

fn producer(args: &Stateless) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("transactional.id", &args.group)
        .set("compression.type", "lz4")
        .set("linger.ms", "10")
        .set("retry.backoff.ms", "5")
        .set("queue.buffering.max.messages", "101000")
        .set("queue.buffering.max.kbytes", "131072");
    config
}
