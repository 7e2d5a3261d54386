//! Reading what is already in Kafka: committed offsets, where partitions begin and end, changelogs, output tails.
//!
//! Two clients of no group: one sees committed records only and answers with what is decided, the other sees where
//! a log really ends. Neither ever commits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemas::command::RecordHeaders;
use schemas::headers;

use crate::log::{Ends, Found, Scan, Scanned, Stored};
use crate::step::Input;

/// Patience with an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// Patience with an answer that nobody needs.
const WAKE: Duration = Duration::from_millis(100);
/// Committed offsets wait for a pending transaction, which its coordinator ends within the transaction timeout.
const DECIDED: Duration = Duration::from_secs(15);
/// Patience with an answer for which records wait meanwhile.
const GLANCE: Duration = Duration::from_millis(200);

/// Keeps what a client says on the side out of the error log: its calls return what matters, and we cope.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        runtime::kafka::said(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        told(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

/// Logs what a client says on the side. The end of a partition is no trouble at all.
pub(crate) fn told(error: &KafkaError, reason: &str) {
    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
        tracing::debug!(%error, reason, "the Kafka client met trouble");
    }
}

/// Committed offsets by partition.
pub(crate) type Positions = Vec<(i32, Option<Stored>)>;

/// The two reading clients.
pub(crate) struct Reader {
    committed: BaseConsumer<Quiet>,
    raw: BaseConsumer<Quiet>,
    at: Assigned,
}

impl Reader {
    /// Connects both clients. `committed` must be configured to read committed records and to report ends.
    pub(crate) fn connect(committed: &ClientConfig, raw: &ClientConfig) -> KafkaResult<Self> {
        let connect = |config: &ClientConfig| BaseConsumer::from_config_and_context(config, Quiet);
        Ok(Self { committed: connect(committed)?, raw: connect(raw)?, at: Assigned::default() })
    }

    /// Committed offsets with their metadata, once decided.
    pub(crate) fn positions(&self, topic: &str, partitions: &[i32]) -> KafkaResult<Positions> {
        committed(&self.committed, DECIDED, topic, partitions)
    }

    /// The same, if they are decided and somebody says so at once.
    pub(crate) fn glance(&self, topic: &str, partitions: &[i32]) -> KafkaResult<Positions> {
        committed(&self.committed, GLANCE, topic, partitions)
    }

    /// Where partitions begin and end. What was the end is asked before what is decided.
    pub(crate) fn ends(&self, wanted: &[(String, i32)]) -> KafkaResult<Vec<Ends>> {
        let starts = offsets(&self.raw, wanted, Offset::Beginning, ANSWER)?;
        let highs = offsets(&self.raw, wanted, Offset::End, ANSWER)?;
        let stables = offsets(&self.committed, wanted, Offset::End, ANSWER)?;
        let all = starts.into_iter().zip(highs).zip(stables);
        Ok(all.map(|((start, high), stable)| Ends { start, stable, high }).collect())
    }

    /// Where partitions begin and end, whatever is decided. This client fetches nothing, so nobody waits behind a fetch.
    pub(crate) fn ranges(&self, topic: &str, partitions: &[i32]) -> KafkaResult<Vec<RangeInclusive<i64>>> {
        ranges(&self.raw, topic, partitions)
    }

    /// Where partitions have their first record that was appended after a time, if they have one.
    pub(crate) fn first_after(&self, topic: &str, times: &[(i32, i64)]) -> KafkaResult<BTreeMap<i32, i64>> {
        if times.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut list = TopicPartitionList::with_capacity(times.len());
        for (partition, time) in times {
            list.add_partition_offset(topic, *partition, Offset::Offset(time.saturating_add(1).max(0)))?;
        }
        let mut found = BTreeMap::new();
        for element in self.raw.offsets_for_times(list, ANSWER)?.elements() {
            element.error()?;
            match element.offset() {
                Offset::Offset(offset) => {
                    found.insert(element.partition(), offset);
                }
                Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {}
            }
        }
        Ok(found)
    }

    /// How many partitions a topic has.
    pub(crate) fn partitions(&self, topic: &str) -> KafkaResult<i32> {
        let metadata = self.raw.fetch_metadata(Some(topic), ANSWER)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// Reads committed records on from these offsets. How far it came with each partition.
    pub(crate) fn scan(
        &mut self,
        topic: &str,
        from: &[(i32, i64)],
        budget: Duration,
        each: &mut dyn FnMut(i32, Found<'_>) -> Scan,
    ) -> KafkaResult<BTreeMap<i32, Scanned>> {
        self.stand_at(topic, from)?;
        let began = Instant::now();
        let start = |(partition, next): &(i32, i64)| (*partition, Scanned { next: *next, is_end: false });
        let mut scanned: BTreeMap<i32, Scanned> = from.iter().map(start).collect();
        let mut open: BTreeSet<i32> = scanned.keys().copied().collect();
        let mut is_silent = true;
        loop {
            // One more look after the budget costs nothing and guarantees progress.
            let left = budget.saturating_sub(began.elapsed());
            let polled = self.committed.poll(left);
            is_silent &= polled.is_none();
            match polled {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let Some(so_far) = scanned.get_mut(&partition).filter(|_| self.at.has(partition)) else { continue };
                    *so_far = Scanned { next: message.offset() + 1, is_end: false };
                    self.at.next.insert(partition, so_far.next);
                    match each(partition, found(&message)) {
                        Scan::On => {}
                        Scan::Enough => {
                            open.remove(&partition);
                            self.at.leave(partition, &self.committed)?;
                        }
                        Scan::Stop => break,
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(so_far) = scanned.get_mut(&partition) {
                        so_far.is_end = true;
                    }
                    open.remove(&partition);
                }
                Some(Err(error)) if is_outage(&error) => {}
                Some(Err(error)) => {
                    self.at = Assigned::default();
                    return Err(error);
                }
                None if left.is_zero() => break,
                None => {}
            }
            if left.is_zero() || open.is_empty() {
                break;
            }
        }
        if open.is_empty() {
            self.rest()?;
        } else if is_silent && let Some((partition, _)) = from.first() {
            // A client that was at rest may overlook for a second that it has something to read. An answer wakes it.
            drop(offsets(&self.committed, &[(topic.to_owned(), *partition)], Offset::End, WAKE));
        }
        Ok(scanned)
    }

    /// Nobody reads on: a partition that stays assigned would be fetched for ever.
    pub(crate) fn rest(&mut self) -> KafkaResult<()> {
        if self.at == Assigned::default() {
            return Ok(());
        }
        self.at = Assigned::default();
        self.committed.unassign()
    }

    /// Stands at these offsets, and keeps what was fetched if it stands there already.
    fn stand_at(&mut self, topic: &str, from: &[(i32, i64)]) -> KafkaResult<()> {
        let is_there = |(partition, next): &(i32, i64)| self.at.next.get(partition) == Some(next);
        if self.at.topic == topic && from.iter().all(is_there) {
            let stays = |partition: &i32| from.iter().any(|(wanted, _)| wanted == partition);
            let leaving: Vec<i32> = self.at.next.keys().filter(|partition| !stays(partition)).copied().collect();
            return leaving.into_iter().try_for_each(|partition| self.at.leave(partition, &self.committed));
        }
        let mut list = TopicPartitionList::with_capacity(from.len());
        for (partition, next) in from {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
        // Where it stands is known again once it does: what failed half way is assigned anew.
        self.at = Assigned::default();
        self.committed.assign(&list)?;
        // A partition that was left stays paused, whatever is assigned since.
        self.committed.resume(&list)?;
        self.at = Assigned { topic: topic.to_owned(), next: from.iter().copied().collect() };
        Ok(())
    }
}

/// Where a client stands that reads without a group.
#[derive(Debug, Default, PartialEq, Eq)]
struct Assigned {
    topic: String,
    next: BTreeMap<i32, i64>,
}

impl Assigned {
    fn has(&self, partition: i32) -> bool {
        self.next.contains_key(&partition)
    }

    /// Reads a partition no more, and goes on with the others.
    fn leave(&mut self, partition: i32, client: &BaseConsumer<Quiet>) -> KafkaResult<()> {
        self.next.remove(&partition);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition);
        client.pause(&list)
    }
}

/// Committed offsets of a client's group with their metadata; once decided, if the client reads what is committed.
pub(crate) fn committed(
    client: &BaseConsumer<Quiet>,
    patience: Duration,
    topic: &str,
    partitions: &[i32],
) -> KafkaResult<Positions> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    let mut positions = Vec::with_capacity(partitions.len());
    for element in client.committed_offsets(list, patience)?.elements() {
        element.error()?;
        let stored = match element.offset() {
            Offset::Offset(next) => Some(Stored { next, metadata: element.metadata().to_owned() }),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
        };
        positions.push((element.partition(), stored));
    }
    Ok(positions)
}

/// Where partitions begin and end, as a client sees it.
pub(crate) fn ranges(
    client: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: &[i32],
) -> KafkaResult<Vec<RangeInclusive<i64>>> {
    let wanted: Vec<_> = partitions.iter().map(|partition| (topic.to_owned(), *partition)).collect();
    let starts = offsets(client, &wanted, Offset::Beginning, ANSWER)?;
    let ends = offsets(client, &wanted, Offset::End, ANSWER)?;
    Ok(starts.into_iter().zip(ends).map(|(start, end)| start..=end.max(start)).collect())
}

/// The first or the last offset of partitions, all in one request to each broker: both are times of a kind.
pub(crate) fn offsets(
    client: &BaseConsumer<Quiet>,
    wanted: &[(String, i32)],
    which: Offset,
    patience: Duration,
) -> KafkaResult<Vec<i64>> {
    // The client takes an empty question for a mistake.
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = TopicPartitionList::with_capacity(wanted.len());
    for (topic, partition) in wanted {
        list.add_partition_offset(topic, *partition, which)?;
    }
    let answered = client.offsets_for_times(list, patience)?;
    let one = |(topic, partition): &(String, i32)| {
        let found = answered.find_partition(topic, *partition);
        let missing = KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition);
        let found = found.ok_or(missing.clone())?;
        found.error()?;
        match found.offset() {
            Offset::Offset(offset) => Ok(offset),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => Err(missing),
        }
    };
    wanted.iter().map(one).collect()
}

/// Whether an error only says that a broker could not be reached, which the client goes on trying. An outage leaves
/// hundreds of them in the queue, and reads that begin long after it would fail of them, one by one.
pub(crate) fn is_outage(error: &KafkaError) -> bool {
    let outage = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::BrokerTransportFailure];
    error.rdkafka_error_code().is_some_and(|code| outage.contains(&code))
}

/// A record as a decision sees it.
pub(crate) fn input_of<'a>(message: &'a BorrowedMessage<'_>) -> Input<'a> {
    Input {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
        key: message.key().unwrap_or_default(),
        value: message.payload().unwrap_or_default(),
    }
}

/// Its headers, borrowed.
pub(crate) fn headers_of<'a>(message: &'a BorrowedMessage<'_>) -> RecordHeaders<'a> {
    let headers = message.headers();
    headers.into_iter().flat_map(|headers| headers.iter()).map(|header| (header.key, header.value)).collect()
}

fn found<'a>(message: &'a BorrowedMessage<'_>) -> Found<'a> {
    let mut found = Found {
        offset: message.offset(),
        key: message.key().unwrap_or_default(),
        value: message.payload().unwrap_or_default(),
        src: None,
        seq: None,
        txn: None,
        generation: 0,
    };
    for header in message.headers().iter().flat_map(|headers| headers.iter()) {
        let text = header.value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        match header.key {
            headers::WEIR_SRC => found.src = source(text),
            headers::WEIR_SEQ => found.seq = text.parse().ok(),
            headers::WEIR_TXN => found.txn = text.parse().ok(),
            headers::WEIR_GENERATION => found.generation = text.parse().unwrap_or_default(),
            _ => {}
        }
    }
    found
}

fn source(text: &str) -> Option<(i32, i64)> {
    let (partition, offset) = text.split_once(':')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}
