//! `[processor] recycle = "every_commit"`: each transaction has an epoch of its own, also where epochs run out.

use std::io::{Read, Write};
use std::net::TcpStream;

use weir_tests::broker::{self, Broker};
use weir_tests::ports;
use weir_tests::withheld::Proxy;

use crate::rig::{Rig, SETTINGS, Waited};

/// A broker of its own behind a proxy, and the address that workers are told.
pub async fn proxied(name: &str) -> (Broker, Proxy, String) {
    let port = ports::free().expect("a port");
    let (broker, inner) = Broker::start_behind(name, port).expect("a broker can be started");
    let proxy = Proxy::start(port, inner).await.expect("a free port");
    (broker, proxy, format!("127.0.0.1:{port}"))
}

fn settings(recycle: &str) -> String {
    format!("{SETTINGS}recycle = {recycle:?}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transaction_has_an_epoch_of_its_own_if_asked() {
    let (broker, proxy, told) = proxied("epochs").await;
    for (recycle, is_each) in [("every_commit", true), ("after_trouble", false)] {
        let mut rig = Rig::behind_with_settings(recycle, broker.brokers(), &told, &settings(recycle)).await;
        rig.feed(400);
        assert_eq!(rig.run("a", "die-before:commit:5", "-").await, Waited::Killed);
        assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
        rig.check().expect("exactly once, in order");
        let (commits, own) = proxy.commits(&rig.transactional_id("a"));
        assert!(commits >= 16, "{commits} commits");
        assert_eq!(commits == own, is_each, "{recycle}: {own} of {commits} commits had an epoch of their own");
    }
}

/// The last epoch of a producer id is 32,766; whoever takes the next one gets another id, with epoch 0.
const NEARLY_LAST: i16 = 32_756;

#[tokio::test]
async fn epochs_that_run_out_lose_nothing_and_double_nothing() {
    let mut rig = Rig::with_settings("exhausted", &settings("every_commit")).await;
    rig.feed(400);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    let before = exhaust(broker::shared(), &rig.transactional_id("a"));
    rig.feed(600);
    assert_eq!(rig.run("a", "die-after:begin:5", "-").await, Waited::Killed);
    assert_eq!(rig.run("a", "-", "-").await, Waited::Code(0));
    rig.check().expect("exactly once, in order");
    let after = InitProducerId::new(broker::shared(), &rig.transactional_id("a")).ask();
    assert_ne!(after.0, before, "the producer id changed on the way");
}

/// Takes epochs until hardly any is left, and says of which producer id.
fn exhaust(brokers: &str, id: &str) -> i64 {
    let mut init = InitProducerId::new(brokers, id);
    loop {
        let (producer, epoch) = init.ask();
        if epoch >= NEARLY_LAST {
            return producer;
        }
    }
}

/// Kafka's request of that name, version 1, for a `transactional.id`; the only broker is its coordinator.
struct InitProducerId {
    broker: TcpStream,
    request: Vec<u8>,
}

impl InitProducerId {
    fn new(brokers: &str, id: &str) -> Self {
        let broker = TcpStream::connect(brokers).expect("the broker listens");
        broker.set_nodelay(true).expect("a socket");
        let id_bytes = i16::try_from(id.len()).expect("a short name");
        let mut body = [22_i16, 1].map(i16::to_be_bytes).concat();
        body.extend(7_i32.to_be_bytes()); // correlation id
        body.extend((-1_i16).to_be_bytes()); // no client id
        body.extend(id_bytes.to_be_bytes());
        body.extend(id.bytes());
        body.extend(10_000_i32.to_be_bytes()); // transaction timeout, ms
        let mut request = i32::try_from(body.len()).expect("a small request").to_be_bytes().to_vec();
        request.append(&mut body);
        Self { broker, request }
    }

    /// Producer id and epoch. Asks again while the broker is busy with the last transaction.
    fn ask(&mut self) -> (i64, i16) {
        const CONCURRENT_TRANSACTIONS: i16 = 51;
        loop {
            self.broker.write_all(&self.request).expect("the broker listens");
            // Length, correlation id, throttle time, error code, producer id, epoch.
            let mut answer = [0_u8; 24];
            self.broker.read_exact(&mut answer).expect("an answer");
            let number = |at: usize| i16::from_be_bytes([answer[at], answer[at + 1]]);
            let mut producer = [0_u8; 8];
            producer.copy_from_slice(&answer[14..22]);
            match number(12) {
                0 => return (i64::from_be_bytes(producer), number(22)),
                code => assert_eq!(code, CONCURRENT_TRANSACTIONS, "the broker refuses"),
            }
        }
    }
}
