//! Reading what is already in Kafka: committed offsets, where partitions begin and end, changelogs, output tails.
//!
//! Two clients of no group: one sees committed records only and answers with what is decided, the other sees where
//! a log really ends. Neither ever commits.

use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemas::headers;
use std::time::Instant;

use crate::log::{Ends, Found, Scanned, Stored};

const ANSWER: Duration = Duration::from_secs(10);
/// Committed offsets wait for a pending transaction, which its coordinator ends within the transaction timeout.
const DECIDED: Duration = Duration::from_secs(15);

/// Keeps what a client says on the side out of the error log: its calls return what matters, and we cope.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
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

/// The two reading clients.
pub(crate) struct Reader {
    committed: BaseConsumer<Quiet>,
    raw: BaseConsumer<Quiet>,
    at: Option<(String, i32, i64)>,
}

impl Reader {
    /// Connects both clients. `committed` must be configured to read committed records and to report ends.
    pub(crate) fn connect(committed: &ClientConfig, raw: &ClientConfig) -> KafkaResult<Self> {
        let connect = |config: &ClientConfig| BaseConsumer::from_config_and_context(config, Quiet);
        Ok(Self { committed: connect(committed)?, raw: connect(raw)?, at: None })
    }

    /// Committed offsets with their metadata, once decided.
    pub(crate) fn positions(&self, topic: &str, partitions: &[i32]) -> KafkaResult<Vec<(i32, Option<Stored>)>> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(topic, *partition);
        }
        let mut positions = Vec::with_capacity(partitions.len());
        for element in self.committed.committed_offsets(list, DECIDED)?.elements() {
            element.error()?;
            let stored = match element.offset() {
                Offset::Offset(next) => Some(Stored { next, metadata: element.metadata().to_owned() }),
                Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
            };
            positions.push((element.partition(), stored));
        }
        Ok(positions)
    }

    /// Where a partition begins and ends.
    pub(crate) fn ends(&self, topic: &str, partition: i32) -> KafkaResult<Ends> {
        let (start, high) = self.raw.fetch_watermarks(topic, partition, ANSWER)?;
        let (_, stable) = self.committed.fetch_watermarks(topic, partition, ANSWER)?;
        Ok(Ends { start, stable, high })
    }

    /// How many partitions a topic has.
    pub(crate) fn partitions(&self, topic: &str) -> KafkaResult<i32> {
        let metadata = self.raw.fetch_metadata(Some(topic), ANSWER)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// Reads committed records on from `from`.
    pub(crate) fn scan(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        budget: Duration,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> KafkaResult<Scanned> {
        self.stand_at(topic, partition, from)?;
        let began = Instant::now();
        let mut next = from;
        let mut is_end = false;
        loop {
            // One more look after the budget costs nothing and guarantees progress.
            let left = budget.saturating_sub(began.elapsed());
            match self.committed.poll(left) {
                Some(Ok(message)) => {
                    next = message.offset() + 1;
                    if each(found(&message)).is_break() {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    is_end = true;
                    break;
                }
                Some(Err(error)) if is_outage(&error) => {}
                Some(Err(error)) => {
                    self.at = None;
                    return Err(error);
                }
                None if left.is_zero() => break,
                None => {}
            }
            if left.is_zero() {
                break;
            }
        }
        self.at = Some((topic.to_owned(), partition, next));
        if is_end {
            self.rest()?;
        }
        Ok(Scanned { next, is_end })
    }

    /// Nobody reads on: a partition that stays assigned would be fetched for ever.
    pub(crate) fn rest(&mut self) -> KafkaResult<()> {
        match self.at.take() {
            Some(_) => self.committed.unassign(),
            None => Ok(()),
        }
    }

    fn stand_at(&mut self, topic: &str, partition: i32, from: i64) -> KafkaResult<()> {
        if self.at.as_ref().is_some_and(|(at, number, next)| at == topic && *number == partition && *next == from) {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(from))?;
        self.committed.assign(&list)
    }
}

/// Whether an error only says that a broker could not be reached, which the client goes on trying. An outage leaves
/// hundreds of them in the queue, and reads that begin long after it would fail of them, one by one.
pub(crate) fn is_outage(error: &KafkaError) -> bool {
    let outage = [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::BrokerTransportFailure];
    error.rdkafka_error_code().is_some_and(|code| outage.contains(&code))
}

fn found<'a>(message: &'a BorrowedMessage<'_>) -> Found<'a> {
    let mut found = Found {
        offset: message.offset(),
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
