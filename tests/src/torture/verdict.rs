//! The verdict: everything that was planned and answered against everything that three readers saw.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::check::{self, Case, Fates, Finding, Trouble};
use crate::cluster::Cluster;
use crate::deeds::Deeds;
use crate::ledger::Ledger;
use crate::logs;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::reader;
use crate::tallies::Tallies;
use crate::torture::views::{self, View};

/// What a run left behind.
#[derive(Debug, Clone, Copy)]
pub struct Remains<'a> {
    /// What was to happen.
    pub plan: &'a Plan,
    /// What the providers were told.
    pub ledger: &'a Ledger,
    /// The cluster, past the proxies.
    pub cluster: &'a Cluster,
    /// Of the topics.
    pub prefix: &'a str,
    /// N.
    pub partitions: i32,
    /// What handlers and people did besides.
    pub deeds: &'a Deeds,
}

/// What one reader read, and what is to be said about it.
#[derive(Debug)]
pub struct Places {
    /// What it read.
    pub observed: Observed,
    /// What the books must say.
    pub tallies: Tallies,
    /// What is not as it must be.
    pub violations: Vec<String>,
    /// Events of which more copies came in than their providers can have sent.
    pub extra_copies: u64,
}

/// Every event against its place, by one reader.
///
/// The client of the ingest gives a record that nobody acknowledged for nine seconds up and takes a new epoch; what
/// it then sends again, the broker can't know. Such a copy in `verified-events` is a duplicate like a provider's,
/// counted and no violation: the promise is about what comes out.
pub fn places(remains: &Remains<'_>) -> Result<Places> {
    let observed = reader::read(remains.cluster, remains.prefix)?;
    let verified_topic = format!("{}verified-events", remains.prefix);
    let case = Case {
        plan: remains.plan,
        ledger: remains.ledger,
        observed: &observed,
        partitions: remains.partitions,
        verified_topic: &verified_topic,
        deeds: remains.deeds,
    };
    let fates = Fates::new(&case);
    let is_copy = |found: &Finding| found.trouble == Trouble::Doubled && found.text.contains(" is in verified-events ");
    let (copies, findings): (Vec<Finding>, Vec<Finding>) = check::check(&case, &fates).into_iter().partition(is_copy);
    let violations = findings.iter().map(|found| format!("{:?}: {}", found.trouble, found.text)).collect();
    let tallies = Tallies::new(&case, &fates);
    Ok(Places { observed, tallies, violations, extra_copies: copies.len() as u64 })
}

/// The other two readers against the first: what they do not agree about. It blocks.
pub fn readers(remains: &Remains<'_>, observed: &Observed, witness: &View) -> Result<Vec<String>> {
    let last = views::of_observed(observed);
    let java = views::by_java(remains.cluster.brokers(), remains.prefix)?;
    Ok([
        views::differences("the Java client", &java, &last),
        views::differences("librdkafka", &last, &java),
        views::differences("the witness", witness, &last),
        views::unseen("the witness", witness, &last),
        views::passed_over("the witness", witness, &last),
    ]
    .concat())
}

/// What no fault excuses in a log: panics, what a process printed when it could not log any more, and partitions
/// that stopped until a person acts.
pub fn inexcusable(logs: &[PathBuf]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for log in logs.iter().filter(|log| log.exists()) {
        found.extend(logs::errors(log)?.into_iter().filter(|line| !is_excused(line)));
    }
    Ok(found)
}

fn is_excused(line: &str) -> bool {
    let json = line.split_once(": ").and_then(|(_, json)| serde_json::from_str::<Value>(json).ok());
    json.is_some() && !line.contains("panicked") && !line.contains("needs a person")
}

/// How often these words stand in a line of the logs.
pub fn mentions(logs: &[PathBuf], words: &str) -> Result<u64> {
    let mut count = 0;
    for log in logs.iter().filter(|log| log.exists()) {
        let text = std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        count += text.lines().filter(|line| line.contains(words)).count() as u64;
    }
    Ok(count)
}
