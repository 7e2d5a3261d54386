//! Kafka in memory, as far as a processor can tell: partitions, the transaction coordinator, the group, and a network
//! that delays and repeats requests.

use std::collections::BTreeMap;

use processor::emit::Out;
use weir_tests::history::Input;

use crate::group::{Group, Membership, Slot};
use crate::topic::{Partition, ProducerId, Stamped};
use crate::transactions::{Coordinator, Marker, Target};

/// A request that is still on its way although its sender has gone on: its retry was answered, or the sender died.
#[derive(Clone, Debug)]
pub struct Request {
    pub producer: ProducerId,
    pub epoch: u64,
    pub kind: Kind,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub enum Kind {
    /// AddPartitionsToTxn or AddOffsetsToTxn.
    Add(Target),
    /// Produce.
    Produce((Out, i32), Stamped),
    /// TxnOffsetCommit.
    Offsets(Slot, Membership, Vec<(i32, i64, String)>),
    /// EndTxn.
    End { is_commit: bool },
    /// InitProducerId.
    Init,
}

/// The cluster.
#[derive(Default)]
pub struct Cluster {
    pub input: Input,
    /// How much of each input partition is there already.
    pub arrived: BTreeMap<i32, usize>,
    pub clean_partitions: i32,
    pub transactions: Coordinator,
    pub group: Group,
    pub network: Vec<(u64, Request)>,
    logs: BTreeMap<(Out, i32), Partition>,
    requests: u64,
    nonces: u64,
    /// Milliseconds that have passed.
    pub clock_ms: i64,
    /// A control: brokers that do not ask the coordinator about what a producer has not open yet.
    pub is_careless: bool,
}

/// Nobody wrote here yet.
static EMPTY: Partition = Partition::new();

impl Cluster {
    /// A cluster with some input, of which nothing has arrived.
    pub fn new(input: Input, clean_partitions: i32) -> Self {
        let arrived = input.keys().map(|partition| (*partition, 0)).collect();
        let group = Group::new(input.len() as i32);
        Self { input, arrived, clean_partitions, group, ..Self::default() }
    }

    /// The log of a partition.
    pub fn log(&self, at: (Out, i32)) -> &Partition {
        self.logs.get(&at).unwrap_or(&EMPTY)
    }

    /// Appends a record of no transaction.
    pub fn append_plain(&mut self, at: (Out, i32), record: Stamped) {
        self.log_mut(at).append_plain(record);
    }

    fn log_mut(&mut self, at: (Out, i32)) -> &mut Partition {
        self.logs.entry(at).or_default()
    }

    /// The partitions of an output that somebody wrote to.
    pub fn partitions(&self, out: Out) -> impl Iterator<Item = (i32, &Partition)> {
        self.logs.iter().filter(move |((of, _), _)| *of == out).map(|((_, partition), log)| (*partition, log))
    }

    /// A number nobody drew before.
    pub fn nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.nonces
    }

    /// Appends a record for a producer. What it has not open here yet, the coordinator must know of.
    pub fn append(&mut self, producer: ProducerId, epoch: u64, at: (Out, i32), record: Stamped) -> Option<i64> {
        if !self.log(at).is_open(producer) && !self.is_taken(producer, epoch, Target::Log(at.0, at.1)) {
            return None;
        }
        self.log_mut(at).append(producer, epoch, record)
    }

    /// Whether something new of a producer is taken: the coordinator must know of it.
    pub fn is_taken(&mut self, producer: ProducerId, epoch: u64, target: Target) -> bool {
        self.is_careless || self.transactions.verify(producer, epoch, target).is_ok()
    }

    /// Leaves a request on the wire.
    pub fn post(&mut self, producer: ProducerId, epoch: u64, kind: Kind) -> u64 {
        self.requests += 1;
        self.network.push((self.requests, Request { producer, epoch, kind }));
        self.requests
    }

    /// Takes a request off the wire again, unless it was delivered.
    pub fn recall(&mut self, number: u64) {
        self.network.retain(|(known, _)| *known != number);
    }

    /// Delivers one request. The answer goes nowhere.
    pub fn deliver(&mut self, index: usize) -> Request {
        let (_, request) = self.network.swap_remove(index);
        let Request { producer, epoch, kind } = request.clone();
        match kind {
            Kind::Add(target) => drop(self.transactions.add(producer, epoch, target)),
            Kind::End { is_commit } => drop(self.transactions.end(producer, epoch, is_commit)),
            Kind::Init => {
                self.transactions.fence(producer);
                self.transactions.renew(producer);
            }
            Kind::Produce(at, record) => drop(self.append(producer, epoch, at, record)),
            Kind::Offsets(slot, membership, offsets) => {
                let is_known = self.group.is_open(producer) || self.is_taken(producer, epoch, Target::Offsets);
                if is_known && self.group.check(slot, membership).is_ok() {
                    self.group.stage(producer, epoch, &offsets);
                }
            }
        }
        request
    }

    /// Writes one marker.
    pub fn mark(&mut self, marker: Marker) {
        let Marker { producer, epoch, target, is_commit } = marker;
        match target {
            Target::Log(out, partition) => self.log_mut((out, partition)).mark(producer, epoch, is_commit),
            Target::Offsets => self.group.mark(producer, epoch, is_commit),
        }
        self.transactions.marked(marker);
    }

    /// Writes every marker of a producer that is on its way.
    pub fn mark_all(&mut self, producer: ProducerId) {
        for marker in self.transactions.markers().into_iter().filter(|marker| marker.producer == producer) {
            self.mark(marker);
        }
    }

    /// What becomes of a producer that nobody hears of: its transaction times out, and the marker comes at last.
    pub fn decide(&mut self, producer: ProducerId, target: Target) {
        self.transactions.fence(producer);
        let markers = self.transactions.markers();
        for marker in markers.into_iter().filter(|marker| marker.producer == producer && marker.target == target) {
            self.mark(marker);
        }
    }

    /// Everything on the wire arrives, everything open is decided.
    pub fn drain(&mut self) {
        while !self.network.is_empty() {
            self.deliver(0);
            for marker in self.transactions.markers() {
                self.mark(marker);
            }
        }
        for producer in self.transactions.ongoing() {
            self.transactions.fence(producer);
        }
        for marker in self.transactions.markers() {
            self.mark(marker);
        }
    }

    /// An EndTxn arrives for whoever has a transaction open, under its present epoch.
    pub fn end_ongoing(&mut self) {
        for producer in self.transactions.ongoing() {
            self.transactions.commit_ongoing(producer);
        }
    }

    /// A torn transaction at its worst: some of its outputs are committed, the rest and the offsets are not, and the
    /// producer is fenced.
    pub fn tear(&mut self, producer: ProducerId) {
        self.transactions.fence(producer);
        let mut is_torn = false;
        for marker in self.transactions.markers().into_iter().filter(|marker| marker.producer == producer) {
            is_torn = !is_torn && marker.target != Target::Offsets;
            self.mark(Marker { is_commit: is_torn, ..marker });
        }
    }
}
