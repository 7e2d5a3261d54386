//! What the whole process knows of its workers: readiness, and the committed tallies behind the metrics.
//!
//! Workers write here through [`Reporter`] after the fact; nothing here decides about an event.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemas::topics::EVENT_RETENTION_MS;

use crate::books::{Place, Tallies};
use crate::lifecycle::Stage;
use crate::log::Fault;
use crate::metrics::{self, STAGES, stage_name};
use crate::takeover::Opening;
use crate::task::Count;
use crate::worker::Observer;

/// More open dead letters than this in one partition are worth a warning.
pub const DEAD_MAX: u64 = 10;
/// And so is one that has been open for longer, milliseconds.
pub const DEAD_AGE_MAX_MS: i64 = 60 * 60 * 1000;
/// Whoever is at one action for longer hangs.
const BUSY_MAX: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 60 * 60 * 1000;
/// So many warnings are read by somebody.
const WARNINGS: usize = 20;
/// Who is behind by more than a quarter of what `verified-events` keeps may lose records soon.
const LAG_MAX_MS: i64 = EVENT_RETENTION_MS / 4;

/// The status of a process.
#[derive(Debug)]
pub struct Status(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Why the process as a whole can't do its job.
    obstacles: Vec<String>,
    /// For each worker whether the group counts it as a member.
    members: Vec<bool>,
    /// For each worker what it does, and since when.
    actions: Vec<Option<(&'static str, Instant)>>,
    stages: BTreeMap<i32, Stage>,
    tallies: BTreeMap<i32, Tallies>,
    /// For each partition how many resources have waiting events, and when the next is due.
    waiting: BTreeMap<i32, (usize, Option<i64>)>,
    /// For each partition how many dead letters are open, and when the oldest of them died.
    letters: BTreeMap<i32, (u64, Option<i64>)>,
    /// For each partition that is behind how old what waits may be, in milliseconds.
    lags: BTreeMap<i32, i64>,
    /// What is wrong with the topics since they were right.
    findings: Vec<String>,
}

impl Status {
    /// The status of a process that is starting.
    pub fn new(workers: u16) -> Self {
        let obstacles = vec!["starting".to_owned()];
        let members = vec![false; usize::from(workers)];
        let actions = vec![None; usize::from(workers)];
        Self(Mutex::new(Inner {
            obstacles,
            members,
            actions,
            stages: BTreeMap::new(),
            tallies: BTreeMap::new(),
            waiting: BTreeMap::new(),
            letters: BTreeMap::new(),
            lags: BTreeMap::new(),
            findings: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what keeps the process from its job before any worker runs; empty: nothing.
    pub fn set_obstacles(&self, obstacles: Vec<String>) {
        self.lock().obstacles = obstacles;
    }

    /// Whether the group counts a worker as a member.
    pub fn set_member(&self, worker: u16, is_member: bool) {
        if let Some(member) = self.lock().members.get_mut(usize::from(worker)) {
            *member = is_member;
        }
    }

    /// What a worker does, and since when; nothing once it has ended.
    pub(crate) fn set_action(&self, worker: u16, action: Option<(&'static str, Instant)>) {
        if let Some(known) = self.lock().actions.get_mut(usize::from(worker)) {
            *known = action;
        }
    }

    /// Why this process is not ready; empty when it is. Without a partition it is: there is nothing to do.
    pub fn not_ready(&self) -> Vec<String> {
        self.not_ready_at(Instant::now())
    }

    fn not_ready_at(&self, now: Instant) -> Vec<String> {
        let inner = self.lock();
        let mut reasons = inner.obstacles.clone();
        if !reasons.is_empty() {
            return reasons;
        }
        for (worker, _) in inner.members.iter().enumerate().filter(|(_, is_member)| !**is_member) {
            reasons.push(format!("worker {worker} is not a member of the group"));
        }
        for (worker, action) in inner.actions.iter().enumerate() {
            let action = action.map(|(name, since)| (name, now.saturating_duration_since(since)));
            if let Some((name, time)) = action.filter(|(_, time)| *time > BUSY_MAX) {
                reasons.push(format!("worker {worker} has been at {name} for {} s", time.as_secs()));
            }
        }
        for (partition, stage) in inner.stages.iter().filter(|(_, stage)| **stage != Stage::Running) {
            reasons.push(format!("partition {partition} is {}", stage_name(*stage)));
        }
        reasons
    }

    /// What a person should look at, although this process does its job.
    pub fn warnings(&self, now_ms: i64) -> Vec<String> {
        let inner = self.lock();
        let mut warnings = inner.findings.clone();
        for (partition, age_ms) in inner.lags.iter().filter(|(_, age_ms)| **age_ms > LAG_MAX_MS) {
            warnings.push(format!(
                "partition {partition} is up to {} h behind, and verified-events keeps records for {} h",
                age_ms / HOUR_MS,
                EVENT_RETENTION_MS / HOUR_MS
            ));
        }
        for (partition, (dead, since)) in &inner.letters {
            if *dead > DEAD_MAX {
                warnings.push(format!("partition {partition} has {dead} open dead letters, more than {DEAD_MAX}"));
            }
            let age_ms = since.map_or(0, |since| now_ms.saturating_sub(since));
            if *dead > 0 && age_ms > DEAD_AGE_MAX_MS {
                warnings.push(format!(
                    "the oldest open dead letter of partition {partition} is {} min old, more than {}",
                    age_ms / 60_000,
                    DEAD_AGE_MAX_MS / 60_000
                ));
            }
        }
        let more = warnings.len().saturating_sub(WARNINGS);
        if more > 0 {
            warnings.truncate(WARNINGS);
            warnings.push(format!("and {more} more"));
        }
        warnings
    }

    /// The partitions of this process.
    pub fn partitions(&self) -> Vec<i32> {
        self.lock().stages.keys().copied().collect()
    }

    /// How old what waits may be, in milliseconds, of each partition that is behind.
    pub(crate) fn set_lags(&self, lags: BTreeMap<i32, i64>) {
        self.lock().lags = lags;
    }

    /// What is wrong with the topics since they were right.
    pub(crate) fn set_findings(&self, findings: Vec<String>) {
        self.lock().findings = findings;
    }

    /// Shows how overdue the next waiting event is, which grows by itself.
    pub(crate) fn show_overdue(&self) {
        self.lock().show_overdue();
    }

    fn set_letters(&self, partition: i32, dead: u64, since: Option<i64>) {
        let mut inner = self.lock();
        inner.letters.insert(partition, (dead, since));
        inner.show_letters();
    }

    fn set_stage(&self, partition: i32, stage: Option<Stage>) {
        let mut inner = self.lock();
        match stage {
            Some(stage) => {
                inner.stages.insert(partition, stage);
            }
            None => {
                inner.stages.remove(&partition);
                inner.waiting.remove(&partition);
                inner.show_waiting();
                inner.letters.remove(&partition);
                inner.show_letters();
                inner.forget_tallies(partition);
            }
        }
        for stage in STAGES {
            metrics::partitions(stage, inner.stages.values().filter(|at| **at == stage).count());
        }
    }

    fn set_waiting(&self, partition: i32, resources: usize, next_due: Option<i64>) {
        let mut inner = self.lock();
        let known = inner.waiting.insert(partition, (resources, next_due));
        if known.is_none_or(|(known, _)| known != resources) {
            inner.show_waiting();
        }
    }

    fn set_tallies(&self, partition: i32, tallies: &Tallies) {
        let mut inner = self.lock();
        match inner.tallies.get_mut(&partition) {
            Some(known) => known.overwrite(tallies),
            None => {
                inner.tallies.insert(partition, tallies.clone());
            }
        }
        inner.show(tallies);
    }
}

impl Inner {
    fn show_waiting(&self) {
        metrics::parked(self.waiting.values().map(|(resources, _)| resources).sum());
    }

    fn show_overdue(&self) {
        let next_due = self.waiting.values().filter_map(|(_, next_due)| *next_due).min();
        metrics::overdue(next_due.map_or(0, |due| runtime::clock::now_ms() - due));
    }

    fn show_letters(&self) {
        let most = self.letters.values().map(|(dead, _)| *dead).max();
        let oldest = self.letters.values().filter(|(dead, _)| *dead > 0).filter_map(|(_, since)| *since).min();
        metrics::letters(most.unwrap_or_default(), oldest.unwrap_or_default());
    }

    fn forget_tallies(&mut self, partition: i32) {
        if let Some(gone) = self.tallies.remove(&partition) {
            self.show(&gone);
        }
    }

    /// Shows the sums over all partitions of the sources in `touched`.
    fn show(&self, touched: &Tallies) {
        for source in touched.0.keys() {
            for place in Place::ALL {
                metrics::tally(source, place, self.tallies.values().map(|tallies| tallies.get(source, place)).sum());
            }
        }
    }
}

/// How one worker reports.
#[derive(Debug, Clone)]
pub struct Reporter {
    status: Arc<Status>,
    faults: u64,
}

impl Reporter {
    /// A reporter to `status`.
    pub fn new(status: Arc<Status>) -> Self {
        Self { status, faults: 0 }
    }

    /// How many faults were survived so far.
    pub fn faults(&self) -> u64 {
        self.faults
    }
}

impl Observer for Reporter {
    fn stage(&mut self, partition: i32, stage: Option<Stage>) {
        tracing::debug!(partition, stage = stage.map(stage_name), "a partition changed its stage");
        self.status.set_stage(partition, stage);
    }

    fn trouble(&mut self, partition: i32, is_final: bool, message: &str) {
        metrics::trouble(is_final);
        if is_final {
            tracing::error!(partition, detail = message, "a partition stopped and needs a person");
        } else {
            tracing::warn!(partition, detail = message, "a partition waits");
        }
    }

    fn fault(&mut self, fault: &Fault) {
        self.faults += 1;
        metrics::fault();
        match fault {
            Fault::Unsure { .. } => tracing::warn!(%fault, "a fault was met; the log will tell what happened"),
            Fault::Fenced { .. } => tracing::warn!(%fault, "another process runs as this instance"),
        }
    }

    fn taken_over(&mut self, partition: i32, opening: Opening, torn: u64) {
        metrics::taken_over(opening, torn);
        if torn > 0 {
            tracing::warn!(partition, torn, "effects of a torn transaction were found and neutralised");
        }
        tracing::info!(partition, ?opening, "partition taken over");
    }

    fn distrusted(&mut self, partition: i32, why: &str) {
        tracing::warn!(partition, why, "the local state is not trusted, and is built anew from the changelog");
    }

    fn not_looked(&mut self, fault: &Fault) {
        metrics::not_looked();
        tracing::debug!(%fault, "whether the group knows the last commits could not be asked");
    }

    fn behind(&mut self, partition: i32, (own, known): (u64, u64), is_there: bool) {
        metrics::behind(is_there);
        if is_there {
            tracing::warn!(partition, own, known, "a committed offset was set back; it is committed again");
        } else {
            tracing::warn!(partition, own, known, "a commit was confirmed and never happened; it is done again");
        }
    }

    fn waiting(&mut self, partition: i32, resources: usize, next_due: Option<i64>) {
        self.status.set_waiting(partition, resources, next_due);
    }

    fn letters(&mut self, partition: i32, dead: u64, since: Option<i64>) {
        self.status.set_letters(partition, dead, since);
    }

    fn committed(&mut self, partition: i32, tallies: &Tallies, counts: Vec<Count>) {
        self.status.set_tallies(partition, tallies);
        for count in counts {
            match count {
                Count::Dead { source, reason } => metrics::died(source, reason),
                Count::Conflict { source } => metrics::id_conflict(source),
                Count::Retried { source, reason } => metrics::retried(source, reason),
                Count::Attempts { source, attempts } => metrics::attempts(source, attempts),
                Count::Redriven(result) => metrics::redriven(result.as_str()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_its_workers_are_members_and_its_partitions_run() {
        let status = Arc::new(Status::new(1));
        assert_eq!(status.not_ready(), ["starting"]);
        status.set_obstacles(Vec::new());
        assert_eq!(status.not_ready(), ["worker 0 is not a member of the group"]);
        status.set_member(0, true);
        assert!(status.not_ready().is_empty(), "no partition is no obstacle");
        let mut reporter = Reporter::new(Arc::clone(&status));
        reporter.stage(3, Some(Stage::Fenced));
        assert_eq!(status.not_ready(), ["partition 3 is fenced"]);
        reporter.stage(3, Some(Stage::Running));
        assert!(status.not_ready().is_empty());
        let began = Instant::now();
        status.set_action(0, Some(("commit", began)));
        assert!(status.not_ready_at(began + BUSY_MAX).is_empty());
        let long_after = began + Duration::from_secs(90);
        assert_eq!(status.not_ready_at(long_after), ["worker 0 has been at commit for 90 s"]);
    }

    #[test]
    fn open_dead_letters_are_warned_of_when_they_are_many_or_old_and_no_sooner() {
        let status = Arc::new(Status::new(0));
        let mut reporter = Reporter::new(Arc::clone(&status));
        let warned = |now_ms| status.warnings(now_ms).len();
        reporter.letters(3, 10, Some(1000));
        assert_eq!((warned(1000), warned(1000 + DEAD_AGE_MAX_MS)), (0, 0));
        assert_eq!(
            status.warnings(1001 + DEAD_AGE_MAX_MS),
            ["the oldest open dead letter of partition 3 is 60 min old, more than 60"]
        );
        reporter.letters(3, 11, None);
        assert_eq!(status.warnings(i64::MAX), ["partition 3 has 11 open dead letters, more than 10"]);
        reporter.letters(3, 0, None);
        assert_eq!(warned(i64::MAX), 0);
        for partition in 0..30 {
            reporter.letters(partition, 11, None);
        }
        assert_eq!(status.warnings(0).last().map(String::as_str), Some("and 10 more"));
        reporter.stage(0, None);
        assert_eq!(status.warnings(0).last().map(String::as_str), Some("and 9 more"));
    }
}
