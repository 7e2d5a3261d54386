//! How long a process needs until it works: with its state as it left it, and with the state deleted.
//!
//! All are taken from the start of the process, and end when every partition runs. The difference of the first two is
//! what the restore itself costs. The third starts at once after the process before it ended, as an operator would
//! who has lost a disk: Kafka Streams then waits until the group has given its old member up.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::kstreams::{Anchor, Run, await_empty_group};
use crate::series::{Figure, Series, figure};
use crate::weir::{Books, STOP_WITHIN, Weir, check_books, delete_state};

/// What is measured.
pub const RESTORE: [Figure; 4] = [
    figure("start_with_state_s", "start with state s", 2),
    figure("start_without_state_s", "start without state s", 2),
    figure("back_without_state_s", "stop to back without state s", 2),
    figure("restore_ids_per_s", "ids/s restored", 0),
];

/// Of each start: whether the state is deleted before it, and whether it follows at once.
const STARTS: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

/// Restarts Weir with and without its state, after it was stopped. The books must be what they were.
pub async fn weir(weir: &Weir, partitions: i32, books: Books, series: &mut Series) -> Result<()> {
    let mut seconds = Vec::new();
    for (is_deleted, _) in STARTS {
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
    for (is_deleted, is_at_once) in STARTS {
        if is_deleted {
            delete_state(run.state)?;
        }
        if !is_at_once {
            await_empty_group(run).await?;
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
    let [with, without, at_once] = seconds else { return };
    series.add(contestant, "start_with_state_s", *with);
    series.add(contestant, "start_without_state_s", *without);
    series.add(contestant, "back_without_state_s", *at_once);
    // With few ids the difference is noise.
    if without - with > 0.2 {
        series.add(contestant, "restore_ids_per_s", ids as f64 / (without - with));
    }
}
