//! Reads what people want of dead letters: commands in the first retry topic, of the partitions that are ours.
//!
//! Nothing here decides or commits: how far the commands were taken stands in each partition's position.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::log::Heard;
use crate::patience::retire;
use crate::reader::{Quiet, Reader, headers_of, input_of, is_outage, ranges};

/// Records that are taken at a time.
const HEARD: usize = 2000;
/// Between two tries to read.
const PAUSE: Duration = Duration::from_secs(2);

/// Reads the first retry topic of the partitions that are ours.
pub(crate) struct CommandReader {
    topic: String,
    client: ClientConfig,
    /// None before the first partition is followed, and after trouble.
    consumer: Option<BaseConsumer<Quiet>>,
    /// Where each partition is read on.
    followed: BTreeMap<i32, i64>,
    /// When the last trouble was.
    troubled: Option<Instant>,
}

impl CommandReader {
    /// Connects when the first partition is followed.
    pub(crate) fn new(client: ClientConfig, topic: String) -> Self {
        Self { topic, client, consumer: None, followed: BTreeMap::new(), troubled: None }
    }

    /// Reads partitions, each from an offset on, or from its beginning if that is gone. The reader knows where they
    /// begin: our own client would answer only after the fetch that it waits for.
    pub(crate) fn follow(&mut self, from: &[(i32, i64)], reader: &Reader) -> KafkaResult<()> {
        for (partition, _) in from {
            self.unfollow(*partition);
        }
        self.followed.extend(from.iter().copied());
        if from.is_empty() {
            return Ok(());
        }
        if self.consumer.is_none() {
            return self.connect();
        }
        let partitions: Vec<i32> = from.iter().map(|(partition, _)| *partition).collect();
        let ranges = reader.ranges(&self.topic, &partitions)?;
        self.assign(&partitions, &ranges)
    }

    /// Reads it no more.
    pub(crate) fn unfollow(&mut self, partition: i32) {
        if self.followed.remove(&partition).is_none() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition);
        let left = self.consumer.as_ref().map(|consumer| consumer.incremental_unassign(&list));
        if let Some(Err(error)) = left {
            self.trouble(&error);
        }
    }

    fn connect(&mut self) -> KafkaResult<()> {
        let consumer = BaseConsumer::from_config_and_context(&self.client, Quiet)?;
        let partitions: Vec<i32> = self.followed.keys().copied().collect();
        let ranges = match ranges(&consumer, &self.topic, &partitions) {
            Ok(ranges) => ranges,
            Err(error) => {
                retire(consumer);
                return Err(error);
            }
        };
        self.consumer = Some(consumer);
        self.assign(&partitions, &ranges).inspect_err(|_| self.consumer.take().into_iter().for_each(retire))
    }

    fn assign(&mut self, partitions: &[i32], ranges: &[RangeInclusive<i64>]) -> KafkaResult<()> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (partition, range) in partitions.iter().zip(ranges) {
            let Some(next) = self.followed.get_mut(partition) else { continue };
            *next = (*next).clamp(*range.start(), *range.end());
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))?;
        }
        consumer.incremental_assign(&list)
    }

    /// Whatever it was, a new client that reads on where this one stopped is the way out.
    fn trouble(&mut self, error: &KafkaError) {
        tracing::warn!(%error, topic = self.topic, "commands could not be read; they are read again");
        self.consumer.take().into_iter().for_each(retire);
        self.troubled = Some(Instant::now());
    }

    /// What came since.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        if self.followed.is_empty() {
            return heard;
        }
        if self.consumer.is_none() {
            let is_early = self.troubled.is_some_and(|at| at.elapsed() < PAUSE);
            if !is_early && let Err(error) = self.connect() {
                self.trouble(&error);
            }
        }
        if let Err(error) = self.take(&mut heard) {
            self.trouble(&error);
        }
        heard
    }

    fn take(&mut self, heard: &mut Vec<Heard>) -> KafkaResult<()> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        for _ in 0..HEARD {
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    if let Some(next) = self.followed.get_mut(&message.partition()) {
                        *next = message.offset() + 1;
                        heard.push(Heard::of(&input_of(&message), &headers_of(&message)));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => heard.push(Heard::End(partition)),
                Some(Err(error)) if is_outage(&error) => {}
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(())
    }
}
