//! What is done to an installation behind its workers' backs: offsets, partitions and records taken away or added.

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use schemas::Topic;
use weir_tests::cluster::Cluster;
use weir_tests::wait::wait_until;

use crate::PATIENCE;
use crate::rig::{PARTITIONS, Rig};

impl Rig {
    /// Deletes the group with its offsets, once its members are gone.
    pub async fn delete_group(&self) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let group = self.config.processor.group.clone();
        wait_until("the group can be deleted", PATIENCE, || async {
            let results = admin.delete_groups(&[&group], &AdminOptions::new()).await;
            match results.map_err(|error| error.to_string())?.first() {
                Some(Ok(_)) => Ok(()),
                Some(Err((_, code))) => Err(code.to_string()),
                None => Err("no answer".to_owned()),
            }
        })
        .await
        .expect("deleted");
    }

    /// Adds partitions to the input, which its state was not built for.
    pub async fn grow_input(&self) {
        let topic = self.topic(&Topic::Verified);
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let more = NewPartitions::new(&topic, 2 * PARTITIONS as usize);
        let grown = admin.create_partitions([&more], &AdminOptions::new()).await.expect("a reachable broker");
        assert!(grown.iter().all(Result::is_ok), "{grown:?}");
        wait_until("the new partitions are there", PATIENCE, || async {
            match Cluster::new(&self.brokers).ends(&topic).map_err(|error| error.to_string())? {
                Some(ends) if ends.len() == 2 * PARTITIONS as usize => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .expect("grown");
    }

    /// Deletes a topic.
    pub async fn delete(&self, topic: &Topic) {
        Cluster::new(&self.brokers).delete_topic(&self.topic(topic)).await.expect("deleted");
    }

    /// Removes everything that is in a topic now.
    pub async fn truncate(&self, topic: &Topic) {
        let topic = self.topic(topic);
        let ends = Cluster::new(&self.brokers).ends(&topic).expect("a reachable broker").expect("the topic");
        let mut list = TopicPartitionList::new();
        for (partition, (_, next)) in ends {
            list.add_partition_offset(&topic, partition, Offset::Offset(next)).expect("an offset");
        }
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        admin.delete_records(&list, &AdminOptions::new()).await.expect("truncated");
    }
}
