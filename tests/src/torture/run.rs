//! One run: set up, load and harm at the same time, heal, wait for rest, judge.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use tokio::task::{JoinHandle, JoinSet, block_in_place};

use crate::cluster::Cluster;
use crate::deeds::Deeds;
use crate::fetch_target::{self, FetchTarget};
use crate::flaky;
use crate::ledger::Open;
use crate::payloads::Payloads;
use crate::pipeline::{Pipeline, Setup};
use crate::place;
use crate::plan::Plan;
use crate::play::{self, Stage};
use crate::ports;
use crate::scrape::Metrics;
use crate::screen::say;
use crate::tallies::Tallies;
use crate::torture::actors::{self, Scene, SmallDisk, wipe};
use crate::torture::burden::Burden;
use crate::torture::control::Control;
use crate::torture::evidence;
use crate::torture::fleet::{Member, Role};
use crate::torture::journal::Journal;
use crate::torture::nodes::Nodes;
use crate::torture::proxy::Proxy;
use crate::torture::states;
use crate::torture::verdict::{self, Places, Remains};
use crate::torture::views::Witness;
use crate::torture::weather::Weather;
use crate::wait::wait_until;
use crate::wire::Client;

/// Partitions of every topic.
const PARTITIONS: i32 = 8;
const BODY_LIMIT: usize = 256 * 1024;
/// How long a provider goes on: longer than any run.
const PATIENCE: Duration = Duration::from_secs(3600);
/// From when on it is said what the run still waits for.
const SLOW: Duration = Duration::from_secs(20);
/// How long the system may stand still once everything is well again: longer than an event waits for a circuit breaker
/// that is open, which is two minutes and a quarter of that.
const STANDSTILL: Duration = Duration::from_secs(200);
/// How long committed tallies may take to show in the metrics.
const METRICS_WITHIN: Duration = Duration::from_secs(30);
/// How long between two looks at what has moved.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Handlers fail in every process anew, and short pauses bring more of them into one run.
const RETRY: &str = "[retry]\ndelays = [\"300ms\", \"2s\"]\nattempts = 50\njitter = \"full\"\n\n";
const DELAYS: [&str; 2] = ["300ms", "2s"];
const ATTEMPTS: i64 = 50;
/// Lines of a log that are shown when nothing moves.
const LAST_LINES: usize = 25;
/// What is worth counting in the logs of the processors.
const RECOVERIES: [&str; 7] = [
    "partition taken over",
    "a fault was met",
    "effects of a torn transaction were found and neutralised",
    "the group's client failed for good and is rebuilt",
    "the group's client was fenced and is rebuilt",
    "the group's client is no member of its group for long and is rebuilt",
    "the client gave no answer within",
];

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What it follows from.
    pub seed: u64,
    /// How long load and harm last.
    pub time: Duration,
    /// Deliveries a second.
    pub rate: u32,
    /// Harm that the verdict must find out; the run then fails.
    pub control: Option<Control>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// For the evidence.
    pub run: evidence::Run,
    /// Where journal and logs are, if they were kept.
    pub folder: PathBuf,
}

/// The system under torture, and who watches it.
struct Site {
    options: Options,
    pipeline: Arc<Pipeline>,
    scene: Arc<Scene>,
    cluster: Cluster,
    stage: Arc<Stage>,
    witness: Witness,
    /// Whether the service answers every call, from now on.
    is_well: Arc<AtomicBool>,
    _proxies: Vec<Proxy>,
}

/// Tortures. A violation is an outcome; an error is a defect of the harness or of its surroundings.
pub async fn torture(options: Options) -> Result<Outcome> {
    let name = format!("torture-{}", options.seed);
    let folder = place::target("torture")?.join(options.seed.to_string());
    let brokers = place::root().join("target/kafka").join(name);
    say(&format!("seed {}: {:?} at {} deliveries a second", options.seed, options.time, options.rate));
    let site = prepare(options, &folder, &brokers).await?;
    let journal = site.scene.journal.clone();
    say(&format!("  journal {}", place::shown(&folder.join("journal"))));
    let mut keepers = JoinSet::new();
    for member in site.members() {
        keepers.spawn(async move { member.supervise().await });
    }
    let stage = Arc::clone(&site.stage);
    let playing = tokio::spawn(async move { play::play(&stage).await });
    tokio::select! {
        acted = actors::act(&site.scene) => acted?,
        Some(ended) = keepers.join_next() => bail!("nobody looks after a process any more: {ended:?}"),
    }
    site.is_well.store(true, Ordering::Relaxed);
    say("  all is healed; waiting for rest");
    let healed = Instant::now();
    let at_rest = tokio::select! {
        at_rest = site.rest(&journal, playing) => at_rest?,
        Some(ended) = keepers.join_next() => bail!("nobody looks after a process any more: {ended:?}"),
    };
    let rest_s = healed.elapsed().as_secs_f64();
    let mut run = site.record(rest_s).await?;
    if at_rest {
        say(&format!("  at rest after {rest_s:.1} s"));
        keepers.abort_all();
        while keepers.join_next().await.is_some() {}
        site.judge(&mut run).await?;
    }
    run.violations.extend(journal.violations());
    drop(keepers);
    if run.violations.is_empty() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        std::fs::remove_dir_all(&brokers).with_context(|| format!("cannot remove {}", brokers.display()))?;
    }
    Ok(Outcome { run, folder })
}

/// When processors take a new epoch: two ways, by turns.
fn recycle(seed: u64) -> &'static str {
    if seed.is_multiple_of(2) { "every_commit" } else { "after_trouble" }
}

async fn prepare(options: Options, folder: &Path, brokers: &Path) -> Result<Site> {
    let Options { seed, time, rate, .. } = options;
    let folder_of_brokers = brokers.to_owned();
    let nodes = tokio::task::spawn_blocking(move || Nodes::start(&folder_of_brokers)).await??;
    let is_well = Arc::new(AtomicBool::new(false));
    let service = FetchTarget::start(fetch_target::until(&is_well, fetch_target::seeded(seed))).await?;
    let setup = Setup {
        brokers: nodes.through_proxies(),
        prefix: String::new(),
        folder: folder.to_owned(),
        seed,
        ingest_port: ports::free()?,
        partitions: PARTITIONS,
        body_limit: BODY_LIMIT,
        session_timeout: "6s",
        wait: "60s",
        environment: vec![
            ("WEIR__TOPICS__REPLICATION".to_owned(), "3".to_owned()),
            ("WEIR__PROCESSOR__RECYCLE".to_owned(), recycle(seed).to_owned()),
            (flaky::SERVICE.to_owned(), service.url()),
        ],
        processor: "weir-flaky",
        sections: RETRY,
    };
    let pipeline = Arc::new(Pipeline::configure(setup)?);
    let journal = Journal::open(&folder.join("journal"))?;
    let weather = Arc::new(Weather::new(seed, journal.clone()));
    let mut proxies = Vec::new();
    for (node, ports) in nodes.proxied.iter().enumerate() {
        proxies.push(Proxy::start(node, *ports, Arc::clone(&weather)).await?);
    }
    pipeline.create_topics().await?;
    let cluster = Cluster::new(&nodes.direct);
    let witness = block_in_place(|| Witness::start(&cluster, ""))?;
    let member = |role: Role, name: &str| Member::new(&pipeline, role, name, &journal).map(Arc::new);
    // A process of one worker, and one of two.
    let processor = |name: &str, workers: u16| member(Role::Processor { workers }, name);
    let processors = vec![processor("processor-a", 1)?, processor("processor-b", 2)?];
    let ingests = vec![member(Role::Ingest, "ingest-a")?, member(Role::Ingest, "ingest-b")?];
    let guest = processor("processor-guest", 1)?;
    let disk = SmallDisk::mount(&processors[1].state)?;
    for member in processors.iter().chain(&ingests) {
        member.start().await?;
    }
    for member in processors.iter().chain(&ingests) {
        member.ready().await?;
    }
    let deliveries = rate as usize * time.as_secs() as usize;
    let plan = Plan::new(seed, deliveries, Timestamp::now().as_millisecond(), &Payloads::own("no network is needed"));
    let start = Instant::now();
    let stage = Stage {
        ledger: Open::new(plan.deliveries.len()),
        secrets: pipeline.secrets.clone(),
        doors: ingests.iter().map(|ingest| Client::new(ingest.listen)).collect(),
        pace: Some((start, Duration::from_secs(1) / rate)),
        patience: PATIENCE,
        begun: AtomicU32::new(0),
        body_limit: BODY_LIMIT,
        plan,
    };
    let end = start + time;
    let office = Arc::clone(&pipeline);
    let scene =
        Scene { seed, end, nodes, weather, processors, guest, ingests, disk, service: service.into(), office, journal };
    let (scene, stage) = (Arc::new(scene), Arc::new(stage));
    Ok(Site { options, pipeline, scene, cluster, stage, witness, is_well, _proxies: proxies })
}

impl Site {
    fn members(&self) -> Vec<Arc<Member>> {
        let Scene { processors, ingests, guest, .. } = &*self.scene;
        processors.iter().chain(ingests).chain(std::iter::once(guest)).cloned().collect()
    }

    /// Waits until every delivery is answered, every record committed, no event waits, every command is answered and
    /// every partition has an owner, as long as anything moves. Whether it came to rest.
    async fn rest(&self, journal: &Journal, playing: JoinHandle<()>) -> Result<bool> {
        let (group, topic) = (self.pipeline.group(), self.pipeline.topic("verified-events"));
        let healed = Instant::now();
        let mut moved = healed;
        let mut last = (0, None, None);
        loop {
            let lag = block_in_place(|| self.cluster.lag(&group, &topic)).ok();
            let mut left = None;
            if playing.is_finished() && lag == Some(0) {
                left = self.left().await.ok();
                if left == Some((0, 0, PARTITIONS as u64)) {
                    playing.await.context("a provider panicked")?;
                    return Ok(true);
                }
            }
            let now = (self.stage.ledger.answered(), lag, left);
            if now != last {
                if healed.elapsed() > SLOW {
                    let (answered, lag, left) = now;
                    say(&format!(
                        "  {:.0} s: {answered} answered, lag {lag:?}, left {left:?}",
                        healed.elapsed().as_secs_f64()
                    ));
                }
                (last, moved) = (now, Instant::now());
            }
            if moved.elapsed() > STANDSTILL {
                let of = self.stage.plan.deliveries.len();
                let text = format!("{} of {of} answered, lag {lag:?}", now.0);
                let more = format!("events and commands that wait, partitions that run: {left:?}");
                journal.violation(&format!("nothing moved for {STANDSTILL:?}: {text}, {more}"));
                self.tell_how_it_stands().await;
                return Ok(false);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How many events wait, how many commands have no answer, and how many partitions run.
    async fn left(&self) -> Result<(u64, usize, u64)> {
        let metrics = self.metrics().await?;
        let waiting = ["weir_processor_parked", "weir_processor_retrying"].map(|gauge| metrics.sum(gauge, &[]));
        let running = metrics.sum("weir_processor_partitions", &[("stage", "running")]);
        Ok((waiting.iter().sum(), self.deeds()?.open(), running))
    }

    /// Prints what can be learnt about a standstill from outside, where nobody may be able to look into the logs.
    async fn tell_how_it_stands(&self) {
        let topic = self.pipeline.topic("verified-events");
        let ends = block_in_place(|| self.cluster.ends(&topic)).ok().flatten().unwrap_or_default();
        let partitions: Vec<i32> = ends.keys().copied().collect();
        let committed = block_in_place(|| self.cluster.committed(&self.pipeline.group(), &topic, &partitions));
        say(&format!("  first and next offsets {ends:?}, committed {committed:?}"));
        for member in &self.scene.processors {
            let readiness = member.readiness().await;
            let stages = member.metrics().await.map(|metrics| {
                let of =
                    |stage: &str| (stage.to_owned(), metrics.sum("weir_processor_partitions", &[("stage", stage)]));
                metrics.values("weir_processor_partitions", "stage").into_iter().map(of).collect::<Vec<_>>()
            });
            say(&format!("  {}: readiness {readiness:?}, partitions by stage {stages:?}", member.name));
            let text = std::fs::read_to_string(&member.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LAST_LINES)..].iter().for_each(|line| say(&format!("    {line}")));
        }
    }

    fn deeds(&self) -> Result<Deeds> {
        block_in_place(|| Deeds::read(&self.cluster, "", &DELAYS, ATTEMPTS))
    }

    /// The metrics of all processors that should run.
    async fn metrics(&self) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        for member in &self.scene.processors {
            let page = member.metrics().await.with_context(|| member.name.clone())?;
            metrics = metrics.and(page);
        }
        Ok(metrics)
    }

    /// What is known before anything is judged.
    async fn record(&self, rest_s: f64) -> Result<evidence::Run> {
        let (journal, logs) = (&self.scene.journal, self.logs());
        let mut recoveries = journal.recoveries();
        for words in RECOVERIES {
            recoveries.insert(words.to_owned(), verdict::mentions(&logs, words)?);
        }
        for member in self.members() {
            let crashed = member.ends().await.into_iter().filter(|end| !end.contains("exit code"));
            crashed.for_each(|end| journal.violation(&format!("a process crashed: {end}")));
        }
        let plan = &self.stage.plan;
        Ok(evidence::Run {
            commit: evidence::commit(),
            date: Timestamp::now().strftime("%Y-%m-%dT%H:%MZ").to_string(),
            seed: self.options.seed,
            minutes: (self.options.time.as_secs_f64() / 6.0).round() / 10.0,
            events: plan.events.len() as u64,
            sent: self.stage.ledger.answered() as u64,
            again: 0,
            outputs: [0; 3],
            duplicates: 0,
            extra_copies: 0,
            burden: [0; 3],
            retries: 0,
            commands: 0,
            calls: self.scene.service.lock().await.asked().values().map(|calls| u64::from(*calls)).sum(),
            recycle: recycle(self.options.seed).to_owned(),
            disk: if self.scene.disk.is_some() { "tmpfs" } else { "not run" }.to_owned(),
            faults: journal.faults(),
            recoveries,
            rest_s: (rest_s * 10.0).round() / 10.0,
            controls: Vec::new(),
            violations: verdict::inexcusable(&logs)?,
        })
    }

    /// Judges, stops everything in order, and sees whether the judge can be fooled.
    async fn judge(self, run: &mut evidence::Run) -> Result<()> {
        let ledger = self.stage.ledger.close();
        run.again = ledger.entries.iter().map(|entry| u64::from(entry.unknown())).sum();
        let stage = Arc::clone(&self.stage);
        let deeds = self.deeds()?;
        (run.retries, run.commands) = (deeds.retries, deeds.commands.len() as u64);
        let remains = Remains {
            plan: &stage.plan,
            ledger: &ledger,
            cluster: &self.cluster,
            prefix: "",
            partitions: PARTITIONS,
            deeds: &deeds,
        };
        if let Some(control) = self.options.control {
            control.strike(remains.cluster, remains.prefix).await?;
        }
        let Places { observed, tallies, mut violations, extra_copies } = block_in_place(|| verdict::places(&remains))?;
        run.extra_copies = extra_copies;
        violations.extend(self.books(&tallies).await);
        violations.extend(self.open_transactions());
        violations.extend(self.burdens(run).await?);
        for member in self.members() {
            member.stop().await?;
        }
        violations.extend(self.rebuild().await?);
        let seen = block_in_place(|| self.witness.finish())?;
        violations.extend(block_in_place(|| verdict::readers(&remains, &observed, &seen))?);
        run.outputs = [&observed.clean.len(), &observed.stale.len(), &observed.dead.len()].map(|count| *count as u64);
        run.duplicates = tallies.rows.values().map(|row| row.duplicate).sum();
        if violations.is_empty() {
            for control in Control::ALL {
                control.strike(remains.cluster, remains.prefix).await?;
                let found = block_in_place(|| verdict::places(&remains))?;
                match found.violations.iter().any(|text| text.contains(control.complaint())) {
                    true => run.controls.push(control.name().to_owned()),
                    false => violations.push(format!("the control {} was not found out", control.name())),
                }
            }
        }
        run.violations.extend(violations);
        Ok(())
    }

    /// The processors' books against what must stand in them.
    async fn books(&self, tallies: &Tallies) -> Vec<String> {
        let waited = wait_until("books", METRICS_WITHIN, || async {
            let metrics = self.metrics().await.map_err(|error| format!("{error:#}"))?;
            let differences = tallies.compare_processor(&metrics);
            if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
        });
        waited.await.err().map(|error| format!("{error:#}")).into_iter().collect()
    }

    /// Outputs with a transaction that nobody ends: their readers would wait for ever.
    fn open_transactions(&self) -> Vec<String> {
        let names = ["clean-events", "stale-events", "dead-events", "dead-resolutions", "state-changelog"];
        let names = names.map(str::to_owned).into_iter().chain(DELAYS.map(|delay| format!("retry-events-{delay}")));
        let settled = |name: String| block_in_place(|| self.cluster.settled_ends(&self.pipeline.topic(&name)));
        names.filter_map(|name| settled(name).err()).map(|error| format!("{error:#}")).collect()
    }

    /// Who takes too much of the machine. The most that any takes goes into the evidence.
    async fn burdens(&self, run: &mut evidence::Run) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for member in self.members() {
            let Some(burden) = member.burden().await? else { continue };
            let Burden { rss_mib, threads, descriptors } = burden;
            let most = run.burden;
            run.burden = [most[0].max(rss_mib), most[1].max(threads), most[2].max(descriptors)];
            found.extend(burden.excess(member.workers()).map(|excess| format!("{} has {excess}", member.name)));
        }
        Ok(found)
    }

    /// Compares the stores that the last owners left with those that one process builds from the changelog alone.
    async fn rebuild(&self) -> Result<Vec<String>> {
        let Scene { processors, guest, .. } = &*self.scene;
        let folders: Vec<PathBuf> = processors.iter().chain([guest]).map(|member| member.state.clone()).collect();
        let owned = block_in_place(|| states::read(&folders, PARTITIONS));
        let builder = processors.first().context("there is no processor")?;
        wipe(&builder.state)?;
        builder.start().await?;
        // Those of the others come when their sessions have ended.
        let all_run = || async {
            let metrics = builder.metrics().await.map_err(|error| format!("{error:#}"))?;
            match metrics.sum("weir_processor_partitions", &[("stage", "running")]) {
                running if running == PARTITIONS as u64 => Ok(()),
                running => Err(format!("{running} partitions run")),
            }
        };
        wait_until("the state rebuilt", STANDSTILL, all_run).await?;
        builder.stop().await?;
        let rebuilt = block_in_place(|| states::read(std::slice::from_ref(&builder.state), PARTITIONS));
        let were_damaged = self.scene.journal.faults().contains_key("state damaged");
        Ok(states::differences(&owned, &rebuilt, PARTITIONS, were_damaged))
    }

    fn logs(&self) -> Vec<PathBuf> {
        self.members().iter().map(|member| member.log.clone()).collect()
    }
}
