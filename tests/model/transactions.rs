//! The transaction coordinator of a broker, speaking the first version of Kafka's transactions.
//!
//! A request names a producer and its epoch, never a transaction. So an EndTxn that is delivered late, while its
//! retry has long succeeded, ends whatever transaction of the same epoch is under way. Only a new epoch fences it.
//! A commit is acknowledged before a single marker is written; markers reach each partition in their own time.

use std::collections::BTreeSet;

use processor::emit::Out;

use crate::topic::ProducerId;

/// What a transaction touches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// A partition of an output.
    Log(Out, i32),
    /// The group's committed offsets.
    Offsets,
}

/// Why the coordinator refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// A newer epoch is known.
    Fenced,
    /// The markers of the transaction before are not all written yet: ask again.
    Concurrent,
    /// There is no such transaction.
    InvalidState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Empty,
    Ongoing,
    Ending { is_commit: bool },
    Ended { is_commit: bool },
}

struct Id {
    epoch: u64,
    state: State,
    targets: BTreeSet<Target>,
}

/// A marker on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    pub producer: ProducerId,
    pub epoch: u64,
    pub target: Target,
    pub is_commit: bool,
}

/// The coordinator of every `transactional.id`.
#[derive(Default)]
pub struct Coordinator {
    ids: Vec<Id>,
}

impl Coordinator {
    fn id(&mut self, producer: ProducerId) -> &mut Id {
        while self.ids.len() <= producer {
            self.ids.push(Id { epoch: 0, state: State::Empty, targets: BTreeSet::new() });
        }
        &mut self.ids[producer]
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn. The first one opens the transaction.
    pub fn add(&mut self, producer: ProducerId, epoch: u64, target: Target) -> Result<(), Refused> {
        let id = self.id(producer);
        if epoch != id.epoch {
            return Err(Refused::Fenced);
        }
        match id.state {
            State::Ending { .. } => return Err(Refused::Concurrent),
            State::Ongoing => {}
            State::Empty | State::Ended { .. } => {
                id.state = State::Ongoing;
                id.targets.clear();
            }
        }
        id.targets.insert(target);
        Ok(())
    }

    /// What a broker asks before it takes a record or offsets of a producer that has nothing open there.
    pub fn verify(&mut self, producer: ProducerId, epoch: u64, target: Target) -> Result<(), Refused> {
        let id = self.id(producer);
        if epoch != id.epoch {
            Err(Refused::Fenced)
        } else if id.state == State::Ongoing && id.targets.contains(&target) {
            Ok(())
        } else {
            Err(Refused::InvalidState)
        }
    }

    /// EndTxn.
    pub fn end(&mut self, producer: ProducerId, epoch: u64, is_commit: bool) -> Result<(), Refused> {
        let id = self.id(producer);
        if epoch != id.epoch {
            return Err(Refused::Fenced);
        }
        match id.state {
            State::Ongoing => {
                id.state = State::Ending { is_commit };
                Ok(())
            }
            State::Ending { is_commit: same } if same == is_commit => Err(Refused::Concurrent),
            // The answer to a retry: it has happened.
            State::Ended { is_commit: same } if same == is_commit => Ok(()),
            State::Ending { .. } | State::Ended { .. } | State::Empty => Err(Refused::InvalidState),
        }
    }

    /// EndTxn under whatever epoch is known.
    pub fn commit_ongoing(&mut self, producer: ProducerId) {
        let epoch = self.id(producer).epoch;
        let ended = self.end(producer, epoch, true);
        assert!(ended.is_ok(), "a transaction that is open can be ended");
    }

    /// The transaction time-out, and the first half of InitProducerId: what is open is aborted under a new epoch.
    /// `true` when something was open.
    pub fn fence(&mut self, producer: ProducerId) -> bool {
        let id = self.id(producer);
        if id.state != State::Ongoing {
            return false;
        }
        id.epoch += 1;
        id.state = State::Ending { is_commit: false };
        true
    }

    /// The second half of InitProducerId: a new epoch, unless something is under way.
    pub fn renew(&mut self, producer: ProducerId) -> Option<u64> {
        let id = self.id(producer);
        match id.state {
            State::Ongoing | State::Ending { .. } => None,
            State::Empty | State::Ended { .. } => {
                id.epoch += 1;
                id.state = State::Empty;
                Some(id.epoch)
            }
        }
    }

    /// Whether a transaction of the producer is open.
    pub fn is_ongoing(&self, producer: ProducerId) -> bool {
        self.ids.get(producer).is_some_and(|id| id.state == State::Ongoing)
    }

    /// Producers with an open transaction.
    pub fn ongoing(&self) -> Vec<ProducerId> {
        (0..self.ids.len()).filter(|producer| self.is_ongoing(*producer)).collect()
    }

    /// Every marker that is on its way.
    pub fn markers(&self) -> Vec<Marker> {
        let ending = |(producer, id): (usize, &Id)| match id.state {
            State::Ending { is_commit } => Some((producer, id.epoch, is_commit)),
            State::Empty | State::Ongoing | State::Ended { .. } => None,
        };
        let ending = self.ids.iter().enumerate().filter_map(ending);
        ending
            .flat_map(|(producer, epoch, is_commit)| {
                let targets = self.ids[producer].targets.iter();
                targets.map(move |target| Marker { producer, epoch, target: *target, is_commit })
            })
            .collect()
    }

    /// A marker was written. With the last one the transaction is over.
    pub fn marked(&mut self, marker: Marker) {
        let id = self.id(marker.producer);
        id.targets.remove(&marker.target);
        if id.targets.is_empty() {
            id.state = State::Ended { is_commit: marker.is_commit };
        }
    }
}
