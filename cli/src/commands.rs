//! One file a command; each has one entry function that takes its options and an output.

pub mod config;
pub mod topics;
pub mod providers;
pub mod send;
pub mod tail;
pub mod find;
pub mod lag;
pub mod dead;
pub mod completions;

use runtime::report::Failure;

/// The runtime of the commands that wait for several things at once.
fn tokio_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failure::internal)
}
