//! `kill -9` under load: how long the unluckiest event waits.
//!
//! Restart: the same instance comes back at once, with its state or without. Takeover: the other instance has to
//! notice (the session timeout) and to restore what moves to it. The state holds the preloaded events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use schemas::Topic;
use serde_json::json;

use crate::args::Settings;
use crate::bodies::Requests;
use crate::generator::{self, Load, Pace};
use crate::ingest_bench::{RATE_CONNECTIONS, load};
use crate::latency::Watcher;
use crate::processor_bench::Bench;
use crate::series::{Figure, Series, figure, report};
use crate::usage::Pids;
use crate::watch::{self, Offsets};
use crate::weir::{STOP_WITHIN, Service, Weir, delete_state};
use crate::{machine, topics};

const FIGURES: [Figure; 4] = [
    figure("longest_wait_s", "longest wait s", 2),
    figure("waited_over_1s_percent", "waited over 1 s, %", 1),
    figure("restart_s", "start of the new process to ready s", 2),
    figure("p50_ms", "p50 ms", 1),
];
const RESTART: &str = "restart";
const REBUILD: &str = "restart, state lost";
const TAKEOVER: &str = "takeover by another";
/// Under load before and after the kill.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(15);
/// The session timeout, and time to restore.
const AFTER_TAKEOVER: Duration = Duration::from_secs(40);

struct Failover<'a> {
    bench: Bench<'a>,
    weir: Weir,
    requests: Arc<Requests>,
    load: Load,
    tag: u16,
    series: Series,
}

/// Runs every round and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let bench = Bench::prepare(settings).await?;
    let facts = machine::facts(bench.broker.brokers(), bench.broker.is_own());
    println!("{}", machine::shown(&facts));
    let rate = settings.rate();
    let weir = Weir::new(&bench.broker, settings, "failover")?;
    let input = bench.topics.name(&Topic::Verified);
    let offsets = Offsets::new(&bench.broker, &weir.group(), &input, settings.partitions)?;
    let mut one = weir.processor("a")?;
    watch::follow(&bench.broker, &offsets, &mut one.process, 0, settings.events).await?;
    let mut ingest = weir.ingest()?;
    ingest.ready().await?;
    let load = load(settings, weir.door, RATE_CONNECTIONS, Pace::Constant(rate));
    let series = Series::of_situations(format!("kill -9 at {rate}/s, {} ids", bench.uniques), &FIGURES);
    let requests = Arc::new(Requests::new("/hooks/github", settings.seed));
    let mut failover = Failover { bench, weir, requests, load, tag: 0, series };
    for _ in 0..settings.restores.max(1) {
        one = failover.restart(one, false).await.context(RESTART)?;
        one = failover.restart(one, true).await.context(REBUILD)?;
    }
    for round in 0..settings.restores.max(1) {
        let other = if round % 2 == 0 { "b" } else { "a" };
        one = failover.takeover(one, other).await.context(TAKEOVER)?;
    }
    ingest.process.stop(STOP_WITHIN).await?;
    one.process.stop(STOP_WITHIN).await?;
    let settings = json!({
        "rounds": settings.restores.max(1), "seed": settings.seed, "rate": rate, "partitions": settings.partitions,
        "ids_preloaded": failover.bench.uniques, "session_timeout_s": 15, "commit_interval_ms": 100,
    });
    report("failover", &facts, &settings, &[failover.series])?;
    topics::clean_up(&failover.bench.broker).await
}

impl Failover<'_> {
    /// Kills the only processor and starts it again.
    async fn restart(&mut self, victim: Service, is_state_lost: bool) -> Result<Service> {
        let partitions = self.bench.settings.partitions;
        let weir = self.weir.clone();
        let kill = async move {
            tokio::time::sleep(BEFORE).await;
            victim.process.kill()?;
            if is_state_lost {
                delete_state(&weir.state("a"))?;
            }
            let mut service = weir.processor("a")?;
            let restart_s = service.runs(partitions).await?;
            Ok((service, restart_s))
        };
        let name = if is_state_lost { REBUILD } else { RESTART };
        self.under_load(name, AFTER, kill).await
    }

    /// Lets another instance take half of the partitions, then kills the first; the other gets the rest.
    async fn takeover(&mut self, victim: Service, other: &str) -> Result<Service> {
        let partitions = self.bench.settings.partitions;
        let mut service = self.weir.processor(other)?;
        service.runs(partitions / 2).await?;
        let kill = async move {
            tokio::time::sleep(BEFORE).await;
            victim.process.kill()?;
            let killed = Instant::now();
            service.runs(partitions).await?;
            Ok((service, killed.elapsed().as_secs_f64()))
        };
        self.under_load(TAKEOVER, AFTER_TAKEOVER, kill).await
    }

    /// Runs `kill` under load and adds what the events met.
    async fn under_load(
        &mut self,
        name: &str,
        after: Duration,
        kill: impl Future<Output = Result<(Service, f64)>>,
    ) -> Result<Service> {
        self.tag += 1;
        let load = Load { measure: BEFORE + after, ..self.load.clone() };
        let times = load.times(self.tag);
        let clean = self.bench.topics.name(&Topic::Clean);
        let watcher = Watcher::start(&self.bench.broker, &clean, &times)?;
        // The victim does not live to the end, so nobody's CPU but ours is of interest.
        let pids = Pids { contestant: std::process::id(), broker: None };
        let (shot, killed) = tokio::join!(generator::fire(&load, &self.requests, &times, pids), kill);
        shot?;
        let (service, restart_s) = killed?;
        watcher.finish(&times).await?;
        let waits = times.waits()?;
        let late = waits.len() - waits.count_between(0, 1_000_000);
        let mut add = |figure, value| self.series.add(name, figure, value);
        add("longest_wait_s", waits.max() as f64 / 1e6);
        add("waited_over_1s_percent", late as f64 * 100.0 / waits.len().max(1) as f64);
        add("restart_s", restart_s);
        add("p50_ms", waits.value_at_quantile(0.5) as f64 / 1e3);
        println!("{name}: longest wait {:.2} s, ready after {restart_s:.2} s", waits.max() as f64 / 1e6);
        Ok(service)
    }
}
