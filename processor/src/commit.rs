//! Step 10: transactions. THE ONLY FILE that begins, fills, commits or abandons one, or sends offsets.
//!
//! librdkafka 2.12 speaks the first version of Kafka's transactions, in which a delayed request of one transaction
//! can hit the next. So a producer that had any trouble is never used again: it is dropped, and a new one with the
//! same `transactional.id` takes a new epoch, which fences everything the old one left on the wire and decides what
//! it left open. There is no abort: recycling is the abort.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;

use crate::emit::{Out, Record};
use crate::group;
use crate::log::{Acks, Fault};

const WARM_UP: Duration = Duration::from_secs(10);
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
    config: ClientConfig,
    topics: OutTopics,
    timeout: Duration,
    signals: Arc<Signals>,
    producer: Option<BaseProducer<TransactionContext>>,
    membership: Option<ConsumerGroupMetadata>,
    /// When the open transaction began: the time of its records.
    began_ms: i64,
    /// Records of the open transaction.
    added: usize,
}

impl Transactions {
    /// Prepares, without connecting. `timeout` is the transaction timeout in `config`.
    pub(crate) fn new(config: ClientConfig, topics: OutTopics, timeout: Duration) -> Self {
        Self {
            config,
            topics,
            timeout,
            signals: Arc::default(),
            producer: None,
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
    #[expect(clippy::disallowed_methods, reason = "the one door to transactions")]
    pub(crate) fn recycle(&mut self) -> Result<(), Fault> {
        let doing = "make a fresh producer";
        self.producer = None;
        self.membership = None;
        self.signals = Arc::default();
        let context = TransactionContext(Arc::clone(&self.signals));
        let mut config = self.config.clone();
        config.set("debug", "broker").set_log_level(RDKafkaLogLevel::Debug);
        let producer =
            BaseProducer::from_config_and_context(&config, context).map_err(|error| unsure(doing, &error))?;
        // The first answer retires the bootstrap connection, the second one needs the real one to be up. With it
        // the next call takes 5 ms; without, half a second.
        for _ in 0..2 {
            let topic = Some(self.topics.clean.as_str());
            producer.client().fetch_metadata(topic, WARM_UP).map_err(|error| unsure(doing, &error))?;
        }
        producer.init_transactions(self.timeout * 2).map_err(|error| unsure(doing, &error))?;
        // Connections come and go while a client starts, which harms no transaction.
        producer.poll(POLL);
        self.signals.is_tainted.store(false, Ordering::Release);
        self.producer = Some(producer);
        Ok(())
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
        // Trouble since the last commit was looked at.
        self.producer()?.poll(POLL);
        if self.signals.is_tainted.load(Ordering::Acquire) {
            self.recycle()?;
        }
        self.membership = Some(membership);
        *self.signals.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Delivered::default();
        self.began_ms = runtime::clock::now_ms();
        self.added = 0;
        self.producer()?.begin_transaction().map_err(|error| unsure(doing, &error))
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
                Err((error, _)) => return Err(unsure("produce a record", &error)),
            }
        }
    }

    /// Waits for every delivery report. The client's own flush waits in steps of 100 ms, and a poll of a millisecond
    /// or less never sleeps but spins, on a processor that the client's threads and the brokers could use.
    pub(crate) fn settle(&self) -> Result<Acks, Fault> {
        let producer = self.producer()?;
        while producer.in_flight_count() > 0 {
            for _ in 0..REPORTS {
                producer.poll(Duration::ZERO);
            }
            std::thread::park_timeout(NAP);
        }
        let mut delivered = self.signals.delivered.lock().unwrap_or_else(PoisonError::into_inner);
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
            element.set_offset(Offset::Offset(*next)).map_err(|error| unsure(doing, &error))?;
            element.set_metadata(metadata.as_str());
        }
        let Some(membership) = &self.membership else {
            return Err(Fault::Unsure { doing, detail: "no transaction is open".to_owned() });
        };
        self.producer()?
            .send_offsets_to_transaction(&list, membership, self.timeout)
            .map_err(|error| unsure(doing, &error))
    }

    /// Commits. `false`: committed, but the producer must not be used again.
    #[expect(clippy::disallowed_methods, reason = "the one door to transactions")]
    pub(crate) fn commit(&mut self) -> Result<bool, Fault> {
        // Any other timeout than never can leave the client out of step with the broker.
        let producer = self.producer()?;
        producer.commit_transaction(Timeout::Never).map_err(|error| unsure("commit a transaction", &error))?;
        // Serves the client's log lines that arrived meanwhile.
        producer.poll(POLL);
        self.membership = None;
        Ok(!self.signals.is_tainted.load(Ordering::Acquire))
    }

    fn producer(&self) -> Result<&BaseProducer<TransactionContext>, Fault> {
        self.producer
            .as_ref()
            .ok_or_else(|| Fault::Unsure { doing: "use the producer", detail: "there is none".to_owned() })
    }
}

/// Also a fenced member or producer is only unsure: a transaction that timed out, or a session that ended, looks the
/// same. Whether another process runs as this instance is for the group's own poll to say.
fn unsure(doing: &'static str, error: &KafkaError) -> Fault {
    Fault::Unsure { doing, detail: error.to_string() }
}
