//! Taking a partition over: read its position, fence whoever had it, restore its state, find torn effects.
//!
//! The order is the guarantee. The barrier is committed before anything is read, so everything before it in the
//! changelog is decided; the state is complete before a record flows; and effects that are visible already are
//! known before anything is emitted.

use std::collections::BTreeMap;
use std::error::Error;

use runtime::report::chain;

use crate::changelog::{self, Barrier, Record, encode_barrier};
use crate::emit::{Emitter, Out};
use crate::lifecycle::Progress;
use crate::log::{Ends, Fault, Log, Stored};
use crate::position::{Alone, MetadataError, Position};
use crate::restore::{Restore, RestoreError, Void};
use crate::state::{Cursor, StateError, Store, Stores};
use crate::task::{Restored, Task};

mod restoring;
mod tails;

pub use restoring::restore;
use tails::{end_of, hints_of, name, reconcile, scan_decided};
pub use tails::{ends_of, has_last_record, outputs};

/// How long one slice of restore may take, so that running partitions get their turn.
const SLICE_MS: u64 = 50;
/// How long a former owner's open transaction can keep an output undecided: the largest transaction timeout,
/// and then some.
const UNDECIDED_MS: i64 = 20_000;

/// The position of a partition is gone or makes no sense. A person must decide.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// No committed offset although the partition has been worked on.
    #[error(
        "no offset is committed for partition {partition}, but {evidence}: offsets were lost; restore them, or \
         reset the group and delete {evidence_topic} on purpose"
    )]
    Offsets {
        /// Which partition.
        partition: i32,
        /// What shows that it was worked on.
        evidence: String,
        /// Which topic shows it.
        evidence_topic: &'static str,
    },
    /// The committed offset is not in the log any more, or not yet.
    #[error("offset {next} is committed for partition {partition}, but its log holds {start} to {high}")]
    OutOfRange {
        /// Which partition.
        partition: i32,
        /// What is committed.
        next: i64,
        /// Where the log begins.
        start: i64,
        /// Where it ends.
        high: i64,
    },
    /// The log is not the one that was read.
    #[error(
        "offset {next} is committed for partition {partition}, and everything before it was appended at or before \
         {read_until}, but its record {newer} was appended later: verified-events was made anew, or lost its end \
         and was written again. What is lost can't be known from here; to go on, stop everything and begin with new \
         topics and a new group"
    )]
    Recreated {
        /// Which partition.
        partition: i32,
        /// What is committed.
        next: i64,
        /// Greatest append time that was read, in milliseconds since the epoch.
        read_until: i64,
        /// The first record that was appended later.
        newer: i64,
    },
    /// The topic has another number of partitions than the state was built for: keys are elsewhere now.
    #[error(
        "the state was built for {built_for} partitions of verified-events, but the topic has {found}: records of \
         one resource would be in two partitions. Stop everything; to go on with {found}, begin with new topics and a \
         new group, or recreate verified-events with {built_for} partitions"
    )]
    Partitions {
        /// How many there were.
        built_for: u32,
        /// How many there are.
        found: u32,
    },
    /// The metadata of the committed offset is not ours.
    #[error("the offset committed for partition {partition} was not written by weir: {source}")]
    Metadata {
        /// Which partition.
        partition: i32,
        /// Why.
        source: MetadataError,
    },
}

/// The state of a partition can't be brought to its position.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The changelog does not hold it.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The changelog was cut behind our back.
    #[error("the changelog of partition {partition} ends at {end}, but a transaction was committed up to {expected}")]
    Truncated {
        /// Which partition.
        partition: i32,
        /// Where it ends.
        end: i64,
        /// Where it must reach.
        expected: i64,
    },
}

/// How a store was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It had most of what was needed.
    Local,
    /// It was new, or wiped, and was rebuilt from the changelog.
    Rebuilt,
}

/// What is known of a partition of `verified-events` besides its committed offset.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// Where it begins and ends.
    pub ends: Ends,
    /// Its first record that was appended later than everything that was read of it.
    pub newer: Option<i64>,
    /// What this very process had marked, and the next offset then.
    pub survived: Option<(Alone, i64)>,
}

/// The greatest append time that was read of a partition, by its committed offset.
pub fn read_until(stored: &Stored) -> Option<i64> {
    Position::parse(stored.next, &stored.metadata).ok().map(|position| position.stream_time)
}

/// A takeover in progress.
#[derive(Debug)]
pub struct Takeover<S> {
    partition: i32,
    found: Position,
    position: Position,
    nonce: u64,
    restoring: Option<(S, Restore)>,
    opening: Opening,
    voids: Vec<Void>,
    /// Why the local store was given up, until somebody asks.
    distrusted: Option<String>,
}

impl<S: Store> Takeover<S> {
    /// Learns the position of a partition, or starts its history if it has none.
    pub fn begin<L: Log>(
        log: &mut L,
        partition: i32,
        evidence: Evidence,
        stored: Option<Stored>,
    ) -> Result<Result<Self, Lost>, Fault> {
        let lost = match Self::look(log, partition, evidence, stored.clone())? {
            Ok(takeover) => return Ok(Ok(takeover)),
            Err(lost) => lost,
        };
        // Perhaps we slept, and what looks lost is the work of the owner after us.
        if log.positions(&[partition])?.into_iter().all(|(_, now)| now == stored) {
            return Ok(Err(lost));
        }
        let detail = format!("the offset of partition {partition} moved meanwhile");
        Err(Fault::Unsure { doing: "take a partition over", detail })
    }

    fn look<L: Log>(
        log: &mut L,
        partition: i32,
        Evidence { ends, newer, survived }: Evidence,
        stored: Option<Stored>,
    ) -> Result<Result<Self, Lost>, Fault> {
        let partitions = log.input_partitions().unsigned_abs();
        let found = match stored {
            Some(stored) => match Position::parse(stored.next, &stored.metadata) {
                Ok(position) => position,
                Err(source) => return Ok(Err(Lost::Metadata { partition, source })),
            },
            None => match first_start(log, partition, ends)? {
                Ok(position) => position,
                Err(lost) => return Ok(Err(lost)),
            },
        };
        if found.partitions != partitions {
            return Ok(Err(Lost::Partitions { built_for: found.partitions, found: partitions }));
        }
        if found.next < ends.start || found.next > ends.high {
            let Ends { start, high, .. } = ends;
            return Ok(Err(Lost::OutOfRange { partition, next: found.next, start, high }));
        }
        // Offsets alone can't tell a topic that was made anew and has grown past ours.
        if let Some(newer) = newer.filter(|newer| *newer < found.next) {
            let (next, read_until) = (found.next, found.stream_time);
            return Ok(Err(Lost::Recreated { partition, next, read_until, newer }));
        }
        let mut position = found.clone();
        position.txn += 1;
        position.attempts = position.attempts.saturating_add(1);
        position.errand_attempts = position.errand_attempts.saturating_add(1);
        if position.is_marked && survived != Some((position.alone, position.next)) {
            position.deaths = position.deaths.saturating_add(1);
        }
        position.is_marked = false;
        let nonce = log.nonce();
        let opening = Opening::Local;
        Ok(Ok(Self {
            partition,
            found,
            position,
            nonce,
            restoring: None,
            opening,
            voids: Vec::new(),
            distrusted: None,
        }))
    }

    /// Writes the barrier into the open transaction.
    pub fn write_barrier<L: Log>(&mut self, log: &mut L, emitter: &Emitter, owner: &str) -> Result<(), Fault> {
        let barrier = Barrier {
            lineage: self.position.lineage,
            txn: self.position.txn,
            found: self.found.txn,
            nonce: self.nonce,
            owner: owner.to_owned(),
        };
        log.produce(&emitter.changelog(self.partition, &encode_barrier(&barrier)))
    }

    /// What the barrier's transaction commits: the same offset, under the next number.
    pub fn offsets(&self) -> (i32, i64, String) {
        (self.partition, self.position.next, self.position.metadata())
    }

    /// How the store was found.
    pub fn opening(&self) -> Opening {
        self.opening
    }

    /// Whether its store has been opened.
    pub(super) fn is_open(&self) -> bool {
        self.restoring.is_some()
    }

    /// Opens the store, or wipes it if it is of no use. `ends`: those of the changelog, asked after the barrier.
    pub(super) fn open<T: Stores<Store = S>>(&mut self, ends: Ends, stores: &mut T) -> Result<(), TakeoverError> {
        if ends.high < self.found.changelog_next {
            let expected = self.found.changelog_next;
            return Err(TakeoverError::Truncated { partition: self.partition, end: ends.high, expected });
        }
        self.restoring = Some(self.open_store(ends, stores)?);
        Ok(())
    }

    /// Its store and how far its restore is.
    pub(super) fn restoring(&mut self) -> Option<&mut (S, Restore)> {
        self.restoring.as_mut()
    }

    /// What a slice came to. `Ok(true)`: our own barrier was reached.
    pub(super) fn concluded<T: Stores<Store = S>>(
        &mut self,
        sliced: Result<bool, TakeoverError>,
        stores: &mut T,
    ) -> Result<Progress, TakeoverError> {
        let finished = sliced.and_then(|is_done| match &self.restoring {
            Some((_, restore)) if is_done => Ok(restore.finish().map(|()| true)?),
            Some(_) | None => Ok(is_done),
        });
        match finished {
            Ok(true) => Ok(Progress::Done),
            Ok(false) => Ok(Progress::More),
            // Each time one more barrier is known to void what is before it, so this comes to an end.
            Err(TakeoverError::Restore(error @ RestoreError::Voided { offset, found, .. })) => {
                self.voids.push(Void { before: offset, found });
                self.distrust(&error, stores)
            }
            // What is on this disk may be wrong; the changelog gets one chance to say better.
            Err(error) if self.opening == Opening::Local => self.distrust(&error, stores),
            Err(error) => Err(error),
        }
    }

    /// Why the local store was given up, if it was since this was asked.
    pub fn take_distrust(&mut self) -> Option<String> {
        self.distrusted.take()
    }

    fn distrust<T: Stores<Store = S>>(
        &mut self,
        why: &(dyn Error + 'static),
        stores: &mut T,
    ) -> Result<Progress, TakeoverError> {
        self.distrusted = Some(chain(why));
        self.restoring = None;
        self.opening = Opening::Rebuilt;
        stores.wipe(self.partition)?;
        Ok(Progress::Distrusted)
    }

    fn open_store<T: Stores<Store = S>>(&mut self, ends: Ends, stores: &mut T) -> Result<(S, Restore), StateError> {
        let opened = stores.open(self.partition).and_then(|store| Ok((store.cursor()?, store)));
        let (cursor, store) = match opened {
            // Of another cluster, ahead of the log, or older than the log: worth nothing.
            Ok((Some(cursor), store)) => match self.unusable(&cursor, ends) {
                None => (cursor, store),
                Some(why) => {
                    drop(store);
                    self.distrusted = Some(why.to_owned());
                    self.anew(ends, stores)?
                }
            },
            Ok((None, store)) => {
                self.opening = Opening::Rebuilt;
                (Cursor { changelog_next: ends.start, ..Cursor::default() }, store)
            }
            Err(error @ (StateError::Locked { .. } | StateError::Unopened { .. })) => return Err(error),
            Err(error @ StateError::Broken { .. }) => {
                self.distrusted = Some(chain(&error));
                self.anew(ends, stores)?
            }
        };
        let from = cursor.changelog_next.max(ends.start);
        let mut restore = Restore::new(&self.found, self.nonce, cursor, from, self.voids.clone());
        if self.opening == Opening::Rebuilt && ends.start > 0 {
            restore.require_snapshot();
        }
        Ok((store, restore))
    }

    /// Why a store with this cursor is of no use. `ends`: those of the changelog.
    fn unusable(&self, cursor: &Cursor, ends: Ends) -> Option<&'static str> {
        if cursor.lineage != self.found.lineage {
            Some("it is of another log")
        } else if cursor.txn > self.found.txn || cursor.changelog_next > ends.high {
            Some("it is ahead of the log")
        } else if cursor.changelog_next < ends.start && cursor.txn < self.found.delta_txn {
            Some("the changelog has lost what it lacks")
        } else {
            None
        }
    }

    fn anew<T: Stores<Store = S>>(&mut self, ends: Ends, stores: &mut T) -> Result<(Cursor, S), StateError> {
        self.opening = Opening::Rebuilt;
        stores.wipe(self.partition)?;
        let store = stores.open(self.partition)?;
        Ok((Cursor { changelog_next: ends.start, ..Cursor::default() }, store))
    }

    /// Finds the effects of torn transactions and turns the takeover into a task. `ends`: those of its outputs, asked
    /// after the barrier. Also says how many DELTAs and effects were torn.
    pub fn finish<L: Log>(
        mut self,
        log: &mut L,
        ends: &BTreeMap<(Out, i32), Ends>,
        is_overtaking: bool,
    ) -> Result<Result<(Task<S>, u64), StateError>, Fault> {
        let Some((store, mut restore)) = self.restoring.take() else {
            let detail = "the state is not restored".to_owned();
            return Err(Fault::Unsure { doing: "start a partition", detail });
        };
        let effects = reconcile(log, self.partition, ends, &mut self.position)?;
        let torn = restore.torn();
        // What is left of the restore waits for the store as if it had just been committed.
        let (changes, cursor) = restore.take_ready();
        self.position.changelog_next = self.position.changelog_next.max(cursor.changelog_next);
        let restored = Restored { store, cursor, kept: changes, effects };
        let now_ms = log.now_ms();
        let task = Task::new(self.partition, self.position, restored, now_ms, is_overtaking);
        Ok(task.map(|task| {
            let torn = torn + task.torn();
            (task, torn)
        }))
    }
}

/// The position of a partition that nobody ever worked on, or why that can't be.
fn first_start<L: Log>(log: &mut L, partition: i32, input: Ends) -> Result<Result<Position, Lost>, Fault> {
    let changelog = end_of(log, (Out::Changelog, partition))?;
    let lost = |evidence: String, evidence_topic| Err(Lost::Offsets { partition, evidence, evidence_topic });
    if changelog.start > 0 {
        return Ok(lost(format!("its changelog begins at {}", changelog.start), "state-changelog"));
    }
    // Aborted barriers of a start that crashed are not committed, so they don't count; nor does one that a torn
    // transaction left without its offset, for it says that nothing was ever committed before it.
    let mut record = None;
    scan_decided(log, (Out::Changelog, partition), 0, changelog, &mut |found| {
        if !matches!(changelog::decode(found.value), Ok(Record::Barrier(Barrier { found: 0, .. }))) {
            record = Some(found.offset);
        }
    })?;
    if let Some(offset) = record {
        return Ok(lost(format!("its changelog has a record at {offset}"), "state-changelog"));
    }
    let mut position = Position {
        next: input.start,
        lineage: log.nonce(),
        partitions: log.input_partitions().unsigned_abs(),
        ..Position::default()
    };
    // A partition that was added later begins no history of its own.
    for (_, stored) in log.positions(&[0])? {
        let built_for = stored.and_then(|stored| Position::parse(stored.next, &stored.metadata).ok());
        if let Some(built_for) = built_for.map(|first| first.partitions).filter(|count| *count != position.partitions) {
            return Ok(Err(Lost::Partitions { built_for, found: position.partitions }));
        }
    }
    for (out, output) in outputs(log, partition) {
        let mut effect = None;
        let ends = end_of(log, (out, output))?;
        let next = scan_decided(log, (out, output), ends.start, ends, &mut |found| {
            if found.src.is_some_and(|(from, _)| from == partition) {
                effect = Some(found.offset);
            }
        })?;
        if let Some(offset) = effect {
            let evidence = format!("partition {output} of {} has a record of it at {offset}", name(out));
            return Ok(lost(evidence, name(out)));
        }
        hints_of(&mut position.hints, out).insert(output, next);
    }
    Ok(Ok(position))
}
