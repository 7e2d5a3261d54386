//! Offsets that are committed outside of their transaction: a control.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// Commits offsets in a transaction of their own, which is wrong: a control.
pub struct Outside {
    input: String,
    producer: BaseProducer,
    consumer: BaseConsumer,
}

impl Outside {
    /// A second producer and a client of the group that is no member of it.
    #[expect(clippy::disallowed_methods, reason = "a control that goes past the one door on purpose")]
    pub fn new(brokers: &str, group: &str, input: &str) -> Self {
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", brokers);
        let producer: BaseProducer = base
            .clone()
            .set("transactional.id", format!("{group}-outside"))
            .set("retry.backoff.ms", "5")
            .create()
            .expect("a producer");
        producer.init_transactions(std::time::Duration::from_secs(20)).expect("a reachable broker");
        let consumer = base.set("group.id", group).create().expect("a consumer");
        Self { input: input.to_owned(), producer, consumer }
    }

    #[expect(clippy::disallowed_methods, reason = "a control that goes past the one door on purpose")]
    pub(super) fn commit(&self, offsets: &[(i32, i64, String)]) {
        let list = list(&self.input, offsets);
        let timeout = std::time::Duration::from_secs(20);
        let membership = self.consumer.group_metadata().expect("a group");
        self.producer.begin_transaction().expect("a transaction");
        self.producer.send_offsets_to_transaction(&list, &membership, timeout).expect("sent");
        self.producer.commit_transaction(timeout).expect("committed");
    }
}

/// Offsets of a topic with their metadata, as the client takes them.
pub(super) fn list(topic: &str, offsets: &[(i32, i64, String)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, next, metadata) in offsets {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*next)).expect("an offset");
        element.set_metadata(metadata.as_str());
    }
    list
}
