//! The processor: from `verified-events` to `clean-events`, exactly once and in order per resource.
//!
//! The modules stand in the order an event meets them. What decides is pure (`step`, `lifecycle`, `restore`);
//! `worker` performs it over the traits in `log` and `state`; `kafka` and `state::rocks` are the real world.

mod varint;
pub mod position;
pub mod books;
pub mod log;
pub mod batch;
pub mod call;
pub mod retry;
pub mod step;
pub mod state;
pub mod emit;
pub mod changelog;
pub mod waiting;
pub mod task;
pub mod restore;
pub mod takeover;
pub mod lifecycle;
pub mod worker;
mod patience;
mod group;
mod consume;
mod reader;
mod command_reader;
pub mod fetcher;
pub mod commit;
pub mod kafka;
pub mod clients;
pub mod caller;
pub mod json_schema;
#[cfg(test)]
mod samples;
pub mod rules;
mod metrics;
pub mod status;
mod watch;
pub mod app;
pub mod program;
