//! End to end: the real processes on a real Kafka, with crashes; the books must balance.
//!
//! Each test has its own topics, ports and folder under `target/e2e`; the broker is one for all, unless the test
//! stops it. `SEED=` plays a failed day again.

mod day;
mod dead;
mod demo;
mod exits;
mod handlers;
mod life;
mod limits;
mod outage;
mod tls;

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use weir_tests::broker;
use weir_tests::payloads::Payloads;
use weir_tests::pipeline::Setup;
use weir_tests::plan::Plan;
use weir_tests::seed::seed;

/// How long something may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// The set-up of a test on the broker that all share.
fn setup(test: &str) -> Result<Setup> {
    Setup::test(test, tokio::task::block_in_place(broker::shared), seed())
}

/// A day for a set-up.
fn day(setup: &Setup, deliveries: usize) -> Plan {
    Plan::new(setup.seed, deliveries, Timestamp::now().as_millisecond(), &Payloads::own("a test needs no network"))
}
