//! Records that are read besides the group's: those of events whose turn comes, by their offsets, and commands.
//!
//! Fetching single records is slow, so a thread does it while the worker goes on. Nothing here decides or commits:
//! what is lost here is fetched again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::log::{Heard, Loose, Want};
use crate::reader::{self, Quiet, Reader, headers_of, input_of, is_outage, ranges};
use crate::state::wait::Lies;

/// Questions that wait between the worker and the thread, and answers, and the bytes of those. A worker takes answers
/// once per transaction, so all that one could need must find room.
const ASKED: usize = 64;
const FOUND: usize = 16 * 1024;
const FOUND_BYTES: usize = 32 * 1024 * 1024;
/// Patience with one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a record may take to come, and how long after it did not.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_AGAIN: Duration = Duration::from_secs(1);
/// Without a record for this long, the client is asked something: one that was at rest may overlook for a second that it
/// has something to read, and an answer wakes it.
const NUDGE: Duration = Duration::from_millis(20);
/// Between two looks whether the worker has taken answers.
const BRIEF: Duration = Duration::from_millis(2);
/// Between two tries to read a partition.
const AGAIN: Duration = Duration::from_secs(2);
/// A gap between two wanted records that is read over rather than jumped.
const GAP: i64 = 500;
/// Commands that are taken at a time.
const HEARD: usize = 2000;
/// Between two tries to read commands.
const PAUSE: Duration = Duration::from_secs(2);

/// Names of the topics that are read.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `verified-events`.
    pub input: String,
    /// What stands before a tier's delay.
    pub retry: String,
    /// The first tier's delay.
    pub first: String,
}

impl Sources {
    fn place(&self, want: &Want) -> (String, i64) {
        match &want.lies {
            Lies::Input => (self.input.clone(), want.spot.1),
            Lies::Command { tier, offset } => (format!("{}{tier}", self.retry), *offset),
        }
    }
}

/// Fetches records by offset, on a thread of its own that ends with it.
pub(crate) struct Fetcher {
    wants: SyncSender<Vec<Want>>,
    /// What found no room in the queue.
    backlog: Vec<Want>,
    found: Receiver<(Want, Option<Loose>)>,
    found_bytes: Arc<AtomicUsize>,
}

/// The thread's end of the answers.
struct Give {
    found: SyncSender<(Want, Option<Loose>)>,
    /// What waits in it.
    bytes: Arc<AtomicUsize>,
}

impl Give {
    fn give(&self, want: Want, record: Option<Loose>) -> Result<(), Deaf> {
        while self.bytes.load(Ordering::Relaxed) > FOUND_BYTES {
            // Nobody else knows the number when the worker is gone.
            if Arc::strong_count(&self.bytes) == 1 {
                return Err(Deaf);
            }
            std::thread::park_timeout(BRIEF);
        }
        self.bytes.fetch_add(size(record.as_ref()), Ordering::Relaxed);
        self.found.send((want, record)).map_err(|_| Deaf)
    }
}

fn size(record: Option<&Loose>) -> usize {
    record.map_or(0, Loose::size)
}

impl Fetcher {
    /// Starts the thread. It connects when something is wanted for the first time.
    pub(crate) fn start(client: ClientConfig, sources: Sources) -> std::io::Result<Self> {
        let (wants, asked) = mpsc::sync_channel::<Vec<Want>>(ASKED);
        let (give, found) = mpsc::sync_channel(FOUND);
        let found_bytes = Arc::new(AtomicUsize::new(0));
        let give = Give { found: give, bytes: Arc::clone(&found_bytes) };
        let work = move || {
            let mut consumer = None;
            let mut groups = Groups::default();
            while groups.hear(&asked, &sources) {
                if groups.serve(&client, &mut consumer, &give).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("fetcher".to_owned()).spawn(work)?;
        Ok(Self { wants, backlog: Vec::new(), found, found_bytes })
    }

    /// Asks for records.
    pub(crate) fn want(&mut self, wants: Vec<Want>) {
        self.backlog.extend(wants);
        match self.wants.try_send(std::mem::take(&mut self.backlog)) {
            Ok(()) => {}
            Err(TrySendError::Full(wants)) => self.backlog = wants,
            // The thread panicked: its partitions' turns wait, which the lag shows.
            Err(TrySendError::Disconnected(_)) => tracing::error!("records of waiting events are fetched no more"),
        }
    }

    /// What came since.
    pub(crate) fn fetched(&mut self) -> Vec<(Want, Option<Loose>)> {
        if !self.backlog.is_empty() {
            self.want(Vec::new());
        }
        let found: Vec<_> = self.found.try_iter().collect();
        let taken = found.iter().map(|(_, record)| size(record.as_ref())).sum();
        self.found_bytes.fetch_sub(taken, Ordering::Relaxed);
        found
    }
}

/// Nobody listens any more.
struct Deaf;

/// What is to be fetched, in groups that are fetched one after the other. Trouble is waited out, for whoever wants a record
/// has no other way to get it; and a group that met trouble is halved, so that a partition that can't be read does not stop
/// the others.
#[derive(Default)]
struct Groups(VecDeque<Group>);

struct Group {
    places: Places,
    /// It is not tried before.
    due: Option<Instant>,
}

impl Groups {
    /// Takes what is asked, and waits until there is something to do. `false`: nobody will ask any more.
    fn hear(&mut self, asked: &Receiver<Vec<Want>>, sources: &Sources) -> bool {
        let next_due = self.0.iter().map(|group| group.due).min();
        let heard = match next_due {
            None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => {
                asked.recv_timeout(due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now())))
            }
        };
        let wants = match heard {
            Ok(wants) => wants,
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        let mut places = Places::new();
        for want in wants.into_iter().chain(asked.try_iter().flatten()) {
            let (topic, offset) = sources.place(&want);
            places.entry((topic, want.partition)).or_default().entry(offset).or_default().push(want);
        }
        self.0.push_front(Group { places, due: None });
        true
    }

    /// Tries the first group that is due.
    fn serve(
        &mut self,
        client: &ClientConfig,
        consumer: &mut Option<BaseConsumer<Quiet>>,
        give: &Give,
    ) -> Result<(), Deaf> {
        let now = Instant::now();
        let is_due = |group: &Group| group.due.is_none_or(|due| due <= now);
        let Some(mut group) = self.0.iter().position(is_due).and_then(|at| self.0.remove(at)) else { return Ok(()) };
        let fetched = match consumer.take().map_or_else(|| BaseConsumer::from_config_and_context(client, Quiet), Ok) {
            Ok(reader) => fetch(&reader, &mut group, give).inspect(|_| *consumer = Some(reader)),
            Err(error) => Err(error),
        };
        match fetched {
            Ok(heard) => heard,
            Err(error) => {
                self.put_back(group.places, &error);
                Ok(())
            }
        }
    }

    fn put_back(&mut self, mut places: Places, error: &KafkaError) {
        if let Some(middle) = places.keys().nth(places.len() / 2).filter(|_| places.len() > 1).cloned() {
            let others = places.split_off(&middle);
            self.0.extend([places, others].map(|places| Group { places, due: None }));
            return;
        }
        for (topic, partition) in places.keys() {
            tracing::warn!(%error, topic, partition, "records of waiting events could not be fetched; they are fetched again");
        }
        self.0.push_back(Group { places, due: Some(Instant::now() + AGAIN) });
    }
}

/// What is wanted of one partition, by offset.
type Wanted = BTreeMap<i64, Vec<Want>>;
/// What is wanted, by topic and partition. None of them is empty.
type Places = BTreeMap<(String, i32), Wanted>;

/// Reads all partitions at once: one after the other, each would wait for the answer to a request of the one before.
fn fetch(
    reader: &BaseConsumer<Quiet>,
    Group { places, due }: &mut Group,
    give: &Give,
) -> KafkaResult<Result<(), Deaf>> {
    let patience = if due.is_some() { PATIENCE_AGAIN } else { PATIENCE };
    if give_gone(reader, places, give)?.is_err() {
        return Ok(Err(Deaf));
    }
    stand(reader, places)?;
    let mut deadline = Instant::now() + patience;
    while !places.is_empty() {
        match reader.poll(NUDGE) {
            Some(Ok(message)) => {
                let (place, offset) = ((message.topic().to_owned(), message.partition()), message.offset());
                let Some(wanted) = places.get(&place) else { continue };
                deadline = Instant::now() + patience;
                let record = wanted.contains_key(&offset).then(|| loose(&message));
                for until in [(offset, None), (offset + 1, record.as_ref())] {
                    if give_of(places, place.clone(), until, give).is_err() {
                        return Ok(Err(Deaf));
                    }
                }
                go_on(reader, places, &place, offset + 1)?;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) if is_outage(&error) => {}
            Some(Err(error)) => return Err(error),
            None if Instant::now() >= deadline => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => {
                if give_gone(reader, places, give)?.is_err() {
                    return Ok(Err(Deaf));
                }
            }
        }
    }
    reader.unassign()?;
    Ok(Ok(()))
}

/// What lies before the beginning of its partition is gone.
fn give_gone(reader: &BaseConsumer<Quiet>, places: &mut Places, give: &Give) -> KafkaResult<Result<(), Deaf>> {
    let asked: Vec<(String, i32)> = places.keys().cloned().collect();
    let starts = reader::offsets(reader, &asked, Offset::Beginning, ANSWER)?;
    Ok(asked.into_iter().zip(starts).try_for_each(|(place, start)| give_of(places, place, (start, None), give)))
}

/// Gives everything that is wanted of a partition before an offset the same answer.
fn give_of(
    places: &mut Places,
    place: (String, i32),
    (before, record): (i64, Option<&Loose>),
    give: &Give,
) -> Result<(), Deaf> {
    let Entry::Occupied(mut wanted) = places.entry(place) else { return Ok(()) };
    while let Some(entry) = wanted.get_mut().first_entry().filter(|entry| *entry.key() < before) {
        for want in entry.remove() {
            give.give(want, record.cloned())?;
        }
    }
    if wanted.get().is_empty() {
        wanted.remove();
    }
    Ok(())
}

/// Stands at the first record that is wanted of each partition.
fn stand(reader: &BaseConsumer<Quiet>, places: &Places) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for ((topic, partition), wanted) in places {
        if let Some(first) = wanted.keys().next() {
            list.add_partition_offset(topic, *partition, Offset::Offset(*first))?;
        }
    }
    reader.assign(&list)?;
    // A partition that was left stays paused, whatever is assigned since.
    reader.resume(&list)
}

/// Reads a partition on from an offset, jumps if what is wanted next is far ahead, or leaves it.
fn go_on(reader: &BaseConsumer<Quiet>, places: &Places, place: &(String, i32), at: i64) -> KafkaResult<()> {
    let (topic, partition) = place;
    match places.get(place).and_then(|wanted| wanted.keys().next()) {
        // It is not waited for: what comes before it is passed over by then.
        Some(next) if next - at > GAP => reader.seek(topic, *partition, Offset::Offset(*next), Duration::ZERO),
        Some(_) => Ok(()),
        None => {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition(topic, *partition);
            reader.pause(&list)
        }
    }
}

fn loose(message: &BorrowedMessage<'_>) -> Loose {
    Loose::of(&input_of(message), &headers_of(message))
}

/// Reads the first retry topic of the partitions that are ours.
pub(crate) struct Ear {
    topic: String,
    client: ClientConfig,
    /// None before the first partition is followed, and after trouble.
    consumer: Option<BaseConsumer<Quiet>>,
    /// Where each partition is read on.
    followed: BTreeMap<i32, i64>,
    /// When the last trouble was.
    troubled: Option<Instant>,
}

impl Ear {
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
        let ranges = ranges(&consumer, &self.topic, &partitions)?;
        self.consumer = Some(consumer);
        self.assign(&partitions, &ranges).inspect_err(|_| self.consumer = None)
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
        self.consumer = None;
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
        let mut trouble = None;
        if let Some(consumer) = &self.consumer {
            for _ in 0..HEARD {
                match consumer.poll(Duration::ZERO) {
                    Some(Ok(message)) => {
                        if let Some(next) = self.followed.get_mut(&message.partition()) {
                            *next = message.offset() + 1;
                            heard.push(Heard::Record(loose(&message)));
                        }
                    }
                    Some(Err(KafkaError::PartitionEOF(partition))) => heard.push(Heard::End(partition)),
                    Some(Err(error)) if is_outage(&error) => {}
                    Some(Err(error)) => {
                        trouble = Some(error);
                        break;
                    }
                    None => break,
                }
            }
        }
        if let Some(error) = trouble {
            self.trouble(&error);
        }
        heard
    }
}

#[cfg(test)]
mod tests;
