//! Reads back what a contestant wrote and holds it against what must be there, id by id and in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::broker::BenchBroker;
use crate::events::{Shape, number_of};

const PATIENCE: Duration = Duration::from_secs(300);

/// How often each event must come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Once.
    Once,
    /// As often as it went in: of a contestant without a state.
    EveryCopy,
}

/// Fails unless the committed records of `topic`, from these offsets on, are the events of the shape. `header`
/// holds their id.
pub fn check(
    broker: &BenchBroker,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    header: &str,
    shape: &Shape,
    wanted: Wanted,
) -> Result<()> {
    let mut seen = vec![false; usize::try_from(shape.events).context("too many events")?];
    let (mut records, mut uniques) = (0_u64, 0_u64);
    let mut last = BTreeMap::new();
    let mut take = |record: &BorrowedMessage<'_>| {
        let number = number(record, header)?;
        let slot = seen.get_mut(number as usize).with_context(|| format!("event {number} was never written"))?;
        records += 1;
        uniques += u64::from(!*slot);
        *slot = true;
        // A resource lives in one partition, so order there is order of the resource.
        let before = last.insert(record.partition(), number);
        if wanted == Wanted::Once {
            ensure!(before.is_none_or(|before| before < number), "event {number} came out of order or twice");
        }
        Ok(())
    };
    each(broker, topic, from, &mut take)?;
    let expected = match wanted {
        Wanted::Once => shape.uniques(),
        Wanted::EveryCopy => shape.events,
    };
    ensure!(uniques == shape.uniques(), "{uniques} different events came out instead of {}", shape.uniques());
    ensure!(records == expected, "{records} records came out instead of {expected}");
    Ok(())
}

fn number(record: &BorrowedMessage<'_>, header: &str) -> Result<u64> {
    let id = header_of(record, header).with_context(|| format!("a record without {header}"))?;
    number_of(id).with_context(|| format!("not one of our ids: {}", String::from_utf8_lossy(id)))
}

/// The first header of that name.
pub fn header_of<'a>(record: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a [u8]> {
    record.headers()?.iter().find(|header| header.key == name)?.value
}

/// Every committed record of a topic, from these offsets or else from the beginning to the end of now.
pub fn each(
    broker: &BenchBroker,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    take: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let ends = broker.cluster.settled_ends(topic)?;
    let consumer = broker.cluster.consumer("weir-bench-check")?;
    let mut list = TopicPartitionList::new();
    for (partition, (first, _)) in &ends {
        let start = from.get(partition).copied().unwrap_or(*first);
        list.add_partition_offset(topic, *partition, Offset::Offset(start)).context("no such offset")?;
    }
    consumer.assign(&list).with_context(|| format!("cannot read {topic}"))?;
    let mut open: Vec<i32> = ends.keys().copied().collect();
    let deadline = Instant::now() + PATIENCE;
    while !open.is_empty() {
        ensure!(Instant::now() < deadline, "{topic} could not be read within {PATIENCE:?}");
        poll(&consumer, &mut open, take).with_context(|| format!("while reading {topic}"))?;
    }
    Ok(())
}

fn poll(
    consumer: &BaseConsumer,
    open: &mut Vec<i32>,
    take: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    match consumer.poll(Duration::from_millis(200)) {
        None => Ok(()),
        Some(Ok(record)) => take(&record),
        Some(Err(KafkaError::PartitionEOF(partition))) => {
            open.retain(|known| *known != partition);
            Ok(())
        }
        Some(Err(error)) => bail!(error),
    }
}
