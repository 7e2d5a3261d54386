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

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use runtime::report::Failure;

/// The runtime of the commands that wait for several things at once.
fn tokio_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failure::internal)
}

/// What `--body` names: a file, or standard input by `-`.
fn read_body(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("--body: standard input").map_err(Failure::usage)?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("--body: {}", path.display())).map_err(Failure::usage)
}
