//! How long a process needs until it works: with its state as it left it, and with the state deleted.
//!
//! Both are taken from the start of the process, and both end when every partition runs. Their difference is what
//! the restore itself costs.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::kstreams::{Anchor, Run};
use crate::series::{Figure, Series, figure};
use crate::weir::{Books, STOP_WITHIN, Weir, check_books, delete_state};

/// What is measured.
pub const RESTORE: [Figure; 3] = [
    figure("start_with_state_s", "start with state s", 2),
    figure("start_without_state_s", "start without state s", 2),
    figure("restore_ids_per_s", "ids/s restored", 0),
];

/// Restarts Weir with and without its state, after it was stopped. The books must be what they were.
pub async fn weir(weir: &Weir, partitions: i32, books: Books, series: &mut Series) -> Result<()> {
    let mut seconds = Vec::new();
    for is_deleted in [false, true] {
        if is_deleted {
            delete_state(&weir.state("bench"))?;
        }
        let mut service = weir.processor("bench")?;
        seconds.push(service.runs(partitions).await?);
        check_books(&service, books).await.context("after a restart")?;
        service.process.stop(STOP_WITHIN).await?;
    }
    add(series, "weir", &seconds, books.clean);
    Ok(())
}

/// The same with Kafka Streams.
pub async fn kstreams(anchor: &Anchor, run: &Run<'_>, log: &Path, ids: u64, series: &mut Series) -> Result<()> {
    let mut seconds = Vec::new();
    for is_deleted in [false, true] {
        if is_deleted {
            delete_state(run.state)?;
        }
        let (took, restored) = anchor.restore(run, log).await?;
        seconds.push(took);
        // The store of last timestamps comes on top of the ids.
        ensure!(!is_deleted || restored >= ids, "only {restored} records were restored, of {ids} ids");
    }
    add(series, "kstreams", &seconds, ids);
    Ok(())
}

fn add(series: &mut Series, contestant: &str, seconds: &[f64], ids: u64) {
    let [with, without] = seconds else { return };
    series.add(contestant, "start_with_state_s", *with);
    series.add(contestant, "start_without_state_s", *without);
    // With few ids the difference is noise.
    if without - with > 0.2 {
        series.add(contestant, "restore_ids_per_s", ids as f64 / (without - with));
    }
}
