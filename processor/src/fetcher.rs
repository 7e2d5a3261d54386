//! Fetches the records of events whose turn comes, by their offsets.
//!
//! Fetching single records is slow, so a thread does it while the worker goes on. Nothing here decides or commits:
//! what is lost here is fetched again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::log::{Loose, Want};
use crate::reader::{self, Quiet, headers_of, input_of, is_outage};
use crate::state::wait::RecordAt;

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

/// Names of the topics that are read.
#[derive(Debug, Clone)]
pub struct ReadTopics {
    /// `verified-events`.
    pub input: String,
    /// What stands before a tier's delay.
    pub retry: String,
    /// The first tier's delay.
    pub first: String,
}

impl ReadTopics {
    fn place(&self, want: &Want) -> (String, i64) {
        match &want.record_at {
            RecordAt::Input => (self.input.clone(), want.spot.1),
            RecordAt::Command { tier, offset } => (format!("{}{tier}", self.retry), *offset),
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
    pub(crate) fn start(client: ClientConfig, topics: ReadTopics) -> std::io::Result<Self> {
        let (wants, asked) = mpsc::sync_channel::<Vec<Want>>(ASKED);
        let (give, found) = mpsc::sync_channel(FOUND);
        let found_bytes = Arc::new(AtomicUsize::new(0));
        let give = Give { found: give, bytes: Arc::clone(&found_bytes) };
        let work = move || {
            let mut consumer = None;
            let mut jobs = Jobs::default();
            while jobs.hear(&asked, &topics) {
                if jobs.serve(&client, &mut consumer, &give).is_err() {
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

/// Why fetching stopped.
enum Stop {
    Deaf,
    Kafka(KafkaError),
}

impl From<Deaf> for Stop {
    fn from(_: Deaf) -> Self {
        Self::Deaf
    }
}

impl From<KafkaError> for Stop {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

/// What is to be fetched, one job after the other. Trouble is waited out, for whoever wants a record has no other way to
/// get it; and a job that met trouble is halved, so that a partition that can't be read does not stop the others.
#[derive(Default)]
struct Jobs(VecDeque<Job>);

struct Job {
    places: Places,
    /// It is not tried before.
    due: Option<Instant>,
}

impl Jobs {
    /// Takes what is asked, and waits until there is something to do. `false`: nobody will ask any more.
    fn hear(&mut self, asked: &Receiver<Vec<Want>>, topics: &ReadTopics) -> bool {
        let next_due = self.0.iter().map(|job| job.due).min();
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
            let (topic, offset) = topics.place(&want);
            places.entry((topic, want.partition)).or_default().entry(offset).or_default().push(want);
        }
        self.0.push_front(Job { places, due: None });
        true
    }

    /// Tries the first job that is due.
    fn serve(
        &mut self,
        client: &ClientConfig,
        consumer: &mut Option<BaseConsumer<Quiet>>,
        give: &Give,
    ) -> Result<(), Deaf> {
        let now = Instant::now();
        let is_due = |job: &Job| job.due.is_none_or(|due| due <= now);
        let Some(mut job) = self.0.iter().position(is_due).and_then(|at| self.0.remove(at)) else { return Ok(()) };
        let fetched = match consumer.take().map_or_else(|| BaseConsumer::from_config_and_context(client, Quiet), Ok) {
            // One that met trouble is not used again.
            Ok(reader) => fetch(&reader, &mut job, give).inspect(|()| *consumer = Some(reader)),
            Err(error) => Err(error.into()),
        };
        match fetched {
            Ok(()) => Ok(()),
            Err(Stop::Deaf) => Err(Deaf),
            Err(Stop::Kafka(error)) => {
                self.put_back(job.places, &error);
                Ok(())
            }
        }
    }

    fn put_back(&mut self, mut places: Places, error: &KafkaError) {
        if let Some(middle) = places.keys().nth(places.len() / 2).filter(|_| places.len() > 1).cloned() {
            let others = places.split_off(&middle);
            self.0.extend([places, others].map(|places| Job { places, due: None }));
            return;
        }
        for (topic, partition) in places.keys() {
            tracing::warn!(%error, topic, partition, "records of waiting events could not be fetched; they are fetched again");
        }
        self.0.push_back(Job { places, due: Some(Instant::now() + AGAIN) });
    }
}

/// What is wanted of one partition, by offset.
type WantsByOffset = BTreeMap<i64, Vec<Want>>;
/// What is wanted, by topic and partition. None of them is empty.
type Places = BTreeMap<(String, i32), WantsByOffset>;

/// Reads all partitions at once: one after the other, each would wait for the answer to a request of the one before.
fn fetch(reader: &BaseConsumer<Quiet>, Job { places, due }: &mut Job, give: &Give) -> Result<(), Stop> {
    let patience = if due.is_some() { PATIENCE_AGAIN } else { PATIENCE };
    give_gone(reader, places, give)?;
    stand(reader, places)?;
    let mut deadline = Instant::now() + patience;
    while !places.is_empty() {
        match reader.poll(NUDGE) {
            Some(Ok(message)) => {
                let (place, offset) = ((message.topic().to_owned(), message.partition()), message.offset());
                let Some(wanted) = places.get(&place) else { continue };
                deadline = Instant::now() + patience;
                let is_wanted = wanted.contains_key(&offset);
                give_of(places, place.clone(), (offset, None), give)?;
                if is_wanted {
                    let record = Loose::of(&input_of(&message), &headers_of(&message));
                    give_of(places, place.clone(), (offset + 1, Some(record)), give)?;
                }
                go_on(reader, places, &place, offset + 1)?;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) if is_outage(&error) => {}
            Some(Err(error)) => return Err(error.into()),
            None if Instant::now() >= deadline => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut).into());
            }
            None => give_gone(reader, places, give)?,
        }
    }
    Ok(reader.unassign()?)
}

/// What lies before the beginning of its partition is gone.
fn give_gone(reader: &BaseConsumer<Quiet>, places: &mut Places, give: &Give) -> Result<(), Stop> {
    let asked: Vec<(String, i32)> = places.keys().cloned().collect();
    let starts = reader::offsets(reader, &asked, Offset::Beginning, ANSWER)?;
    for (place, start) in asked.into_iter().zip(starts) {
        give_of(places, place, (start, None), give)?;
    }
    Ok(())
}

/// Gives everything that is wanted of a partition before an offset the same answer.
fn give_of(
    places: &mut Places,
    place: (String, i32),
    (before, mut record): (i64, Option<Loose>),
    give: &Give,
) -> Result<(), Deaf> {
    let Entry::Occupied(mut wanted) = places.entry(place) else { return Ok(()) };
    while let Some(entry) = wanted.get_mut().first_entry().filter(|entry| *entry.key() < before) {
        let mut wants = entry.remove();
        // Mostly there is one, and it gets the record itself.
        let last = wants.pop();
        for want in wants {
            give.give(want, record.clone())?;
        }
        if let Some(want) = last {
            give.give(want, record.take())?;
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

#[cfg(test)]
mod tests;
