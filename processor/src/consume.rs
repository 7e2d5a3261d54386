//! Step 5: poll the group, collect records into the batch, note what a rebalance gave and took.
//!
//! The rebalance callback runs inside of `poll` and does the least possible: it assigns new partitions paused, at
//! explicit offsets, and writes down what happened. Nothing here commits; nothing here runs while a transaction is
//! open.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use crate::batch::Batch;
use crate::group;
use crate::log::{Bounds, Fault, Polled};
use crate::metrics;
use crate::patience::retire;
use crate::reader::{self, Quiet, is_outage};
use fetched::{Fetched, Messages};

#[expect(clippy::mem_forget, reason = "in the code of a macro of others")]
mod fetched;

/// How long the callback may ask where a partition stands.
const LOOKUP: Duration = Duration::from_secs(5);
const SEEK: Duration = Duration::from_secs(10);

/// How long the client may refuse to seek in partitions that are ours.
const REFUSED: Duration = Duration::from_secs(20);

/// Between two looks whether the group counts us as a member.
pub(crate) const MEMBERSHIP: Duration = Duration::from_secs(1);

/// How soon a second fencing means that another process runs as this instance.
const RIVALRY: Duration = Duration::from_secs(60);

/// Between two log lines about errors that repeat.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Records taken between two looks at the clock.
const CLOCK_EVERY: usize = 32;
/// How long what has been fetched already is taken, by a caller that does not want to wait for more: as long as a
/// slice of a restore, which it alternates with.
const TAKING: Duration = Duration::from_millis(50);

/// What the rebalance callback writes down.
pub(crate) struct GroupContext {
    topic: String,
    changes: Mutex<Vec<Change>>,
    lookup: BaseConsumer<Quiet>,
}

enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
    /// The client did not take it: it knows other partitions than the group.
    Failed,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        runtime::kafka::said(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        reader::told(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let is_assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let done = if is_assign { self.assign(consumer, &partitions) } else { consumer.incremental_unassign(list) };
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = done {
            tracing::warn!(%error, ?partitions, is_assign, "the group's change could not be followed");
            changes.push(Change::Failed);
        }
        changes.push(if is_assign { Change::Assigned(partitions) } else { Change::Revoked(partitions) });
    }
}

impl GroupContext {
    /// Assigns partitions paused. The offset only has to be a valid one: a takeover seeks before records flow.
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (partition, start) in partitions.iter().zip(self.starts(partitions)) {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(start))?;
        }
        consumer.incremental_assign(&list)?;
        consumer.pause(&list)
    }

    fn starts(&self, partitions: &[i32]) -> Vec<i64> {
        let wanted: Vec<_> = partitions.iter().map(|partition| (self.topic.clone(), *partition)).collect();
        reader::offsets(&self.lookup, &wanted, Offset::Beginning, LOOKUP).unwrap_or_else(|error| {
            tracing::warn!(%error, ?partitions, "the log's start is unknown while partitions are assigned");
            vec![0; partitions.len()]
        })
    }

    fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Our membership in the group and the records it brings.
pub(crate) struct Group {
    topic: String,
    config: ClientConfig,
    lookup: ClientConfig,
    /// A batch holds it too, while it has records.
    consumer: Arc<BaseConsumer<GroupContext>>,
    assigned: BTreeSet<i32>,
    running: BTreeSet<i32>,
    must_rebuild: bool,
    refused_at: Option<Instant>,
    /// How long it may be no member of its group.
    absent_most: Duration,
    attendance: Attendance,
    fenced_at: Option<Instant>,
    /// When the last collection began.
    collected_at: Option<Instant>,
    complaints: Complaints,
}

impl Group {
    /// Joins the group.
    pub(crate) fn join(
        config: ClientConfig,
        lookup: ClientConfig,
        topic: String,
        absent_most: Duration,
    ) -> KafkaResult<Self> {
        let consumer = subscribe(&config, &lookup, &topic)?;
        Ok(Self {
            topic,
            config,
            lookup,
            consumer: Arc::new(consumer),
            assigned: BTreeSet::new(),
            running: BTreeSet::new(),
            must_rebuild: false,
            refused_at: None,
            absent_most,
            attendance: Attendance::default(),
            fenced_at: None,
            collected_at: None,
            complaints: Complaints::default(),
        })
    }

    /// The client, for questions about our membership.
    pub(crate) fn consumer(&self) -> &BaseConsumer<GroupContext> {
        &self.consumer
    }

    /// Looks now and then whether the group counts us as a member. A client that is none for longer than it waits for
    /// any answer waits for something that will not come.
    fn look_at_membership(&mut self) {
        let now = Instant::now();
        if self.attendance.is_known_at(now) {
            return;
        }
        let absent = self.attendance.note(group::membership(&self.consumer).is_some(), now);
        if absent > self.absent_most {
            tracing::warn!(?absent, "the group's client is no member of its group for long and is rebuilt");
            self.must_rebuild = true;
        }
    }

    /// Polls until a bound is reached. Collections begin an interval after each other, whatever the transaction between
    /// them took: one that is late waits for nothing, and takes what has been fetched meanwhile.
    pub(crate) fn collect(&mut self, batch: &mut Batch, bounds: Bounds) -> Result<Polled, Fault> {
        self.look_at_membership();
        if self.must_rebuild {
            return self.rebuild();
        }
        let began = Instant::now();
        let patience = Duration::from_millis(bounds.wait_ms);
        let last = self.collected_at.replace(began);
        let wait = last.map_or(patience, |last| patience.saturating_sub(began.duration_since(last)));
        let pace = Pace { began, wait, most: patience.max(TAKING) };
        let mut trouble = None;
        *batch = Batch::of(Fetched::new(Arc::clone(&self.consumer), |consumer| {
            let (records, met) = gather(consumer, &self.running, bounds, &pace, &mut self.complaints);
            trouble = met;
            records
        }));
        let polled = self.changes();
        if let Some(error) = trouble {
            self.diagnose(&error)?;
        }
        Ok(polled)
    }

    fn changes(&mut self) -> Polled {
        let mut polled = Polled::default();
        for change in self.consumer.context().take() {
            match change {
                Change::Assigned(partitions) => {
                    self.assigned.extend(&partitions);
                    polled.assigned.extend(partitions);
                }
                Change::Revoked(partitions) => {
                    self.assigned.retain(|partition| !partitions.contains(partition));
                    self.running.retain(|partition| !partitions.contains(partition));
                    polled.assigned.retain(|partition| !partitions.contains(partition));
                    polled.revoked.extend(partitions);
                    self.refused_at = None;
                }
                Change::Failed => self.must_rebuild = true,
            }
        }
        polled
    }

    fn diagnose(&mut self, error: &KafkaError) -> Result<(), Fault> {
        // A fatal error says only that it is one; why, the client knows.
        let fatal = self.consumer.client().fatal_error().map(|(code, _)| code);
        match fatal.or(error.rdkafka_error_code()) {
            Some(RDKafkaErrorCode::FencedInstanceId) => self.fenced(error),
            // A committed offset is not in the log: taking everything over anew says which and why. This client fetches
            // the partition no more and refuses to seek in it.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                tracing::error!(%error, "a partition's next offset is not in its log");
                self.must_rebuild = true;
                Ok(())
            }
            _ => {
                tracing::warn!(%error, "the group's client failed for good and is rebuilt");
                self.must_rebuild = true;
                Ok(())
            }
        }
    }

    /// A member that was away for longer than its session is fenced by its own return: its old self is still known.
    /// Two processes of one name fence each other in turn, so whoever is fenced again soon has a rival.
    fn fenced(&mut self, error: &KafkaError) -> Result<(), Fault> {
        let before = self.fenced_at.replace(Instant::now());
        if before.is_some_and(|at| at.elapsed() < RIVALRY) {
            return Err(Fault::Fenced { doing: "poll the group", detail: error.to_string() });
        }
        tracing::warn!(%error, "the group's client was fenced and is rebuilt; if it happens again soon, this process ends");
        self.must_rebuild = true;
        Ok(())
    }

    fn rebuild(&mut self) -> Result<Polled, Fault> {
        let consumer = subscribe(&self.config, &self.lookup, &self.topic)
            .map_err(|error| Fault::Unsure { doing: "join the group again", detail: error.to_string() })?;
        // Closing one that failed may take for ever.
        retire(std::mem::replace(&mut self.consumer, Arc::new(consumer)));
        (self.must_rebuild, self.refused_at, self.attendance) = (false, None, Attendance::default());
        self.running.clear();
        let revoked = std::mem::take(&mut self.assigned).into_iter().collect();
        Ok(Polled { revoked, assigned: Vec::new() })
    }

    /// Lets records of partitions flow, each from an offset on. All at once, for it waits
    /// until the client has done it.
    pub(crate) fn run(&mut self, next: &[(i32, i64)]) -> KafkaResult<()> {
        if next.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(next.len());
        for (partition, next) in next {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))?;
        }
        let sought = self.consumer.seek_partitions(list, SEEK).and_then(|sought| {
            let refused = sought.elements().iter().find_map(|element| element.error().err());
            refused.map_or(Ok(sought), Err)
        });
        // Right after an assignment the client may not have got to it. One that never does has other partitions than the
        // group says.
        let sought = sought.inspect_err(|_| {
            let since = *self.refused_at.get_or_insert_with(Instant::now);
            self.must_rebuild |= since.elapsed() > REFUSED;
        })?;
        self.refused_at = None;
        self.running.extend(next.iter().map(|(partition, _)| *partition));
        self.consumer.resume(&sought)
    }

    /// Stops records of a partition.
    pub(crate) fn pause(&mut self, partition: i32) -> KafkaResult<()> {
        self.running.remove(&partition);
        if self.assigned.contains(&partition) {
            self.consumer.pause(&self.one(partition))?;
        }
        Ok(())
    }

    fn one(&self, partition: i32) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition);
        list
    }
}

fn subscribe(config: &ClientConfig, lookup: &ClientConfig, topic: &str) -> KafkaResult<BaseConsumer<GroupContext>> {
    let lookup = BaseConsumer::from_config_and_context(lookup, Quiet)?;
    let context = GroupContext { topic: topic.to_owned(), changes: Mutex::default(), lookup };
    let consumer = BaseConsumer::from_config_and_context(config, context)?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// Whether the client gets over an error by itself.
fn passes(error: &KafkaError) -> bool {
    let matters =
        [RDKafkaErrorCode::FencedInstanceId, RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
    let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
    !is_fatal && !error.rdkafka_error_code().is_some_and(|code| matters.contains(&code))
}

/// Errors that a client gets over by itself, if what is wrong is mended: access that was taken away, a record that is
/// damaged on a broker's disk. Each is counted, and one is said now and then.
#[derive(Default)]
struct Complaints(Option<Instant>);

impl Complaints {
    fn note(&mut self, error: &KafkaError) {
        metrics::read_error();
        if self.0.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            tracing::warn!(%error, "some of verified-events could not be read; it is tried again");
            self.0 = Some(Instant::now());
        }
    }
}

/// Whether the group counts us as a member.
#[derive(Default)]
struct Attendance {
    asked: Option<Instant>,
    /// When it was first seen that it does not. Nobody knows how long it had not before: this process may have slept.
    absent_since: Option<Instant>,
}

impl Attendance {
    fn is_known_at(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.duration_since(asked) < MEMBERSHIP)
    }

    /// For how long we are known not to be a member.
    fn note(&mut self, is_member: bool, now: Instant) -> Duration {
        self.asked = Some(now);
        if is_member {
            self.absent_since = None;
            return Duration::ZERO;
        }
        now.duration_since(*self.absent_since.get_or_insert(now))
    }
}

/// How long a collection waits.
struct Pace {
    began: Instant,
    /// For records that have not been fetched.
    wait: Duration,
    /// At most.
    most: Duration,
}

/// Takes records of running partitions until a bound is reached, or the client can't go on by itself.
fn gather<'a>(
    consumer: &'a BaseConsumer<GroupContext>,
    running: &BTreeSet<i32>,
    bounds: Bounds,
    pace: &Pace,
    complaints: &mut Complaints,
) -> (Messages<'a>, Option<KafkaError>) {
    let mut records = Vec::new();
    let mut bytes = 0;
    while records.len() < bounds.events && bytes < bounds.bytes {
        // What has been fetched already is taken without looking at the clock each time: it is a slow one.
        let is_time_to_look = records.len().is_multiple_of(CLOCK_EVERY);
        let fetched = if is_time_to_look { None } else { consumer.poll(Duration::ZERO) };
        let mut is_over = false;
        let next = fetched.or_else(|| {
            let elapsed = pace.began.elapsed();
            let left = pace.wait.saturating_sub(elapsed);
            let next = consumer.poll(left);
            is_over = elapsed >= pace.most || (next.is_none() && left.is_zero());
            next
        });
        match next {
            Some(Ok(message)) if running.contains(&message.partition()) => {
                bytes += message.key_len() + message.payload_len();
                records.push(message);
            }
            // What was fetched before a pause may still arrive; a takeover reads it again.
            Some(Ok(_)) | None => {}
            // An outage leaves many of these in the queue, and behind them may wait one that matters.
            Some(Err(error)) if is_outage(&error) => {
                tracing::debug!(%error, "the group's client reported an error");
            }
            // The client joins again by itself. What it had, it gives up in the callback.
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PollExceeded) => {
                tracing::warn!("this worker was busy for longer than its group waits for a member; it joins again");
            }
            // The client goes on by itself, perhaps for ever, with a partition that can't be read.
            Some(Err(error)) if passes(&error) => complaints.note(&error),
            Some(Err(error)) => return (records, Some(error)),
        }
        if is_over {
            break;
        }
    }
    (records, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_no_member_has_been_none_since_that_was_first_seen() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut attendance = Attendance::default();
        assert!(!attendance.is_known_at(start));
        // When it is asked, whether it is a member, and for how long it has been none.
        for (now, is_member, absent) in
            [(0, false, 0), (5, false, 5), (6, true, 0), (100, false, 0), (170, false, 70), (171, true, 0)]
        {
            assert_eq!(attendance.note(is_member, at(now)), Duration::from_secs(absent), "at {now} s");
        }
        assert!(attendance.is_known_at(at(171)) && !attendance.is_known_at(at(172)));
    }
}
