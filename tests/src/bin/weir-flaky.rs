//! `weir-processor` with a handler that fails at first: what is under torture.
//!
//! It is also the smallest program that runs a handler of its own.

use std::process::ExitCode;

use clap::Parser;
use runtime::args::ConfigFile;
use runtime::report::{Exit, Failure};
use weir_tests::flaky::Flaky;

/// A processor whose handler fails half of all events once or twice.
#[derive(Debug, Parser)]
#[command(name = "weir-flaky", version)]
struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

fn main() -> ExitCode {
    let args = match runtime::args::parse::<Args>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    runtime::telemetry::init("weir-processor");
    runtime::report::finish(start(&args))
}

fn start(args: &Args) -> Result<Exit, Failure> {
    let loaded = runtime::config::load(&args.file.config)?;
    processor::app::run(loaded.config, vec![Box::new(Flaky::default())])
}
