//! Delivery reports: what the client's own thread does when it learns what became of a record.
//!
//! It gives back the room, tells the health, compares the clocks, and wakes the request. It must never wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

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

/// What the client's thread and the requests both know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) health: Health,
    /// Whether the cluster answered when it was last asked for the topic.
    pub(super) is_answering: AtomicBool,
    pub(super) skew_ms: AtomicI64,
    /// Partitions of the topic as last seen; below 0: never seen.
    pub(super) partitions_seen: AtomicI64,
    pub(super) broken: Notify,
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
        let now_ms = now_ms();
        let Flight { pass, sent_ms, room, answer } = *flight;
        let (report, outcome) = match result {
            Ok(message) => {
                self.note_clock(message.timestamp(), sent_ms, now_ms);
                let ack = Ack { partition: message.partition(), offset: message.offset() };
                (Report::Heard, self.believed(Ok(ack)))
            }
            Err((error, message)) => {
                tracing::debug!(%error, partition = message.partition(), "a record was not delivered");
                let code = error.rdkafka_error_code();
                let report = if code.is_some_and(is_from_broker) { Report::Heard } else { Report::Silent };
                (report, self.believed(Err(AppendError::Unavailable)))
            }
        };
        self.shared.health.report(pass, report, now_ms);
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
        self.shared.skew_ms.store(skew_ms, Ordering::Relaxed);
        metrics::clock_skew(skew_ms);
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
