//! A worker's life cycle: what to do next, given what just happened. Pure: `step(Event) -> Action`.
//!
//! ```text
//! partition   Assigned -> Known -> Fenced -> Restored -> Running <-> Held
//!                ^__________ any fault in a transaction that touched it        Halted: a person must act
//! producer    Absent -> Ready -> Tainted -> Ready (recycled: drop, new, init)
//! suspects    Collect -> Mark -> Collect, then one record alone, as below
//! worker      Collect -> Begin -> Produce -> SendOffsets -> Commit -> Apply -> Collect
//! ```
//! Two rules carry the guarantee. While a transaction is open nothing polls the group, so a rebalance can't slip
//! into it. And there is one way back from every fault: forget, recycle the producer, poll, take over anew; what
//! really happened is read from the log, never inferred.

use std::collections::BTreeMap;

/// What just happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The group was polled. `batch`: partitions that brought records, running ones only.
    Polled {
        /// Partitions taken from us.
        revoked: Vec<i32>,
        /// Partitions given to us.
        assigned: Vec<i32>,
        /// Partitions with records to process.
        batch: Vec<i32>,
    },
    /// The group does not know transactions of ours. Nothing was collected.
    Unknown {
        /// Partitions whose last transaction is not there, though it was confirmed.
        missing: Vec<i32>,
    },
    /// This partition has records and may have killed processes; everything that was collected is put back.
    Suspected(i32),
    /// It is said, and committed, that its next record is being handled.
    Marked {
        /// Whether the producer may be used again.
        is_clean: bool,
    },
    /// A fresh producer is ready.
    Recycled,
    /// Positions are known; those not named stay assigned, those in `halted` can't go on.
    Positioned {
        /// Partitions whose position is known.
        known: Vec<i32>,
        /// Partitions whose position is lost.
        halted: Vec<i32>,
    },
    /// The barriers are committed: whoever had these partitions before is fenced.
    Fenced {
        /// Whether the producer may be used again.
        is_clean: bool,
    },
    /// A slice of restore is done, and what came of it for each partition.
    RestoreSlice(Vec<(i32, Progress)>),
    /// Effects of torn transactions are known and records of these partitions may flow. Those not named failed.
    Started(Vec<i32>),
    /// The transaction is open.
    Begun,
    /// Every record is with Kafka. `held`: partitions that stopped at a record they can't decide now.
    Produced {
        /// Partitions that must wait.
        held: Vec<i32>,
    },
    /// The offsets are in the transaction.
    OffsetsSent,
    /// The commit is known. `is_clean`: the connection did not misbehave on the way.
    Committed {
        /// Whether the producer may be used again.
        is_clean: bool,
    },
    /// Committed changes are in the stores. `distrusted`: stores that failed.
    Applied {
        /// Partitions whose store must be rebuilt.
        distrusted: Vec<i32>,
    },
    /// Records of held partitions may flow again.
    Resumed,
    /// Partitions were forgotten.
    Closed,
    /// The last action failed, or nobody knows.
    Failed,
    /// Another process took our name.
    Usurped,
    /// Someone asked us to stop.
    StopRequested,
}

/// What came of a slice of restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More to read.
    More,
    /// Everything is restored.
    Done,
    /// The local store was wrong; it is wiped, and restore begins anew.
    Distrusted,
    /// The changelog can't rebuild it.
    Lost,
    /// It can't be done now: the partition is taken over anew.
    Failed,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Drop the producer, make a new one, `init_transactions`.
    Recycle,
    /// Poll the group; collect records of running partitions.
    Collect {
        /// Wait for records, or only look.
        is_patient: bool,
    },
    /// Read the committed offsets.
    ReadPositions(Vec<i32>),
    /// Write BARRIERs and commit the offsets again, in one transaction.
    Fence(Vec<i32>),
    /// Restore a slice of the states.
    Restore(Vec<i32>),
    /// Look for effects of torn transactions, then let records flow.
    Start(Vec<i32>),
    /// Commit that the next record of a partition is about to be handled, and nothing else.
    Mark(i32),
    /// Open a transaction.
    Begin(Vec<i32>),
    /// Decide, and produce outputs and DELTAs.
    Produce(Vec<i32>),
    /// Send offsets and metadata.
    SendOffsets(Vec<i32>),
    /// Commit.
    Commit(Vec<i32>),
    /// Write the committed changes into the stores.
    Apply(Vec<i32>),
    /// Let held partitions try again.
    Resume(Vec<i32>),
    /// Pause partitions and forget everything about them that is in memory. Their stores stay on disk.
    Forget(Vec<i32>),
    /// Nothing more to do.
    Exit(Ending),
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to.
    Stopped,
    /// Another process runs under our name.
    Usurped,
    /// Every partition it has is halted.
    Halted,
}

/// Where a partition is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Ours, paused, nothing known.
    Assigned,
    /// Its position is known.
    Known,
    /// Its former owner is fenced; its state is being restored.
    Fenced,
    /// Its state is complete.
    Restored,
    /// Its records flow.
    Running,
    /// It waits at a record.
    Held,
    /// It can't go on without a person.
    Halted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Producer {
    Absent,
    Ready,
    Tainted,
}

/// The state of a worker's life.
#[derive(Debug)]
pub struct Lifecycle {
    partitions: BTreeMap<i32, Stage>,
    producer: Producer,
    /// The action whose event we wait for.
    current: Action,
    /// Partitions to forget before anything else.
    forget: Vec<i32>,
    must_poll: bool,
    restored_last: bool,
    polls_since_hold: u32,
    is_stopping: bool,
    ending: Option<Ending>,
}

/// Collections between two attempts of a held partition: five seconds at the default interval of 100 ms.
const HOLD_POLLS: u32 = 50;

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A worker that has done nothing yet. Its first action is [`Action::Recycle`].
    pub fn new() -> Self {
        Self {
            partitions: BTreeMap::new(),
            producer: Producer::Absent,
            current: Action::Recycle,
            forget: Vec::new(),
            must_poll: false,
            restored_last: false,
            polls_since_hold: 0,
            is_stopping: false,
            ending: None,
        }
    }

    /// The action to perform now.
    pub fn current(&self) -> &Action {
        &self.current
    }

    /// Where each partition is.
    pub fn partitions(&self) -> &BTreeMap<i32, Stage> {
        &self.partitions
    }

    /// Whether every assigned partition runs.
    pub fn is_ready(&self) -> bool {
        self.partitions.values().all(|stage| *stage == Stage::Running)
    }

    /// Takes what happened, and says what to do next.
    pub fn step(&mut self, event: Event) -> Action {
        let next = self.transact(event).unwrap_or_else(|| self.choose());
        self.current = next.clone();
        next
    }

    /// Follows an event. Some events have exactly one sequel: the steps of an open transaction.
    fn transact(&mut self, event: Event) -> Option<Action> {
        let parts = self.participants();
        match event {
            Event::Polled { revoked, assigned, batch } => return self.polled(revoked, &assigned, batch),
            Event::Unknown { missing } => {
                // What did this may still be on the wire: a new epoch fences it.
                self.producer = Producer::Tainted;
                self.take_anew(missing);
            }
            Event::Suspected(partition) => return Some(Action::Mark(partition)),
            Event::Marked { is_clean } => self.note_commit(is_clean),
            Event::Recycled => self.producer = Producer::Ready,
            Event::Positioned { known, halted } => {
                // Positions can't age: nobody else may move them while the partitions are ours.
                self.must_poll = self.must_poll && known.is_empty();
                self.set(&known, Stage::Known);
                self.set(&halted, Stage::Halted);
                self.forget.extend(halted);
            }
            Event::Fenced { is_clean } => {
                self.note_commit(is_clean);
                self.set(&parts, Stage::Fenced);
            }
            Event::RestoreSlice(all) => {
                self.restored_last = true;
                all.into_iter().for_each(|(partition, progress)| self.restored(partition, progress));
            }
            Event::Started(started) => {
                self.set(&started, Stage::Running);
                let failed: Vec<i32> = parts.into_iter().filter(|partition| !started.contains(partition)).collect();
                self.take_anew(failed);
            }
            Event::Begun => return Some(Action::Produce(parts)),
            Event::Produced { held } => {
                // Whoever waits already is not put off by others.
                if self.at(Stage::Held).is_empty() {
                    self.polls_since_hold = 0;
                }
                self.set(&held, Stage::Held);
                return Some(Action::SendOffsets(parts));
            }
            Event::OffsetsSent => return Some(Action::Commit(parts)),
            Event::Committed { is_clean } => {
                self.note_commit(is_clean);
                return Some(Action::Apply(parts));
            }
            Event::Applied { distrusted } => {
                self.set(&distrusted, Stage::Assigned);
                self.forget.extend(distrusted);
            }
            Event::Resumed => self.set(&parts, Stage::Running),
            Event::Closed => {}
            Event::Failed => self.failed(),
            Event::Usurped => self.ending = Some(Ending::Usurped),
            Event::StopRequested => self.is_stopping = true,
        }
        None
    }

    fn polled(&mut self, revoked: Vec<i32>, assigned: &[i32], mut batch: Vec<i32>) -> Option<Action> {
        self.must_poll = false;
        self.polls_since_hold = self.polls_since_hold.saturating_add(1);
        for partition in &revoked {
            self.partitions.remove(partition);
        }
        self.forget.extend(revoked);
        for partition in assigned {
            self.partitions.insert(*partition, Stage::Assigned);
        }
        batch.retain(|partition| self.partitions.get(partition) == Some(&Stage::Running));
        if batch.is_empty() {
            return None;
        }
        // A tainted producer was recycled before the collection that brought this batch.
        Some(Action::Begin(batch))
    }

    fn restored(&mut self, partition: i32, progress: Progress) {
        match progress {
            Progress::More | Progress::Distrusted => {}
            Progress::Done => self.set(&[partition], Stage::Restored),
            Progress::Failed => self.take_anew(vec![partition]),
            Progress::Lost => {
                self.set(&[partition], Stage::Halted);
                self.forget.push(partition);
            }
        }
    }

    /// Forgets partitions, looks whether they are still ours, and begins again with them.
    fn take_anew(&mut self, partitions: Vec<i32>) {
        self.must_poll |= !partitions.is_empty();
        self.set(&partitions, Stage::Assigned);
        self.forget.extend(partitions);
    }

    fn note_commit(&mut self, is_clean: bool) {
        if !is_clean {
            self.producer = Producer::Tainted;
        }
    }

    fn failed(&mut self) {
        self.must_poll = true;
        match self.current.clone() {
            // Nothing was written: only look again.
            Action::Collect { .. } => {}
            Action::Recycle => self.producer = Producer::Absent,
            Action::ReadPositions(parts) | Action::Resume(parts) | Action::Forget(parts) => {
                self.set(&parts, Stage::Assigned);
            }
            Action::Restore(parts) | Action::Start(parts) | Action::Apply(parts) => self.take_anew(parts),
            // Whatever was in the transaction, the log knows and we don't.
            Action::Fence(parts)
            | Action::Begin(parts)
            | Action::Produce(parts)
            | Action::SendOffsets(parts)
            | Action::Commit(parts) => {
                self.producer = Producer::Tainted;
                self.take_anew(parts);
            }
            Action::Mark(partition) => {
                self.producer = Producer::Tainted;
                self.take_anew(vec![partition]);
            }
            Action::Exit(_) => {}
        }
    }

    /// What to do when nothing follows by itself.
    fn choose(&mut self) -> Action {
        if !self.forget.is_empty() {
            let mut forget = std::mem::take(&mut self.forget);
            forget.sort_unstable();
            forget.dedup();
            return Action::Forget(forget);
        }
        if let Some(ending) = self.ending {
            return Action::Exit(ending);
        }
        if self.is_stopping {
            return Action::Exit(Ending::Stopped);
        }
        if self.producer != Producer::Ready {
            return Action::Recycle;
        }
        if !self.partitions.is_empty() && self.partitions.values().all(|stage| *stage == Stage::Halted) {
            return Action::Exit(Ending::Halted);
        }
        if self.must_poll {
            return Action::Collect { is_patient: true };
        }
        self.take_over().unwrap_or_else(|| self.collect())
    }

    /// The next step of a takeover. Restores give way to running partitions after every slice.
    fn take_over(&mut self) -> Option<Action> {
        let assigned = self.at(Stage::Assigned);
        if !assigned.is_empty() {
            self.must_poll = true;
            return Some(Action::ReadPositions(assigned));
        }
        let known = self.at(Stage::Known);
        if !known.is_empty() {
            return Some(Action::Fence(known));
        }
        let restored = self.at(Stage::Restored);
        if !restored.is_empty() {
            return Some(Action::Start(restored));
        }
        let fenced = self.at(Stage::Fenced);
        (!self.restored_last && !fenced.is_empty()).then_some(Action::Restore(fenced))
    }

    fn collect(&mut self) -> Action {
        let held = self.at(Stage::Held);
        if !held.is_empty() && self.polls_since_hold >= HOLD_POLLS {
            self.polls_since_hold = 0;
            return Action::Resume(held);
        }
        self.restored_last = false;
        Action::Collect { is_patient: self.at(Stage::Fenced).is_empty() }
    }

    fn participants(&self) -> Vec<i32> {
        match &self.current {
            Action::ReadPositions(parts)
            | Action::Fence(parts)
            | Action::Begin(parts)
            | Action::Produce(parts)
            | Action::SendOffsets(parts)
            | Action::Commit(parts)
            | Action::Apply(parts)
            | Action::Restore(parts)
            | Action::Start(parts)
            | Action::Resume(parts)
            | Action::Forget(parts) => parts.clone(),
            Action::Mark(partition) => vec![*partition],
            Action::Recycle | Action::Collect { .. } | Action::Exit(_) => Vec::new(),
        }
    }

    fn at(&self, stage: Stage) -> Vec<i32> {
        self.partitions.iter().filter(|(_, at)| **at == stage).map(|(partition, _)| *partition).collect()
    }

    fn set(&mut self, partitions: &[i32], stage: Stage) {
        for partition in partitions {
            if let Some(at) = self.partitions.get_mut(partition) {
                *at = stage;
            }
        }
    }
}

#[cfg(test)]
mod tests;
