//! Follows a contestant from outside, the same way for all: by the offsets its group has committed.
//!
//! The rate is taken between the first and the last commit, so that start-up (a JVM's, a rebalance's) does not
//! count; the CPU is all that the process used since it started.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use weir_tests::process::{Process, shown};

use crate::broker::BenchBroker;
use crate::usage::{self, Pids, Span, Start, Usage};

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Without any progress for this long a contestant is given up.
const STALL: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(20);

/// What was seen of one contestant's run.
#[derive(Debug, Clone, Copy)]
pub struct Followed {
    /// From the start of the process to its first commit, s.
    pub start_s: f64,
    /// Events per second from the first to the last commit.
    pub events_per_s: f64,
    /// What the process had used at the end.
    pub usage: Usage,
    /// CPU of everybody, from the start of the process to the end.
    pub span: Span,
    /// CPU of everybody from the first to the last commit, and how many events were committed meanwhile.
    pub steady: (Span, u64),
}

/// The committed offsets of a group.
pub struct Offsets {
    consumer: BaseConsumer,
    list: TopicPartitionList,
}

impl Offsets {
    /// Of that group in that topic.
    pub fn new(broker: &BenchBroker, group: &str, topic: &str, partitions: i32) -> Result<Self> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", broker.brokers())
            .set("group.id", group)
            .set("log_level", "0")
            // Reading committed, the client would wait while a transaction is open; like this it gets what was
            // committed last.
            .set("isolation.level", "read_uncommitted")
            .create()
            .context("cannot make a consumer")?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition(topic, partition);
        }
        Ok(Self { consumer, list })
    }

    /// Their sum: how many records are done, in a topic that begins at zero.
    pub fn done(&self) -> Result<u64> {
        let found = self.consumer.committed_offsets(self.list.clone(), PATIENCE);
        let found = found.context("cannot ask for committed offsets")?;
        let offsets = found.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => u64::try_from(offset).unwrap_or_default(),
            _ => 0,
        });
        Ok(offsets.sum())
    }
}

/// Follows `process` until its group, which had committed `before` records, has committed `total`.
pub async fn follow(
    broker: &BenchBroker,
    offsets: &Offsets,
    process: &mut Process,
    before: u64,
    total: u64,
) -> Result<Followed> {
    let began = Instant::now();
    let pids = Pids { contestant: process.id(), broker: broker.pid() };
    let start = Start::now(pids)?;
    let mut first: Option<(Instant, u64, Start)> = None;
    let mut last = (Instant::now(), before);
    let mut sample = (Usage::default(), Span::default());
    let mut steady = Span::default();
    loop {
        let done = offsets.done()?;
        let now = Instant::now();
        // A process that ended by itself leaves its last sample.
        if let (Ok(usage), Ok(span)) = (usage::of(process.id()), start.until_now()) {
            sample = (usage, span);
            if let Some((_, _, from)) = &first {
                steady = from.until_now().unwrap_or(steady);
            }
        }
        if done > last.1 {
            last = (now, done);
            if first.is_none() {
                first = Some((now, done, Start::now(pids)?));
            }
        }
        ensure!(done <= total, "{} committed {done} records, but there are only {total}", process.name());
        if done == total {
            break;
        }
        if let Some(status) = process.ended()?
            && offsets.done()? < total
        {
            bail!("{} ended with {} at {done} of {total}:\n{}", process.name(), shown(status), process.last_words());
        }
        if last.0.elapsed() > STALL {
            bail!("{} stands at {done} of {total} for {STALL:?}:\n{}", process.name(), process.last_words());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let (first_at, first_done, _) = first.context("nothing was committed")?;
    let seconds = (last.0 - first_at).as_secs_f64();
    ensure!(seconds > 0.0, "everything was committed at once; use more events");
    Ok(Followed {
        start_s: (first_at - began).as_secs_f64(),
        events_per_s: (last.1 - first_done) as f64 / seconds,
        usage: sample.0,
        span: sample.1,
        steady: (steady, last.1 - first_done),
    })
}
