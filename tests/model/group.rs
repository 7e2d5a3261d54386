//! The group coordinator: members and generations, who owns which partition, committed offsets with their metadata,
//! and offsets that a transaction has not decided.
//!
//! A partition moves in two rebalances, as the cooperative protocol does it: its owner gives it up at a poll, then
//! the next one gets it. Only a member that was thrown out loses its partitions without being asked.

use std::collections::BTreeMap;

use processor::log::Stored;

use crate::topic::ProducerId;

/// A worker's place in the group: its `group.instance.id`.
pub type Slot = usize;

/// What a member knows of its membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    pub member: u64,
    pub generation: u64,
}

/// Why the coordinator refuses a member's offsets or poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// Not a member, or of an older generation.
    Generation,
    /// Another process took the static member's place.
    Instance,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Grant {
    slot: Slot,
    number: u64,
}

/// A committed offset, and when it was written: a pending one never replaces a later one.
#[derive(Clone, Debug)]
struct Offset {
    written: u64,
    stored: Stored,
}

/// The group.
#[derive(Default)]
pub struct Group {
    generation: u64,
    members: BTreeMap<Slot, u64>,
    members_ever: u64,
    owners: BTreeMap<i32, Grant>,
    /// Partitions that shall move, and where to.
    moving: BTreeMap<i32, Slot>,
    grants: u64,
    committed: BTreeMap<i32, Offset>,
    pending: BTreeMap<ProducerId, BTreeMap<i32, Offset>>,
    epochs: BTreeMap<ProducerId, u64>,
    writes: u64,
}

impl Group {
    /// Every partition is without an owner until somebody joins.
    pub fn new(partitions: i32) -> Self {
        let nobody = Grant { slot: Slot::MAX, number: 0 };
        Self { owners: (0..partitions).map(|partition| (partition, nobody)).collect(), ..Self::default() }
    }

    /// Joins, or takes the place of an older process of the same static member, which changes nothing else.
    pub fn join(&mut self, slot: Slot) -> Membership {
        let is_new = !self.members.contains_key(&slot);
        self.members_ever += 1;
        self.members.insert(slot, self.members_ever);
        if is_new {
            self.spread();
        }
        Membership { member: self.members_ever, generation: self.generation }
    }

    /// The session of a member ends, or it leaves. It is not told.
    pub fn remove(&mut self, slot: Slot) {
        if self.members.remove(&slot).is_some() {
            self.spread();
        }
    }

    /// What a heartbeat answers: the membership as it is now. `None`: it is gone.
    pub fn heartbeat(&self, slot: Slot, membership: Membership) -> Option<Membership> {
        (self.members.get(&slot) == Some(&membership.member))
            .then_some(Membership { generation: self.generation, ..membership })
    }

    /// Whether the static member is another process by now.
    pub fn is_usurped(&self, slot: Slot, membership: Membership) -> bool {
        self.members.get(&slot).is_some_and(|member| *member != membership.member)
    }

    /// Asks that a partition move to a member.
    pub fn ask_to_move(&mut self, partition: i32, to: Slot) {
        if self.members.contains_key(&to) {
            self.moving.insert(partition, to);
            self.rebalance();
        }
    }

    /// What a member owns, by grant. It gives up what shall move.
    pub fn poll(&mut self, slot: Slot) -> BTreeMap<i32, u64> {
        let asked: Vec<i32> = self.moving.keys().copied().collect();
        let given: Vec<i32> = asked.into_iter().filter(|partition| self.owners[partition].slot == slot).collect();
        for partition in &given {
            let to = self.moving.remove(partition).expect("it was found there");
            if to != slot {
                self.grant(*partition, to);
            }
        }
        if !given.is_empty() {
            self.rebalance();
        }
        let mine = self.owners.iter().filter(|(_, grant)| grant.slot == slot);
        mine.map(|(partition, grant)| (*partition, grant.number)).collect()
    }

    /// Gives partitions without an owner to members, one each in turn, and evens out.
    fn spread(&mut self) {
        self.rebalance();
        let members: Vec<Slot> = self.members.keys().copied().collect();
        self.moving.retain(|_, to| members.contains(to));
        if members.is_empty() {
            return;
        }
        let partitions: Vec<i32> = self.owners.keys().copied().collect();
        for (n, partition) in partitions.into_iter().enumerate() {
            let to = members[n % members.len()];
            if !members.contains(&self.owners[&partition].slot) {
                self.grant(partition, to);
            } else if self.owners[&partition].slot != to {
                self.moving.insert(partition, to);
            }
        }
    }

    fn grant(&mut self, partition: i32, slot: Slot) {
        self.grants += 1;
        self.owners.insert(partition, Grant { slot, number: self.grants });
    }

    fn rebalance(&mut self) {
        self.generation += 1;
    }

    /// Whether offsets of this member are taken.
    pub fn check(&self, slot: Slot, membership: Membership) -> Result<(), Rejected> {
        match self.members.get(&slot) {
            Some(member) if *member != membership.member => Err(Rejected::Instance),
            Some(_) if membership.generation == self.generation => Ok(()),
            Some(_) | None => Err(Rejected::Generation),
        }
    }

    /// Offsets of a transaction that is not decided. `false`: a newer epoch of the producer has been here.
    pub fn stage(&mut self, producer: ProducerId, epoch: u64, offsets: &[(i32, i64, String)]) -> bool {
        let known = self.epochs.entry(producer).or_default();
        if epoch < *known {
            return false;
        }
        *known = epoch;
        for (partition, next, metadata) in offsets {
            let offset = self.offset(*next, metadata);
            self.pending.entry(producer).or_default().insert(*partition, offset);
        }
        true
    }

    /// Offsets without a transaction.
    pub fn commit(&mut self, offsets: &[(i32, i64, String)]) {
        for (partition, next, metadata) in offsets {
            let offset = self.offset(*next, metadata);
            self.committed.insert(*partition, offset);
        }
    }

    fn offset(&mut self, next: i64, metadata: &str) -> Offset {
        self.writes += 1;
        Offset { written: self.writes, stored: Stored { next, metadata: metadata.to_owned() } }
    }

    /// Whether the producer has offsets that no marker has decided.
    pub fn is_open(&self, producer: ProducerId) -> bool {
        self.pending.contains_key(&producer)
    }

    /// Writes a marker.
    pub fn mark(&mut self, producer: ProducerId, epoch: u64, is_commit: bool) {
        let known = self.epochs.entry(producer).or_default();
        *known = epoch.max(*known);
        for (partition, offset) in self.pending.remove(&producer).unwrap_or_default() {
            let is_newer = self.committed.get(&partition).is_none_or(|known| known.written < offset.written);
            if is_commit && is_newer {
                self.committed.insert(partition, offset);
            }
        }
    }

    /// Producers whose undecided offsets hold back an answer about these partitions.
    pub fn undecided(&self, partitions: &[i32]) -> Vec<ProducerId> {
        let holds = |offsets: &BTreeMap<i32, Offset>| partitions.iter().any(|asked| offsets.contains_key(asked));
        self.pending.iter().filter(|(_, offsets)| holds(offsets)).map(|(producer, _)| *producer).collect()
    }

    /// The committed offset of a partition.
    pub fn stored(&self, partition: i32) -> Option<&Stored> {
        self.committed.get(&partition).map(|offset| &offset.stored)
    }
}
