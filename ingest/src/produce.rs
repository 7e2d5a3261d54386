//! Step 4: into Kafka. The answer 200 is given for an acknowledged record and for nothing less.
//!
//! A record that was handed over stays in flight when its request ends: if it arrives late, the provider's retry is
//! an ordinary duplicate. What may be in flight is bounded.

pub mod record;
pub mod bounds;
pub mod health;
pub mod kafka;

use std::future::Future;

pub use record::{Record, record};

/// A record is in the log, on as many brokers as the topic demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A record is not known to be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much is in flight already.
    #[error("too much waits for Kafka")]
    Full,
    /// Kafka is away, or did not take the record.
    #[error("Kafka did not take the record")]
    Unavailable,
}

/// Where records go: Kafka, or in tests something that behaves like it on demand.
pub trait Log: Send + Sync + 'static {
    /// Appends a record. The future may be dropped at any time; the record stays where it is.
    fn append(&self, record: Record) -> impl Future<Output = Result<Ack, AppendError>> + Send;
}

impl<L: Log> Log for std::sync::Arc<L> {
    fn append(&self, record: Record) -> impl Future<Output = Result<Ack, AppendError>> + Send {
        (**self).append(record)
    }
}
