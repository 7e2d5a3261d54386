//! Questions to Kafka that need nothing of Weir: how long topics are, how far a group has come, what is left over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::wait::wait_until;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster that can be asked. Its calls block.
#[derive(Debug, Clone)]
pub struct Cluster {
    brokers: String,
}

/// First and next offset of each partition.
pub type Ends = BTreeMap<i32, (i64, i64)>;

impl Cluster {
    /// The cluster behind a bootstrap list.
    pub fn new(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned() }
    }

    /// The bootstrap list.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A consumer that joins no group, commits nothing and sees only what was committed.
    pub fn consumer(&self, group: &str) -> Result<BaseConsumer> {
        let mut config = self.config();
        config.set("group.id", group);
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("isolation.level", "read_committed").set("auto.offset.reset", "error");
        config.set("enable.partition.eof", "true").set("check.crcs", "true");
        config.create().context("cannot make a consumer")
    }

    /// First and next offset of each partition of a topic, as far as it is committed. None when there is no such
    /// topic.
    pub fn ends(&self, topic: &str) -> Result<Option<Ends>> {
        self.ends_with(&self.consumer("weir-tests-ends")?, topic)
    }

    /// Waits until no transaction is open in a topic: its markers are written after the commit is acknowledged,
    /// and what a killed process left open is aborted by its successor.
    pub fn settled_ends(&self, topic: &str) -> Result<Ends> {
        let mut uncommitted = self.config();
        uncommitted.set("group.id", "weir-tests-ends").set("isolation.level", "read_uncommitted");
        let uncommitted: BaseConsumer = uncommitted.create().context("cannot make a consumer")?;
        let committed = self.consumer("weir-tests-ends")?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let whole = self.ends_with(&uncommitted, topic)?.with_context(|| format!("there is no topic {topic}"))?;
            if self.ends_with(&committed, topic)?.as_ref() == Some(&whole) {
                return Ok(whole);
            }
            ensure!(Instant::now() < deadline, "a transaction is open in {topic} for more than {PATIENCE:?}");
        }
    }

    fn ends_with(&self, consumer: &BaseConsumer, topic: &str) -> Result<Option<Ends>> {
        let metadata = consumer.fetch_metadata(None, PATIENCE).context("the cluster does not answer")?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        let end = |partition: i32| {
            let ends = consumer.fetch_watermarks(topic, partition, PATIENCE);
            Ok((partition, ends.with_context(|| format!("cannot ask for the end of {topic}/{partition}"))?))
        };
        found.partitions().iter().map(|partition| end(partition.id())).collect::<Result<_>>().map(Some)
    }

    /// The offsets that a group committed.
    pub fn committed(&self, group: &str, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, i64>> {
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            wanted.add_partition(topic, *partition);
        }
        let found = self.consumer(group)?.committed_offsets(wanted, PATIENCE);
        let found = found.with_context(|| format!("cannot ask how far {group} has come"))?;
        let offset = |offset: Offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let elements = found.elements();
        Ok(elements.iter().filter_map(|found| Some((found.partition(), offset(found.offset())?))).collect())
    }

    /// How many records of a topic a group has not committed yet.
    pub fn lag(&self, group: &str, topic: &str) -> Result<u64> {
        let ends = self.ends(topic)?.with_context(|| format!("there is no topic {topic}"))?;
        let partitions: Vec<i32> = ends.keys().copied().collect();
        let committed = self.committed(group, topic, &partitions)?;
        let lag = ends.iter().map(|(partition, (first, next))| {
            let done = committed.get(partition).copied().unwrap_or(*first);
            u64::try_from(next - done).with_context(|| format!("{group} committed more than there is of {topic}"))
        });
        lag.sum()
    }

    /// Deletes a topic, and waits until the brokers know nothing of it.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config().create().context("cannot make an admin client")?;
        for result in admin.delete_topics(&[topic], &AdminOptions::new()).await.context("cannot delete a topic")? {
            result.map_err(|(name, error)| anyhow::anyhow!("cannot delete {name}: {error}"))?;
        }
        let is_gone = || async {
            match self.ends(topic).map_err(|error| error.to_string())? {
                Some(_) => Err("it is there".to_owned()),
                None => Ok(()),
            }
        };
        wait_until(&format!("the topic {topic} deleted"), PATIENCE, is_gone).await
    }

    /// Deletes every topic of that prefix, and the group. Never call it with what belongs to somebody else.
    pub async fn delete(&self, prefix: &str, group: &str) -> Result<usize> {
        ensure!(prefix.len() > 4, "the prefix {prefix:?} may be anybody's");
        let admin: AdminClient<DefaultClientContext> = self.config().create().context("cannot make an admin client")?;
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).context("the cluster does not answer")?;
        let names = metadata.topics().iter().map(|topic| topic.name());
        let names: Vec<&str> = names.filter(|name| name.starts_with(prefix)).collect();
        let options = AdminOptions::new();
        for result in admin.delete_topics(&names, &options).await.context("cannot delete topics")? {
            result.map_err(|(name, error)| anyhow::anyhow!("cannot delete {name}: {error}"))?;
        }
        let is_gone = || async {
            let results = admin.delete_groups(&[group], &options).await.map_err(|error| error.to_string())?;
            match results.first() {
                // A static member stays in its group until its session ends.
                Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) => Err("it has members".to_owned()),
                _ => Ok(()),
            }
        };
        wait_until(&format!("the group {group} deleted"), PATIENCE, is_gone).await?;
        Ok(names.len())
    }

    /// Sets one setting of a topic, as an administrator might, and takes its others back to their defaults.
    pub async fn configure(&self, topic: &str, name: &str, value: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config().create().context("cannot make an admin client")?;
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let results = admin.alter_configs([&change], &AdminOptions::new()).await.context("cannot ask for a change")?;
        for result in results {
            result.map_err(|(_, error)| anyhow::anyhow!("cannot change {topic}: {error}"))?;
        }
        Ok(())
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        // Errors come back from the calls; librdkafka's own lines would spoil the output.
        config.set("log_level", "0");
        config
    }
}
