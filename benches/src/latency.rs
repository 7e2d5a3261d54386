//! End to end at a constant rate: from the HTTP 200 to the moment a consumer of `clean-events` has the event.
//!
//! Ingest, processor, broker, generator and consumer share the machine; the consumer is part of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use schemas::Topic;
use serde_json::json;
use weir_tests::wait::wait_until;

use crate::acked::Times;
use crate::args::Settings;
use crate::bodies::{BODY_BYTES, Requests, slot_of};
use crate::broker::BenchBroker;
use crate::generator::{self, Pace};
use crate::ingest_bench::{RATE_CONNECTIONS, load, next_offsets};
use crate::outputs::header_of;
use crate::series::{Figure, Series, figure, report};
use crate::usage::Pids;
use crate::weir::{STOP_WITHIN, Weir};
use crate::worker_time::{self, WORKER_TIME};
use crate::{machine, topics};

const FIGURES: [Figure; 9] = [
    figure("events_per_s", "events/s", 0),
    figure("p50_ms", "200 to visible: p50 ms", 1),
    figure("p99_ms", "p99 ms", 1),
    figure("max_ms", "max ms", 1),
    figure("door_p50_ms", "door: p50 ms", 2),
    figure("door_p99_ms", "p99 ms", 2),
    figure("processor_cpu_us_per_event", "processor CPU us/event", 1),
    figure("own_cores", "generator and consumer cores", 2),
    figure("foreign_percent", "other load, door included %", 0),
];
/// How much longer than the other measurements over HTTP.
const LONGER: u64 = 5;
/// How long the last events may take to be seen.
pub const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// Runs every round and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let broker = BenchBroker::start().await?;
    let topics = topics::contract(&broker.prefix, settings.partitions);
    topics::create(&broker, &topics).await?;
    let facts = machine::facts(broker.brokers(), broker.is_own());
    println!("{}", machine::shown(&facts));
    let rate = settings.rate();
    let mut series = Series::new(format!("end to end, {rate}/s"), &FIGURES);
    let weir = Weir::new(&broker, settings, "latency")?;
    let (mut ingest, mut processor) = (weir.ingest()?, weir.processor("bench")?);
    ingest.ready().await?;
    processor.runs(settings.partitions).await?;
    let requests = Arc::new(Requests::new("/hooks/github", settings.seed));
    let mut one = load(settings, weir.door, RATE_CONNECTIONS, Pace::Constant(rate));
    one.measure *= u32::try_from(LONGER).context("a small number")?;
    for round in 0..settings.runs {
        let times = one.times(u16::try_from(round + 1).context("too many rounds")?);
        let watcher = Watcher::start(&broker, &topics.name(&Topic::Clean), &times)?;
        let pids = Pids { contestant: processor.process.id(), broker: broker.pid() };
        let shot = generator::fire(&one, &requests, &times, pids).await?;
        watcher.finish(&times).await?;
        let waits = times.waits()?;
        let mut add = |name, value| series.add("weir", name, value);
        add("events_per_s", shot.done as f64 / shot.span.wall_s);
        add("p50_ms", waits.value_at_quantile(0.5) as f64 / 1e3);
        add("p99_ms", waits.value_at_quantile(0.99) as f64 / 1e3);
        add("max_ms", waits.max() as f64 / 1e3);
        add("door_p50_ms", shot.latencies.value_at_quantile(0.5) as f64 / 1e3);
        add("door_p99_ms", shot.latencies.value_at_quantile(0.99) as f64 / 1e3);
        add("processor_cpu_us_per_event", shot.span.contestant_s * 1e6 / shot.done.max(1) as f64);
        add("own_cores", shot.span.own_s / shot.span.wall_s);
        add("foreign_percent", shot.span.foreign * 100.0);
    }
    let mut worker = Series::new("weir's worker", &WORKER_TIME);
    let events = next_offsets(&broker, &topics.name(&Topic::Verified))?.values().sum::<i64>();
    worker_time::add(&mut worker, "weir", processor.admin, events.unsigned_abs()).await?;
    ingest.process.stop(STOP_WITHIN).await?;
    processor.process.stop(STOP_WITHIN).await?;
    let settings = json!({
        "runs": settings.runs, "seed": settings.seed, "rate": rate, "partitions": settings.partitions,
        "body_bytes": BODY_BYTES, "seconds": settings.seconds * LONGER, "commit_interval_ms": 100,
        "client": settings.client,
    });
    report("latency", &facts, &settings, &[series, worker])?;
    topics::clean_up(&broker).await
}

/// A reader of what appears in a topic from now on.
pub fn from_now_on(broker: &BenchBroker, topic: &str) -> Result<BaseConsumer> {
    let consumer = broker.cluster.consumer("weir-bench-watcher")?;
    let mut list = TopicPartitionList::new();
    for (partition, next) in next_offsets(broker, topic)? {
        list.add_partition_offset(topic, partition, Offset::Offset(next)).context("no such offset")?;
    }
    consumer.assign(&list).with_context(|| format!("cannot read {topic}"))?;
    Ok(consumer)
}

/// A thread that sees what appears in `clean-events`.
pub struct Watcher {
    thread: JoinHandle<Result<()>>,
    is_over: Arc<AtomicBool>,
}

impl Watcher {
    /// From now on.
    pub fn start(broker: &BenchBroker, topic: &str, times: &Arc<Times>) -> Result<Self> {
        let consumer = from_now_on(broker, topic)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (times, stop) = (Arc::clone(times), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || watch(&consumer, &times, &stop));
        Ok(Self { thread, is_over })
    }

    /// Waits until everything acknowledged was seen, and checks that nothing was seen twice.
    pub async fn finish(self, times: &Times) -> Result<()> {
        let seen = || async {
            match times.missing() {
                0 => Ok(()),
                missing => Err(format!("{missing} are missing")),
            }
        };
        let waited = wait_until("every acknowledged event in clean-events", SEEN_WITHIN, seen).await;
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watcher panicked"))??;
        waited?;
        times.check()
    }
}

fn watch(consumer: &BaseConsumer, times: &Times, is_over: &AtomicBool) -> Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                let id = header_of(&record, "ce_id").and_then(|id| std::str::from_utf8(id).ok());
                if let Some((tag, slot)) = id.and_then(slot_of)
                    && tag == times.tag
                {
                    times.see_in(slot, record.partition());
                }
            }
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(error).context("cannot read clean-events"),
        }
    }
    Ok(())
}
