//! Kafka Streams as a contestant: built with Maven when it is first needed, run as a process of its own.
//!
//! What it does stands in `anchors/kstreams`: the same decisions on the same topic, without envelope and headers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::Consumer;
use weir_tests::place;
use weir_tests::process::Process;

use crate::args::Kstreams;
use crate::broker::BenchBroker;
use crate::events::WINDOW_MS;

/// The heap of the JVM: its default would be a quarter of the machine.
const HEAP: &str = "-Xmx1g";
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that was built.
#[derive(Debug, Clone)]
pub struct Anchor {
    folder: PathBuf,
    threads: usize,
}

/// Where it reads, writes and keeps its state.
#[derive(Debug)]
pub struct Run<'a> {
    /// Its broker.
    pub broker: &'a BenchBroker,
    /// Its input.
    pub input: &'a str,
    /// Its output; also its application's name.
    pub output: &'a str,
    /// Its state.
    pub state: &'a Path,
}

impl Run<'_> {
    /// The consumer group, which is also the application's id.
    pub fn group(&self) -> String {
        format!("anchor-{}", self.output)
    }
}

/// Builds the anchor if it shall take part.
pub fn build(wanted: Kstreams, threads: usize) -> Result<Option<Anchor>> {
    let is_there = |program: &str| {
        let version = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    match wanted {
        Kstreams::No => return Ok(None),
        Kstreams::Auto if !is_there("mvn") || !is_there("java") => {
            println!("Kafka Streams does not take part: Maven or Java is missing");
            return Ok(None);
        }
        Kstreams::Auto | Kstreams::Yes => {}
    }
    let folder = place::root().join("benches/anchors/kstreams");
    let mut mvn = Command::new("mvn");
    mvn.args(["-B", "-q", "-Dstyle.color=never", "package", "dependency:copy-dependencies"]);
    mvn.arg("-DoutputDirectory=target/libs").current_dir(&folder).stdin(Stdio::null());
    ensure!(mvn.status().context("cannot run mvn")?.success(), "the anchor could not be built");
    Ok(Some(Anchor { folder, threads }))
}

impl Anchor {
    /// Starts it. `expected` = how many records it processes before it ends; 0: it brings its state up and ends.
    pub fn start(&self, run: &Run<'_>, expected: u64, log: &Path) -> Result<Process> {
        let mut java = Command::new("java");
        java.arg(HEAP).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        java.arg("-cp").arg(format!("{0}/classes:{0}/libs/*", self.folder.join("target").display()));
        java.args(["anchor.Dedup", run.broker.brokers(), run.input, run.output, &expected.to_string()]);
        java.arg(run.state).args([&self.threads.to_string(), &WINDOW_MS.to_string(), "100"]);
        Process::start("kstreams", java, log)
    }

    /// Brings the state up and says how long that took since the process was started, s, and how many records
    /// of the changelogs were read. While the group still has its old member, that includes waiting for its end.
    pub async fn restore(&self, run: &Run<'_>, log: &Path) -> Result<(f64, u64)> {
        // A new file, so that the line is this run's.
        if log.exists() {
            std::fs::remove_file(log).context("cannot remove a log")?;
        }
        let began = Instant::now();
        let mut process = self.start(run, 0, log)?;
        let restored = loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            if let Some(restored) = restored(&text) {
                break restored;
            }
            let late = began.elapsed() > PATIENCE || process.ended()?.is_some();
            ensure!(!late, "the state did not come up:\n{}", process.last_words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let seconds = began.elapsed().as_secs_f64();
        let status = process.wait(PATIENCE).await?;
        ensure!(status.success(), "kstreams failed:\n{}", process.last_words());
        Ok((seconds, restored))
    }
}

fn restored(log: &str) -> Option<u64> {
    let line = log.lines().find(|line| line.starts_with("kstreams restored="))?;
    line.split(['=', ' ']).nth(2)?.parse().ok()
}

/// A member of Kafka Streams does not leave its group when it closes; the next one waits until it is given up.
pub async fn await_empty_group(run: &Run<'_>) -> Result<()> {
    let consumer = run.broker.cluster.consumer("weir-bench-groups")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let group = run.group();
        let list = consumer.fetch_group_list(Some(&group), PATIENCE).context("cannot ask for a group")?;
        if list.groups().iter().all(|group| group.members().is_empty()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{group} has members for {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_anchor_is_understood() {
        assert_eq!(restored("warn\nkstreams restored=42 seconds=1.250\n"), Some(42));
        assert_eq!(restored("warn\n"), None);
    }
}
