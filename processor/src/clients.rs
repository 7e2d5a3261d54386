//! Settings of a worker's Kafka clients: everything the guarantee depends on stands in this file, with why.
//!
//! `[kafka.client]` may add to these and can't override them: the configuration refuses the names that are set
//! here, but for those that are only preferred. All timeouts follow from the session timeout.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use runtime::config::Config;
use schemas::{Topic, sizes};

use crate::commit::OutTopics;
use crate::fetcher::ReadTopics;
use crate::kafka::Clients;

const HEARTBEAT_MIN: Duration = Duration::from_millis(200);
/// How long a member may be busy without a look at the group. The client waits as long, and three seconds more, for the
/// answer to its request to join: that is how late it notices that the answer was lost on the way.
const BUSY: Duration = Duration::from_secs(60);
/// Most that a reader waits for an answer before it takes the connection for dead. The client's default is a minute.
const ANSWER: Duration = Duration::from_secs(30);
/// A partition whose local queue was full is fetched again after this; the client's default is a second.
const FETCH_BACKOFF_MS: &str = "5";
/// Fetched records that wait in one client, in KiB.
const FETCHED_KIB: u64 = 32 * 1024;
/// Most of a partition in one answer to whoever reads single records. One larger record comes all the same.
const RECORDS_BYTES: &str = "262144";
/// Offsets, epochs and timestamps around the largest record in a fetch or produce request.
const REQUEST_MARGIN: u64 = 64 * 1024;

/// Name under which a worker is a member of the group: `<instance>-<worker>`.
pub fn member(config: &Config, worker: u16) -> String {
    format!("{}-{worker}", config.processor.instance)
}

/// The clients of one worker.
pub fn clients(config: &Config, worker: u16) -> Clients {
    let topics = &config.topics;
    let transaction_timeout = config.processor.transaction_timeout();
    Clients {
        group: group(config, worker),
        producer: producer(config, worker, transaction_timeout),
        committed: reader(config, "read_committed"),
        raw: reader(config, "read_uncommitted"),
        commands: commands(config),
        records: records(config),
        read: ReadTopics {
            input: topics.name(&Topic::Verified),
            retry: topics.name(&Topic::Retry(String::new())),
            first: topics.retry_delays.first().cloned().unwrap_or_default(),
        },
        transaction_timeout,
        recycle: config.processor.recycle,
        // The client's own second try comes first.
        absent_most: config.processor.session_timeout.max(BUSY) + BUSY / 6,
        input: topics.name(&Topic::Verified),
        outputs: OutTopics {
            clean: topics.name(&Topic::Clean),
            stale: topics.name(&Topic::Stale),
            dead: topics.name(&Topic::Dead),
            resolutions: topics.name(&Topic::Resolutions),
            changelog: topics.name(&Topic::Changelog),
            retry: topics.retry_delays.iter().map(|delay| topics.name(&Topic::Retry(delay.clone()))).collect(),
        },
    }
}

/// Looks at how far the group has come, as a client of it that never joins. What is about to be committed is not waited
/// for.
pub(crate) fn watcher(config: &Config) -> ClientConfig {
    reader(config, "read_uncommitted")
}

fn group(config: &Config, worker: u16) -> ClientConfig {
    let session = config.processor.session_timeout;
    let mut client = consumer(config, "read_committed");
    client
        .set("session.timeout.ms", ms(session))
        .set("heartbeat.interval.ms", ms((session / 15).max(HEARTBEAT_MIN)))
        .set("max.poll.interval.ms", ms(session.max(BUSY)))
        // The newer protocol of librdkafka 2.12 has stalls that were mended only later.
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky");
    // A static member keeps its partitions over a restart. One that shall leave on SIGTERM can't be static:
    // the client has no way to take a static member out of its group.
    if !config.processor.leave {
        client.set("group.instance.id", member(config, worker));
    }
    client
}

fn producer(config: &Config, worker: u16, timeout: Duration) -> ClientConfig {
    // The client asks for these below the transaction timeout.
    let inner = timeout * 4 / 5;
    let record_max = sizes::dead_record_bytes(config.topics.body_limit) + REQUEST_MARGIN;
    let batch_bytes = config.processor.batch_bytes as u64;
    let mut client = runtime::kafka::client(&config.kafka);
    client
        .set("transactional.id", format!("{}-{}", config.processor.group, member(config, worker)))
        .set("transaction.timeout.ms", ms(timeout))
        .set("message.timeout.ms", ms(inner))
        .set("socket.timeout.ms", ms(inner))
        .set("enable.idempotence", "true")
        .set("message.max.bytes", record_max.to_string())
        .set("queue.buffering.max.messages", (config.processor.batch_events * 2 + 1000).to_string())
        .set("queue.buffering.max.kbytes", ((batch_bytes * 2 + record_max) / 1024 + 1024).to_string());
    let preferred = [
        // Records come in bursts, so batches form by themselves; waiting would only delay the last one.
        ("linger.ms", "10"),
        ("compression.type", "lz4"),
        // The next transaction often meets the end of the one before: ask again soon.
        ("retry.backoff.ms", "5"),
    ];
    runtime::kafka::prefer(&mut client, &preferred);
    client
}

/// Reads what is in Kafka already, as a client of the group that never joins it.
fn reader(config: &Config, isolation: &str) -> ClientConfig {
    let mut client = consumer(config, isolation);
    // It reads to an end and stops, so it never waits long for more.
    client.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "5");
    client
}

/// Reads commands, as a client of the group that never joins it. They are few, and it mostly waits for one.
fn commands(config: &Config) -> ClientConfig {
    let mut client = consumer(config, "read_committed");
    client
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "16384");
    client
}

/// Reads single records by their offsets, in the same way. A broker answers one request of a client after the other, so
/// none asks for what is not there yet, or for much.
fn records(config: &Config) -> ClientConfig {
    let mut client = commands(config);
    client.set("fetch.wait.max.ms", "5").set("fetch.message.max.bytes", RECORDS_BYTES);
    client
}

fn consumer(config: &Config, isolation: &str) -> ClientConfig {
    let record_max = sizes::dead_record_bytes(config.topics.body_limit) + REQUEST_MARGIN;
    let mut client = runtime::kafka::client(&config.kafka);
    client
        .set("group.id", &config.processor.group)
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A missing offset is a loss that a person must see, never a silent jump.
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("socket.timeout.ms", ms(config.processor.session_timeout.min(ANSWER)))
        .set("fetch.wait.max.ms", "50")
        .set("fetch.message.max.bytes", record_max.max(1024 * 1024).to_string())
        .set("fetch.max.bytes", record_max.max(50 * 1024 * 1024).to_string())
        .set("receive.message.max.bytes", (record_max.max(100_000_000) + REQUEST_MARGIN).to_string())
        .set("queued.max.messages.kbytes", FETCHED_KIB.max(record_max * 2 / 1024).to_string());
    let preferred = [("fetch.queue.backoff.ms", FETCH_BACKOFF_MS), ("topic.metadata.refresh.interval.ms", "15000")];
    runtime::kafka::prefer(&mut client, &preferred);
    client
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}
