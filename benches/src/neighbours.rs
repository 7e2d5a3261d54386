//! What a partition that moves in with a large state costs its neighbours: the wait of their events while it is
//! restored, next to that afterwards, under the same load.
//!
//! The large partition's changelog and its committed position are written as a processor would have left them. The
//! processor starts with no state at all; its other partitions run at once, and the load begins when they do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use processor::books::Place;
use processor::changelog::{Delta, encode_delta};
use processor::position::Position;
use processor::state::{Changes, Entry, keys};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::Offset;
use schemas::{Topic, Topics};
use serde_json::json;

use crate::args::Settings;
use crate::bodies::Requests;
use crate::broker::BenchBroker;
use crate::events::{WINDOW_MS, mix};
use crate::generator::{self, Load, Pace};
use crate::ingest_bench::{RATE_CONNECTIONS, load};
use crate::latency::Watcher;
use crate::series::{Figure, Series, figure, report};
use crate::usage::Pids;
use crate::weir::{STOP_WITHIN, Weir};
use crate::worker_time::{self, WORKER_TIME};
use crate::{machine, state, topics};

const FIGURES: [Figure; 4] = [
    figure("p50_ms", "p50 ms", 1),
    figure("p99_ms", "p99 ms", 1),
    figure("max_ms", "max ms", 1),
    figure("events", "events", 0),
];
const DURING: &str = "while it is restored";
const AFTER: &str = "afterwards";
/// Which partition is large.
const LARGE: i32 = 7;
/// Ids of one transaction, as in a backlog.
const IDS_EACH: u64 = 40_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// The load goes on for this long after the slowest restore that is expected.
const CALM: Duration = Duration::from_secs(12);
const SLOWEST_IDS_PER_S: u64 = 300_000;
/// What waited for the large partition is done after this.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Runs every round and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let broker = BenchBroker::start().await?;
    let topics = topics::contract(&broker.prefix, settings.partitions);
    ensure!(settings.partitions > LARGE, "too few partitions");
    let facts = machine::facts(broker.brokers(), broker.is_own());
    println!("{}", machine::shown(&facts));
    let rate = settings.rate();
    let title = format!("neighbours of a partition with {} entries, {rate}/s", settings.moved);
    let mut series = [Series::new(title, &FIGURES), Series::new("weir's worker", &WORKER_TIME)];
    let mut restored_s = Vec::new();
    for round in 0..settings.runs {
        topics::renew(&broker, &topics).await?;
        let weir = Weir::new(&broker, settings, &format!("neighbours-{round}"))?;
        write_history(&broker, &topics, &weir.group(), settings)?;
        restored_s.push(one(&broker, &topics, &weir, settings, &mut series).await?);
    }
    let settings = json!({
        "runs": settings.runs, "seed": settings.seed, "rate": rate, "partitions": settings.partitions,
        "moved": settings.moved, "commit_interval_ms": 100, "restored_s": restored_s,
    });
    report("neighbours", &facts, &settings, &series)?;
    println!("restored in {restored_s:.2?} s, beside the load");
    topics::clean_up(&broker).await
}

/// One start under load. How long the restore took beside it, s.
async fn one(
    broker: &BenchBroker,
    topics: &Topics,
    weir: &Weir,
    settings: &Settings,
    [series, worker]: &mut [Series; 2],
) -> Result<f64> {
    let rate = settings.rate();
    let mut ingest = weir.ingest()?;
    ingest.ready().await?;
    let requests = Arc::new(Requests::new("/hooks/github", settings.seed));
    let measure = Duration::from_secs(settings.moved / SLOWEST_IDS_PER_S) + CALM;
    let load = Load { measure, ..load(settings, weir.door, RATE_CONNECTIONS, Pace::Constant(rate)) };
    let times = load.times(1);
    let mut processor = weir.processor("bench")?;
    processor.runs(settings.partitions - 1).await.context("the others run first")?;
    let watcher = Watcher::start(broker, &topics.name(&Topic::Clean), &times)?;
    let pids = Pids { contestant: processor.process.id(), broker: broker.pid() };
    let began = Instant::now();
    let (shot, restored) = tokio::join!(generator::fire(&load, &requests, &times, pids), async {
        processor.runs(settings.partitions).await.map(|_| Instant::now())
    });
    shot?;
    let (restored, ended) = (restored?, Instant::now());
    watcher.finish(&times).await?;
    worker_time::add(worker, "weir", processor.admin, times.acked()).await?;
    processor.process.stop(STOP_WITHIN).await?;
    ingest.process.stop(STOP_WITHIN).await?;
    let calm = restored + CATCH_UP;
    ensure!(ended > calm + CATCH_UP, "the restore took until the load was nearly over");
    for (name, span) in [(DURING, began..restored), (AFTER, calm..ended)] {
        let waits = times.waits_between(span, |partition| partition != LARGE)?;
        let mut add = |figure, value| series.add(name, figure, value);
        add("p50_ms", waits.value_at_quantile(0.5) as f64 / 1e3);
        add("p99_ms", waits.value_at_quantile(0.99) as f64 / 1e3);
        add("max_ms", waits.max() as f64 / 1e3);
        add("events", waits.len() as f64);
    }
    Ok((restored - began).as_secs_f64())
}

/// The changelog of the large partition, and where its group stands.
#[expect(clippy::disallowed_methods, reason = "the processor that would have committed this position never ran")]
fn write_history(broker: &BenchBroker, topics: &Topics, group: &str, settings: &Settings) -> Result<()> {
    let now_ms = runtime::clock::now_ms();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.brokers())
        .set("log_level", "0")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("message.max.bytes", "10000000")
        .create()
        .context("cannot make a producer")?;
    let changelog = topics.name(&Topic::Changelog);
    let (lineage, mut txn, mut number) = (settings.seed, 0, 0);
    while number < settings.moved {
        txn += 1;
        let ids = number..settings.moved.min(number + IDS_EACH);
        number = ids.end;
        let mut changes =
            Changes { entries: ids.map(|id| entry(settings, id, now_ms)).collect(), ..Changes::default() };
        changes.tallies.set("github", Place::Clean, number);
        changes.source_classes.insert("github".to_owned(), 1 << keys::class_of(WINDOW_MS));
        let delta = Delta { lineage, txn, is_last: true, stream_time: now_ms, changes, ..Delta::default() };
        encode_delta(&delta, |record| send(&producer, &changelog, record))?;
    }
    producer.flush(PATIENCE).context("the changelog was not written")?;
    let ends = broker.cluster.ends(&changelog)?.context("there is no changelog")?;
    let written = ends.get(&LARGE).map_or(0, |(_, next)| *next);
    ensure!(written >= txn as i64, "{written} records in the changelog, of {txn} transactions");
    let position = Position {
        lineage,
        txn,
        delta_txn: txn,
        stream_time: now_ms,
        partitions: settings.partitions.unsigned_abs(),
        snapshot_ms: now_ms,
        ..Position::default()
    };
    let mut list = TopicPartitionList::new();
    let verified = topics.name(&Topic::Verified);
    let mut element = list.add_partition(&verified, LARGE);
    element.set_offset(Offset::Offset(position.next)).context("no such offset")?;
    element.set_metadata(position.metadata());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.brokers())
        .set("log_level", "0")
        .set("group.id", group)
        .create()
        .context("cannot make a consumer")?;
    consumer.commit(&list, CommitMode::Sync).context("the position was not committed")
}

fn send(producer: &BaseProducer, topic: &str, record: &[u8]) -> Result<()> {
    loop {
        match producer.send(BaseRecord::<(), [u8]>::to(topic).partition(LARGE).payload(record)) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error).context("cannot write the changelog"),
        }
    }
}

/// The newest snapshot of one of the resources.
fn entry(settings: &Settings, number: u64, now_ms: i64) -> Entry {
    let entry = state::entry(settings, LARGE, number, now_ms);
    let mut resource = [0; 12];
    resource[..8].copy_from_slice(&mix(number % settings.resources).to_be_bytes());
    Entry { last: Some((resource, entry.seen.first_seen)), ..entry }
}
