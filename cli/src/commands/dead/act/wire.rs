//! Commands into the first retry topic, answers out of `dead-resolutions`.
//!
//! A plain idempotent producer: no transaction, because a command that is written twice is executed once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use runtime::config::{self, Config};
use runtime::report::Failure;
use schemas::{Resolution, sizes};

use super::super::compose::Composed;
use super::super::letters::Letters;
use super::super::window::OUTSTANDING_MAX;
use crate::log::Tail;

/// Whatever carries commands there and answers back.
pub trait Wire {
    /// Hands a command over.
    fn send(&mut self, command: &Composed) -> Result<(), SendError>;
    /// The next that was heard, if there is something within `patience`.
    fn next(&mut self, patience: Duration) -> Result<Option<Heard>, Failure>;
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What became of a letter.
    Answer(Resolution),
    /// The broker does not have a command.
    Undelivered(u64, SendError),
}

/// A command is not in the topic, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too much waits for Kafka; there is room soon.
    #[error("too much waits for Kafka")]
    Full,
    /// This command can never be written.
    #[error("Kafka does not take the command: {0}")]
    Refused(String),
    /// None can be written now.
    #[error("Kafka took no command: {0}")]
    Away(String),
}

impl SendError {
    fn of(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Self::Full,
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord) => {
                Self::Refused(error.to_string())
            }
            Some(_) | None => Self::Away(error.to_string()),
        }
    }
}

/// Kafka.
pub struct KafkaWire {
    producer: BaseProducer<Reports>,
    topic: String,
    answers: Tail,
}

impl KafkaWire {
    /// Connects. What is resolved from now on is heard.
    pub fn open(config: &Config, letters: &Letters, patience: Duration) -> Result<Self, Failure> {
        let topic = letters.commands()?;
        let ends = letters.log().bounds_of_existing(letters.resolutions())?;
        let ends: Vec<(i32, i64)> = ends.iter().map(|range| (range.partition, range.until)).collect();
        let answers = letters.log().tail(letters.resolutions(), &ends)?;
        let settings = settings(&config.kafka, sizes::dead_record_bytes(config.topics.body_limit), patience);
        let producer = BaseProducer::from_config_and_context(&settings, Reports::default());
        Ok(Self { producer: producer.map_err(Failure::usage)?, topic, answers })
    }
}

fn settings(kafka: &config::Kafka, record_bytes: u64, patience: Duration) -> ClientConfig {
    let mut settings = runtime::kafka::client(kafka);
    runtime::kafka::prefer(&mut settings, &[("compression.type", "lz4"), ("linger.ms", "2")]);
    let patience_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX).max(10);
    settings
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // What is not delivered by then is not waited for, either.
        .set("message.timeout.ms", patience_ms.to_string())
        .set("message.max.bytes", record_bytes.to_string())
        .set("queue.buffering.max.messages", (2 * OUTSTANDING_MAX).to_string())
        .set("queue.buffering.max.kbytes", (64 * 1024).max(2 * record_bytes / 1024).to_string());
    settings
}

impl Wire for KafkaWire {
    fn send(&mut self, command: &Composed) -> Result<(), SendError> {
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(command.number))
            .partition(command.id.partition)
            .headers(command.headers.clone());
        if let Some(key) = &command.key {
            record = record.key(key);
        }
        if let Some(value) = &command.value {
            record = record.payload(value);
        }
        let sent = self.producer.send(record);
        self.producer.poll(Duration::ZERO);
        sent.map_err(|(error, _)| SendError::of(&error))
    }

    fn next(&mut self, patience: Duration) -> Result<Option<Heard>, Failure> {
        self.producer.poll(Duration::ZERO);
        if let Some((number, error)) = self.producer.context().take() {
            return Ok(Some(Heard::Undelivered(number, error)));
        }
        let message = self.answers.next(patience)?;
        Ok(message.and_then(|message| Resolution::decode(message.payload()?)).map(Heard::Answer))
    }
}

/// Commands that were not delivered. Those that were need no report: their answer comes.
#[derive(Debug, Default)]
struct Reports {
    failed: Mutex<Vec<(u64, SendError)>>,
}

impl Reports {
    fn take(&self) -> Option<(u64, SendError)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        runtime::kafka::said(level, facility, message);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Self::DeliveryOpaque) {
        if let Err((error, _)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.push((*number, SendError::of(error)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_producer_with_these_settings_exists() {
        let kafka = config::Kafka { brokers: "127.0.0.1:1".to_owned(), wait: Duration::ZERO, client: BTreeMap::new() };
        for (record_bytes, patience) in [(1, Duration::from_millis(1)), (33 << 20, Duration::from_secs(86_400))] {
            let settings = settings(&kafka, record_bytes.max(1000), patience);
            assert_eq!(settings.get("acks"), Some("all"));
            assert!(BaseProducer::from_config_and_context(&settings, Reports::default()).is_ok());
        }
    }

    #[test]
    fn a_record_that_is_too_large_is_not_an_outage() {
        let of = |code| SendError::of(&KafkaError::MessageProduction(code));
        assert_eq!(of(RDKafkaErrorCode::QueueFull), SendError::Full);
        assert!(matches!(of(RDKafkaErrorCode::MessageSizeTooLarge), SendError::Refused(_)));
        assert!(matches!(of(RDKafkaErrorCode::MessageTimedOut), SendError::Away(_)));
    }
}
