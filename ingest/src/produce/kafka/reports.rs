//! Delivery reports: what the client's own thread does when it learns what became of a record.
//!
//! It gives back the room, tells the health, compares the clocks, and wakes the request. It must never wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, Timestamp};
use rdkafka::producer::ProducerContext;
use runtime::clock::now_ms;
use tokio::sync::{Notify, oneshot};

use crate::metrics;
use crate::produce::bounds::Room;
use crate::produce::health::{Health, Pass, Report};
use crate::produce::{Ack, AppendError};

/// How long a difference of the clocks counts without another delivery, in milliseconds. If it kept the service from
/// being ready for longer, no delivery would ever come to show that the clocks agree again.
pub(super) const SKEW_MEMORY_MS: i64 = 30_000;

/// What the client's thread and the requests both know.
#[derive(Debug)]
pub(super) struct Shared {
    started: Instant,
    pub(super) health: Health,
    /// Whether the cluster answered when it was last asked for the topic.
    pub(super) is_answering: AtomicBool,
    skew_ms: AtomicI64,
    skew_noted_ms: AtomicI64,
    /// Partitions of the topic as last seen; below 0: never seen.
    pub(super) partitions_seen: AtomicI64,
    pub(super) broken: Notify,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            health: Health::new(),
            is_answering: AtomicBool::new(false),
            skew_ms: AtomicI64::new(0),
            skew_noted_ms: AtomicI64::new(0),
            partitions_seen: AtomicI64::new(-1),
            broken: Notify::new(),
        }
    }
}

impl Shared {
    /// Milliseconds since the start, by a clock that nobody sets: durations are measured with it.
    pub(super) fn uptime_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The broker's clock minus ours, as the last delivery had it; 0 when that was long ago.
    pub(super) fn skew_ms(&self, uptime_ms: i64) -> i64 {
        let is_known = uptime_ms - self.skew_noted_ms.load(Ordering::Relaxed) <= SKEW_MEMORY_MS;
        if is_known { self.skew_ms.load(Ordering::Relaxed) } else { 0 }
    }

    /// Notes a difference of the clocks.
    pub(super) fn note_skew(&self, skew_ms: i64, uptime_ms: i64) {
        self.skew_noted_ms.store(uptime_ms, Ordering::Relaxed);
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
        metrics::clock_skew(skew_ms);
    }
}

/// The context of one producer.
#[derive(Debug)]
pub struct Reports {
    pub(super) shared: Arc<Shared>,
    /// A record of this producer was given up, so that none of its later reports can be believed.
    ///
    /// What was given up leaves a hole in the sequence, and the client gives the records behind it new numbers. A broker
    /// that was only slow may know these numbers already, take other records for copies, and confirm what it never
    /// wrote: <https://github.com/confluentinc/librdkafka/issues/4134>.
    is_suspect: AtomicBool,
}

/// What travels with a record through the client and comes back with its report.
pub struct Flight {
    pub(super) pass: Pass,
    pub(super) sent_ms: i64,
    pub(super) room: Room,
    pub(super) answer: oneshot::Sender<Result<Ack, AppendError>>,
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Flight>;

    fn delivery(&self, result: &DeliveryResult<'_>, flight: Box<Flight>) {
        let Flight { pass, sent_ms, room, answer } = *flight;
        let (report, outcome) = match result {
            Ok(message) => {
                self.note_clock(message.timestamp(), sent_ms, now_ms());
                let ack = Ack { partition: message.partition(), offset: message.offset() };
                (Report::Heard, self.believed(Ok(ack)))
            }
            Err((error, message)) => {
                tracing::debug!(%error, partition = message.partition(), "a record was not delivered");
                let code = error.rdkafka_error_code();
                let report = if code.is_some_and(is_from_broker) { Report::Heard } else { Report::Silent };
                (report, self.refused(code))
            }
        };
        self.shared.health.report(pass, report, self.shared.uptime_ms());
        drop(room);
        if answer.send(outcome).is_err() {
            metrics::late_delivery();
        }
    }
}

impl Reports {
    /// Of a producer that has done nothing yet.
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), is_suspect: AtomicBool::new(false) }
    }

    /// Whether this producer must be replaced.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    /// What a record came to that was not written.
    pub(super) fn refused(&self, code: Option<RDKafkaErrorCode>) -> Result<Ack, AppendError> {
        if code == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            // Said by a broker whose limit was lowered under us: it wrote nothing of that batch, and the client begins
            // a new sequence by itself. Its neighbours are as good as before.
            return Err(AppendError::Unavailable);
        }
        self.believed(Err(AppendError::Unavailable))
    }

    /// A report as far as it can be believed. A record that is in the topic all the same is the provider's copy then.
    pub(super) fn believed(&self, reported: Result<Ack, AppendError>) -> Result<Ack, AppendError> {
        if reported.is_err() && !self.is_suspect.swap(true, Ordering::Relaxed) {
            self.shared.broken.notify_one();
        }
        if self.is_suspect() { Err(AppendError::Unavailable) } else { reported }
    }

    /// The broker appended the record between its sending and now: outside of that, the clocks differ.
    pub(super) fn note_clock(&self, appended: Timestamp, sent_ms: i64, now_ms: i64) {
        let Timestamp::LogAppendTime(appended) = appended else { return };
        let skew_ms = appended - appended.clamp(sent_ms, now_ms.max(sent_ms));
        self.shared.note_skew(skew_ms, self.shared.uptime_ms());
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        runtime::kafka::said(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        match code {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                // Said again at every attempt to connect.
                if self.shared.health.lose() {
                    tracing::warn!(reason, "no Kafka broker can be reached");
                    self.shared.broken.notify_one();
                }
            }
            Some(_) | None => {
                tracing::debug!(%error, reason, "the Kafka client complains");
                // A fatal error comes under the code of its cause; whether it is one, only the client knows.
                if !matches!(code, Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve)) {
                    self.shared.broken.notify_one();
                }
            }
        }
    }
}

/// Local codes mean that the client gave up; everything else was said by a broker.
pub(super) fn is_from_broker(code: RDKafkaErrorCode) -> bool {
    code as i32 >= 0
}
