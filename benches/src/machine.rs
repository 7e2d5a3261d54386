//! Facts that a number means nothing without: machine, versions, the code's commit.

use std::process::Command;

use serde_json::{Value, json};
use weir_tests::place;

/// Machine and versions.
pub fn facts(brokers: &str, is_own_broker: bool) -> Value {
    json!({
        "cpu": cpu_name(),
        "cores": std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        "memory_gib": memory_gib(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "rustc": first_line("rustc", &["--version"]),
        "librdkafka": rdkafka::util::get_rdkafka_version().1,
        "broker": if is_own_broker { format!("Apache Kafka {}, on this machine", kafka_version()) } else { brokers.to_owned() },
        "java": first_line("java", &["-version"]),
        "commit": commit(),
        "load_before": read("/proc/loadavg").trim(),
        "nice": nice(),
    })
}

/// The facts as lines for a person.
pub fn shown(facts: &Value) -> String {
    let line = |name: &str| facts[name].to_string().trim_matches('"').to_owned();
    format!(
        "{} ({} cores, {} GiB), Linux {}; {}; librdkafka {}; {}; commit {}; load before {}; nice {}",
        line("cpu"),
        line("cores"),
        line("memory_gib"),
        line("kernel"),
        line("rustc"),
        line("librdkafka"),
        line("broker"),
        line("commit"),
        line("load_before"),
        line("nice"),
    )
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn cpu_name() -> String {
    let info = read("/proc/cpuinfo");
    let name = info.lines().find(|line| line.starts_with("model name"));
    name.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name).to_owned()
}

fn memory_gib() -> u64 {
    let info = read("/proc/meminfo");
    let kib = info.lines().find(|line| line.starts_with("MemTotal")).and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / (1024 * 1024)
}

/// The version that scripts/kafka pins.
fn kafka_version() -> String {
    let pom = read(&place::script("kafka/pom.xml").display().to_string());
    let version = pom.split_once("<kafka.version>").and_then(|(_, rest)| rest.split_once('<'));
    version.map_or("of unknown version", |(version, _)| version).to_owned()
}

/// Java prints its version on standard error.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}

/// Our priority, which every contestant inherits; 0 unless somebody changed it.
fn nice() -> Option<i64> {
    let stat = read("/proc/self/stat");
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(16)?.parse().ok()
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(place::root()).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with changes"),
        (None, _) => "unknown".to_owned(),
    }
}
