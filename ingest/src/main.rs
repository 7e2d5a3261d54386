//! `weir-ingest`: arguments, configuration, build, run.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use runtime::args::{self, ConfigFile};
use runtime::report::{self, Exit, Failure};

/// Receives webhooks, verifies them, and writes them to Kafka.
#[derive(Debug, Parser)]
#[command(name = "weir-ingest", version)]
struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

fn main() -> ExitCode {
    match args::parse::<Args>() {
        Ok(args) => report::finish(run(&args)),
        Err(exit) => exit,
    }
}

fn run(args: &Args) -> Result<Exit, Failure> {
    runtime::telemetry::init("weir-ingest");
    let loaded = runtime::config::load(&args.file.config)?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
    let result = tokio.block_on(weir_ingest::process::run(&args.file.config, loaded.config));
    // A question to an absent cluster must not hold up the end.
    tokio.shutdown_timeout(Duration::from_secs(1));
    result
}
