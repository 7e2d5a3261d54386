//! People with `weir dead`: they redrive what will die again, give letters up, ask twice and at the same time, and are
//! killed half way.

use std::time::Duration;

use anyhow::{Result, bail};
use rand::seq::IndexedRandom;

use super::{Part, Scene};
use crate::process::{Process, shown};
use crate::sources::Source;

/// How long a command may take: longer than it waits for answers, and than an outage.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a command waits for an answer.
const TIMEOUT: &str = "20s";
/// How a command may end: done; not all of it; no broker.
const ENDS: [i32; 3] = [0, 1, 69];

/// Redrives and discards until the end.
pub async fn operate(scene: &Scene) -> Result<()> {
    let mut part = Part::new(scene, "people", 4);
    while let Some(kind) = part.next(2_000..12_000).await {
        match kind {
            0 => {
                scene.journal.fault("dead letters redriven", "all");
                done(scene, start(scene, &["redrive", "--all"])?).await?;
            }
            1 => {
                scene.journal.fault("dead letters redriven by two at once", "all");
                let (one, other) = (start(scene, &["redrive", "--all"])?, start(scene, &["redrive", "--all"])?);
                done(scene, one).await?;
                done(scene, other).await?;
            }
            2 => {
                let mut killed = start(scene, &["redrive", "--all"])?;
                let time = part.time(50..4_000);
                tokio::time::sleep(time).await;
                if killed.ended()?.is_none() {
                    killed.kill()?;
                    scene.journal.fault("redrive killed", &format!("after {time:?}"));
                }
            }
            _ => {
                let source = Source::ALL.choose(&mut part.random).copied().expect("there are sources").name();
                scene.journal.fault("dead letters discarded", source);
                done(scene, start(scene, &["discard", "--source", source])?).await?;
            }
        }
    }
    Ok(())
}

fn start(scene: &Scene, what: &[&str]) -> Result<Process> {
    let mut command = scene.office.command("weir")?;
    command.env("WEIR_DRAFTS", scene.office.folder().join("drafts"));
    command.arg("dead").args(what).args(["--note", "torture", "--yes", "--timeout", TIMEOUT, "-o", "jsonl"]);
    Process::start("weir dead", command, &scene.office.folder().join("people.log"))
}

async fn done(scene: &Scene, mut process: Process) -> Result<()> {
    let status = process.wait(PATIENCE).await?;
    match status.code() {
        Some(code) if ENDS.contains(&code) => Ok(()),
        Some(_) => {
            let words = process.last_words();
            scene.journal.violation(&format!("weir dead ended with {}: {words}", shown(status)));
            Ok(())
        }
        None => bail!("somebody else killed weir dead: {}", shown(status)),
    }
}
