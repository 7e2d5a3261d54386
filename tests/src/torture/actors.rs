//! Those who do harm, each in its own place, one thing after the other, all of them at the same time.
//!
//! Each actor draws from its own stream of the seed what it does next and for how long. It undoes what it did
//! before it goes on, so that everything is well again once all of them are done.

mod brokers;
mod disk;
mod network;
mod people;
mod processes;
mod service;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::RngExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::fetch_target::FetchTarget;
use crate::pipeline::Pipeline;
use crate::seed::{Random, random};
use crate::torture::fleet::Member;
use crate::torture::journal::Journal;
use crate::torture::nodes::Nodes;
use crate::torture::weather::Weather;

pub use disk::{SmallDisk, wipe};

/// What the actors act upon.
#[derive(Debug)]
pub struct Scene {
    /// What everything follows from.
    pub seed: u64,
    /// When no harm begins any more.
    pub end: Instant,
    /// The brokers.
    pub nodes: Nodes,
    /// The network in front of them.
    pub weather: Arc<Weather>,
    /// Processors that should run.
    pub processors: Vec<Arc<Member>>,
    /// One that comes and goes.
    pub guest: Arc<Member>,
    /// The doors.
    pub ingests: Vec<Arc<Member>>,
    /// The disk of the last processor, where it could be made small.
    pub disk: Option<SmallDisk>,
    /// What a handler of the processors asks.
    pub service: Mutex<FetchTarget>,
    /// Where people have their tools.
    pub office: Arc<Pipeline>,
    /// What is written down.
    pub journal: Journal,
}

/// One actor's chance and time.
struct Part {
    random: Random,
    end: Instant,
    /// How often, of a hundred, each kind of harm is chosen: different for each seed, so that rare kinds meet.
    weights: Vec<u32>,
}

/// Lets all actors act until the end. All is well again afterwards.
pub async fn act(scene: &Arc<Scene>) -> Result<()> {
    let mut actors = JoinSet::new();
    for number in 0..scene.processors.len() {
        let scene = Arc::clone(scene);
        actors.spawn(async move { processes::torment_processor(&scene, number).await });
    }
    let [guest, doors, brokers, network, people, service] = std::array::from_fn(|_| Arc::clone(scene));
    actors.spawn(async move { processes::come_and_go(&guest).await });
    actors.spawn(async move { processes::torment_ingests(&doors).await });
    actors.spawn(async move { brokers::torment(&brokers).await });
    actors.spawn(async move { network::torment(&network).await });
    actors.spawn(async move { people::operate(&people).await });
    actors.spawn(async move { service::torment(&service).await });
    while let Some(ended) = actors.join_next().await {
        ended.map_err(anyhow::Error::from)??;
    }
    Ok(())
}

impl Part {
    /// The part of an actor that knows so many kinds of harm.
    fn new(scene: &Scene, actor: &str, kinds: usize) -> Self {
        let mut random = random(scene.seed, actor);
        let weights = (0..kinds).map(|_| [1, 1, 2, 4][random.random_range(0..4)]).collect();
        Self { random, end: scene.end, weights }
    }

    /// Waits a while, then chooses the next kind of harm; nothing when the end has come.
    async fn next(&mut self, pause_ms: Range<u64>) -> Option<usize> {
        let pause = self.time(pause_ms);
        if Instant::now() + pause >= self.end {
            tokio::time::sleep_until(self.end.into()).await;
            return None;
        }
        tokio::time::sleep(pause).await;
        let mut dice = self.random.random_range(0..self.weights.iter().sum::<u32>());
        let hit = |weight: &u32| {
            let hit = dice < *weight;
            dice = dice.saturating_sub(*weight);
            hit
        };
        self.weights.iter().position(hit)
    }

    fn time(&mut self, ms: Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(ms))
    }
}
