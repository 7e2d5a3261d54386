//! The demo: a day of webhooks through a whole Weir, with a crash in the middle, and the books at the end.
//!
//! `play` is what `make demo` runs, `run` is `make run`. Where the broker is our own it starts empty and stays up;
//! where it is somebody else's, everything we made there has our prefix and is removed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use crate::broker;
use crate::cluster::Cluster;
use crate::observed::Control;
use crate::payloads::{Payloads, cache_folder};
use crate::pipeline::{Pipeline, Setup};
use crate::place;
use crate::plan::Plan;
use crate::ports;
use crate::report;
use crate::run::{Books, Ingest, REST_WITHIN, Run};
use crate::screen::{self, Progress, number, say};
use crate::seed;

const DELIVERIES: usize = 20_000;
/// Fewer would not hold one of everything.
const DELIVERIES_MIN: usize = 300;
const INGEST_PORT: u16 = 8080;
const PARTITIONS: i32 = 16;
const BODY_LIMIT: usize = 1024 * 1024;
/// Name of the demo's processor.
const INSTANCE: &str = "a";
/// When it is killed, in per cent of the deliveries.
const KILL_AT: usize = 50;
/// How often the bar moves.
const TICK: Duration = Duration::from_millis(20);

/// A demo's surroundings.
struct Site {
    pipeline: Pipeline,
    seed: u64,
    is_own_broker: bool,
}

/// Plays the day. Whether the books balance.
pub async fn play(control: Option<Control>) -> Result<bool> {
    let deliveries = number_of("DELIVERIES", DELIVERIES)?;
    ensure!(deliveries >= DELIVERIES_MIN, "DELIVERIES is {deliveries}; a day needs {DELIVERIES_MIN} at least");
    let payloads = Payloads::fetch(&cache_folder());
    let Site { mut pipeline, seed, is_own_broker } = prepare().await?;
    say(&format!("  seed       {seed} (SEED={seed} plays the same day again)"));
    say(&format!("  payloads   {}", payloads.origin));
    start(&mut pipeline).await?;
    let plan = Plan::new(seed, deliveries, Timestamp::now().as_millisecond(), &payloads);
    let mut run = Run::new(pipeline, plan);
    play_with_a_crash(&mut run).await?;
    come_to_rest(&mut run).await?;
    let mut books = run.books(Ingest::RanOnce, control).await?;
    run.pipeline.stop().await.context("the processes did not stop in order")?;
    books.errors = run.pipeline.log_errors()?;
    print(&books, control);
    leave(run.pipeline, is_own_broker).await?;
    Ok(books.balance())
}

/// Sets up the same and stays until `end`.
pub async fn run(end: impl Future<Output = ()>) -> Result<()> {
    let Site { mut pipeline, is_own_broker, .. } = prepare().await?;
    start(&mut pipeline).await?;
    let (config, weir) = (place::shown(&pipeline.config()), place::shown(&place::program("weir")?));
    let secrets = place::shown(&pipeline.folder().join("secrets"));
    println!("Weir is up.");
    println!("  send to     http://{}/hooks/<source>", pipeline.door());
    println!("  sources     github stripe shopify slack billing identity warehouse; their secrets lie in {secrets}/");
    println!("  ingest      http://{}/metrics (and /healthz, /readyz)", pipeline.ingest_admin()?);
    for admin in pipeline.processor_admins() {
        println!("  processor   http://{admin}/metrics");
    }
    println!("  broker      {}", pipeline.cluster.brokers());
    println!("  logs        {}/*.log", place::shown(pipeline.folder()));
    println!("Send an event:  {weir} --config {config} send --source github");
    println!("See it leave:   {weir} --config {config} tail clean-events");
    println!("Ctrl-C ends it.");
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => pipeline.check_alive()?,
        }
    }
    say("stopping");
    pipeline.stop().await?;
    leave(pipeline, is_own_broker).await
}

/// The broker, the configuration and the topics.
async fn prepare() -> Result<Site> {
    let seed = seed::seed();
    let port = u16::try_from(number_of("INGEST_PORT", INGEST_PORT.into())?).context("INGEST_PORT is not a port")?;
    ports::require_free(port, "INGEST_PORT")?;
    let given = broker::given();
    let is_own_broker = given.is_none();
    let (brokers, prefix) = match given {
        Some(brokers) => (brokers, format!("demo-{seed}-")),
        None => (tokio::task::block_in_place(broker::demo)?, String::new()),
    };
    say(&format!("  broker     {brokers}{}", if is_own_broker { ", our own, empty" } else { "" }));
    if !prefix.is_empty() {
        say(&format!("  topics     {prefix}*"));
    }
    let cluster = Cluster::new(&brokers);
    let used = tokio::task::block_in_place(|| cluster.ends(&format!("{prefix}verified-events")))?;
    let used = used.is_some_and(|ends| ends.values().any(|(_, next)| *next > 0));
    ensure!(!used, "{prefix}verified-events holds records of an earlier run; take another SEED");
    let setup = Setup {
        brokers,
        prefix,
        folder: folder()?,
        seed,
        ingest_port: port,
        partitions: PARTITIONS,
        body_limit: BODY_LIMIT,
        session_timeout: "10s",
        wait: "60s",
        // No balancer stands before it.
        environment: vec![("WEIR__INGEST__LINGER".to_owned(), "0s".to_owned())],
        processor: "weir-processor",
        sections: "",
    };
    let pipeline = Pipeline::prepare(setup).await?;
    say(&format!("  folder     {}: weir.toml, secrets, logs, state", place::shown(pipeline.folder())));
    Ok(Site { pipeline, seed, is_own_broker })
}

/// `DEMO_DIR`, or `target/demo`.
fn folder() -> Result<PathBuf> {
    match std::env::var_os("DEMO_DIR") {
        Some(folder) => Ok(folder.into()),
        None => place::target("demo"),
    }
}

async fn start(pipeline: &mut Pipeline) -> Result<()> {
    pipeline.start_ingest()?;
    pipeline.start_processor(INSTANCE)?;
    pipeline.ready().await?;
    say(&format!("  door       http://{}/hooks/<source>", pipeline.door()));
    Ok(())
}

async fn play_with_a_crash(run: &mut Run) -> Result<()> {
    let total = run.plan().deliveries.len();
    let events = run.plan().events.len();
    say(&format!("playing {} deliveries about {} events", number(total as u64), number(events as u64)));
    let mut progress = Progress::new("deliveries", total as u64);
    let mut playing = run.play();
    while run.answered() < total * KILL_AT / 100 {
        tick(run, &mut progress).await?;
    }
    run.pipeline.kill_processor(INSTANCE)?;
    run.pipeline.start_processor(INSTANCE)?;
    let answered = number(run.answered() as u64);
    progress.say(&format!("  killed the processor (SIGKILL) after {answered} deliveries, and started it again"));
    loop {
        tokio::select! {
            done = &mut playing => break done.context("a provider panicked")?,
            ticked = tick(run, &mut progress) => ticked?,
        }
    }
    progress.set(total as u64);
    Ok(())
}

/// Waits a moment, moves the bar, and fails if a process ended.
async fn tick(run: &mut Run, progress: &mut Progress) -> Result<()> {
    tokio::time::sleep(TICK).await;
    progress.set(run.answered() as u64);
    run.pipeline.check_alive()
}

async fn come_to_rest(run: &mut Run) -> Result<()> {
    run.pipeline.ready().await?;
    let topic = run.pipeline.topic("verified-events");
    let ends = tokio::task::block_in_place(|| run.pipeline.cluster.ends(&topic))?.context("verified-events is gone")?;
    let total: u64 = ends.values().map(|(first, next)| (next - first) as u64).sum();
    let mut progress = Progress::new("committed", total);
    run.pipeline.rest(REST_WITHIN, |left| progress.set(total.saturating_sub(left))).await
}

fn print(books: &Books, control: Option<Control>) {
    println!("\n{}", report::ledger(books));
    print!("{}", report::reasons(books));
    println!("\na clean event of each source:\n{}", report::examples(books));
    if let Some(control) = control {
        println!("negative control {control:?}: the reader's view was changed on purpose");
    }
    let (green, red, plain) =
        if screen::has_colour() { ("\u{1b}[1;32m", "\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "", "") };
    if books.balance() {
        println!("{green}The books balance.{plain} Every accepted event is in its place exactly once and in order.");
    } else {
        println!("{red}The books do not balance.{plain}\n{}", books.complaints());
    }
}

/// Our own broker stays, for a look around; somebody else's is left as it was.
async fn leave(pipeline: Pipeline, is_own_broker: bool) -> Result<()> {
    let brokers = pipeline.cluster.brokers();
    let topic = pipeline.topic("clean-events");
    let look = format!("kcat -C -b {brokers} -t {topic} -X isolation.level=read_committed -e -f '%h\\n%s\\n\\n'");
    if is_own_broker {
        println!("The broker stays up (make kafka-down stops it). To look around:\n  {look}");
    } else if std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
        println!("The topics {}* stay (KEEP=1). To look around:\n  {look}", pipeline.setup.prefix);
    } else {
        let deleted = pipeline.cluster.delete(&pipeline.setup.prefix, &pipeline.group()).await?;
        println!("{deleted} topics {}* were deleted (KEEP=1 keeps them).", pipeline.setup.prefix);
    }
    Ok(())
}

/// A number from the environment.
fn number_of(variable: &str, default: usize) -> Result<usize> {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => text.parse().with_context(|| format!("{variable} is {text:?}, not a number")),
        _ => Ok(default),
    }
}
