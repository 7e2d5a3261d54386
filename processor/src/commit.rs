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
        }
    }
}

const OUTS: [Out; 5] = [Out::Clean, Out::Stale, Out::Dead, Out::Resolutions, Out::Changelog];

/// What the producer's callbacks write down.
#[derive(Default)]
pub(crate) struct Signals {
    /// The connection misbehaved since the last `begin`.
    is_tainted: AtomicBool,
    delivered: Mutex<Delivered>,
}

#[derive(Default)]
struct Delivered {
    acks: Acks,
    failure: Option<String>,
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
        match (result, OUTS.get(out)) {
            (Ok(message), Some(out)) => {
                let last = delivered.acks.entry((*out, message.partition())).or_insert(-1);
                *last = (*last).max(message.offset());
            }
            (Err((error, _)), _) => delivered.failure = Some(error.to_string()),
            (Ok(_), None) => delivered.failure = Some("a delivery report for no topic of ours".to_owned()),
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
}

impl Transactions {
    /// Prepares, without connecting. `timeout` is the transaction timeout in `config`.
    pub(crate) fn new(config: ClientConfig, topics: OutTopics, timeout: Duration) -> Self {
        Self { config, topics, timeout, signals: Arc::default(), producer: None, membership: None }
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
        // With a connection up the next call takes milliseconds instead of half a second.
        producer.client().fetch_metadata(Some(&self.topics.clean), WARM_UP).map_err(|error| unsure(doing, &error))?;
        producer.init_transactions(self.timeout * 2).map_err(|error| unsure(doing, &error))?;
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
        self.membership = Some(membership);
        self.signals.is_tainted.store(false, Ordering::Release);
        *self.signals.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Delivered::default();
        self.producer()?.begin_transaction().map_err(|error| unsure(doing, &error))
    }

    /// Adds a record.
    pub(crate) fn produce(&self, record: &Record<'_>) -> Result<(), Fault> {
        let producer = self.producer()?;
        let opaque = OUTS.iter().position(|out| *out == record.out).unwrap_or(usize::MAX);
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers.iter() {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut next = BaseRecord::<[u8], [u8], usize>::with_opaque_to(self.topics.name(record.out), opaque)
            .partition(record.partition)
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

    /// Waits for every delivery report. Polling in small steps avoids the 100 ms quantum of the client's own flush.
    pub(crate) fn settle(&self) -> Result<Acks, Fault> {
        let producer = self.producer()?;
        while producer.in_flight_count() > 0 {
            producer.poll(POLL);
        }
        let mut delivered = self.signals.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        match delivered.failure.take() {
            Some(detail) => Err(Fault::Unsure { doing: "deliver a record", detail }),
            None => Ok(std::mem::take(&mut delivered.acks)),
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
