//! What the network does at the moment, and what happens to one request in it.
//!
//! Every draw comes from one seeded stream; what it is drawn for depends on what the clients just send.

use std::sync::Mutex;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::watch;

use crate::seed::{Random, random};
use crate::torture::journal::Journal;
use crate::torture::nodes::NODES;

/// A request of Kafka's protocol, as far as the network can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api(pub i16);

/// The requests that are worth an attack, with their names.
pub const APIS: [(Api, &str); 13] = [
    (Api(26), "EndTxn"),
    (Api(28), "TxnOffsetCommit"),
    (Api(25), "AddOffsetsToTxn"),
    (Api(24), "AddPartitionsToTxn"),
    (Api(22), "InitProducerId"),
    (Api(0), "Produce"),
    (Api(1), "Fetch"),
    (Api(9), "OffsetFetch"),
    (Api(11), "JoinGroup"),
    (Api(14), "SyncGroup"),
    (Api(12), "Heartbeat"),
    (Api(10), "FindCoordinator"),
    (Api(3), "Metadata"),
];

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Pass,
    /// It waits, and everything behind it on its connection.
    Delay(Duration),
    /// The connection breaks before it arrives.
    CutBefore,
    /// It is answered, and the connection breaks instead.
    CutAfter,
    /// It is answered, and the answer is lost, with all that follow it; the connection stays.
    Swallow,
    /// Its connection breaks, and much later it arrives all the same.
    Late(Duration),
}

/// A fate without its length: what an episode does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Delay,
    CutBefore,
    CutAfter,
    Swallow,
    Late,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Delay, Kind::CutBefore, Kind::CutAfter, Kind::Swallow, Kind::Late];

    /// Its name in the evidence.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Delay => "delayed",
            Kind::CutBefore => "cut before",
            Kind::CutAfter => "cut after",
            Kind::Swallow => "answer lost",
            Kind::Late => "late",
        }
    }
}

/// For a while, requests of one kind may meet a fate.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Which requests.
    pub api: Api,
    /// What may happen to them.
    pub kind: Kind,
    /// How likely, from 0 to 1.
    pub chance: f64,
}

/// What the network lets through to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Everything.
    Clear,
    /// Connections stand, and nothing moves on them.
    Silent,
    /// Connections break and new ones are refused.
    Refused,
}

/// The weather over all nodes.
#[derive(Debug)]
pub struct Weather {
    rule: Mutex<Option<Rule>>,
    random: Mutex<Random>,
    sights: Vec<watch::Sender<Sight>>,
    journal: Journal,
}

impl Weather {
    /// Fair.
    pub fn new(seed: u64, journal: Journal) -> Self {
        let sights = (0..NODES).map(|_| watch::Sender::new(Sight::Clear)).collect();
        Self { rule: Mutex::new(None), random: Mutex::new(random(seed, "network")), sights, journal }
    }

    /// From now on this rule holds, or none.
    pub fn set_rule(&self, rule: Option<Rule>) {
        *self.rule.lock().expect("nothing panics while it holds the lock") = rule;
    }

    /// What a node's proxy lets through from now on.
    pub fn set_sight(&self, node: usize, sight: Sight) {
        self.sights[node].send_replace(sight);
    }

    /// Follows what a node's proxy lets through.
    pub fn sight(&self, node: usize) -> watch::Receiver<Sight> {
        self.sights[node].subscribe()
    }

    /// Draws what happens to a request.
    pub fn fate(&self, node: usize, api: Api) -> Fate {
        let rule = *self.rule.lock().expect("nothing panics while it holds the lock");
        let Some(rule) = rule.filter(|rule| rule.api == api) else { return Fate::Pass };
        let mut random = self.random.lock().expect("nothing panics while it holds the lock");
        if !random.random_bool(rule.chance) {
            return Fate::Pass;
        }
        let fate = match rule.kind {
            Kind::Delay => Fate::Delay(Duration::from_millis(random.random_range(50..3000))),
            Kind::CutBefore => Fate::CutBefore,
            Kind::CutAfter => Fate::CutAfter,
            Kind::Swallow => Fate::Swallow,
            Kind::Late => Fate::Late(Duration::from_millis(random.random_range(50..9000))),
        };
        drop(random);
        let name = APIS.iter().find(|(known, _)| *known == api).map_or("", |(_, name)| name);
        self.journal.fault(&format!("{name} {}", rule.kind.name()), &format!("node {node}, {fate:?}"));
        fate
    }
}
