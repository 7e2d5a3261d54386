//! A producer that keeps its epoch, whatever happens to its connection, and aborts under it: a control.
//!
//! Everything else is as `processor/src/commit.rs` does it, above all that the membership of a transaction is that of
//! its beginning.

use std::time::Duration;

use processor::emit::Record;
use processor::kafka::{Clients, KafkaLog};
use processor::log::{Acks, Fault};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;

use super::outside::list;

/// More than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The producer. It says of every commit that it was clean.
pub struct Kept {
    clients: Clients,
    producer: Option<BaseProducer>,
    /// That of the open transaction.
    membership: Option<ConsumerGroupMetadata>,
}

impl Kept {
    /// Prepares, without connecting.
    pub fn new(clients: Clients) -> Self {
        Self { clients, producer: None, membership: None }
    }

    /// Aborts what is open. Only the first time there is a new epoch.
    #[expect(clippy::disallowed_methods, reason = "a control that goes past the one door on purpose")]
    pub(super) fn recycle(&mut self) -> Result<(), Fault> {
        if self.producer.is_none() {
            let made: BaseProducer = self.clients.producer.create().map_err(unsure("make a producer"))?;
            made.init_transactions(PATIENCE).map_err(unsure("make a producer"))?;
            self.producer = Some(made);
        }
        if self.membership.take().is_none() {
            return Ok(());
        }
        self.producer()?.abort_transaction(PATIENCE).map_err(unsure("abort"))
    }

    #[expect(clippy::disallowed_methods, reason = "a control that goes past the one door on purpose")]
    pub(super) fn begin(&mut self, log: &KafkaLog) -> Result<(), Fault> {
        let no_member = || Fault::Unsure { doing: "begin", detail: "not a member of the group".to_owned() };
        let membership = log.group_metadata().filter(|_| log.is_member()).ok_or_else(no_member)?;
        self.producer()?.begin_transaction().map_err(unsure("begin"))?;
        self.membership = Some(membership);
        Ok(())
    }

    pub(super) fn produce(&self, record: &Record<'_>) -> Result<(), Fault> {
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers.iter() {
            headers = headers.insert(Header { key, value });
        }
        let mut next = BaseRecord::<[u8], [u8]>::to(self.clients.outputs.name(record.out))
            .partition(record.partition)
            .payload(record.value)
            .headers(headers);
        if let Some(key) = record.key {
            next = next.key(key);
        }
        self.producer()?.send(next).map_err(|(error, _)| unsure("produce")(error))
    }

    /// Where the records went it does not say: then hints stay behind, which only makes a takeover read more.
    pub(super) fn settle(&self) -> Result<Acks, Fault> {
        self.producer()?.flush(PATIENCE).map_err(unsure("settle"))?;
        Ok(Acks::new())
    }

    #[expect(clippy::disallowed_methods, reason = "a control that goes past the one door on purpose")]
    pub(super) fn send_offsets(&self, offsets: &[(i32, i64, String)]) -> Result<(), Fault> {
        let list = list(&self.clients.input, offsets);
        let membership = self.membership.as_ref().expect("a transaction is open");
        self.producer()?.send_offsets_to_transaction(&list, membership, PATIENCE).map_err(unsure("send offsets"))
    }

    #[expect(clippy::disallowed_methods, reason = "a control that goes past the one door on purpose")]
    pub(super) fn commit(&mut self) -> Result<bool, Fault> {
        self.producer()?.commit_transaction(Timeout::Never).map_err(unsure("commit"))?;
        self.membership = None;
        Ok(true)
    }

    fn producer(&self) -> Result<&BaseProducer, Fault> {
        let missing = || Fault::Unsure { doing: "use the producer", detail: "there is none".to_owned() };
        self.producer.as_ref().ok_or_else(missing)
    }
}

fn unsure(doing: &'static str) -> impl Fn(KafkaError) -> Fault {
    move |error| Fault::Unsure { doing, detail: error.to_string() }
}
