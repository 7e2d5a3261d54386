//! Three brokers as processes that can be stopped, killed, put to sleep and started again.
//!
//! Clients of the system under torture come in through proxies and are only ever told the proxies' ports; the
//! harness itself uses the other listener, which no fault touches. Brokers talk to each other directly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::guard::Guard;
use crate::place;
use crate::ports;
use crate::wait::wait_until;

/// How many there are.
pub const NODES: usize = 3;
/// How long a broker may take to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// The cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Nodes {
    folder: PathBuf,
    /// The bootstrap list that leads past the proxies.
    pub direct: String,
    /// For each node: the port that clients are told, and the port behind it.
    pub proxied: Vec<(u16, u16)>,
    _guard: Guard,
}

impl Nodes {
    /// An empty cluster in this folder.
    pub fn start(folder: &Path) -> Result<Self> {
        let folder_text = folder.display().to_string();
        let guard = Guard::new(&[&place::script("kafka/down").display().to_string(), "--dir", &folder_text])?;
        let outer = (0..NODES).map(|_| ports::free()).collect::<Result<Vec<u16>>>()?;
        let told = outer.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let direct = up(folder, &["--fresh", "--advertise", &told])?;
        let inner = std::fs::read_to_string(folder.join("proxied")).context("cannot read the proxied ports")?;
        let inner = inner.lines().map(|line| line.parse().with_context(|| format!("not a port: {line:?}")));
        let proxied: Vec<(u16, u16)> = outer.into_iter().zip(inner.collect::<Result<Vec<u16>>>()?).collect();
        ensure!(proxied.len() == NODES, "{} ports behind proxies instead of {NODES}", proxied.len());
        Ok(Self { folder: folder.to_owned(), direct, proxied, _guard: guard })
    }

    /// The bootstrap list of the proxies.
    pub fn through_proxies(&self) -> String {
        self.proxied.iter().map(|(outer, _)| format!("127.0.0.1:{outer}")).collect::<Vec<_>>().join(",")
    }

    /// Kills a node with SIGKILL.
    pub async fn kill(&self, node: usize) -> Result<()> {
        self.signal(node, "KILL")?;
        self.gone(node).await
    }

    /// Stops a node in order, or kills it when it does not want to.
    pub async fn stop(&self, node: usize) -> Result<()> {
        self.signal(node, "TERM")?;
        match self.gone(node).await {
            Ok(()) => Ok(()),
            Err(_) => self.kill(node).await,
        }
    }

    /// Sends a signal to a node.
    pub fn signal(&self, node: usize, signal: &str) -> Result<()> {
        let id = self.id(node)?;
        let sent = Command::new("sh").args(["-c", "kill -$0 $1", signal, &id.to_string()]).status();
        ensure!(sent.context("cannot start a shell")?.success(), "cannot send SIG{signal} to node {node}");
        Ok(())
    }

    /// Starts whatever does not run, on its old data, and waits until every node knows all others.
    pub async fn start_again(&self) -> Result<()> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || up(&folder, &[])).await.context("starting brokers panicked")??;
        Ok(())
    }

    /// Removes everything they left. They must not be used afterwards.
    pub fn remove(self) -> Result<()> {
        let folder = self.folder.clone();
        drop(self);
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
    }

    async fn gone(&self, node: usize) -> Result<()> {
        let id = self.id(node)?;
        // A child of nobody's: it is reaped by whoever reaps orphans, and a zombie is gone enough.
        let is_gone = || {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let runs = !status.is_empty() && !status.contains("State:\tZ");
            std::future::ready(if runs { Err(format!("node {node} runs")) } else { Ok(()) })
        };
        wait_until("a broker's end", STOP_WITHIN, is_gone).await
    }

    fn id(&self, node: usize) -> Result<u32> {
        let path = self.folder.join(format!("node-{}/pid", node + 1));
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.trim().parse().with_context(|| format!("no process id in {}", path.display()))
    }
}

fn up(folder: &Path, more: &[&str]) -> Result<String> {
    let mut command = Command::new(place::script("kafka/up"));
    command.arg("--dir").arg(folder).args(["--port", "0", "--nodes", &NODES.to_string()]).args(more);
    let output = command.stdin(Stdio::null()).output().context("cannot run scripts/kafka/up")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "Kafka could not be started: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
