//! Harm to Weir's own processes: killed, put to sleep, stopped, with their state taken away or damaged.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::RngExt;

use super::disk::{damage, wipe};
use super::{Part, Scene};
use crate::torture::fleet::Member;
use crate::wait::wait_until;

/// Twice the session time-out: half of the sleepers lose their partitions.
const SLEEP_MS: std::ops::Range<u64> = 100..12_000;
const DOWN_MS: std::ops::Range<u64> = 0..8_000;
/// The kinds of harm to a processor, the last one only where there is a small disk.
const KINDS: usize = 7;
/// How wrong a clock goes, from this to two hours, and for how long.
const WRONG_MS: f64 = 2_000.0;
const WRONG_MAX_MS: f64 = 7_200_000.0;
const WRONG_FOR_MS: std::ops::Range<u64> = 500..10_000;
/// How long a process may take to listen, whatever else is going on.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// Torments one processor.
pub async fn torment_processor(scene: &Scene, number: usize) -> Result<()> {
    let member = &scene.processors[number];
    let disk = scene.disk.as_ref().filter(|_| number + 1 == scene.processors.len());
    let mut part = Part::new(scene, &member.name, if disk.is_some() { KINDS } else { KINDS - 1 });
    while let Some(kind) = part.next(1_000..14_000).await {
        match kind {
            0 => kill(scene, &mut part, member).await?,
            1 => sleep(scene, &mut part, member).await?,
            2 => stop(scene, &mut part, member).await?,
            3 => {
                member.kill().await?;
                wipe(&member.state)?;
                scene.journal.fault("state wiped", &member.name);
                start(&mut part, member).await?;
            }
            4 => {
                member.kill().await?;
                if let Some(what) = damage(&member.state, &mut part.random)? {
                    scene.journal.fault("state damaged", &format!("{}: {what}", member.name));
                }
                start(&mut part, member).await?;
            }
            5 => {
                let size = WRONG_MS * (WRONG_MAX_MS / WRONG_MS).powf(part.random.random_range(0.0..1.0));
                let offset_ms = size as i64 * if part.random.random_bool(0.5) { 1 } else { -1 };
                let time = part.time(WRONG_FOR_MS);
                scene.journal.fault("clock set", &format!("{} {offset_ms} ms off for {time:?}", member.name));
                member.clock.set(offset_ms)?;
                tokio::time::sleep(time).await;
                member.clock.set(0)?;
            }
            _ => {
                let Some(disk) = disk else { continue };
                disk.fill()?;
                let time = part.time(1_000..8_000);
                scene.journal.fault("disk full", &format!("{} for {time:?}", member.name));
                tokio::time::sleep(time).await;
                disk.free()?;
            }
        }
    }
    Ok(())
}

/// Torments the doors, one at a time.
pub async fn torment_ingests(scene: &Scene) -> Result<()> {
    let mut part = Part::new(scene, "ingests", 3);
    while let Some(kind) = part.next(2_000..15_000).await {
        let number = part.random.random_range(0..scene.ingests.len());
        let member = &scene.ingests[number];
        match kind {
            0 => kill(scene, &mut part, member).await?,
            1 => sleep(scene, &mut part, member).await?,
            _ => stop(scene, &mut part, member).await?,
        }
    }
    Ok(())
}

/// A member that joins the group and leaves it, in storms.
pub async fn come_and_go(scene: &Scene) -> Result<()> {
    let mut part = Part::new(scene, "guest", 2);
    let guest = &scene.guest;
    while let Some(kind) = part.next(4_000..20_000).await {
        for _ in 0..part.random.random_range(1..4) {
            guest.start().await?;
            let began = Instant::now();
            tokio::time::sleep(part.time(500..7_000)).await;
            let (name, ended) = match kind {
                0 => ("guest killed", guest.kill().await),
                _ => {
                    listens(guest).await;
                    ("guest stopped", guest.stop().await)
                }
            };
            ended?;
            let time = began.elapsed();
            scene.journal.fault(name, &format!("after {time:?}"));
            tokio::time::sleep(part.time(0..2_000)).await;
        }
    }
    Ok(())
}

/// Waits until it listens: before, SIGTERM ends it as it ends any program. Whether it does is judged elsewhere.
async fn listens(member: &Member) {
    let answers = || async { member.metrics().await.map(drop).map_err(|error| format!("{error:#}")) };
    drop(wait_until("a process listens", LISTENS_WITHIN, answers).await);
}

async fn kill(scene: &Scene, part: &mut Part, member: &Member) -> Result<()> {
    member.kill().await?;
    scene.journal.fault(&format!("{} killed", member.kind()), &member.name);
    start(part, member).await
}

async fn stop(scene: &Scene, part: &mut Part, member: &Member) -> Result<()> {
    listens(member).await;
    scene.journal.fault(&format!("{} stopped", member.kind()), &member.name);
    member.stop().await?;
    start(part, member).await
}

async fn sleep(scene: &Scene, part: &mut Part, member: &Member) -> Result<()> {
    let time = part.time(SLEEP_MS);
    member.signal("STOP").await?;
    scene.journal.fault(&format!("{} put to sleep", member.kind()), &format!("{} for {time:?}", member.name));
    tokio::time::sleep(time).await;
    member.signal("CONT").await
}

/// Starts it again: at once, or after its session may have ended.
async fn start(part: &mut Part, member: &Member) -> Result<()> {
    let at_once = part.random.random_bool(0.3);
    let time = if at_once { Duration::ZERO } else { part.time(DOWN_MS) };
    tokio::time::sleep(time).await;
    member.start().await
}
