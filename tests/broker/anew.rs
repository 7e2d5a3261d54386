//! The input is deleted and made anew under the same name. Kafka removes the committed offsets with it, if their
//! coordinator is there at that moment; if not, they point into another log.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use schemas::Topic;
use weir_tests::wait::wait_until;

use crate::PATIENCE;
use crate::rig::{PARTITIONS, Rig, Waited};

#[tokio::test]
async fn an_input_that_was_made_anew_stops_the_partition_and_says_so() {
    let mut rig = Rig::new("recreated").await;
    rig.feed(200);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    recreate_input(&rig).await;
    rig.feed(2000);
    rig.halts_saying("a", "no offset is committed").await;
}

#[tokio::test]
async fn an_input_that_was_made_anew_and_has_grown_past_offsets_that_survived_stops_the_partition_and_says_so() {
    let mut rig = Rig::new("recreated-kept").await;
    rig.feed(200);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    let offsets = committed(&rig);
    recreate_input(&rig).await;
    // Every partition holds more than was committed for it, so only the times can tell.
    rig.feed(2000);
    commit(&rig, &offsets).await;
    rig.halts_saying("a", "verified-events was made anew").await;
}

async fn recreate_input(rig: &Rig) {
    rig.delete(&Topic::Verified).await;
    rig.create_missing().await;
}

fn member(rig: &Rig) -> BaseConsumer {
    rig.client().set("group.id", &rig.config.processor.group).create().expect("a client")
}

/// The group's offsets with their metadata.
fn committed(rig: &Rig) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_range(&rig.topic(&Topic::Verified), 0, PARTITIONS - 1);
    member(rig).committed_offsets(list, PATIENCE).expect("committed")
}

/// Commits them again, once the group has no members and Kafka has removed what it knew of the topic before.
#[expect(clippy::disallowed_methods, reason = "as if Kafka had not removed them with the topic")]
async fn commit(rig: &Rig, offsets: &TopicPartitionList) {
    let client = member(rig);
    wait_until("the offsets committed again", PATIENCE, || async {
        client.commit(offsets, CommitMode::Sync).map_err(|error| error.to_string())?;
        let known = client.committed_offsets(offsets.clone(), Duration::from_secs(5));
        let known = known.map_err(|error| error.to_string())?;
        if known == *offsets { Ok(()) } else { Err(format!("{known:?}")) }
    })
    .await
    .expect("committed");
}
