//! Topics as they are on the broker against topics as they must be.
//!
//! Services only check; `weir topics apply` is the only one that creates or changes. Nothing here deletes
//! a topic, shortens what it keeps or changes how many partitions it has.

mod cluster;
mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use schemas::topics::Plan;
use schemas::{Topic, Topics};

use crate::config;
use cluster::{Cluster, Present};
use compare::{Cure, Weight};

/// Between two looks at topics that were right.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long the cluster may take to show what was applied.
const SETTLE: Duration = Duration::from_secs(30);
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// What is wrong with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its full name.
    pub topic: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// A service refuses to start (64); otherwise it is not ready until it is mended.
    pub is_fatal: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}: {}", self.topic, self.message)
    }
}

/// What `weir topics apply` does about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is missing and gets created.
    Create,
    /// Its settings differ and get changed.
    Configure,
    /// It differs in a way that is not changed: nothing is applied at all.
    Refuse,
    /// It is as it should be.
    Same,
}

/// One topic of a plan.
#[derive(Debug, Clone)]
pub struct Change {
    /// Full name of the topic.
    pub topic: String,
    /// What happens to it.
    pub action: Action,
    /// The details, one a line.
    pub lines: Vec<String>,
    plan: Plan,
    settings: Vec<(&'static str, String)>,
}

/// What is wrong with the `wanted` topics; empty: nothing. An error: the broker could not be asked.
///
/// Weak replication is not wrong: it is logged, once everything else is right, and counted.
pub async fn check(kafka: &config::Kafka, topics: &Topics, wanted: &[Topic]) -> anyhow::Result<Vec<Finding>> {
    let (findings, weak) = look(kafka, topics, wanted).await?;
    if findings.is_empty() {
        warn_of(&weak);
    }
    crate::metrics::weak_topics(weak.len());
    Ok(findings)
}

/// Looks again and again at topics that were right: they are changed, and deleted, under running services. `tell` gets
/// what is wrong whenever that changes, and it is logged. Nothing that is found now stops a service.
pub async fn watch<F>(look: impl Fn() -> F, tell: impl Fn(Vec<String>)) -> Infallible
where
    F: Future<Output = anyhow::Result<Vec<Finding>>>,
{
    watch_every(LOOK_AGAIN, look, tell).await
}

async fn watch_every<F>(pause: Duration, look: impl Fn() -> F, tell: impl Fn(Vec<String>)) -> Infallible
where
    F: Future<Output = anyhow::Result<Vec<Finding>>>,
{
    let mut known = Vec::new();
    loop {
        tokio::time::sleep(pause).await;
        let found: Vec<String> = match look().await {
            Ok(found) => found.iter().map(ToString::to_string).collect(),
            // Who works with the cluster says that it is away.
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "the topics cannot be looked at");
                continue;
            }
        };
        if found == known {
            continue;
        }
        for reason in &found {
            tracing::warn!(reason, "a topic was changed");
        }
        if found.is_empty() {
            tracing::info!("the topics are as they should be");
        }
        tell(found.clone());
        known = found;
    }
}

/// Whether the changelog exists and keeps what the longest window of `topics` needs.
pub async fn keep_longest_window(kafka: &config::Kafka, topics: &Topics) -> anyhow::Result<bool> {
    let (findings, _) = look(kafka, topics, &[Topic::Changelog]).await?;
    Ok(findings.is_empty())
}

/// Findings about the `wanted` topics, and which of them are weakly replicated.
async fn look(
    kafka: &config::Kafka,
    topics: &Topics,
    wanted: &[Topic],
) -> anyhow::Result<(Vec<Finding>, Vec<(String, String)>)> {
    let mut plans: Vec<Plan> = topics.plan().into_iter().filter(|plan| wanted.contains(&plan.topic)).collect();
    let cluster = Cluster::connect(kafka)?;
    let presents = read(&cluster, topics, &mut plans).await;
    cluster.close().await;
    Ok(judge(topics, &plans, &presents?))
}

/// What was said of weak topics: the topics are looked at again and again, and once is enough.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// One line for each kind of weakness, not for each topic.
fn warn_of(weak: &[(String, String)]) {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (topic, message) in weak {
        kinds.entry(message).or_default().push(topic);
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    for (reason, topics) in kinds {
        let topics = topics.join(",");
        if said.insert(format!("{reason} {topics}")) {
            tracing::warn!(reason, topics, "weak replication: a lost disk may lose events");
        }
    }
}

/// Whether the broker allows the processor's session and transactions. A broker that does not tell is
/// taken to allow them.
pub async fn check_session(kafka: &config::Kafka, processor: &config::Processor) -> anyhow::Result<Vec<Finding>> {
    let cluster = Cluster::connect(kafka)?;
    let limits = cluster.broker_limits().await;
    cluster.close().await;
    Ok(compare::session(processor, &limits?))
}

/// What `weir topics apply` would do, one entry a topic.
pub async fn plan(kafka: &config::Kafka, topics: &Topics) -> anyhow::Result<Vec<Change>> {
    let cluster = Cluster::connect(kafka)?;
    let changes = changes(&cluster, topics).await;
    cluster.close().await;
    changes
}

/// Carries a plan out and waits until the cluster shows it. Refuses the whole plan when a part of it is
/// refused. Repeating it is harmless.
pub async fn apply(kafka: &config::Kafka, changes: &[Change]) -> anyhow::Result<()> {
    let refused: Vec<&str> =
        changes.iter().filter(|change| change.action == Action::Refuse).map(|change| change.topic.as_str()).collect();
    if !refused.is_empty() {
        bail!("nothing was applied, because of {}", refused.join(", "));
    }
    let cluster = Cluster::connect(kafka)?;
    let applied = carry_out(&cluster, changes).await;
    cluster.close().await;
    applied
}

async fn carry_out(cluster: &Cluster, changes: &[Change]) -> anyhow::Result<()> {
    let missing: Vec<&Plan> =
        changes.iter().filter(|change| change.action == Action::Create).map(|change| &change.plan).collect();
    cluster.create(&missing).await?;
    for change in changes.iter().filter(|change| change.action == Action::Configure) {
        cluster.configure(&change.topic, &change.settings).await?;
    }
    let deadline = Instant::now() + SETTLE;
    while let Some(behind) = first_unsettled(cluster, changes).await? {
        if Instant::now() >= deadline {
            bail!("{behind} was applied, but the cluster does not show it after {} s", SETTLE.as_secs());
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
    Ok(())
}

/// A topic that is not yet as it was asked to be.
async fn first_unsettled(cluster: &Cluster, changes: &[Change]) -> anyhow::Result<Option<String>> {
    let names: Vec<&str> = changes.iter().map(|change| change.topic.as_str()).collect();
    let presents = cluster.describe(&names).await?;
    let behind = changes.iter().zip(presents).find(|(change, present)| match present {
        None => true,
        Some(present) => {
            let is_new = change.action == Action::Create && present.partitions != change.plan.partitions;
            is_new || change.settings.iter().any(|(name, value)| present.value(name) != Some(value.as_str()))
        }
    });
    Ok(behind.map(|(change, _)| change.topic.clone()))
}

async fn changes(cluster: &Cluster, topics: &Topics) -> anyhow::Result<Vec<Change>> {
    let mut plans = topics.plan();
    let presents = read(cluster, topics, &mut plans).await?;
    let brokers = cluster.brokers().await?;
    let retention = compare::changelog_retention_ms(topics, presents.verified.as_ref());
    let change = |(plan, present): (Plan, Option<Present>)| match present {
        Some(present) => configure(plan, &present, retention, topics),
        None => create(plan, brokers, retention),
    };
    Ok(plans.into_iter().zip(presents.planned).map(change).collect())
}

fn create(mut plan: Plan, brokers: usize, retention: i64) -> Change {
    let topic = plan.name.clone();
    if usize::try_from(plan.replication).is_ok_and(|copies| copies > brokers) {
        let line = format!("replication {} needs as many brokers: the cluster has {brokers}", plan.replication);
        return Change { topic, action: Action::Refuse, lines: vec![line], plan, settings: Vec::new() };
    }
    for (name, value) in &mut plan.config {
        if plan.topic == Topic::Changelog && *name == "retention.ms" {
            *value = retention.to_string();
        }
    }
    let plural = if plan.partitions == 1 { "" } else { "s" };
    let mut lines = vec![format!("{} partition{plural}, replication {}", plan.partitions, plan.replication)];
    lines.extend(plan.config.iter().map(|(name, value)| format!("{name} = {value}")));
    Change { topic, action: Action::Create, lines, settings: plan.config.clone(), plan }
}

fn configure(plan: Plan, present: &Present, retention: i64, topics: &Topics) -> Change {
    let mut lines = Vec::new();
    let mut settings = Vec::new();
    let mut is_refused = false;
    for difference in compare::differences(&plan, present, retention, topics.body_limit) {
        // As few copies as configured: the configuration's own warning says so.
        if difference.weight != Weight::Weak || difference.cure != Cure::None || present.replication < plan.replication
        {
            lines.push(difference.message);
        }
        match difference.cure {
            Cure::Set(name, value) => settings.push((name, value)),
            Cure::None => is_refused |= matches!(difference.weight, Weight::Fatal | Weight::Wrong),
        }
    }
    let action = match (is_refused, settings.is_empty()) {
        (true, _) => Action::Refuse,
        (false, false) => Action::Configure,
        (false, true) => Action::Same,
    };
    Change { topic: plan.name.clone(), action, lines, plan, settings }
}

/// What the cluster says about some topics.
struct Presents {
    planned: Vec<Option<Present>>,
    verified: Option<Present>,
}

/// Asks for the planned topics, and lets the plans follow what is there.
async fn read(cluster: &Cluster, topics: &Topics, plans: &mut [Plan]) -> anyhow::Result<Presents> {
    let verified = topics.name(&Topic::Verified);
    let mut names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    names.push(&verified);
    let mut planned = cluster.describe(&names).await?;
    let verified = planned.pop().context("one answer a topic")?;
    stale_as_clean(plans, &planned);
    Ok(Presents { planned, verified })
}

/// `clean-events` keeps the count it was created with, and `stale-events` has the same.
fn stale_as_clean(plans: &mut [Plan], presents: &[Option<Present>]) {
    let clean = plans.iter().zip(presents).find(|(plan, _)| plan.topic == Topic::Clean);
    let Some(partitions) = clean.and_then(|(_, present)| present.as_ref()).map(|present| present.partitions) else {
        return;
    };
    for plan in plans.iter_mut().filter(|plan| plan.topic == Topic::Stale) {
        plan.partitions = partitions;
    }
}

/// Findings, and the weakly replicated topics with the reason.
fn judge(topics: &Topics, plans: &[Plan], presents: &Presents) -> (Vec<Finding>, Vec<(String, String)>) {
    let retention = compare::changelog_retention_ms(topics, presents.verified.as_ref());
    let (mut findings, mut weak) = (Vec::new(), Vec::new());
    for (plan, present) in plans.iter().zip(&presents.planned) {
        let topic = plan.name.clone();
        let Some(present) = present else {
            let message = "does not exist: run `weir topics apply`".to_owned();
            findings.push(Finding { topic, message, is_fatal: false });
            continue;
        };
        for difference in compare::differences(plan, present, retention, topics.body_limit) {
            let message = match &difference.cure {
                Cure::Set(..) => format!("{}: run `weir topics apply`", difference.message),
                Cure::None => difference.message,
            };
            match difference.weight {
                Weight::Fatal => findings.push(Finding { topic: topic.clone(), message, is_fatal: true }),
                Weight::Wrong => findings.push(Finding { topic: topic.clone(), message, is_fatal: false }),
                Weight::Weak => weak.push((topic.clone(), message)),
                Weight::Allowed => tracing::debug!(topic, message, "a topic differs in a way that is allowed"),
            }
        }
    }
    (findings, weak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_topics_is_told_when_it_changes_and_when_it_is_mended() {
        let gone = Finding { topic: "verified-events".to_owned(), message: "is gone".to_owned(), is_fatal: true };
        // Two times right, then gone until it is mended; nothing is known while nobody answers.
        let mut looks = vec![Ok(vec![]), Ok(vec![]), Ok(vec![gone.clone()]), Err(()), Ok(vec![gone]), Ok(vec![])];
        looks.reverse();
        let (looks, told) = (Mutex::new(looks), Mutex::new(Vec::new()));
        let look = async || {
            let next = looks.lock().unwrap().pop();
            match next {
                Some(found) => found.map_err(|()| anyhow::anyhow!("away")),
                None => std::future::pending().await,
            }
        };
        let watched = watch_every(Duration::ZERO, look, |found| told.lock().unwrap().push(found));
        let is_done = async {
            while told.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = watched => {}
            done = tokio::time::timeout(Duration::from_secs(20), is_done) => done.unwrap(),
        }
        assert_eq!(*told.lock().unwrap(), [vec!["topic verified-events: is gone".to_owned()], vec![]]);
        assert!(looks.lock().unwrap().is_empty());
    }

    fn topics() -> Topics {
        let retry_delays = vec!["5s".to_owned()];
        let longest_window_ms = 4 * 86_400_000;
        Topics {
            prefix: String::new(),
            partitions: 16,
            replication: 1,
            retry_delays,
            body_limit: 1 << 20,
            longest_window_ms,
        }
    }

    #[test]
    fn a_missing_topic_is_created_as_planned_and_keeps_a_service_from_being_ready() {
        let plans = topics().plan();
        let presents = Presents { planned: vec![None; plans.len()], verified: None };
        let (findings, weak) = judge(&topics(), &plans, &presents);
        assert_eq!((findings.len(), weak.len()), (plans.len(), 0));
        assert!(findings.iter().all(|finding| !finding.is_fatal && finding.message.contains("weir topics apply")));
        let changelog = plans.into_iter().find(|plan| plan.topic == Topic::Changelog).unwrap();
        let change = create(changelog, 1, 5);
        assert_eq!(change.action, Action::Create);
        assert_eq!(
            change.lines,
            [
                "16 partitions, replication 1",
                "cleanup.policy = delete",
                "max.message.bytes = 1048576",
                "retention.ms = 5"
            ]
        );
    }

    #[test]
    fn stale_events_get_as_many_partitions_as_clean_events_have() {
        let mut plans = topics().plan();
        let presents: Vec<Option<Present>> =
            plans.iter().map(|plan| (plan.topic == Topic::Clean).then(|| Present::example(64, 1, []))).collect();
        stale_as_clean(&mut plans, &presents);
        let stale = plans.into_iter().find(|plan| plan.topic == Topic::Stale).unwrap();
        assert_eq!(create(stale, 1, 0).lines[0], "64 partitions, replication 1");
        let mut plans = topics().plan();
        let nothing = vec![None; plans.len()];
        stale_as_clean(&mut plans, &nothing);
        assert_eq!(plans, topics().plan());
    }

    #[test]
    fn more_copies_than_brokers_are_refused() {
        let plan = Topics { replication: 3, ..topics() }.plan().remove(0);
        let change = create(plan, 2, 0);
        assert_eq!(change.action, Action::Refuse);
        assert_eq!(change.lines, ["replication 3 needs as many brokers: the cluster has 2"]);
    }
}
