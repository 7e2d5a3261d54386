//! A whole Weir for a run: configuration, topics, an ingest and any number of processors, as real processes.
//!
//! Everything it touches has its prefix or lies in its folder, so that many can run side by side. Dropping it
//! kills its processes; only `retire` removes its topics.

mod setup;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::broker;
use crate::cluster::Cluster;
use crate::logs;
use crate::place;
use crate::ports;
use crate::process::{Process, shown};
use crate::scrape::{self, Metrics};
use crate::secrets::Secrets;
use crate::wait::wait_until;

pub use setup::Setup;

/// How long a process may take until it is ready.
pub const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a process may take to drain.
pub const STOP_WITHIN: Duration = Duration::from_secs(35);

/// A running Weir.
#[derive(Debug)]
pub struct Pipeline {
    /// What it is like.
    pub setup: Setup,
    /// What its providers sign with.
    pub secrets: Secrets,
    /// The cluster it uses.
    pub cluster: Cluster,
    ingest: Option<Service>,
    processors: Vec<Service>,
    logs: Vec<PathBuf>,
}

/// One process and where its admin pages are.
#[derive(Debug)]
struct Service {
    name: String,
    admin: SocketAddr,
    process: Process,
}

impl Pipeline {
    /// Writes the configuration and creates the topics. Nothing runs yet.
    pub async fn prepare(setup: Setup) -> Result<Self> {
        let pipeline = Self::configure(setup)?;
        pipeline.create_topics().await?;
        Ok(pipeline)
    }

    /// Writes the configuration. There are no topics yet.
    pub fn configure(setup: Setup) -> Result<Self> {
        if setup.folder.exists() {
            fs::remove_dir_all(&setup.folder).with_context(|| format!("cannot empty {}", setup.folder.display()))?;
        }
        let secrets = Secrets::new(setup.seed);
        secrets.write(&setup.folder.join("secrets"))?;
        fs::write(setup.folder.join("weir.toml"), setup.toml()).context("cannot write weir.toml")?;
        let cluster = Cluster::new(&setup.brokers);
        Ok(Self { setup, secrets, cluster, ingest: None, processors: Vec::new(), logs: Vec::new() })
    }

    /// A prepared pipeline with an ingest and these processors, all ready.
    pub async fn start(setup: Setup, processors: &[&str]) -> Result<Self> {
        let mut pipeline = Self::prepare(setup).await?;
        pipeline.start_ingest()?;
        for instance in processors {
            pipeline.start_processor(instance)?;
        }
        pipeline.ready().await?;
        Ok(pipeline)
    }

    /// `weir topics apply`.
    pub async fn create_topics(&self) -> Result<()> {
        let mut command = self.command("weir")?;
        command.args(["topics", "apply", "--yes"]);
        let log = self.setup.folder.join("topics.log");
        let mut apply = Process::start("weir topics apply", command, &log)?;
        let status = apply.wait(READY_WITHIN).await?;
        ensure!(status.success(), "weir topics apply: {}\n{}", shown(status), apply.last_words());
        Ok(())
    }

    /// The address of the door.
    pub fn door(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.setup.ingest_port).into()
    }

    /// The path of the configuration.
    pub fn config(&self) -> PathBuf {
        self.setup.folder.join("weir.toml")
    }

    /// The full name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.setup.prefix)
    }

    /// The consumer group.
    pub fn group(&self) -> String {
        format!("{}weir", self.setup.prefix)
    }

    /// A program of ours with this configuration, and none of the caller's own settings.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(place::program(program)?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WEIR_") {
                command.env_remove(name);
            }
        }
        command.env("WEIR_CONFIG", self.config()).env("WEIR_LOG_FORMAT", "json");
        command.envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(place::root());
        Ok(command)
    }

    /// Starts the ingest.
    pub fn start_ingest(&mut self) -> Result<()> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut command = self.command("weir-ingest")?;
        command.env("WEIR__INGEST__ADMIN_LISTEN", admin.to_string());
        self.ingest = Some(self.service("weir-ingest", "ingest", command, admin)?);
        Ok(())
    }

    /// Starts a processor of that instance name.
    pub fn start_processor(&mut self, instance: &str) -> Result<()> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let command = self.processor_command(instance, admin)?;
        let service =
            self.service(&format!("weir-processor {instance}"), &format!("processor-{instance}"), command, admin)?;
        self.processors.push(service);
        Ok(())
    }

    /// How a processor of that instance name is started.
    pub fn processor_command(&self, instance: &str, admin: SocketAddr) -> Result<Command> {
        let mut command = self.command(self.setup.processor)?;
        command.env("WEIR__PROCESSOR__INSTANCE", instance);
        command.env("WEIR__PROCESSOR__STATE_DIR", self.state_dir(instance));
        command.env("WEIR__PROCESSOR__ADMIN_LISTEN", admin.to_string());
        Ok(command)
    }

    /// Where that processor keeps its state.
    pub fn state_dir(&self, instance: &str) -> PathBuf {
        self.setup.folder.join(format!("state-{instance}"))
    }

    fn service(&mut self, name: &str, log: &str, command: Command, admin: SocketAddr) -> Result<Service> {
        let log = self.setup.folder.join(format!("{log}.log"));
        let process = Process::start(name, command, &log)?;
        if !self.logs.contains(&log) {
            self.logs.push(log);
        }
        Ok(Service { name: name.to_owned(), admin, process })
    }

    /// Waits until every process is ready.
    pub async fn ready(&mut self) -> Result<()> {
        for service in self.ingest.iter_mut().chain(&mut self.processors) {
            service.ready().await?;
        }
        Ok(())
    }

    /// Kills a processor with SIGKILL.
    pub fn kill_processor(&mut self, instance: &str) -> Result<()> {
        self.take_processor(instance)?.process.kill()
    }

    /// Stops a processor with SIGTERM; it must end with exit code 0.
    pub async fn stop_processor(&mut self, instance: &str) -> Result<()> {
        self.take_processor(instance)?.process.stop(STOP_WITHIN).await
    }

    fn take_processor(&mut self, instance: &str) -> Result<Service> {
        let name = format!("weir-processor {instance}");
        let found = self.processors.iter().position(|service| service.name == name);
        Ok(self.processors.remove(found.with_context(|| format!("no {name} runs"))?))
    }

    /// Kills the ingest with SIGKILL.
    pub fn kill_ingest(&mut self) -> Result<()> {
        self.ingest.take().context("no ingest runs")?.process.kill()
    }

    /// Stops the ingest with SIGTERM; it must end with exit code 0.
    pub async fn stop_ingest(&mut self) -> Result<()> {
        self.ingest.take().context("no ingest runs")?.process.stop(STOP_WITHIN).await
    }

    /// The ingest's process, for signals.
    pub fn ingest(&mut self) -> Result<&mut Process> {
        Ok(&mut self.ingest.as_mut().context("no ingest runs")?.process)
    }

    /// A processor's process, for signals.
    pub fn processor(&mut self, instance: &str) -> Result<&mut Process> {
        let name = format!("weir-processor {instance}");
        let found = self.processors.iter_mut().find(|service| service.name == name);
        Ok(&mut found.with_context(|| format!("no {name} runs"))?.process)
    }

    /// Where the ingest's admin pages are.
    pub fn ingest_admin(&self) -> Result<SocketAddr> {
        Ok(self.ingest.as_ref().context("no ingest runs")?.admin)
    }

    /// Where the admin pages of each processor are.
    pub fn processor_admins(&self) -> Vec<SocketAddr> {
        self.processors.iter().map(|service| service.admin).collect()
    }

    /// Fails if a process ended that should run.
    pub fn check_alive(&mut self) -> Result<()> {
        for service in self.ingest.iter_mut().chain(&mut self.processors) {
            service.check_alive()?;
        }
        Ok(())
    }

    /// Waits until the group has committed everything there is of `verified-events`. `progress` gets the number
    /// of records that are left.
    pub async fn rest(&mut self, within: Duration, mut progress: impl FnMut(u64)) -> Result<()> {
        let (cluster, group, topic) = (self.cluster.clone(), self.group(), self.topic("verified-events"));
        let waited = wait_until("rest", within, || {
            let lag = tokio::task::block_in_place(|| cluster.lag(&group, &topic));
            if let Ok(lag) = lag {
                progress(lag);
            }
            std::future::ready(match lag {
                // Who ended will not come to rest any more.
                _ if self.check_alive().is_err() => Ok(()),
                Ok(0) => Ok(()),
                Ok(lag) => Err(format!("{lag} records are not committed")),
                Err(error) => Err(format!("{error:#}")),
            })
        });
        let waited = waited.await;
        self.check_alive()?;
        waited
    }

    /// The ingest's metrics.
    pub async fn ingest_metrics(&self) -> Result<Metrics> {
        scrape::metrics(self.ingest_admin()?).await
    }

    /// The metrics of all processors together.
    pub async fn processor_metrics(&self) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        for service in &self.processors {
            metrics = metrics.and(scrape::metrics(service.admin).await?);
        }
        Ok(metrics)
    }

    /// Lines at ERROR in the logs of all processes that ever ran.
    pub fn log_errors(&self) -> Result<Vec<String>> {
        let errors = self.logs.iter().map(|log| logs::errors(log));
        Ok(errors.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Stops everything in order; each process must end with exit code 0.
    pub async fn stop(&mut self) -> Result<()> {
        if self.ingest.is_some() {
            self.stop_ingest().await?;
        }
        while let Some(service) = self.processors.pop() {
            service.process.stop(STOP_WITHIN).await?;
        }
        Ok(())
    }

    /// Stops everything and removes its topics, where the broker outlives us.
    pub async fn retire(mut self) -> Result<()> {
        self.stop().await?;
        if broker::given().is_some() {
            self.cluster.delete(&self.setup.prefix, &self.group()).await?;
        }
        Ok(())
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        &self.setup.folder
    }
}

impl Service {
    fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.process.ended()? {
            anyhow::bail!("{} ended: {}\n{}", self.name, shown(status), self.process.last_words());
        }
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        let (what, admin) = (format!("{} ready", self.name), self.admin);
        let waited = wait_until(&what, READY_WITHIN, || {
            let has_ended = !matches!(self.process.ended(), Ok(None));
            async move { if has_ended { Ok(()) } else { scrape::readiness(admin).await } }
        });
        let waited = waited.await;
        self.check_alive()?;
        waited.with_context(|| self.process.last_words())
    }
}
