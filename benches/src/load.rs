//! Fills `verified-events` with the events of a [`Shape`], as ingest would, and two more headers: `id` and `ts`.
//!
//! With those one topic serves Weir, the stateless bound and Kafka Streams, which read no Avro.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use schemas::partition;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::BenchBroker;
use crate::events::{Record, Shape};

/// Shorter waits are not worth a call.
const LITTLE: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes every event of the shape, as fast as it goes. It blocks.
pub fn load(broker: &BenchBroker, topic: &str, partitions: i32, shape: &Shape) -> Result<()> {
    load_at(broker, topic, partitions, shape, None)
}

/// Writes every event of the shape, so many per second if that is said. It blocks.
pub fn load_at(broker: &BenchBroker, topic: &str, partitions: i32, shape: &Shape, rate: Option<u64>) -> Result<()> {
    let (began, before) = (Instant::now(), records(broker, topic)?);
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", broker.brokers())
        .set("log_level", "0")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "100000")
        .create_with_context(Deliveries::default())
        .context("cannot make a producer")?;
    let mut record = Record::default();
    let mut bytes = 0;
    for place in 0..shape.events {
        shape.write(shape.at(place), &mut record);
        bytes += record.value.len() + record.key.len();
        if let Some(rate) = rate {
            keep_pace(began, place, rate);
        }
        send(&producer, topic, partition::partition(record.key.as_bytes(), partitions), &record)?;
    }
    producer.flush(Duration::from_secs(120)).context("the last records were not delivered")?;
    let failed = producer.context().failed.load(Ordering::Relaxed);
    ensure!(failed == 0, "{failed} records were not delivered");
    let written = records(broker, topic)? - before;
    ensure!(written == shape.events as i64, "{written} records were added to {topic} instead of {}", shape.events);
    println!(
        "loaded {} records of {} bytes (key and value) in {:.1} s",
        shape.events,
        bytes as u64 / shape.events.max(1),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Waits until it is the turn of the record at that place, a little at a time.
#[expect(clippy::disallowed_methods, reason = "it makes a rate, and waits for nobody")]
fn keep_pace(began: Instant, place: u64, rate: u64) {
    let at = Duration::from_secs_f64(place as f64 / rate as f64);
    let early = at.saturating_sub(began.elapsed());
    if early > LITTLE {
        std::thread::sleep(early);
    }
}

/// How many there are.
fn records(broker: &BenchBroker, topic: &str) -> Result<i64> {
    let ends = broker.cluster.ends(topic)?.with_context(|| format!("there is no topic {topic}"))?;
    Ok(ends.values().map(|(first, next)| next - first).sum())
}

fn send(producer: &ThreadedProducer<Deliveries>, topic: &str, partition: i32, record: &Record) -> Result<()> {
    let headers = OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: "id", value: Some(&record.id) })
        .insert(Header { key: "ts", value: Some(&record.ts) });
    let mut next = BaseRecord::<str, [u8]>::to(topic)
        .partition(partition)
        .key(&record.key)
        .payload(&record.value)
        .headers(headers);
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(5));
                next = back;
            }
            Err((error, _)) => return Err(error).context("cannot produce"),
        }
    }
}
