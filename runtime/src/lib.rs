//! How a process of Weir starts, is configured, reports and stops.
//!
//! The three binaries share this crate; it knows Kafka's client but no event. Everything is passed in
//! and out: the only globals are the log and the metrics recorder.

pub mod secret;
pub mod expression;
pub mod template;
pub mod json_schema;
pub mod config;
pub mod args;
pub mod clock;
pub mod report;
pub mod telemetry;
pub mod metrics;
pub mod shutdown;
pub mod admin;
pub mod kafka;
pub mod silence;
pub mod topics;
