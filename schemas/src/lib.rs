//! The contract between every part of Weir: record shapes, topics, headers, keys and reason codes.
//!
//! Nothing here performs I/O, reads a clock or knows Kafka's client, so that both sides of a topic and
//! every test can use it. What enters this crate is read by other teams: change it as you would change an API.

pub mod reason;
pub mod partition;
pub mod identity;
pub mod time;
pub mod headers;
pub mod topics;
pub mod sizes;
mod avro;
pub mod verified_event;
pub mod dead_event;
pub mod command;
pub mod resolution;
pub mod presets;

pub use command::{Command, DeadId};
pub use dead_event::DeadEvent;
pub use reason::ReasonCode;
pub use resolution::Resolution;
pub use topics::{Topic, Topics};
pub use verified_event::VerifiedEvent;
