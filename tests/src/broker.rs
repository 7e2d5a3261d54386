//! Kafka for a run: the one in `KAFKA_BROKERS`, or our own from `scripts/kafka`.
//!
//! A test binary shares one broker among all its tests; it is stopped when the binary ends, however it ends.
//! Tests that stop Kafka have one of their own, because others' must never be touched.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::guard::Guard;
use crate::place;

/// A broker of this process. Dropping it stops it.
#[derive(Debug)]
pub struct Broker {
    brokers: String,
    folder: PathBuf,
    _guard: Guard,
}

impl Broker {
    /// An empty broker of that name on a free port, data under `target/kafka/test-<name>`.
    pub fn start(name: &str) -> Result<Self> {
        Self::start_with(name, &["--fresh"])
    }

    /// The same with a second listener, whose clients are told the port of a proxy. Also the port where that proxy
    /// finds it.
    pub fn start_behind(name: &str, proxy: u16) -> Result<(Self, u16)> {
        let broker = Self::start_with(name, &["--fresh", "--advertise", &proxy.to_string()])?;
        let inner = std::fs::read_to_string(broker.folder.join("proxied")).context("cannot read the proxied port")?;
        let inner = inner.trim().parse().with_context(|| format!("not a port: {inner:?}"))?;
        Ok((broker, inner))
    }

    fn start_with(name: &str, more: &[&str]) -> Result<Self> {
        let folder = place::root().join("target/kafka").join(format!("test-{name}"));
        let guard = Guard::new(&[&down().display().to_string(), "--dir", &folder.display().to_string()])?;
        let brokers = up(&folder, "0", more)?;
        Ok(Self { brokers, folder, _guard: guard })
    }

    /// `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Stops it; its data stays.
    pub fn stop(&self) -> Result<()> {
        let status = Command::new(down()).arg("--dir").arg(&self.folder).stderr(Stdio::null()).status();
        ensure!(status.context("cannot run scripts/kafka/down")?.success(), "the broker could not be stopped");
        Ok(())
    }

    /// Starts it again, on the same port and data.
    pub fn start_again(&self) -> Result<()> {
        let port = self.brokers.rsplit(':').next().unwrap_or_default();
        up(&self.folder, port, &[])?;
        Ok(())
    }
}

/// The bootstrap list in `KAFKA_BROKERS`, if somebody gave one.
pub fn given() -> Option<String> {
    std::env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.trim().is_empty())
}

/// The bootstrap list that all tests of this binary share. The first caller starts the broker, the others wait.
pub fn shared() -> &'static str {
    static SHARED: OnceLock<(String, Option<Broker>)> = OnceLock::new();
    let (brokers, _) = SHARED.get_or_init(|| match given() {
        Some(brokers) => (brokers, None),
        None => {
            let broker = Broker::start(&binary_name()).expect("a broker can be started");
            (broker.brokers().to_owned(), Some(broker))
        }
    });
    brokers
}

/// A topic prefix that no other test and no earlier run has.
pub fn prefix(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let salt: u32 = rand::random();
    format!("{test}-{salt:08x}-{}-", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The demo's own broker: where everybody expects it, empty, and left running.
pub fn demo() -> Result<String> {
    let mut command = Command::new(place::script("kafka/up"));
    command.arg("--fresh");
    run_up(command)
}

fn up(folder: &Path, port: &str, more: &[&str]) -> Result<String> {
    let mut command = Command::new(place::script("kafka/up"));
    command.arg("--dir").arg(folder).args(["--port", port, "--nodes", "1"]).args(more);
    run_up(command)
}

/// Standard error is the script's, so that a person sees what it does and why it fails.
fn run_up(mut command: Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run scripts/kafka/up")?;
    ensure!(output.status.success(), "Kafka could not be started; the lines above say why");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn down() -> PathBuf {
    place::script("kafka/down")
}

/// `e2e` of `…/deps/e2e-0123456789abcdef`.
fn binary_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match stem.rsplit_once('-') {
        Some((name, _hash)) => name.to_owned(),
        None => stem,
    }
}
