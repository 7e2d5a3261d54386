//! Fetching single records, from a broker in this process.

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::*;

#[test]
fn a_topic_that_is_gone_does_not_keep_other_records_from_coming() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("input", 2, 1).expect("created");
    let brokers = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("a producer");
    for number in 0..3_u8 {
        let value = [number];
        let record = BaseRecord::<[u8], [u8]>::to("input").partition(1).payload(&value);
        assert!(producer.send(record).is_ok());
    }
    producer.flush(Duration::from_secs(10)).expect("written");

    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &brokers).set("group.id", "g").set("auto.offset.reset", "error");
    client.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    let topics = ReadTopics { input: "input".to_owned(), retry: "retry-".to_owned(), first: "1s".to_owned() };
    let mut fetcher = Fetcher::start(client, topics).expect("a thread");
    let spot = |src| ([0; 12], src);
    let gone =
        Want { partition: 0, spot: spot(7), record_at: RecordAt::Command { tier: "gone".to_owned(), offset: 7 } };
    let there = |src| Want { partition: 1, spot: spot(src), record_at: RecordAt::Input };
    fetcher.want(vec![gone, there(1)]);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut wait_for = |src: i64| loop {
        let found = fetcher.fetched();
        if let [(want, record)] = found.as_slice() {
            let value = record.as_ref().map(|record| record.value.clone());
            assert_eq!((want.spot.1, value), (src, Some(vec![src as u8])));
            return fetcher.want(vec![there(2)]);
        }
        assert!(found.is_empty() && Instant::now() < deadline, "{} records", found.len());
        std::thread::park_timeout(BRIEF);
    };
    wait_for(1);
    // Asked while the topic that is gone is still looked for.
    wait_for(2);
}
