//! What the cluster says and is told about topics: the admin API behind a handful of calls.
//!
//! Every call has a time limit. Metadata is asked for all topics at once, because asking for one by name
//! may create it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigEntry, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;
use schemas::topics::Plan;

use crate::config;

/// How long the cluster may take to answer.
const REQUEST: Duration = Duration::from_secs(15);
/// How long a broker may take to create a topic before it answers.
const OPERATION: Duration = Duration::from_secs(10);

/// A topic as it is.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) partitions: i32,
    /// The fewest replicas of any partition.
    pub(super) replication: i32,
    settings: BTreeMap<String, String>,
}

impl Present {
    /// The value in force of a setting.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// The same as a number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.parse().ok()
    }

    #[cfg(test)]
    pub(super) fn example<'a>(
        partitions: i32,
        replication: i32,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { partitions, replication, settings }
    }
}

/// A connection to the admin API.
pub(super) struct Cluster {
    admin: Arc<AdminClient<DefaultClientContext>>,
    addresses: String,
}

impl Cluster {
    pub(super) fn connect(kafka: &config::Kafka) -> anyhow::Result<Self> {
        let admin = crate::kafka::client(kafka).create().context("create the admin client")?;
        Ok(Self { admin: Arc::new(admin), addresses: kafka.brokers.clone() })
    }

    /// Joins the client's threads, which blocks for a moment.
    pub(super) async fn close(self) {
        if let Err(error) = tokio::task::spawn_blocking(move || drop(self.admin)).await {
            tracing::debug!(%error, "the admin client did not close");
        }
    }

    /// How many brokers the cluster has.
    pub(super) async fn brokers(&self) -> anyhow::Result<usize> {
        Ok(self.metadata().await?.brokers().len())
    }

    /// One answer for each name, in their order; `None`: there is no such topic.
    pub(super) async fn describe(&self, names: &[&str]) -> anyhow::Result<Vec<Option<Present>>> {
        let metadata = self.metadata().await?;
        let mut presents: BTreeMap<&str, Present> = BTreeMap::new();
        for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
            let Some(name) = names.iter().find(|name| **name == topic.name()) else { continue };
            let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
            let present = Present {
                partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
                replication: i32::try_from(replicas.unwrap_or_default()).unwrap_or(i32::MAX),
                settings: BTreeMap::new(),
            };
            presents.insert(name, present);
        }
        let there: Vec<&str> = presents.keys().copied().collect();
        for (name, resource) in there.iter().zip(self.configs(&there).await?) {
            let settings = resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
            if let Some(present) = presents.get_mut(name) {
                present.settings = settings.collect();
            }
        }
        Ok(names.iter().map(|name| presents.get(name).cloned()).collect())
    }

    /// The settings of one broker that bound sessions and transactions; empty when it does not tell.
    pub(super) async fn broker_limits(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let metadata = self.metadata().await?;
        let Some(broker) = metadata.brokers().first() else { bail!("the cluster at {} has no broker", self.addresses) };
        let resource = ResourceSpecifier::Broker(broker.id());
        let answers = self.admin.describe_configs([&resource], &options()).await;
        let answer = answers.with_context(|| self.asking("describe a broker"))?.into_iter().next();
        match answer {
            Some(Ok(resource)) => {
                let entries = resource.entries.into_iter();
                Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
            }
            Some(Err(code)) => {
                tracing::debug!(%code, "the broker does not tell its settings");
                Ok(BTreeMap::new())
            }
            None => Ok(BTreeMap::new()),
        }
    }

    /// Creates topics; one that exists already is fine, its settings are compared afterwards.
    pub(super) async fn create(&self, plans: &[&Plan]) -> anyhow::Result<()> {
        if plans.is_empty() {
            return Ok(());
        }
        let topics = plans.iter().map(|plan| {
            let replication = TopicReplication::Fixed(plan.replication);
            let topic = NewTopic::new(&plan.name, plan.partitions, replication);
            plan.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        });
        let topics: Vec<NewTopic<'_>> = topics.collect();
        let results = self.admin.create_topics(&topics, &options()).await;
        for result in results.with_context(|| self.asking("create topics"))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => bail!("create topic {topic}: {code}"),
            }
        }
        Ok(())
    }

    /// Changes some settings of a topic and keeps its others.
    ///
    /// The call at hand replaces all settings of a topic, so those that somebody set are read just before
    /// and sent along; a change that another operator makes in between is lost. The window is one round trip.
    pub(super) async fn configure(&self, topic: &str, settings: &[(&'static str, String)]) -> anyhow::Result<()> {
        let described = self.configs(&[topic]).await?.into_iter().next();
        let entries = described.map(|resource| resource.entries).unwrap_or_default();
        let mut all: BTreeMap<&str, &str> = entries.iter().filter_map(set_by_somebody).collect();
        for (name, value) in settings {
            all.insert(name, value);
        }
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in all {
            change = change.set(name, value);
        }
        let results = self.admin.alter_configs([&change], &options()).await;
        for result in results.with_context(|| self.asking("configure a topic"))? {
            if let Err((_, code)) = result {
                bail!("configure topic {topic}: {code}");
            }
        }
        Ok(())
    }

    async fn configs(&self, topics: &[&str]) -> anyhow::Result<Vec<ConfigResource>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let results = self.admin.describe_configs(&resources, &options()).await;
        let mut described = Vec::new();
        for (topic, result) in topics.iter().zip(results.with_context(|| self.asking("describe topics"))?) {
            described.push(result.map_err(|code| anyhow::anyhow!("describe topic {topic}: {code}"))?);
        }
        Ok(described)
    }

    async fn metadata(&self) -> anyhow::Result<Metadata> {
        let admin = Arc::clone(&self.admin);
        let metadata = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, REQUEST)).await;
        metadata.context("wait for metadata")?.with_context(|| self.asking("read metadata"))
    }

    fn asking(&self, what: &str) -> String {
        format!("{what} at {}", self.addresses)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(OPERATION))
}

/// A setting that belongs to the topic itself, not to a default.
fn set_by_somebody(entry: &ConfigEntry) -> Option<(&str, &str)> {
    let is_own = matches!(entry.source, ConfigSource::DynamicTopic);
    if is_own { Some((&entry.name, entry.value.as_deref()?)) } else { None }
}
