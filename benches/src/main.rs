//! `weir-bench`: measures Weir next to what it could be compared with, in one run, and prints ratios.
//!
//! Contestants are processes of their own, so that CPU and memory are theirs alone; rounds are interleaved, so
//! that a disturbance of the machine meets all of them. A fast run that loses an event is a failed run: exit 1.

mod args;
mod machine;
mod usage;
mod series;
mod broker;
mod topics;
mod events;
mod failing;
mod load;
mod outputs;
mod watch;
mod weir;
mod kstreams;
mod stateless;
mod worker_time;
mod processor_bench;
mod restore;
mod state;
mod dead;
mod retry;
mod lateness;
mod bodies;
mod connection;
mod generator;
mod door_bound;
mod ingest_bench;
mod acked;
mod latency;
mod failover;
mod neighbours;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::args::{Args, What};

/// The allocator of weir-processor, so that no contestant has a better one.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if std::env::var_os(failing::FAILING).is_some() {
        return failing::run();
    }
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match (args.what, runtime) {
        // The bounds are contestants: they run in a process of their own.
        (Some(What::BoundStateless(stateless)), _) => stateless::run(&stateless),
        (Some(What::BoundDoor(door)), _) => door_bound::run(&door),
        (what, Ok(runtime)) => runtime.block_on(bench(what, &args.settings)),
        (_, Err(error)) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(what: Option<What>, settings: &args::Settings) -> Result<()> {
    match what {
        None => {
            processor_bench::run(settings).await?;
            ingest_bench::run(settings).await?;
            latency::run(settings).await?;
            failover::run(settings).await
        }
        Some(What::Processor) => processor_bench::run(settings).await,
        Some(What::Ingest) => ingest_bench::run(settings).await,
        Some(What::Latency) => latency::run(settings).await,
        Some(What::Failover) => failover::run(settings).await,
        Some(What::State) => state::run(settings).await,
        Some(What::Dead) => dead::run(settings).await,
        Some(What::Neighbours) => neighbours::run(settings).await,
        Some(What::Retries) => retry::run(settings).await,
        Some(What::BoundStateless(_) | What::BoundDoor(_)) => unreachable!("main runs the bounds"),
    }
}
