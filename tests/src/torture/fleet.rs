//! The processes of Weir under torture, each with somebody who starts it again when it ends by itself, as any
//! machine would have.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{Mutex, MutexGuard};

use crate::pipeline::{Pipeline, READY_WITHIN, STOP_WITHIN};
use crate::ports;
use crate::process::{Process, shown};
use crate::scrape::{self, Metrics};
use crate::torture::burden::Burden;
use crate::torture::clock::Clock;
use crate::torture::journal::Journal;
use crate::wait::wait_until;

/// How long between two looks at who ended.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long whoever ended by itself stays down.
const STAYS_DOWN: Duration = Duration::from_secs(1);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ingest,
    Processor {
        /// `[processor] workers`.
        workers: u16,
    },
}

/// A process of that name, running or not.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What it prints.
    pub log: PathBuf,
    /// Where a processor keeps its state.
    pub state: PathBuf,
    /// Where an ingest takes requests.
    pub listen: SocketAddr,
    /// What a processor takes for the time.
    pub clock: Clock,
    admin: SocketAddr,
    pipeline: Arc<Pipeline>,
    journal: Journal,
    running: Mutex<Running>,
}

/// Whether it runs, and whether it should.
#[derive(Debug, Default)]
struct Running {
    process: Option<Process>,
    /// Ends by itself, one line each.
    ends: Vec<String>,
}

impl Member {
    /// A processor or an ingest of that name. It does not run yet.
    pub fn new(pipeline: &Arc<Pipeline>, role: Role, name: &str, journal: &Journal) -> Result<Self> {
        let address = || Ok::<_, anyhow::Error>(SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)));
        Ok(Self {
            name: name.to_owned(),
            role,
            log: pipeline.folder().join(format!("{name}.log")),
            state: pipeline.state_dir(name),
            listen: address()?,
            clock: Clock::new(pipeline.folder(), name)?,
            admin: address()?,
            pipeline: Arc::clone(pipeline),
            journal: journal.clone(),
            running: Mutex::default(),
        })
    }

    /// What it is, for the journal.
    pub fn kind(&self) -> &'static str {
        match self.role {
            Role::Ingest => "ingest",
            Role::Processor { .. } => "processor",
        }
    }

    /// How many do its work.
    pub fn workers(&self) -> u16 {
        match self.role {
            Role::Processor { workers } => workers,
            Role::Ingest => 1,
        }
    }

    /// Starts it.
    pub async fn start(&self) -> Result<()> {
        self.running.lock().await.process = Some(self.spawn()?);
        Ok(())
    }

    /// Kills it with SIGKILL. It stays down.
    pub async fn kill(&self) -> Result<()> {
        let Some(mut process) = self.take().await else { return Ok(()) };
        // Whoever ended by itself in this moment is dead as well.
        if process.ended()?.is_none() { process.kill() } else { Ok(()) }
    }

    /// Asks it to stop with SIGTERM and waits for exit code 0. It stays down.
    pub async fn stop(&self) -> Result<()> {
        let Some(mut process) = self.take().await else { return Ok(()) };
        match process.ended()? {
            None => {
                if let Err(error) = process.stop(STOP_WITHIN).await {
                    self.journal.violation(&format!("{} did not stop in order: {error:#}", self.name));
                }
                Ok(())
            }
            Some(status) => {
                let mut running = self.running.lock().await;
                self.write_down(&mut running, &format!("{} {}", shown(status), process.last_words()));
                Ok(())
            }
        }
    }

    /// Sends a signal, unless it does not run.
    pub async fn signal(&self, signal: &str) -> Result<()> {
        let mut running = self.running.lock().await;
        let Some(process) = &mut running.process else { return Ok(()) };
        if process.ended()?.is_none() { process.signal(signal) } else { Ok(()) }
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        wait_until(&format!("{} ready", self.name), READY_WITHIN, || scrape::readiness(self.admin)).await
    }

    /// What it takes of the machine; nothing while it does not run.
    pub async fn burden(&self) -> Result<Option<Burden>> {
        let running = self.running.lock().await;
        running.process.as_ref().map(|process| Burden::of(process.id())).transpose()
    }

    /// Whether it says that it is ready; if not, why.
    pub async fn readiness(&self) -> Result<(), String> {
        scrape::readiness(self.admin).await
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Result<Metrics> {
        scrape::metrics(self.admin).await
    }

    /// How often it ended by itself, and how.
    pub async fn ends(&self) -> Vec<String> {
        self.running.lock().await.ends.clone()
    }

    /// Starts it again whenever it ends by itself. Never returns.
    pub async fn supervise(&self) -> Result<()> {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let mut running = self.running.lock().await;
            let Some(process) = &mut running.process else { continue };
            let Some(status) = process.ended()? else { continue };
            let how = format!("{} {}", shown(status), process.last_words());
            self.write_down(&mut running, &how);
            // Nobody else may start it meanwhile.
            tokio::time::sleep(STAYS_DOWN).await;
            running.process = Some(self.spawn()?);
        }
    }

    fn write_down(&self, running: &mut MutexGuard<'_, Running>, how: &str) {
        let line = how.lines().next().unwrap_or_default();
        self.journal.recovery("started again after an end by itself", &format!("{}: {how}", self.name));
        running.ends.push(format!("{} {line}", self.name));
    }

    async fn take(&self) -> Option<Process> {
        self.running.lock().await.process.take()
    }

    fn spawn(&self) -> Result<Process> {
        let command = match self.role {
            Role::Ingest => self.ingest()?,
            Role::Processor { workers } => {
                let mut command = self.pipeline.processor_command(&self.name, self.admin)?;
                command.env("WEIR__PROCESSOR__WORKERS", workers.to_string());
                self.clock.give(&mut command);
                command
            }
        };
        Process::start(&self.name, command, &self.log).with_context(|| format!("cannot start {}", self.name))
    }

    fn ingest(&self) -> Result<Command> {
        let mut command = self.pipeline.command("weir-ingest")?;
        command.env("WEIR__INGEST__LISTEN", self.listen.to_string());
        command.env("WEIR__INGEST__ADMIN_LISTEN", self.admin.to_string());
        Ok(command)
    }
}
