//! The processor on a preloaded topic, next to the stateless bound and Kafka Streams, round by round.
//!
//! Every round checks what each contestant wrote, id by id; in the first rounds the state is also deleted and
//! brought back. Outputs are deleted after each run, so that a round never meets the pages of another.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use schemas::{Topic, Topics};
use serde_json::json;
use weir_tests::place;
use weir_tests::process::Process;

use crate::args::Settings;
use crate::broker::{BenchBroker, folder_bytes};
use crate::events::{SOURCE, Shape};
use crate::kstreams::{self, Anchor, Run};
use crate::outputs::{self, Wanted};
use crate::restore::{self, RESTORE};
use crate::series::{Figure, Series, figure, report};
use crate::watch::{self, Followed, Offsets};
use crate::weir::{Books, STOP_WITHIN, Weir, check_books};
use crate::worker_time::{self, WORKER_TIME};
use crate::{load, machine, topics};

const FIGURES: [Figure; 8] = [
    figure("events_per_s", "events/s", 0),
    figure("cpu_s_per_million", "CPU s per M", 2),
    figure("rss_peak_mib", "peak RSS MiB", 0),
    figure("changelog_bytes_per_event", "changelog B/event", 1),
    figure("store_bytes_per_id", "store B/id", 1),
    figure("start_s", "start to first commit s", 2),
    figure("broker_cpu_s_per_million", "broker CPU s per M", 2),
    figure("foreign_percent", "other load %", 0),
];

const WEIR: &str = "weir";
const STATELESS: &str = "stateless";
const KSTREAMS: &str = "kstreams";

/// One benchmark: what all rounds share.
pub struct Bench<'a> {
    /// How to measure.
    pub settings: &'a Settings,
    /// Its broker.
    pub broker: BenchBroker,
    /// Its topics.
    pub topics: Topics,
    /// What was loaded.
    pub shape: Shape,
    /// How many different events that is.
    pub uniques: u64,
    speed: Series,
    restore: Series,
    worker: Series,
}

/// What a contestant keeps.
struct Kept<'a> {
    /// Its state.
    folder: &'a Path,
    /// Which topics are its changelog.
    is_changelog: &'a dyn Fn(&str) -> bool,
}

/// Runs every round and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let anchor = kstreams::build(settings.kstreams, settings.kstreams_threads)?;
    let mut bench = Bench::prepare(settings).await?;
    let facts = machine::facts(bench.broker.brokers(), bench.broker.is_own());
    println!("{}", machine::shown(&facts));
    for round in 0..settings.warmups + settings.runs {
        if round == settings.warmups {
            bench.forget();
        }
        for recycle in &settings.recycle {
            bench.weir(round, recycle).await.with_context(|| format!("weir, recycle = {recycle}"))?;
        }
        bench.stateless(round).await.context("the stateless bound")?;
        if let Some(anchor) = anchor.as_ref().filter(|_| round >= settings.warmups) {
            bench.kstreams(round, anchor).await.context("Kafka Streams")?;
        }
    }
    let mut series = vec![bench.speed.clone(), bench.worker.clone()];
    if settings.restores > 0 {
        series.push(bench.restore.clone());
    }
    report("processor", &facts, &bench.settings_json(), &series)?;
    topics::clean_up(&bench.broker).await
}

impl<'a> Bench<'a> {
    /// Starts the broker and fills the topic.
    pub async fn prepare(settings: &'a Settings) -> Result<Self> {
        let broker = BenchBroker::start().await?;
        let topics = topics::contract(&broker.prefix, settings.partitions);
        topics::create(&broker, &topics).await?;
        let shape = shape(settings);
        load::load(&broker, &topics.name(&Topic::Verified), settings.partitions, &shape)?;
        let uniques = shape.uniques();
        let [speed, restore, worker] = series(shape.events, uniques);
        Ok(Self { settings, broker, topics, shape, uniques, speed, restore, worker })
    }

    /// What was measured so far does not count.
    fn forget(&mut self) {
        [self.speed, self.restore, self.worker] = series(self.shape.events, self.uniques);
    }

    /// Whether the state is restored in a round.
    fn restores(&self, round: usize) -> bool {
        let Settings { warmups, restores, .. } = *self.settings;
        (warmups..warmups + restores).contains(&round)
    }

    fn input(&self) -> String {
        self.topics.name(&Topic::Verified)
    }

    async fn weir(&mut self, round: usize, recycle: &str) -> Result<()> {
        topics::renew_outputs(&self.broker, &self.topics).await?;
        let is_first = self.settings.recycle.first().is_some_and(|first| first == recycle);
        let name = if is_first { WEIR.to_owned() } else { format!("{WEIR}, {recycle}") };
        let weir = Weir::new(&self.broker, &self.settings.with_recycle(recycle), &format!("r{round}-{recycle}"))?;
        let offsets = Offsets::new(&self.broker, &weir.group(), &self.input(), self.settings.partitions)?;
        let mut service = weir.processor("bench")?;
        let mut profile = None;
        if self.settings.profile && is_first && round == self.settings.warmups {
            // The threads that are of interest exist by then.
            service.runs(self.settings.partitions).await?;
            profile = Some(perf(service.process.id())?);
        }
        let followed = watch::follow(&self.broker, &offsets, &mut service.process, 0, self.shape.events).await?;
        if let Some(mut profile) = profile {
            profile.signal("INT")?;
            profile.wait(STOP_WITHIN).await?;
        }
        let books = Books { clean: self.uniques, duplicate: self.shape.events - self.uniques };
        check_books(&service, books).await?;
        worker_time::add(&mut self.worker, &name, service.admin, self.shape.events).await?;
        service.process.stop(STOP_WITHIN).await?;
        self.check(&self.topics.name(&Topic::Clean), "ce_id", Wanted::Once)?;
        let changelog = self.topics.name(&Topic::Changelog);
        let state = weir.state("bench");
        let kept = Kept { folder: &state, is_changelog: &|topic| topic == changelog };
        self.add(&name, &followed, Some(&kept))?;
        if is_first && self.restores(round) {
            restore::weir(&weir, self.settings.partitions, books, &mut self.restore).await?;
        }
        Ok(())
    }

    fn check(&self, output: &str, header: &str, wanted: Wanted) -> Result<()> {
        outputs::check(&self.broker, output, &BTreeMap::new(), header, &self.shape, wanted)
    }

    async fn stateless(&mut self, round: usize) -> Result<()> {
        let output = format!("{}stateless-{round}", self.broker.prefix);
        topics::create_plain(&self.broker, &output, self.settings.partitions).await?;
        let group = format!("{}stateless-{round}", self.broker.prefix);
        let offsets = Offsets::new(&self.broker, &group, &self.input(), self.settings.partitions)?;
        let mut command = Command::new(place::program("weir-bench")?);
        command.args(["bound-stateless", "--brokers", self.broker.brokers(), "--input", &self.input()]);
        command.args(["--output", &output, "--group", &group]);
        let log = place::target("bench")?.join("stateless.log");
        let mut process = Process::start(STATELESS, command, &log)?;
        let followed = watch::follow(&self.broker, &offsets, &mut process, 0, self.shape.events).await?;
        process.kill()?;
        self.check(&output, "ce_id", Wanted::EveryCopy)?;
        self.add(STATELESS, &followed, None)?;
        topics::delete(&self.broker, |name| name == output).await
    }

    async fn kstreams(&mut self, round: usize, anchor: &Anchor) -> Result<()> {
        let output = format!("{}kstreams-{round}", self.broker.prefix);
        topics::create_plain(&self.broker, &output, self.settings.partitions).await?;
        let folder = place::target("bench")?;
        let (state, log) = (folder.join("kstreams-state"), folder.join("kstreams.log"));
        if state.exists() {
            std::fs::remove_dir_all(&state).context("cannot delete the state of an earlier run")?;
        }
        let input = self.input();
        let run = Run { broker: &self.broker, input: &input, output: &output, state: &state };
        let group = run.group();
        let offsets = Offsets::new(&self.broker, &group, &input, self.settings.partitions)?;
        let mut process = anchor.start(&run, self.shape.events, &log)?;
        let followed = watch::follow(&self.broker, &offsets, &mut process, 0, self.shape.events).await?;
        let status = process.wait(STOP_WITHIN).await?;
        ensure!(status.success(), "it ended with {status}:\n{}", process.last_words());
        self.check(&output, "id", Wanted::Once)?;
        if self.restores(round) {
            restore::kstreams(anchor, &run, &log, self.uniques, &mut self.restore).await?;
        }
        // Measured after the restores, which is the same state once more.
        let is_changelog = |topic: &str| topic.starts_with(&group) && topic.ends_with("-changelog");
        self.add(KSTREAMS, &followed, Some(&Kept { folder: &state, is_changelog: &is_changelog }))?;
        topics::delete(&self.broker, |name| name == output || name.starts_with(&group)).await
    }

    fn add(&mut self, contestant: &str, followed: &Followed, kept: Option<&Kept<'_>>) -> Result<()> {
        let millions = self.shape.events as f64 / 1e6;
        let mut add = |name, value| self.speed.add(contestant, name, value);
        add("events_per_s", followed.events_per_s);
        add("cpu_s_per_million", followed.usage.cpu_s / millions);
        add("rss_peak_mib", followed.usage.rss_peak as f64 / (1024.0 * 1024.0));
        add("start_s", followed.start_s);
        add("broker_cpu_s_per_million", followed.span.broker_s / millions);
        add("foreign_percent", followed.span.foreign * 100.0);
        println!(
            "{contestant}: {:.0} events/s, {:.2} CPU s per million",
            followed.events_per_s,
            followed.usage.cpu_s / millions
        );
        let Some(Kept { folder, is_changelog }) = kept else { return Ok(()) };
        add("store_bytes_per_id", folder_bytes(folder, |_| true)? as f64 / self.uniques as f64);
        if let Some(bytes) = self.broker.topic_bytes(is_changelog)? {
            add("changelog_bytes_per_event", bytes as f64 / self.shape.events as f64);
        }
        Ok(())
    }

    fn settings_json(&self) -> serde_json::Value {
        let Settings { runs, warmups, seed, partitions, restores, client, kstreams_threads, recycle, .. } =
            self.settings;
        json!({
            "runs": runs, "warmups": warmups, "seed": seed, "partitions": partitions, "restores": restores, "client": client,
            "events": self.shape.events, "different_events": self.uniques, "duplicates_percent": self.shape.duplicates,
            "resources": self.shape.resources, "snapshots_percent": self.shape.snapshots,
            "body_bytes": self.shape.body_bytes, "workers": 1, "commit_interval_ms": 100, "window_days": 4,
            "kstreams_threads": kstreams_threads, "recycle": recycle, "compression": "lz4 on every topic",
        })
    }
}

fn series(events: u64, uniques: u64) -> [Series; 3] {
    [
        Series::new(format!("processor, {events} events"), &FIGURES),
        Series::new(format!("state of {uniques} ids"), &RESTORE),
        Series::new("weir's worker", &WORKER_TIME),
    ]
}

/// The events that the settings describe, all of them older than now.
pub fn shape(settings: &Settings) -> Shape {
    Shape {
        source: SOURCE,
        seed: settings.seed,
        events: settings.events,
        duplicates: settings.duplicates,
        resources: settings.resources,
        snapshots: settings.snapshots,
        body_bytes: settings.body_bytes,
        // 20 November 2026; it needs only to lie before the append times.
        base_ms: 1_795_132_800_000_i64 - i64::try_from(settings.events).unwrap_or_default(),
        defect: None,
    }
}

/// Records where the process spends its time, until it gets SIGINT.
fn perf(pid: u32) -> Result<Process> {
    let folder = place::target("bench")?;
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-e", "cpu-clock", "-F", "499", "-g", "-p", &pid.to_string(), "-o"])
        .arg(folder.join("perf.data"));
    Process::start("perf", perf, &folder.join("perf.log"))
}
