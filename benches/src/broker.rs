//! Kafka for a benchmark: the one in `KAFKA_BROKERS`, or an empty one of our own under `target/kafka/bench`.
//!
//! Only of our own broker can be said how much CPU it took and how many bytes a topic is on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use weir_tests::cluster::Cluster;
use weir_tests::guard::Guard;
use weir_tests::wait::wait_until;
use weir_tests::{broker, place};

const PATIENCE: Duration = Duration::from_secs(30);

/// A broker to measure on. Dropping it stops it when it is ours.
#[derive(Debug)]
pub struct BenchBroker {
    /// Questions to it.
    pub cluster: Cluster,
    /// Put before every topic of this run.
    pub prefix: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    folder: PathBuf,
    _guard: Guard,
}

impl BenchBroker {
    /// Starts one, or takes the one that was given.
    pub async fn start() -> Result<Self> {
        let prefix = broker::prefix("bench");
        if let Some(brokers) = broker::given() {
            return Ok(Self { cluster: Cluster::new(&brokers), prefix, own: None });
        }
        let folder = place::root().join("target/kafka/bench");
        let down = place::script("kafka/down").display().to_string();
        let guard = Guard::new(&[&down, "--dir", &folder.display().to_string()])?;
        let mut up = Command::new(place::script("kafka/up"));
        up.arg("--dir").arg(&folder).args(["--port", "0", "--nodes", "1", "--fresh"]);
        let output =
            up.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run scripts/kafka/up")?;
        ensure!(output.status.success(), "Kafka could not be started; the lines above say why");
        let brokers = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let own = Self { cluster: Cluster::new(&brokers), prefix, own: Some(Own { folder, _guard: guard }) };
        own.warm_up().await?;
        Ok(own)
    }

    /// Kafka makes its own topics for groups and transactions when they are first needed; the first contestant
    /// shall not wait for them.
    #[expect(clippy::disallowed_methods, reason = "no event is part of this transaction")]
    async fn warm_up(&self) -> Result<()> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers()).set("log_level", "0");
        config.set("group.id", "weir-bench-warm-up").set("transactional.id", "weir-bench-warm-up");
        let producer: BaseProducer = config.create().context("cannot make a producer")?;
        producer.init_transactions(PATIENCE).context("the broker takes no transactions")?;
        let consumer: BaseConsumer = config.remove("transactional.id").create().context("cannot make a consumer")?;
        let mut nothing = TopicPartitionList::new();
        nothing.add_partition("__transaction_state", 0);
        let ask = || async {
            let found = consumer.committed_offsets(nothing.clone(), PATIENCE);
            found.map(drop).map_err(|error| error.to_string())
        };
        wait_until("groups", PATIENCE, ask).await
    }

    /// The bootstrap list.
    pub fn brokers(&self) -> &str {
        self.cluster.brokers()
    }

    /// Whether it is ours.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Its process, when it is ours.
    pub fn pid(&self) -> Option<u32> {
        let own = self.own.as_ref()?;
        fs::read_to_string(own.folder.join("node-1/pid")).ok()?.trim().parse().ok()
    }

    /// Bytes of the segments of every topic whose name `wanted` accepts; without indexes. `None` on somebody
    /// else's broker.
    pub fn topic_bytes(&self, wanted: impl Fn(&str) -> bool) -> Result<Option<u64>> {
        let Some(own) = &self.own else { return Ok(None) };
        let data = own.folder.join("node-1/data");
        let mut sum = 0;
        for entry in fs::read_dir(&data).with_context(|| format!("cannot read {}", data.display()))? {
            let entry = entry.context("cannot read the broker's data")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let topic = name.rsplit_once('-').map_or(name.as_str(), |(topic, _partition)| topic);
            if entry.path().is_dir() && wanted(topic) {
                sum += folder_bytes(&entry.path(), |file| file.ends_with(".log"))?;
            }
        }
        Ok(Some(sum))
    }
}

/// Bytes of the files below a folder whose name `wanted` accepts. A file that vanishes meanwhile counts nothing.
pub fn folder_bytes(folder: &Path, wanted: impl Fn(&str) -> bool + Copy) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry.context("cannot read a folder")?;
        let path = entry.path();
        if path.is_dir() {
            sum += folder_bytes(&path, wanted)?;
        } else if wanted(&entry.file_name().to_string_lossy()) {
            sum += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(sum)
}
