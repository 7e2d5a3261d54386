//! The harness: it plays providers against the real processes, reads what comes out, and compares.
//!
//! Nothing here may share code with what it judges: signing, decoding and bookkeeping are written a second time,
//! from the contract. Constants of `schemas` are the only exception.

// What shall happen.
pub mod seed;
pub mod sign;
pub mod payloads;
pub mod sources;
pub mod secrets;
pub mod event;
pub mod making;
pub mod flaky;
pub mod fetch_target;
pub mod script;
pub mod forge;
pub mod plan;
// Making it happen.
pub mod place;
pub mod ports;
pub mod wait;
pub mod guard;
pub mod interrupt;
pub mod process;
pub mod logs;
pub mod wire;
pub mod scrape;
pub mod memory;
pub mod usage;
pub mod cluster;
pub mod authority;
pub mod broker;
pub mod pipeline;
pub mod door;
pub mod ledger;
pub mod play;
// What did happen.
pub mod observed;
pub mod reader;
pub mod murmur;
pub mod deeds;
pub mod check;
pub mod tallies;
// All of it.
pub mod run;
pub mod screen;
pub mod report;
pub mod demo;
// The same without HTTP: random histories, and a worker that meets trouble at a chosen call.
pub mod history;
pub mod stepper;
pub mod withheld;
// All of it at once, with trouble in processes, network, disks and brokers.
pub mod torture;
#[cfg(test)]
mod perfect;
