//! `weir-processor`: arguments, configuration, run. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use runtime::args::ConfigFile;
use runtime::report::{Exit, Failure};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Turns verified webhooks into clean events, exactly once and in order per resource.
#[derive(Debug, Parser)]
#[command(name = "weir-processor", version)]
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
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    weir_processor::app::run(loaded.config, Vec::new())
}
