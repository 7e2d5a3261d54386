//! The door: HTTP requests in, verified events in `verified-events` out.
//!
//! Stateless. An event takes four steps here, each in one file with one entry function: `accept`, `verify`,
//! `envelope`, `produce`; `app` calls them and nothing else does. What a provider is told, and when, is the promise
//! of the whole product: 200 only for what Kafka has acknowledged, and never a refusal for what an authentic event
//! contains.

pub mod limits;
pub mod source;
pub mod app;
pub mod accept;
pub mod verify;
pub mod envelope;
pub mod produce;
pub mod rejection;
pub mod metrics;
pub mod sign;
pub mod serve;
pub mod reload;
pub mod process;

/// What [`verify::verify`] reads.
pub use http::HeaderMap;

#[cfg(test)]
mod testing;
