//! Topics of a benchmark: created, emptied by deleting them, and deleted. Only ever those of its own prefix.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaErrorCode;
use schemas::topics::Plan;
use schemas::{Topic, Topics};

use crate::broker::BenchBroker;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the contract says about the topics of a prefix, with its defaults.
pub fn contract(prefix: &str, partitions: i32) -> Topics {
    Topics {
        prefix: prefix.to_owned(),
        partitions,
        replication: 1,
        retry_delays: ["5s", "1m", "10m", "1h"].map(str::to_owned).to_vec(),
        body_limit: 1024 * 1024,
        longest_window_ms: crate::events::WINDOW_MS,
    }
}

/// Creates all topics of a prefix as the contract has them; those that are there already stay.
pub async fn create(broker: &BenchBroker, topics: &Topics) -> Result<()> {
    for plan in topics.plan() {
        create_one(broker, &plan).await?;
    }
    Ok(())
}

/// Deletes what the processor writes, and creates it anew, empty.
pub async fn renew_outputs(broker: &BenchBroker, topics: &Topics) -> Result<()> {
    let outputs = [Topic::Clean, Topic::Stale, Topic::Dead, Topic::Resolutions, Topic::Changelog];
    let names: Vec<String> = outputs.iter().map(|topic| topics.name(topic)).collect();
    delete(broker, |name| names.iter().any(|output| output == name)).await?;
    create(broker, topics).await
}

/// Deletes everything of these topics, and creates them anew, empty.
pub async fn renew(broker: &BenchBroker, topics: &Topics) -> Result<()> {
    delete(broker, |_| true).await?;
    create(broker, topics).await
}

/// A plain topic.
pub async fn create_plain(broker: &BenchBroker, name: &str, partitions: i32) -> Result<()> {
    let config = vec![("max.message.bytes", "2097152".to_owned())];
    let plan = Plan { topic: Topic::Clean, name: name.to_owned(), partitions, replication: 1, config };
    create_one(broker, &plan).await
}

/// A deleted topic of the same name may be there for a moment.
async fn create_one(broker: &BenchBroker, plan: &Plan) -> Result<()> {
    let admin = admin(broker)?;
    let replication = TopicReplication::Fixed(plan.replication);
    let mut topic = NewTopic::new(&plan.name, plan.partitions, replication);
    topic.config = plan.config.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let results = admin.create_topics([&topic], &AdminOptions::new()).await.context("cannot create a topic")?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, error)) => bail!("cannot create {name}: {error}"),
        }
    }
    for _ in 0..PATIENCE.as_millis() / LOOK_AGAIN.as_millis() {
        if broker.cluster.ends(&plan.name).is_ok_and(|ends| ends.is_some_and(|ends| !ends.is_empty())) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("{} is not there {PATIENCE:?} after it was created", plan.name)
}

/// Deletes the topics of this run whose name `wanted` accepts, and waits until they are gone.
pub async fn delete(broker: &BenchBroker, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let names = existing(broker, &wanted)?;
    if names.is_empty() {
        return Ok(());
    }
    let wanted_names: Vec<&str> = names.iter().map(String::as_str).collect();
    let results = admin(broker)?.delete_topics(&wanted_names, &AdminOptions::new()).await;
    for result in results.context("cannot delete topics")? {
        result.map_err(|(name, error)| anyhow::anyhow!("cannot delete {name}: {error}"))?;
    }
    for _ in 0..PATIENCE.as_millis() / LOOK_AGAIN.as_millis() {
        if existing(broker, &wanted)?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("topics are still there {PATIENCE:?} after they were deleted")
}

/// Deletes everything of this run, on a broker that stays.
pub async fn clean_up(broker: &BenchBroker) -> Result<()> {
    if broker.is_own() {
        return Ok(());
    }
    delete(broker, |_| true).await
}

fn existing(broker: &BenchBroker, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    ensure!(broker.prefix.len() > 4, "the prefix {:?} may be anybody's", broker.prefix);
    let consumer = broker.cluster.consumer("weir-bench-topics")?;
    let metadata = consumer.fetch_metadata(None, PATIENCE).context("the cluster does not answer")?;
    let names = metadata.topics().iter().map(|topic| topic.name());
    // Kafka Streams puts its application's name first.
    let ours = names.filter(|name| name.contains(&broker.prefix) && wanted(name));
    Ok(ours.map(str::to_owned).collect())
}

fn admin(broker: &BenchBroker) -> Result<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.brokers()).set("log_level", "0");
    config.create().context("cannot make an admin client")
}
