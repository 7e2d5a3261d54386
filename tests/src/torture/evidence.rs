//! The evidence: one line for each run, and the page that is made of all lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::place;
use crate::screen::number;

/// One run. Fields may be added; none may change its meaning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Of the source; with a `+` when what is under torture was changed since.
    pub commit: String,
    /// When it ended, in UTC.
    pub date: String,
    /// What it follows from.
    pub seed: u64,
    /// How long faults were done.
    pub minutes: f64,
    /// Different events.
    pub events: u64,
    /// Requests that were answered for good: events, their copies, forgeries.
    pub sent: u64,
    /// Requests that had to be made again because of a fault.
    pub again: u64,
    /// Records in the outputs: clean, stale, dead.
    pub outputs: [u64; 3],
    /// Duplicates that were counted.
    pub duplicates: u64,
    /// Events of which more copies came into `verified-events` than their providers can have sent.
    pub extra_copies: u64,
    /// Failures of handlers after which an event was tried again.
    #[serde(default)]
    pub retries: u64,
    /// Commands of people about dead letters.
    #[serde(default)]
    pub commands: u64,
    /// Calls that a handler made of another service, and that reached it.
    #[serde(default)]
    pub calls: u64,
    /// `[processor] recycle`; empty in lines from before it existed, when it was `after_trouble`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recycle: String,
    /// The most that any process took when all was over: memory in MiB, threads, descriptors; zeros in lines from before
    /// it was looked at.
    #[serde(default)]
    pub burden: [u64; 3],
    /// Where the full disk was: `tmpfs`, or `not run`.
    pub disk: String,
    /// How often each kind of fault was done.
    pub faults: BTreeMap<String, u64>,
    /// How often each kind of recovery was seen in the logs.
    pub recoveries: BTreeMap<String, u64>,
    /// Seconds from the last fault's end until everything was committed.
    pub rest_s: f64,
    /// Controls that were found out.
    pub controls: Vec<String>,
    /// Everything that was not as it must be.
    pub violations: Vec<String>,
}

const LINES: &str = "docs/evidence.jsonl";
const PAGE: &str = "docs/evidence.md";

/// The source as it was built, as well as the repository tells.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(place::root()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=10", "HEAD"]).filter(|head| !head.is_empty());
    let under_torture = ["schemas", "runtime", "ingest", "processor", "cli"];
    let changed = git(&[&["status", "--porcelain", "--"][..], &under_torture[..]].concat());
    let mark = if changed.is_some_and(|changed| !changed.is_empty()) { "+" } else { "" };
    head.map_or_else(|| "unknown".to_owned(), |head| format!("{head}{mark}"))
}

/// Adds a run and makes the page anew.
pub fn add(run: &Run) -> Result<()> {
    let path = place::root().join(LINES);
    let mut file =
        OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("cannot open {LINES}"))?;
    writeln!(file, "{}", serde_json::to_string(run)?).with_context(|| format!("cannot write {LINES}"))?;
    write_page()
}

/// Makes the page anew from the lines.
pub fn write_page() -> Result<()> {
    fs::write(place::root().join(PAGE), page()?).with_context(|| format!("cannot write {PAGE}"))
}

/// The page as it follows from the lines.
pub fn page() -> Result<String> {
    let text = fs::read_to_string(place::root().join(LINES)).unwrap_or_default();
    let runs = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("{LINES}: {line}")));
    let runs = runs.collect::<Result<Vec<Run>>>()?;
    Ok(format!("{ABOUT}{}{}{}{}{RIVALS}", summary(&runs), builds(&runs), faults(&runs), table(&runs)))
}

fn summary(runs: &[Run]) -> String {
    let minutes: f64 = runs.iter().fold(0.0, |sum, run| sum + run.minutes);
    let sum = |of: &dyn Fn(&Run) -> u64| number(runs.iter().map(of).sum());
    format!(
        "\n## Sum\n\n{} runs, {minutes:.0} minutes of faults, {} events in {} requests, {} faults, {} violations.\n",
        runs.len(),
        sum(&|run| run.events),
        sum(&|run| run.sent),
        sum(&|run| run.faults.values().sum()),
        sum(&|run| run.violations.len() as u64),
    )
}

fn builds(runs: &[Run]) -> String {
    let mut out = "\n## Sum by build\n\n| Commit | Seeds | Minutes | Events | Faults | Violations |\n\
                   |---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for of_build in runs.chunk_by(|one, next| one.commit == next.commit) {
        let sum = |of: &dyn Fn(&Run) -> u64| number(of_build.iter().map(of).sum());
        writeln!(
            out,
            "| `{}` | {} | {:.0} | {} | {} | {} |",
            of_build[0].commit,
            of_build.iter().map(|run| run.seed).collect::<BTreeSet<_>>().len(),
            of_build.iter().fold(0.0, |minutes, run| minutes + run.minutes),
            sum(&|run| run.events),
            sum(&|run| run.faults.values().sum()),
            sum(&|run| run.violations.len() as u64),
        )
        .expect("a string takes any text");
    }
    out
}

fn faults(runs: &[Run]) -> String {
    let mut all: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (kind, count) in runs.iter().flat_map(|run| &run.faults) {
        let entry = all.entry(kind).or_default();
        *entry = (entry.0 + count, entry.1 + 1);
    }
    let mut out = "\n## Faults by kind\n\n| Fault | Times | Runs |\n|---|---:|---:|\n".to_owned();
    for (kind, (times, runs)) in all {
        writeln!(out, "| {kind} | {} | {runs} |", number(times)).expect("a string takes any text");
    }
    out
}

fn table(runs: &[Run]) -> String {
    let mut out =
        "\n## Runs\n\n| Date | Commit | Seed | Minutes | Events | Requests | Made again | Clean | Stale | Dead | \
                   Duplicates | Retries | Calls | Commands | Faults | Takeovers | Rest, s | Violations |\n\
                   |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for run in runs {
        let [clean, stale, dead] = run.outputs.map(number);
        writeln!(
            out,
            "| {} | `{}` | {} | {} | {} | {} | {} | {clean} | {stale} | {dead} | {} | {} | {} | {} | {} | {} | {:.0} | {} |",
            run.date,
            run.commit,
            run.seed,
            run.minutes,
            number(run.events),
            number(run.sent),
            number(run.again),
            number(run.duplicates),
            number(run.retries),
            number(run.calls),
            number(run.commands),
            number(run.faults.values().sum()),
            number(run.recoveries.get("partition taken over").copied().unwrap_or_default()),
            run.rest_s,
            run.violations.len(),
        )
        .expect("a string takes any text");
    }
    out
}

const ABOUT: &str = include_str!("evidence.md");
const RIVALS: &str = include_str!("rivals.md");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_the_one_that_follows_from_the_lines() {
        let written = fs::read_to_string(place::root().join(PAGE)).expect("docs/evidence.md is readable");
        assert!(written == page().expect("readable lines"), "make it anew: weir-torture evidence");
    }
}
