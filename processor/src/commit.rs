//! Step 10: transactions. THE ONLY FILE that begins, fills, commits or abandons one, or sends offsets.
//!
//! librdkafka 2.12 speaks the first version of Kafka's transactions, in which a delayed request of one transaction
//! can hit the next. So a producer that had any trouble is never used again: it is given up, and a new one with the
//! same `transactional.id` takes a new epoch, which fences everything the old one left on the wire and decides what
//! it left open. There is no abort: recycling is the abort. `[processor] recycle = "every_commit"` does the same after
//! commits without trouble.

mod connected;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;

use runtime::config::Recycle;

use self::connected::{Connected, Maker, Next};
use crate::emit::{Out, Record};
use crate::group;
use crate::log::{Acks, Fault};
use crate::patience::{retire, within};

const POLL: Duration = Duration::from_millis(1);
/// Between two looks for delivery reports, and how many are served at a look.
const NAP: Duration = Duration::from_micros(500);
const REPORTS: usize = 64;
/// Records between two looks for delivery reports while records are added: what has arrived makes room in memory that is
/// still in the cache, where a whole transaction would not fit.
const LOOK_EVERY: usize = 64;

/// Full names of the topics a transaction writes to.
#[derive(Debug, Clone)]
pub struct OutTopics {
    /// `clean-events`.
    pub clean: String,
    /// `stale-events`.
    pub stale: String,
    /// `dead-events`.
    pub dead: String,
    /// `dead-resolutions`.
    pub resolutions: String,
    /// `state-changelog`.
    pub changelog: String,
    /// The retry topics, in the order of their delays.
    pub retry: Vec<String>,
}

impl OutTopics {
    /// The full name of a topic.
    pub fn name(&self, out: Out) -> &str {
        match out {
            Out::Clean => &self.clean,
            Out::Stale => &self.stale,
            Out::Dead => &self.dead,
            Out::Resolutions => &self.resolutions,
            Out::Changelog => &self.changelog,
            Out::Retry(tier) => self.retry.get(usize::from(tier)).map_or("", String::as_str),
        }
    }
}

/// Where each kind of record is counted. Where retries went nobody asks.
const OUTS: [Out; 5] = [Out::Clean, Out::Stale, Out::Dead, Out::Resolutions, Out::Changelog];
const UNCOUNTED: usize = OUTS.len();

/// What the producer's callbacks write down.
#[derive(Default)]
pub(crate) struct Signals {
    /// The connection misbehaved since the producer was made.
    is_tainted: AtomicBool,
    delivered: Mutex<Delivered>,
}

#[derive(Default)]
struct Delivered {
    /// Greatest offset of each partition, by topic.
    last: [Vec<i64>; OUTS.len()],
    failure: Option<String>,
}

impl Delivered {
    fn note(&mut self, out: usize, partition: i32, offset: i64) {
        if out == UNCOUNTED {
            return;
        }
        match (self.last.get_mut(out), usize::try_from(partition)) {
            (Some(last), Ok(partition)) => {
                if last.len() <= partition {
                    last.resize(partition + 1, -1);
                }
                if let Some(last) = last.get_mut(partition) {
                    *last = (*last).max(offset);
                }
            }
            (Some(_), Err(_)) | (None, _) => {
                self.failure = Some("a delivery report for no partition of ours".to_owned());
            }
        }
    }

    fn take_acks(&mut self) -> Acks {
        let mut acks = Acks::new();
        for (out, last) in OUTS.into_iter().zip(&mut self.last) {
            for (partition, offset) in (0..).zip(last.drain(..)) {
                if offset >= 0 {
                    acks.insert((out, partition), offset);
                }
            }
        }
        acks
    }
}

struct TransactionContext(Arc<Signals>);

impl ClientContext for TransactionContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A broken connection, requests that timed out, a request sent again. With `debug=broker` they are never
        // suppressed as repetitions; they wait in the client's queue, so `commit` polls before it looks.
        if matches!(facility, "FAIL" | "REQTMOUT" | "RETRY") {
            self.0.is_tainted.store(true, Ordering::Release);
        }
        tracing::debug!(target: "librdkafka", ?level, facility, message, "client log");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.is_tainted.store(true, Ordering::Release);
        tracing::debug!(target: "librdkafka", %error, reason, "client error");
    }
}

impl ProducerContext for TransactionContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, out: usize) {
        let mut delivered = self.0.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => delivered.note(out, message.partition(), message.offset()),
            Err((error, _)) => delivered.failure = Some(error.to_string()),
        }
    }
}

/// The transactional producer of one worker.
pub(crate) struct Transactions {
    maker: Maker,
    topics: OutTopics,
    timeout: Duration,
    when: Recycle,
    current: Option<Connected>,
    /// Whether it began a transaction.
    is_used: bool,
    /// Connected already, where each transaction has one of its own.
    next: Next,
    membership: Option<Arc<ConsumerGroupMetadata>>,
    /// When the open transaction began: the time of its records.
    began_ms: i64,
    /// Records of the open transaction.
    added: usize,
}

impl Transactions {
    /// Prepares, without connecting. `timeout` is the transaction timeout in `config`.
    pub(crate) fn new(config: ClientConfig, topics: OutTopics, timeout: Duration, when: Recycle) -> Self {
        let maker = Maker::new(config, [topics.clean.clone(), topics.changelog.clone()], timeout * 2);
        Self {
            maker,
            topics,
            timeout,
            when,
            current: None,
            is_used: false,
            next: Next::default(),
            membership: None,
            began_ms: 0,
            added: 0,
        }
    }

    /// Names of the topics.
    pub(crate) fn topics(&self) -> &OutTopics {
        &self.topics
    }

    /// A fresh producer under a new epoch. What the old one left open is aborted, or committed if that was decided.
    pub(crate) fn recycle(&mut self) -> Result<(), Fault> {
        (self.is_used, self.membership) = (false, None);
        self.current.take().into_iter().for_each(retire);
        self.current = Some(self.admit(self.maker.connect())?);
        Ok(())
    }

    /// The same after a commit, with a producer that was connected meanwhile. Later is better: until all markers of the
    /// transaction before are written the broker refuses, and the client asks again after half a second.
    fn succeed(&mut self) -> Result<(), Fault> {
        let next = self.next.take().map_or_else(|| self.maker.connect(), Ok);
        let before = self.current.replace(self.admit(next)?);
        self.is_used = false;
        self.next.prepare(&self.maker, before);
        Ok(())
    }

    fn admit(&self, connected: Result<Connected, KafkaError>) -> Result<Connected, Fault> {
        let admitted = connected.and_then(|connected| self.maker.admit(connected));
        admitted.map_err(|error| Fault::unsure("make a fresh producer", &error))
    }

    /// Opens a transaction under the membership of this moment: if we lose it before the end, the broker refuses.
    #[expect(clippy::disallowed_methods, reason = "the one door to transactions")]
    pub(crate) fn begin<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) -> Result<(), Fault> {
        let doing = "begin a transaction";
        let detail = |detail: &str| Fault::Unsure { doing, detail: detail.to_owned() };
        let before = group::membership(consumer).ok_or_else(|| detail("not a member of the group"))?;
        let membership = consumer.group_metadata().ok_or_else(|| detail("no group metadata"))?;
        if group::membership(consumer).as_ref() != Some(&before) {
            return Err(detail("the membership changed meanwhile"));
        }
        if self.is_used && self.when == Recycle::EveryCommit {
            self.succeed()?;
        }
        // Trouble since the last commit was looked at.
        if self.current()?.is_tainted() {
            self.recycle()?;
        }
        self.membership = Some(Arc::new(membership));
        *self.current()?.signals.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Delivered::default();
        self.began_ms = runtime::clock::now_ms();
        self.added = 0;
        self.is_used = true;
        self.producer()?.begin_transaction().map_err(|error| Fault::unsure(doing, &error))
    }

    /// Adds a record.
    pub(crate) fn produce(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.added += 1;
        let producer = self.producer()?;
        if self.added.is_multiple_of(LOOK_EVERY) {
            producer.poll(Duration::ZERO);
        }
        let opaque = OUTS.iter().position(|out| *out == record.out).unwrap_or(UNCOUNTED);
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers.iter() {
            headers = headers.insert(Header { key, value });
        }
        let mut next = BaseRecord::<[u8], [u8], usize>::with_opaque_to(self.topics.name(record.out), opaque)
            .partition(record.partition)
            .timestamp(self.began_ms)
            .payload(record.value)
            .headers(headers);
        if let Some(key) = record.key {
            next = next.key(key);
        }
        loop {
            match producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    producer.poll(POLL);
                    next = back;
                }
                Err((error, _)) => return Err(Fault::unsure("produce a record", &error)),
            }
        }
    }

    /// Waits for every delivery report. The client's own flush waits in steps of 100 ms, and a poll of a millisecond
    /// or less never sleeps but spins, on a processor that the client's threads and the brokers could use.
    pub(crate) fn settle(&self) -> Result<Acks, Fault> {
        let Connected { producer, signals } = self.current()?;
        let began = Instant::now();
        while producer.in_flight_count() > 0 {
            for _ in 0..REPORTS {
                producer.poll(Duration::ZERO);
            }
            if began.elapsed() > self.patience() {
                return Err(self.gave_up("deliver a record"));
            }
            std::thread::park_timeout(NAP);
        }
        let mut delivered = signals.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match delivered.failure.take() {
            Some(detail) => Err(Fault::Unsure { doing: "deliver a record", detail }),
            None => Ok(delivered.take_acks()),
        }
    }

    /// Adds offsets with their metadata.
    #[expect(clippy::disallowed_methods, reason = "the one door to transactions")]
    pub(crate) fn send_offsets(&self, topic: &str, offsets: &[(i32, i64, String)]) -> Result<(), Fault> {
        let doing = "send offsets";
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, next, metadata) in offsets {
            // A negative offset would be ignored silently; ours can't be.
            assert!(*next >= 0, "an offset to commit is never negative");
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(*next)).map_err(|error| Fault::unsure(doing, &error))?;
            element.set_metadata(metadata.as_str());
        }
        let none = || Fault::Unsure { doing, detail: "no transaction is open".to_owned() };
        let membership = self.membership.clone().ok_or_else(none)?;
        let (producer, timeout) = (Arc::clone(self.producer()?), self.timeout);
        let sent = within(self.patience(), move || producer.send_offsets_to_transaction(&list, &membership, timeout));
        sent.ok_or_else(|| self.gave_up(doing))?.map_err(|error| Fault::unsure(doing, &error))
    }

    /// Commits. `false`: committed, but the producer must not be used again.
    #[expect(clippy::disallowed_methods, reason = "the one door to transactions")]
    pub(crate) fn commit(&mut self) -> Result<bool, Fault> {
        let doing = "commit a transaction";
        let producer = Arc::clone(self.producer()?);
        // Any other timeout than never can leave the client out of step with the broker.
        let committed = within(self.patience(), move || producer.commit_transaction(Timeout::Never));
        committed.ok_or_else(|| self.gave_up(doing))?.map_err(|error| Fault::unsure(doing, &error))?;
        self.membership = None;
        Ok(!self.current()?.is_tainted())
    }

    /// How long a call is waited for: by then the broker may abort the transaction. What it came to, the next epoch
    /// decides.
    fn patience(&self) -> Duration {
        self.timeout * 2
    }

    fn gave_up(&self, doing: &'static str) -> Fault {
        Fault::Unsure { doing, detail: format!("the client gave no answer within {:?}", self.patience()) }
    }

    fn producer(&self) -> Result<&Arc<BaseProducer<TransactionContext>>, Fault> {
        self.current().map(|current| &current.producer)
    }

    fn current(&self) -> Result<&Connected, Fault> {
        self.current
            .as_ref()
            .ok_or_else(|| Fault::Unsure { doing: "use the producer", detail: "there is none".to_owned() })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one door to transactions")]
fn take_epoch(producer: &BaseProducer<TransactionContext>, patience: Duration) -> Result<(), KafkaError> {
    producer.init_transactions(patience)
}

#[cfg(test)]
mod tests;
