//! The whole program: arguments, configuration, run. `main.rs` is it without handlers of one's own, and whoever has
//! some calls it with them.

use std::process::ExitCode;

use clap::Parser;
use runtime::args::ConfigFile;
use runtime::report::{Exit, Failure};

use crate::app;
use crate::step::handle::Handler;

/// Turns verified webhooks into clean events, exactly once and in order per resource.
#[derive(Debug, Parser)]
#[command(name = "weir-processor", version)]
struct Args {
    #[command(flatten)]
    file: ConfigFile,
}

/// Runs a processor until it is asked to stop, and says how a process has to end. The handlers are asked in order,
/// after those of the configuration.
pub fn run(handlers: Vec<Box<dyn Handler>>) -> ExitCode {
    let args = match runtime::args::parse::<Args>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    runtime::telemetry::init("weir-processor");
    runtime::report::finish(start(&args, handlers))
}

fn start(args: &Args, handlers: Vec<Box<dyn Handler>>) -> Result<Exit, Failure> {
    let loaded = runtime::config::load(&args.file.config)?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    app::run(loaded.config, handlers)
}
