//! Reading topics from outside: where partitions begin and end, what lies between, what the group committed.
//!
//! Committed records only (`read_committed`). The client carries a group id because librdkafka wants one, but
//! never subscribes, so it never joins a group and never commits an offset.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::config;
use runtime::report::Failure;
use runtime::silence::{LastWord, explain, is_unheard};

/// Patience with one answer, and with a broker that has stopped sending.
const ANSWER: Duration = Duration::from_secs(10);
/// Committed offsets wait for a pending transaction, which ends within the transaction timeout of 10 s.
const DECIDED: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);
/// What the client reads ahead and asks for at a time, at most: with its own defaults memory would grow with the topic
/// up to 64 MiB and an answer of 50 MiB. A record that alone is larger is read all the same.
const AHEAD_KIB: &str = "2048";
const AHEAD_RECORDS: &str = "2000";
const FETCH_BYTES: &str = "2097152";
const FETCH_PARTITION_BYTES: &str = "262144";

/// A connection for reading.
pub struct Log {
    settings: ClientConfig,
    consumer: BaseConsumer<LastWord>,
    /// What the last scan read with. One client for all of them: each has threads, connections and buffers of its
    /// own, and what the allocator keeps of those adds up over the hundreds of scans of a large redrive.
    scanner: Cell<Option<BaseConsumer>>,
    brokers: String,
}

/// New records of a topic, one at a time.
pub struct Tail {
    reader: BaseConsumer,
    topic: String,
}

/// A piece of a partition: offsets from `from` up to, without, `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Which partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// First offset that is not in it.
    pub until: i64,
}

impl Range {
    /// How many offsets it spans; records and transaction markers count alike.
    pub fn len(&self) -> u64 {
        u64::try_from(self.until - self.from).unwrap_or(0)
    }
}

impl Log {
    /// Connects on behalf of `group`, whose committed offsets can then be read.
    pub fn connect(kafka: &config::Kafka, group: &str) -> Result<Self, Failure> {
        let mut settings = runtime::kafka::client(kafka);
        settings.set("group.id", group);
        settings.set("enable.auto.commit", "false");
        settings.set("enable.auto.offset.store", "false");
        settings.set("isolation.level", "read_committed");
        settings.set("enable.partition.eof", "true");
        settings.set("auto.offset.reset", "error");
        settings.set("fetch.wait.max.ms", "100");
        settings.set("queued.max.messages.kbytes", AHEAD_KIB);
        settings.set("queued.min.messages", AHEAD_RECORDS);
        // A full queue is looked at again after a second by default: it is empty long before.
        runtime::kafka::prefer(&mut settings, &[("fetch.queue.backoff.ms", "2")]);
        settings.set("fetch.max.bytes", FETCH_BYTES);
        settings.set("max.partition.fetch.bytes", FETCH_PARTITION_BYTES);
        let consumer = settings.create_with_context(LastWord::default()).context("[kafka.client]");
        let consumer: BaseConsumer<LastWord> = consumer.map_err(Failure::usage)?;
        Ok(Self { settings, consumer, scanner: Cell::new(None), brokers: kafka.brokers.clone() })
    }

    /// What a partition holds now: from its log start to the end of what is committed. `None`: no such topic.
    pub fn bounds(&self, topic: &str) -> Result<Option<Vec<Range>>, Failure> {
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWER).map_err(|error| self.away(error))?;
        let Some(found) = metadata.topics().first() else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
            Some(code) => return Err(Failure::unavailable(anyhow!("{topic}: {code}"))),
        }
        let mut ranges = Vec::with_capacity(found.partitions().len());
        for partition in found.partitions().iter().map(|partition| partition.id()) {
            let ends = self.consumer.fetch_watermarks(topic, partition, ANSWER);
            let (from, until) = ends.map_err(|error| self.away(error))?;
            ranges.push(Range { partition, from, until });
        }
        ranges.sort_by_key(|range| range.partition);
        Ok(Some(ranges))
    }

    /// As [`bounds`](Self::bounds), for a topic that has to exist.
    pub fn bounds_of_existing(&self, topic: &str) -> Result<Vec<Range>, Failure> {
        self.bounds(topic)?.ok_or_else(|| {
            Failure::unavailable(anyhow!("topic {topic} does not exist: create it with `weir topics apply`"))
        })
    }

    /// Moves the beginnings to the first records that are not older than `since_ms`.
    pub fn since(&self, topic: &str, since_ms: i64, ranges: &mut [Range]) -> Result<(), Failure> {
        let mut wanted = TopicPartitionList::with_capacity(ranges.len());
        for range in ranges.iter() {
            let added = wanted.add_partition_offset(topic, range.partition, Offset::Offset(since_ms));
            added.map_err(|error| self.away(error))?;
        }
        let found = self.consumer.offsets_for_times(wanted, ANSWER).map_err(|error| self.away(error))?;
        for range in ranges {
            let found = found.find_partition(topic, range.partition);
            match found.as_ref().map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => range.from = offset.clamp(range.from, range.until),
                // Nothing is that young.
                _ => range.from = range.until,
            }
        }
        Ok(())
    }

    /// What the group committed, per partition; `None`: nothing.
    pub fn committed(&self, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, Option<i64>>, Failure> {
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            wanted.add_partition(topic, *partition);
        }
        let found = self.consumer.committed_offsets(wanted, DECIDED).map_err(|error| self.away(error))?;
        let committed = found.elements().into_iter().map(|element| {
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
            };
            (element.partition(), offset)
        });
        Ok(committed.collect())
    }

    /// Hands out every committed record of the ranges, each partition in its order, until told to stop.
    pub fn scan(
        &self,
        topic: &str,
        ranges: &[Range],
        each: &mut dyn FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let mut open: BTreeMap<i32, i64> = BTreeMap::new();
        let mut start = Vec::new();
        for range in ranges.iter().filter(|range| range.from < range.until) {
            open.insert(range.partition, range.until);
            start.push((range.partition, range.from));
        }
        if open.is_empty() {
            return Ok(());
        }
        let reader = self.scanner(topic, &start)?;
        let mut heard = Instant::now();
        while !open.is_empty() {
            match reader.poll(POLL) {
                Some(Ok(message)) => {
                    let Some(until) = open.get(&message.partition()).copied() else {
                        continue;
                    };
                    heard = Instant::now();
                    if message.offset() < until && each(&message).is_break() {
                        break;
                    }
                    if message.offset() + 1 >= until {
                        open.remove(&message.partition());
                    }
                }
                // Transaction markers have offsets too, so the last record may lie before the end.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if open.remove(&partition).is_some() {
                        heard = Instant::now();
                    }
                }
                Some(Err(error)) if is_passing(&error) && heard.elapsed() < ANSWER => {}
                Some(Err(error)) => return Err(broken(topic, error)),
                None if heard.elapsed() < ANSWER => {}
                None => {
                    let error = anyhow!("no records of {topic} within {} s", ANSWER.as_secs());
                    return Err(Failure::unavailable(error));
                }
            }
        }
        // Nothing is fetched in between.
        reader.unassign().map_err(Failure::internal)?;
        self.scanner.set(Some(reader));
        Ok(())
    }

    /// Hands out records from the given offsets on, for as long as it is told to.
    pub fn follow(
        &self,
        topic: &str,
        start: &[(i32, i64)],
        each: &mut dyn FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let mut tail = self.tail(topic, start)?;
        loop {
            if let Some(message) = tail.next(POLL)?
                && each(&message).is_break()
            {
                return Ok(());
            }
        }
    }

    /// Records from the given offsets on, for whoever has other things to do in between.
    pub fn tail(&self, topic: &str, start: &[(i32, i64)]) -> Result<Tail, Failure> {
        Ok(Tail { reader: reader(&self.settings, &places(topic, start)?)?, topic: topic.to_owned() })
    }

    /// The client that scans, at these offsets. A scan within a scan gets one of its own.
    fn scanner(&self, topic: &str, start: &[(i32, i64)]) -> Result<BaseConsumer, Failure> {
        let places = places(topic, start)?;
        if let Some(reader) = self.scanner.take() {
            // Records of before are dropped as outdated; an error may not be.
            while reader.poll(Duration::ZERO).is_some() {}
            reader.assign(&places).map_err(Failure::internal)?;
            // A client that runs already looks for the leaders of a new topic once a second, unless it is asked.
            reader.fetch_metadata(Some(topic), ANSWER).map_err(|error| self.away(error))?;
            return Ok(reader);
        }
        let mut settings = self.settings.clone();
        // Nothing new is waited for, and the next scan would wait for the last request of this one.
        settings.set("fetch.wait.max.ms", "10");
        reader(&settings, &places)
    }

    fn away(&self, error: KafkaError) -> Failure {
        Failure::unavailable(explain(&self.consumer, &self.brokers, error))
    }
}

impl Tail {
    /// The next record, if one comes within `patience`. A broker that is away comes back, and the client with it.
    pub fn next(&mut self, patience: Duration) -> Result<Option<BorrowedMessage<'_>>, Failure> {
        loop {
            match self.reader.poll(patience) {
                Some(Ok(message)) => return Ok(Some(message)),
                // More may have come by now.
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                None => return Ok(None),
                Some(Err(error)) if is_passing(&error) => return Ok(None),
                Some(Err(error)) => return Err(broken(&self.topic, error)),
            }
        }
    }
}

fn reader(settings: &ClientConfig, places: &TopicPartitionList) -> Result<BaseConsumer, Failure> {
    let reader: BaseConsumer = settings.create().map_err(Failure::internal)?;
    reader.assign(places).map_err(Failure::internal)?;
    Ok(reader)
}

fn places(topic: &str, start: &[(i32, i64)]) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::with_capacity(start.len());
    for (partition, offset) in start {
        let added = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
        added.map_err(Failure::internal)?;
    }
    Ok(list)
}

fn broken(topic: &str, error: KafkaError) -> Failure {
    let is_gone = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset);
    let why = if is_gone { ": records were deleted while they were read, run this again" } else { "" };
    Failure::unavailable(anyhow!(error).context(format!("cannot read {topic}{why}")))
}

/// Errors after which the client goes on by itself.
fn is_passing(error: &KafkaError) -> bool {
    let moved = [
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::FencedLeaderEpoch,
        RDKafkaErrorCode::UnknownLeaderEpoch,
    ];
    is_unheard(error) || error.rdkafka_error_code().is_some_and(|code| moved.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_mends_itself_is_waited_for() {
        let error = |code| KafkaError::MessageConsumption(code);
        assert!(is_passing(&error(RDKafkaErrorCode::AllBrokersDown)));
        assert!(!is_passing(&error(RDKafkaErrorCode::TopicAuthorizationFailed)));
        assert!(!is_passing(&error(RDKafkaErrorCode::UnknownTopicOrPartition)));
        assert!(!is_passing(&error(RDKafkaErrorCode::AutoOffsetReset)));
    }

    #[test]
    fn a_range_counts_its_offsets() {
        assert_eq!(Range { partition: 0, from: 5, until: 9 }.len(), 4);
        assert_eq!(Range { partition: 0, from: 9, until: 9 }.len(), 0);
    }

    #[test]
    fn a_broker_that_is_not_there_is_named_and_exits_69() {
        let kafka = config::Kafka { brokers: "127.0.0.1:1".to_owned(), wait: Duration::ZERO, client: BTreeMap::new() };
        let log = Log::connect(&kafka, "weir").unwrap();
        let failure = log.away(KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure));
        assert_eq!(failure.exit.code(), 69);
        assert!(failure.to_string().starts_with("no Kafka broker answers at 127.0.0.1:1"), "{failure}");
        let failure = log.away(KafkaError::MetadataFetch(RDKafkaErrorCode::GroupAuthorizationFailed));
        assert_eq!(failure.exit.code(), 69);
        assert!(failure.to_string().starts_with("Kafka at 127.0.0.1:1 refuses: "), "{failure}");
    }

    #[test]
    fn the_clients_last_word_says_why_nobody_answers() {
        let kafka = config::Kafka { brokers: "127.0.0.1:1".to_owned(), wait: Duration::ZERO, client: BTreeMap::new() };
        let log = Log::connect(&kafka, "weir").unwrap();
        let failure = log.bounds("t").unwrap_err().to_string();
        assert!(failure.contains("127.0.0.1:1") && failure.contains("Connection refused"), "{failure}");
    }
}
