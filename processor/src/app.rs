//! The one place where the processor's parts meet: lock, handlers, topics, worker threads, admin server.
//!
//! A worker is an OS thread that never waits for another. The process ends when all of them have; one that found
//! another process under its name, or that panicked, takes the others with it.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use runtime::admin::{self, Readiness};
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use runtime::shutdown::Shutdown;
use runtime::topics::{self, Finding};
use schemas::{Topic, partition};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::caller::Pool;
use crate::clients;
use crate::consume::MEMBERSHIP;
use crate::kafka::KafkaLog;
use crate::lifecycle::{Action, Ending};
use crate::log::{Bounds, Log};
use crate::metrics;
use crate::retry::policy::Policies;
use crate::rules;
use crate::state::Stores;
use crate::state::rocks::RocksStores;
use crate::status::{Reporter, Status};
use crate::step::handle::{Handler, Handlers};
use crate::task::{Shared, Suspicion};
use crate::watch;
use crate::worker::{Observer, Worker};

/// Pause after a fault; it doubles up to the largest while faults follow each other.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Committed changes that wait in memory for the stores, in all workers together: about 30 MiB.
const KEPT: usize = 256 * 1024;
/// How often what is missing at start is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Runs a processor until it is asked to stop. `own` are users' handlers, asked in order.
pub fn run(config: Config, own: Vec<Box<dyn Handler>>) -> Result<Exit, Failure> {
    let _lock = lock(&config.processor.state_dir)?;
    let handlers = Arc::new(handlers(&config, own));
    let exposition = runtime::metrics::install()?;
    metrics::describe();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::internal)?;
    let ended = runtime.block_on(serve(config, handlers, exposition));
    // A worker that hangs in a call to Kafka must not hold the process: what it has not committed never happened.
    runtime.shutdown_background();
    ended
}

/// Takes the state directory for this process alone.
fn lock(directory: &Path) -> Result<File, Failure> {
    let what = || format!("the state directory {}", directory.display());
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", what())).map_err(Failure::usage)?;
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write in {}", what())).map_err(Failure::usage)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::locked(anyhow!("{} is locked by another process; give each instance its own", what())))
        }
        Err(TryLockError::Error(error)) => {
            Err(Failure::usage(anyhow!(error).context(format!("cannot lock {}", what()))))
        }
    }
}

/// The JSON Schemas and handlers of the configured sources, and the users' own handlers.
pub fn handlers(config: &Config, own: Vec<Box<dyn Handler>>) -> Handlers {
    let body_max = usize::try_from(config.topics.body_limit).unwrap_or(usize::MAX);
    let mut handlers = Handlers {
        schemas: HashMap::new(),
        configured: rules::of_config(config),
        own,
        retries: Policies::of_config(config),
        body_max: Some(body_max),
    };
    for schema in config.sources.iter().filter_map(|source| source.schema.as_ref()) {
        handlers.schemas.insert(schema.name().to_owned(), Box::new(schema.clone()));
    }
    handlers
}

async fn serve(
    config: Config,
    handlers: Arc<Handlers>,
    exposition: runtime::metrics::Exposition,
) -> Result<Exit, Failure> {
    let shutdown = Shutdown::new();
    shutdown.listen();
    tokio::spawn(ignore_hangups());
    let status = Arc::new(Status::new(config.processor.workers));
    let listener = admin::bind("[processor] admin_listen", config.processor.admin_listen).await?;
    let ready: admin::Ready = {
        let status = Arc::clone(&status);
        Arc::new(move || Readiness { reasons: status.not_ready(), warnings: status.warnings(runtime::clock::now_ms()) })
    };
    let _admin = tokio::spawn(admin::serve(listener, ready, exposition, shutdown.clone()));
    runtime::kafka::await_cluster(&config.kafka, &shutdown).await?;
    if !await_topics(&config, &status, &shutdown).await? {
        return Ok(Exit::Done);
    }
    tracing::info!(
        group = config.processor.group,
        instance = config.processor.instance,
        workers = config.processor.workers,
        "processor started"
    );
    let config = Arc::new(config);
    let _watch = tokio::spawn(watch::watch(Arc::clone(&config), Arc::clone(&status), shutdown.clone()));
    let ended = work(&config, &handlers, &status, &shutdown).await;
    tracing::info!("processor stopped");
    ended
}

/// A processor reads its configuration once. Without this a hang-up that was meant for weir-ingest, which reads its
/// own again, would end it without a drain.
async fn ignore_hangups() {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return tracing::warn!(%error, "cannot listen for SIGHUP, which would end this process"),
    };
    while hangups.recv().await.is_some() {
        tracing::warn!("SIGHUP changes nothing here: a processor reads its configuration when it starts");
    }
}

/// Waits until the topics are right. `false`: we were asked to stop first.
async fn await_topics(config: &Config, status: &Status, shutdown: &Shutdown) -> Result<bool, Failure> {
    let mut said = Vec::new();
    while !shutdown.is_triggered() {
        // A broker that is half dead takes its time to answer.
        let checked = tokio::select! {
            checked = check(config) => checked,
            () = shutdown.wait() => return Ok(false),
        };
        let missing = match checked {
            Ok(findings) => {
                let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                if findings.iter().any(|finding| finding.is_fatal) {
                    return Err(Failure::usage(anyhow!("{}", lines.join("\n"))));
                }
                lines
            }
            Err(error) => vec![format!("{error:#}")],
        };
        if missing.is_empty() {
            status.set_obstacles(Vec::new());
            return Ok(true);
        }
        if said != missing {
            for reason in &missing {
                tracing::warn!(reason, "not ready; if topics are missing, run `weir topics apply`");
            }
            said.clone_from(&missing);
        }
        status.set_obstacles(missing);
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = shutdown.wait() => {}
        }
    }
    Ok(false)
}

/// What is wrong with the topics, or with the time-outs that the brokers allow.
pub(crate) async fn check(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut wanted = config.topics.all();
    wanted.retain(|topic| *topic != Topic::Quarantine);
    // Each makes a client of its own, which takes its time to connect and to close.
    let of_topics = topics::check(&config.kafka, &config.topics, &wanted);
    let of_session = topics::check_session(&config.kafka, &config.processor);
    let (mut findings, of_session) = tokio::try_join!(of_topics, of_session)?;
    findings.extend(of_session);
    Ok(findings)
}

/// Runs every worker on a thread of its own; the worst ending decides.
async fn work(
    config: &Arc<Config>,
    handlers: &Arc<Handlers>,
    status: &Arc<Status>,
    shutdown: &Shutdown,
) -> Result<Exit, Failure> {
    let mut workers = JoinSet::new();
    let stores = RocksStores::new(config.processor.state_dir.clone());
    let calls = Pool::new(Handle::current()).map_err(Failure::internal)?;
    for number in 0..config.processor.workers {
        let parts = WorkerParts {
            number,
            config: Arc::clone(config),
            handlers: Arc::clone(handlers),
            stores: stores.clone(),
            status: Arc::clone(status),
            shutdown: shutdown.clone(),
            calls: calls.clone(),
        };
        let (done, ended) = tokio::sync::oneshot::channel();
        let handle = Handle::current();
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || parts.run_and_tell(&handle, done))
            .context("cannot start a worker's thread")
            .map_err(Failure::internal)?;
        workers.spawn(ended);
    }
    let mut exit = Ok(Exit::Done);
    // One time for all of them together, from the wish to stop on.
    let mut overdue = pin!(async {
        shutdown.wait().await;
        tokio::time::sleep(config.shutdown_timeout).await;
    });
    loop {
        let ended = tokio::select! {
            ended = workers.join_next() => ended,
            () = &mut overdue => {
                tracing::warn!("workers did not stop in time; what they had not committed is done again");
                return exit;
            }
        };
        let Some(ended) = ended else { return exit };
        let failure = match ended {
            Ok(Ok(Ending::Stopped)) => continue,
            Ok(Ok(Ending::Halted)) => {
                exit = exit.and(Err(Failure::internal(anyhow!("every partition of a worker needs a person"))));
                continue;
            }
            Ok(Ok(Ending::Usurped)) => Failure::locked(anyhow!(
                "another process runs as instance {}; give it another name, or wait 30 s before a restart",
                config.processor.instance
            )),
            // The thread is gone without a word: it panicked, and the panic was logged.
            Ok(Err(_)) | Err(_) => Failure::internal(anyhow!("a worker panicked")),
        };
        exit = Err(failure);
        shutdown.trigger();
    }
}

type RealWorker = Worker<KafkaLog, RocksStores, Reporter>;

/// One worker to be.
struct WorkerParts {
    number: u16,
    config: Arc<Config>,
    handlers: Arc<Handlers>,
    stores: RocksStores,
    status: Arc<Status>,
    shutdown: Shutdown,
    calls: Pool,
}

impl WorkerParts {
    /// Runs the worker, closes its clients, and says how it ended. A member whose name was taken says so first:
    /// librdkafka may hang while it closes such a member.
    fn run_and_tell(self, runtime: &Handle, done: tokio::sync::oneshot::Sender<Ending>) {
        let (ending, worker) = self.run(runtime);
        if ending == Ending::Usurped {
            done.send(ending).unwrap_or_default();
            drop(worker);
        } else {
            drop(worker);
            done.send(ending).unwrap_or_default();
        }
    }

    fn run(self, runtime: &Handle) -> (Ending, Option<RealWorker>) {
        let mut reporter = Reporter::new(Arc::clone(&self.status));
        let mut pause = Pause::new(runtime, &self.shutdown);
        let log = loop {
            if self.shutdown.is_triggered() {
                return (Ending::Stopped, None);
            }
            match KafkaLog::connect(clients::clients(&self.config, self.number)) {
                Ok(log) => break log,
                Err(error) => {
                    tracing::warn!(%error, worker = self.number, "cannot connect");
                    pause.after_fault();
                }
            }
        };
        pause.reset();
        let mut worker =
            worker(log, self.stores, reporter.clone(), &self.config, self.handlers, bounds(&self.config), self.number);
        worker.set_caller(Box::new(self.calls.line()));
        let mut asked = Instant::now().checked_sub(MEMBERSHIP).unwrap_or_else(Instant::now);
        let mut since = None;
        loop {
            if asked.elapsed() >= MEMBERSHIP {
                self.status.set_member(self.number, worker.log().is_member());
                asked = Instant::now();
            }
            let began = Instant::now();
            let name = name(worker.current());
            // What fails again and again began when it first did.
            since = since.filter(|(failed, _)| *failed == name).or(Some((name, began)));
            self.status.set_action(self.number, since);
            if let Some(ending) = worker.turn(self.shutdown.is_triggered()) {
                self.status.set_member(self.number, false);
                self.status.set_action(self.number, None);
                return (ending, Some(worker));
            }
            metrics::action(name, began.elapsed().as_secs_f64());
            let faults = worker.observer().faults();
            if faults > reporter.faults() {
                reporter = worker.observer().clone();
                pause.after_fault();
                continue;
            }
            since = None;
            if matches!(worker.current(), Action::Apply(_)) {
                pause.reset();
            }
        }
    }
}

/// How much a worker may take at a time, and hold, as the configuration describes it.
pub fn bounds(config: &Config) -> Bounds {
    Bounds {
        events: config.processor.batch_events,
        bytes: config.processor.batch_bytes,
        wait_ms: u64::try_from(config.processor.commit_interval.as_millis()).unwrap_or(u64::MAX),
        kept: KEPT / usize::from(config.processor.workers.max(1)),
    }
}

/// A worker over its log and stores.
pub fn worker<L: Log, S: Stores, O: Observer>(
    log: L,
    stores: S,
    observer: O,
    config: &Config,
    handlers: Arc<Handlers>,
    bounds: Bounds,
    number: u16,
) -> Worker<L, S, O> {
    let clean_partitions = log.clean_partitions();
    debug_assert!(partition::is_valid_partition_count(clean_partitions));
    let input_topic = config.topics.name(&Topic::Verified);
    let shared = Shared { handlers, input_topic, clean_partitions, suspicion: Suspicion::default() };
    let mut worker = Worker::new(log, stores, observer, shared, bounds, clients::member(config, number));
    worker.watch_letters();
    worker
}

/// The pause after a fault, cut short by the wish to stop.
struct Pause<'a> {
    runtime: &'a Handle,
    shutdown: &'a Shutdown,
    next: Duration,
}

impl<'a> Pause<'a> {
    fn new(runtime: &'a Handle, shutdown: &'a Shutdown) -> Self {
        Self { runtime, shutdown, next: PAUSE }
    }

    fn after_fault(&mut self) {
        let (next, shutdown) = (self.next, self.shutdown);
        // The timer is made inside: a worker's thread has no reactor of its own. Either end of the wait is fine.
        self.runtime.block_on(async { tokio::time::timeout(next, shutdown.wait()).await }).unwrap_or_default();
        self.next = (self.next * 2).min(PAUSE_MAX);
    }

    fn reset(&mut self) {
        self.next = PAUSE;
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Recycle => "recycle",
        Action::Collect { .. } => "collect",
        Action::ReadPositions(_) => "read_positions",
        Action::Fence(_) => "fence",
        Action::Restore(_) => "restore",
        Action::Start(_) => "start",
        Action::Mark(_) => "mark",
        Action::Begin(_) => "begin",
        Action::Produce(_) => "produce",
        Action::SendOffsets(_) => "send_offsets",
        Action::Commit(_) => "commit",
        Action::Apply(_) => "apply",
        Action::Resume(_) => "resume",
        Action::Forget(_) => "forget",
        Action::Exit(_) => "exit",
    }
}
