//! The producer: idempotent, shared by all requests, replaced when it breaks.
//!
//! Only producing happens here: ingest has no transactions and reads nothing. What comes back arrives in `reports`.

pub mod reports;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use runtime::clock::now_ms;
use runtime::config;
use schemas::{Topic, Topics, sizes};
use tokio::sync::oneshot;

use self::reports::{Flight, Reports, Shared};
use super::bounds::{self, Bounds};
use super::{Ack, AppendError, Log, Record};
use crate::metrics;

/// A record that was not delivered by then is given up. Below every provider's patience.
const MESSAGE_TIMEOUT_MS: u32 = 9_000;
/// How long records are collected into a batch.
const LINGER_MS: &str = "2";
/// Records a partition sends together, at most.
const BATCH_BYTES: &str = "524288";
/// How often the cluster is asked for the topic while all is well.
const PROBE_PAUSE: Duration = Duration::from_secs(5);
/// And while it is not.
const PROBE_PAUSE_DOWN: Duration = Duration::from_secs(1);
/// How long such a question may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Our clock and the broker's may differ by this much.
pub const SKEW_MAX_MS: i64 = 60_000;

/// `verified-events`, for writing.
pub struct KafkaLog {
    config: ClientConfig,
    topic: String,
    partitions: i32,
    producer: ArcSwap<ThreadedProducer<Reports>>,
    bounds: Bounds,
    shared: Arc<Shared>,
}

impl KafkaLog {
    /// Builds the producer. No broker has to be there yet.
    pub fn new(kafka: &config::Kafka, topics: &Topics) -> Result<Self, KafkaError> {
        let record_bytes = sizes::event_record_bytes(topics.body_limit);
        let shared = Arc::new(Shared::default());
        let config = producer_config(kafka, record_bytes);
        let producer = build(&config, &shared)?;
        Ok(Self {
            config,
            topic: topics.name(&Topic::Verified),
            partitions: topics.partitions,
            producer: ArcSwap::from_pointee(producer),
            bounds: Bounds::new(record_bytes),
            shared,
        })
    }

    /// Why records cannot be taken now; empty: they can.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let seen = self.shared.partitions_seen.load(Ordering::Relaxed);
        let skew_ms = self.shared.skew_ms(self.shared.uptime_ms());
        if seen < 0 {
            complaints.push(format!("no broker has told about topic {} yet", self.topic));
        } else if seen != i64::from(self.partitions) {
            complaints.push(format!(
                "topic {} has {seen} partitions, [topics] partitions says {}: run `weir topics apply`",
                self.topic, self.partitions
            ));
        }
        if seen >= 0 && !self.shared.is_answering.load(Ordering::Relaxed) {
            complaints.push("Kafka does not answer".to_owned());
        }
        if skew_ms.abs() > SKEW_MAX_MS {
            complaints.push(format!("this clock and the broker's differ by {} s", skew_ms / 1000));
        }
        complaints
    }

    /// Keeps the producer alive: asks for the topic, so that the first event finds a warm client and an outage
    /// ends without one, and replaces a producer that broke. Runs until it is dropped.
    pub async fn supervise(self: Arc<Self>) {
        let mut was_up = false;
        loop {
            if let Some((code, reason)) = self.producer.load().client().fatal_error() {
                tracing::error!(%code, reason, "the producer broke");
                self.replace().await;
            } else if self.is_suspect() {
                self.replace().await;
            }
            let is_answering = self.ask().await;
            self.shared.is_answering.store(is_answering, Ordering::Relaxed);
            let uptime_ms = self.shared.uptime_ms();
            let is_up = is_answering && self.shared.health.is_up(uptime_ms);
            metrics::kafka_up(is_up);
            metrics::clock_skew(self.shared.skew_ms(uptime_ms));
            match (was_up, is_up) {
                (false, true) => tracing::info!("Kafka takes records"),
                (true, false) => tracing::warn!("Kafka takes no records"),
                (true, true) | (false, false) => {}
            }
            was_up = is_up;
            let pause = if is_up { PROBE_PAUSE } else { PROBE_PAUSE_DOWN };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.broken.notified() => {}
            }
        }
    }

    /// Asks the cluster for the topic.
    async fn ask(self: &Arc<Self>) -> bool {
        let log = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let producer = log.producer.load_full();
            producer.client().fetch_metadata(Some(&log.topic), PROBE_TIMEOUT).map(|metadata| {
                let topics = metadata.topics();
                topics.first().filter(|topic| topic.error().is_none()).map_or(0, |topic| topic.partitions().len())
            })
        });
        match asked.await {
            Ok(Ok(partitions)) => {
                self.shared.partitions_seen.store(i64::try_from(partitions).unwrap_or(i64::MAX), Ordering::Relaxed);
                self.shared.health.reach(self.shared.uptime_ms());
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the cluster does not tell about the topic");
                false
            }
            Err(error) => {
                tracing::error!(%error, "asking the cluster failed");
                false
            }
        }
    }

    async fn replace(&self) {
        match build(&self.config, &self.shared) {
            Ok(producer) => {
                let old = self.producer.swap(Arc::new(producer));
                tracing::warn!("the producer was replaced: it broke, or gave a record up");
                metrics::producer_replaced();
                // Ending it fails what it still holds, and waits for its thread.
                tokio::task::spawn_blocking(move || drop(old)).await.unwrap_or_default();
            }
            Err(error) => {
                tracing::error!(%error, "the producer cannot be replaced yet");
            }
        }
    }

    fn is_suspect(&self) -> bool {
        self.producer.load().client().context().is_suspect()
    }

    /// Waits until everything handed over is delivered or given up.
    pub async fn flush(&self, timeout: Duration) {
        let producer = self.producer.load_full();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(timeout)).await;
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not everything was delivered before the end"),
            Err(error) => tracing::error!(%error, "flushing failed"),
        }
    }
}

impl Log for KafkaLog {
    async fn append(&self, record: Record) -> Result<Ack, AppendError> {
        let room = self.bounds.take(record.key.len() + record.value.len()).ok_or(AppendError::Full)?;
        if self.is_suspect() {
            return Err(AppendError::Unavailable);
        }
        let pass = self.shared.health.admit(self.shared.uptime_ms()).ok_or(AppendError::Unavailable)?;
        let (answer, delivered) = oneshot::channel();
        let flight = Box::new(Flight { pass, sent_ms: now_ms(), room, answer });
        let sent = self.producer.load().send(
            BaseRecord::with_opaque_to(&self.topic, flight)
                .partition(record.partition)
                .key(record.key.as_bytes())
                .payload(&record.value),
        );
        if let Err((error, _)) = sent {
            self.shared.health.forget(pass);
            tracing::debug!(%error, partition = record.partition, "the client did not take a record");
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            return Err(if is_full { AppendError::Full } else { AppendError::Unavailable });
        }
        // The sender is dropped unused only when the client was destroyed with the record in it.
        delivered.await.unwrap_or(Err(AppendError::Unavailable))
    }
}

fn build(config: &ClientConfig, shared: &Arc<Shared>) -> Result<ThreadedProducer<Reports>, KafkaError> {
    ThreadedProducer::from_config_and_context(config, Reports::new(shared))
}

fn producer_config(kafka: &config::Kafka, record_bytes: u64) -> ClientConfig {
    let mut config = runtime::kafka::client(kafka);
    let waiting = bounds::bytes_max(record_bytes);
    let preferred = [
        ("compression.type", "lz4"),
        ("linger.ms", LINGER_MS),
        ("batch.size", BATCH_BYTES),
        ("reconnect.backoff.ms", "100"),
        ("reconnect.backoff.max.ms", "1000"),
    ];
    runtime::kafka::prefer(&mut config, &preferred);
    config
        // Retries of the client neither double nor reorder; acks=all comes with it. What was given up at the message
        // time-out may be in the topic all the same: then the provider's next attempt is a copy, which dedup absorbs.
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string())
        .set("message.max.bytes", record_bytes.to_string())
        // The bounds stand in front of the client; its own queue must never be the one that fills up.
        .set("queue.buffering.max.messages", (2 * bounds::RECORDS_MAX).to_string())
        .set("queue.buffering.max.kbytes", (2 * waiting / 1024).to_string());
    config
}

#[cfg(test)]
mod tests;
