//! Controls: harm done to the outputs themselves when a run is over, so that a verdict that cannot fail is found out.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::reader;

/// How long a control may take to do its harm.
const PATIENCE: Duration = Duration::from_secs(30);

/// Harm that only the verdict can find, done when everything else is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Somebody writes a clean record a second time.
    DoubleOne,
    /// Somebody removes the first clean record of a partition.
    LoseOne,
    /// Somebody writes a dead letter a second time.
    DoubleLetter,
}

impl Control {
    /// All of them.
    pub const ALL: [Control; 3] = [Control::DoubleOne, Control::LoseOne, Control::DoubleLetter];

    /// The control of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Control::DoubleOne => "double-one",
            Control::LoseOne => "lose-one",
            Control::DoubleLetter => "double-letter",
        }
    }

    /// A part of what the verdict must say about it.
    pub fn complaint(self) -> &'static str {
        match self {
            Control::DoubleOne => "is doubled: it is in clean-events 2 times",
            Control::LoseOne => "is lost: it is not in clean-events",
            Control::DoubleLetter => "is doubled: it is in dead-events 2 times",
        }
    }

    /// Does the harm, to the cluster itself.
    pub async fn strike(self, cluster: &Cluster, prefix: &str) -> Result<()> {
        let name = if self == Control::DoubleLetter { "dead-events" } else { "clean-events" };
        let (cluster, topic) = (cluster.clone(), format!("{prefix}{name}"));
        let (asked, name) = (cluster.clone(), topic.clone());
        let firsts = tokio::task::spawn_blocking(move || firsts(&asked, &name));
        let mut firsts = firsts.await.context("the control panicked")??.into_values();
        // Not the same record, or one control would undo the other.
        let victim = match self {
            Control::DoubleOne | Control::DoubleLetter => firsts.next(),
            Control::LoseOne => firsts.next_back(),
        };
        let victim = victim.with_context(|| format!("{topic} is empty"))?;
        match self {
            Control::DoubleOne | Control::DoubleLetter => {
                let written = tokio::task::spawn_blocking(move || double(&cluster, &topic, &victim));
                written.await.context("the control panicked")?
            }
            Control::LoseOne => lose(&cluster, &topic, &victim).await,
        }
    }
}

fn double(cluster: &Cluster, topic: &str, first: &OwnedMessage) -> Result<()> {
    let mut headers = OwnedHeaders::new();
    for header in first.headers().context("no headers")?.iter() {
        headers = headers.insert(Header { key: header.key, value: header.value });
    }
    let producer: BaseProducer = config(cluster).create().context("cannot make a producer")?;
    let (key, body) = (first.key().unwrap_or_default(), first.payload().unwrap_or_default());
    let copy = BaseRecord::to(topic).key(key).payload(body).partition(first.partition()).headers(headers);
    producer.send(copy).map_err(|(error, _)| error).context("cannot write the copy")?;
    producer.flush(PATIENCE).context("the copy was not written")
}

async fn lose(cluster: &Cluster, topic: &str, first: &OwnedMessage) -> Result<()> {
    let mut before = TopicPartitionList::new();
    let behind = Offset::Offset(first.offset() + 1);
    before.add_partition_offset(topic, first.partition(), behind).context("no such offset")?;
    let admin: AdminClient<DefaultClientContext> = config(cluster).create().context("cannot make an admin client")?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    admin.delete_records(&before, &options).await.context("the record cannot be removed")?;
    Ok(())
}

/// The first record of each partition.
fn firsts(cluster: &Cluster, topic: &str) -> Result<BTreeMap<i32, OwnedMessage>> {
    let mut firsts = BTreeMap::new();
    reader::each(cluster, topic, |record| {
        firsts.entry(record.partition()).or_insert_with(|| record.detach());
        Ok(())
    })?;
    Ok(firsts)
}

fn config(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers()).set("log_level", "0");
    config
}
