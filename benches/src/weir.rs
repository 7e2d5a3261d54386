//! Weir's own processes as contestants: their configuration, start and readiness.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_tests::process::Process;
use weir_tests::scrape::{self, Metrics};
use weir_tests::wait::wait_until;
use weir_tests::{place, ports};

use crate::args::Settings;
use crate::bodies;
use crate::broker::BenchBroker;
use crate::failing::FAILING;

/// How long a process may take until it is ready.
pub const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a process may take to drain.
pub const STOP_WITHIN: Duration = Duration::from_secs(35);

/// An installation of Weir on a broker.
#[derive(Debug, Clone)]
pub struct Weir {
    folder: PathBuf,
    /// Where the door listens.
    pub door: SocketAddr,
    group: String,
    prefix: String,
    log: String,
}

/// A running process of Weir.
#[derive(Debug)]
pub struct Service {
    /// The process.
    pub process: Process,
    /// Its admin pages.
    pub admin: SocketAddr,
    /// When it was started.
    pub started: Instant,
}

impl Weir {
    /// Writes the configuration of a group that never ran before.
    pub fn new(broker: &BenchBroker, settings: &Settings, group: &str) -> Result<Self> {
        let folder = place::target("bench")?.join("weir");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let door = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let toml = toml(broker, settings, group, door)?;
        fs::write(folder.join("weir.toml"), toml).context("cannot write weir.toml")?;
        let (group, prefix, log) = (group.to_owned(), broker.prefix.clone(), settings.log.clone());
        Ok(Self { folder, door, group, prefix, log })
    }

    /// Adds to the configuration.
    pub fn configure(&self, toml: &str) -> Result<()> {
        let path = self.folder.join("weir.toml");
        let text = fs::read_to_string(&path).context("cannot read weir.toml")?;
        fs::write(&path, format!("{text}\n{toml}")).context("cannot write weir.toml")
    }

    /// The consumer group as the broker knows it.
    pub fn group(&self) -> String {
        format!("{}{}", self.prefix, self.group)
    }

    /// The state of an instance.
    pub fn state(&self, instance: &str) -> PathBuf {
        self.folder.join(format!("state-{instance}"))
    }

    /// Starts a processor of that name.
    pub fn processor(&self, instance: &str) -> Result<Service> {
        let (command, admin) = self.processor_command("weir-processor", instance)?;
        self.start("weir-processor", command, admin)
    }

    fn processor_command(&self, program: &str, instance: &str) -> Result<(Command, SocketAddr)> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut command = self.command(program)?;
        command.env("WEIR__PROCESSOR__INSTANCE", instance);
        command.env("WEIR__PROCESSOR__STATE_DIR", self.state(instance));
        command.env("WEIR__PROCESSOR__ADMIN_LISTEN", admin.to_string());
        Ok((command, admin))
    }

    /// Starts a processor of that name with the state of another one.
    pub fn processor_with(&self, instance: &str, state: &Path) -> Result<Service> {
        let (mut command, admin) = self.processor_command("weir-processor", instance)?;
        command.env("WEIR__PROCESSOR__STATE_DIR", state);
        self.start("weir-processor", command, admin)
    }

    /// Starts a processor of that name whose handler fails events by their source.
    pub fn failing_processor(&self, instance: &str) -> Result<Service> {
        let (mut command, admin) = self.processor_command("weir-bench", instance)?;
        command.env(FAILING, "1");
        self.start("weir-processor", command, admin)
    }

    /// Starts the ingest.
    pub fn ingest(&self) -> Result<Service> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut command = self.command("weir-ingest")?;
        command.env("WEIR__INGEST__ADMIN_LISTEN", admin.to_string());
        self.start("weir-ingest", command, admin)
    }

    /// A program of ours with this configuration, and none of the caller's own settings.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(place::program(program)?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WEIR_") {
                command.env_remove(name);
            }
        }
        command.env("WEIR_CONFIG", self.folder.join("weir.toml")).env("WEIR_LOG_FORMAT", "text");
        command.env("WEIR_LOG", &self.log);
        command.current_dir(place::root());
        Ok(command)
    }

    fn start(&self, name: &str, command: Command, admin: SocketAddr) -> Result<Service> {
        let started = Instant::now();
        let process = Process::start(name, command, &self.folder.join(format!("{name}.log")))?;
        Ok(Service { process, admin, started })
    }
}

impl Service {
    /// Waits until it says that it is ready; returns how long it took since it was started, s.
    pub async fn ready(&mut self) -> Result<f64> {
        let admin = self.admin;
        wait_until("readiness", READY_WITHIN, || scrape::readiness(admin))
            .await
            .with_context(|| format!("{}:\n{}", self.process.name(), self.process.last_words()))?;
        Ok(self.started.elapsed().as_secs_f64())
    }

    /// Waits until it runs that many partitions; returns how long it took since it was started, s.
    pub async fn runs(&mut self, partitions: i32) -> Result<f64> {
        let admin = self.admin;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let running = scrape::metrics(admin).await.map(|page| running(&page)).unwrap_or_default();
            if running == partitions as u64 {
                return Ok(self.started.elapsed().as_secs_f64());
            }
            let late = Instant::now() >= deadline || self.process.ended()?.is_some();
            ensure!(!late, "{running} partitions run:\n{}", self.process.last_words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn running(page: &Metrics) -> u64 {
    page.sum("weir_processor_partitions", &[("stage", "running")])
}

/// What the processor's books must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Books {
    /// Events in `clean-events`.
    pub clean: u64,
    /// Copies.
    pub duplicate: u64,
}

/// Fails unless the processor's own books say what was put in. They are shown a moment after the commit.
pub async fn check_books(service: &Service, books: Books) -> Result<()> {
    let admin = service.admin;
    wait_until("the books", Duration::from_secs(10), || async move {
        let page = scrape::metrics(admin).await.map_err(|error| format!("{error:#}"))?;
        let outcome = |name| page.sum("weir_processor_events_total", &[("outcome", name)]);
        let found = Books { clean: outcome("clean"), duplicate: outcome("duplicate") };
        if found == books { Ok(()) } else { Err(format!("they say {found:?} instead of {books:?}")) }
    })
    .await
}

/// Deletes a state directory.
pub fn delete_state(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))
}

fn toml(broker: &BenchBroker, settings: &Settings, group: &str, door: SocketAddr) -> Result<String> {
    let mut client = String::new();
    for property in &settings.client {
        let (name, value) = property.split_once('=').with_context(|| format!("--client {property} has no ="))?;
        client.push_str(&format!("{name:?} = {value:?}\n"));
    }
    Ok(format!(
        "# Written by weir-bench.\n\
         [kafka]\nbrokers = {:?}\n\n[kafka.client]\n{client}\n\
         [topics]\nprefix = {:?}\npartitions = {}\n\n\
         [ingest]\nlisten = \"{door}\"\n\n\
         [processor]\ngroup = {group:?}\nworkers = 1\ncommit_interval = \"100ms\"\n\
         recycle = {:?}\n\n\
         [[source]]\nname = \"github\"\nprovider = \"github\"\nsecrets = [{{ value = {:?} }}]\ndedup_window = \"4d\"\n",
        broker.brokers(),
        broker.prefix,
        settings.partitions,
        settings.recycle.first().context("--recycle has no value")?,
        bodies::SECRET,
    ))
}
