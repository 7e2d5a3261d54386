//! Playing a day: lanes side by side, the steps of a lane one after the other, the deliveries of a step at once.
//!
//! A delivery that is told to come back, or whose connection breaks, is made again as its provider would make it,
//! signed anew, until it is answered or its provider's patience ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rand::seq::SliceRandom;
use tokio::task::JoinSet;

use crate::door;
use crate::ledger::{Entry, Open};
use crate::plan::{Delivery, Plan};
use crate::secrets::Secrets;
use crate::seed::random;
use crate::wire::{Answer, Client};

/// How many lanes are played side by side.
const LANES_AT_ONCE: usize = 96;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a provider goes on trying one delivery, where nothing worse than a restart is expected.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that playing needs.
#[derive(Debug)]
pub struct Stage {
    /// What is played.
    pub plan: Plan,
    /// What it is signed with.
    pub secrets: Secrets,
    /// Where to: doors that are taken in turn.
    pub doors: Vec<Client>,
    /// How fast: when the first of all deliveries was due, and how long after it each next one is; or as fast as
    /// it goes.
    pub pace: Option<(Instant, Duration)>,
    /// How long a provider goes on trying one delivery. Real ones try for days.
    pub patience: Duration,
    /// Largest body that the door takes, in bytes.
    pub body_limit: usize,
    /// What is written down.
    pub ledger: Open,
    /// How many deliveries were begun.
    pub begun: AtomicU32,
}

/// Plays the whole plan.
pub async fn play(stage: &Arc<Stage>) {
    let mut order: Vec<usize> = (0..stage.plan.lanes.len()).collect();
    order.shuffle(&mut random(stage.plan.seed, "order of lanes"));
    let (order, next) = (Arc::new(order), Arc::new(AtomicUsize::new(0)));
    let mut players = JoinSet::new();
    for _ in 0..LANES_AT_ONCE {
        let (stage, order, next) = (Arc::clone(stage), Arc::clone(&order), Arc::clone(&next));
        players.spawn(async move {
            while let Some(lane) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                for step in &stage.plan.lanes[*lane] {
                    play_step(&stage, step).await;
                }
            }
        });
    }
    // A player that panicked would leave its lane half played, and the ledger could not be closed.
    players.join_all().await;
}

async fn play_step(stage: &Arc<Stage>, step: &[usize]) {
    if let [delivery] = step {
        return deliver(stage, *delivery).await;
    }
    let mut deliveries = JoinSet::new();
    for delivery in step.iter().copied() {
        let stage = Arc::clone(stage);
        deliveries.spawn(async move { deliver(&stage, delivery).await });
    }
    deliveries.join_all().await;
}

/// Makes one delivery until it is answered for good.
async fn deliver(stage: &Stage, number: usize) {
    let turn = stage.begun.fetch_add(1, Ordering::Relaxed);
    if let Some((start, interval)) = stage.pace {
        tokio::time::sleep_until((start + interval * turn).into()).await;
    }
    let mut entry = Entry { sent: stage.ledger.now(), ..Entry::default() };
    let expected = door::expected(&stage.plan, number);
    let end = Instant::now() + stage.patience;
    let mut pause = FIRST_PAUSE;
    for door in stage.doors.iter().cycle().skip(number % stage.doors.len()) {
        let now_s = Timestamp::now().as_second();
        let request = door::request(&stage.plan, &stage.secrets, stage.body_limit, number, now_s);
        let trouble = match door.send(&request).await {
            Ok(answer) if answer.status != 503 => {
                entry.complaint = door::complaint(&expected, &answer);
                entry.status = answer.status;
                break;
            }
            Ok(answer) => {
                let reason = door::reason(&answer).unwrap_or_else(|| "no reason".to_owned());
                entry.complaint = put_off_complaint(&answer);
                *entry.put_off.entry(reason).or_default() += 1;
                "told to come back".to_owned()
            }
            Err(error) => {
                entry.broken += 1;
                format!("{error:#}")
            }
        };
        if entry.complaint.is_some() || Instant::now() > end {
            entry.complaint.get_or_insert_with(|| format!("given up after {:?}: {trouble}", stage.patience));
            break;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    entry.answered = stage.ledger.now();
    stage.ledger.enter(number, entry);
}

/// A 503 must say that it is worth coming back, and when.
fn put_off_complaint(answer: &Answer) -> Option<String> {
    let seconds: Option<u32> = answer.header("retry-after").and_then(|value| value.parse().ok());
    let says_retry = serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok_and(|body| body["retry"] == true);
    if seconds.is_some() && says_retry {
        return None;
    }
    Some(format!("503 without Retry-After or without retry: true: {:?} {}", answer.headers, answer.text()))
}

/// Makes an accepted delivery once more, to hear what the door says now, and how long it takes to say it.
pub async fn probe(stage: &Stage) -> Result<(Answer, Duration)> {
    let is_event = |number: usize| matches!(stage.plan.deliveries[number], Delivery::Event { .. });
    let number = stage.ledger.accepted(is_event).context("nothing was accepted yet")?;
    let now_s = Timestamp::now().as_second();
    let request = door::request(&stage.plan, &stage.secrets, stage.body_limit, number, now_s);
    let begin = Instant::now();
    let answer = stage.doors[0].send(&request).await?;
    let took = begin.elapsed();
    stage.ledger.amend(number, |entry| match door::reason(&answer) {
        Some(reason) => *entry.put_off.entry(reason).or_default() += 1,
        None => entry.broken += 1,
    });
    Ok((answer, took))
}
