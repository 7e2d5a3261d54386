//! Changelog records to state changes: which DELTAs happened, which never did, and when everything is known.
//!
//! Pure. Fed with the committed records of one partition in order, it yields changes that may be applied. It holds
//! back the DELTAs of the greatest number seen, because a BARRIER behind them may say they never happened. If a
//! BARRIER says so of more than these, the restore fails and is begun anew, knowing it.

use crate::changelog::{self, Barrier, ChangelogError, Delta, Record};
use crate::position::Position;
use crate::state::{Changes, Cursor};

/// The state cannot be rebuilt from what the changelog holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A record cannot be read.
    #[error("the changelog record at offset {offset} cannot be read")]
    Record {
        /// Its offset.
        offset: i64,
        /// Why.
        source: ChangelogError,
    },
    /// A BARRIER says that something which was already applied never happened.
    #[error(
        "the barrier at offset {offset} found transaction {found}, but transaction {applied} was applied before it"
    )]
    Voided {
        /// Where the BARRIER stands.
        offset: i64,
        /// The last transaction it found committed.
        found: u64,
        /// What was applied.
        applied: u64,
    },
    /// The restored state does not reach the committed position: part of the changelog is missing.
    #[error("the restored state ends at offset {restored}, but offset {committed} is committed")]
    Incomplete {
        /// Where the state ends.
        restored: i64,
        /// Where the group is.
        committed: i64,
    },
    /// Retention removed the beginning of the changelog, and what is left holds no snapshot.
    #[error("the beginning of the changelog is gone, and what is left holds no snapshot of the tallies")]
    NoSnapshot,
}

/// The restore of one partition.
#[derive(Debug)]
pub struct Restore {
    lineage: u64,
    found: u64,
    nonce: u64,
    committed_next: i64,
    pending: Vec<(i64, Delta)>,
    ready: Changes,
    cursor: Cursor,
    next: i64,
    torn: u64,
    /// Our own barrier was read.
    is_done: bool,
    voids: Vec<Void>,
    /// The changelog's beginning is gone, there is no store, and no snapshot has been seen yet.
    lacks_snapshot: bool,
}

/// What a BARRIER says of the DELTAs before it: those with a greater number never happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Void {
    /// Where the BARRIER stands.
    pub before: i64,
    /// The last transaction it found committed.
    pub found: u64,
}

impl Restore {
    /// Begins a restore towards `found`, the position the takeover found, up to the barrier with `nonce`, on top
    /// of a store that goes as far as `cursor`. Reading starts at `from`. `voids`: why the restores before failed.
    pub fn new(found: &Position, nonce: u64, cursor: Cursor, from: i64, voids: Vec<Void>) -> Self {
        Self {
            lineage: found.lineage,
            found: found.txn,
            nonce,
            committed_next: found.next,
            pending: Vec::new(),
            ready: Changes::default(),
            cursor,
            next: from,
            torn: 0,
            is_done: false,
            voids,
            lacks_snapshot: false,
        }
    }

    /// There is nothing to begin with but a changelog whose beginning is gone: a snapshot must stand in for it.
    pub fn require_snapshot(&mut self) {
        self.lacks_snapshot = true;
    }

    /// Where reading goes on.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Whether everything is known.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// DELTAs that were committed although their transaction never was.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// Takes one committed record. `true`: it was our own barrier, everything before it is known.
    pub fn feed(&mut self, offset: i64, value: &[u8]) -> Result<bool, RestoreError> {
        let record = changelog::decode(value).map_err(|source| RestoreError::Record { offset, source })?;
        self.next = offset + 1;
        match record {
            Record::Delta(delta) => {
                self.take_delta(offset, delta);
                Ok(false)
            }
            Record::Barrier(barrier) if barrier.lineage != self.lineage => Ok(false),
            Record::Barrier(Barrier { found, .. }) if found < self.cursor.txn => {
                Err(RestoreError::Voided { offset, found, applied: self.cursor.txn })
            }
            Record::Barrier(barrier) => {
                let before = self.pending.len();
                self.pending.retain(|(_, delta)| delta.txn <= barrier.found);
                self.torn += (before - self.pending.len()) as u64;
                self.promote();
                self.is_done = barrier.nonce == self.nonce;
                Ok(self.is_done)
            }
        }
    }

    fn take_delta(&mut self, offset: i64, delta: Delta) {
        if delta.lineage != self.lineage || delta.txn <= self.cursor.txn {
            return;
        }
        let is_void = self.voids.iter().any(|void| offset < void.before && delta.txn > void.found);
        if delta.txn > self.found || is_void {
            // Committed although the position says its transaction was not: half of a torn transaction.
            self.torn += 1;
            return;
        }
        if self.pending.first().is_some_and(|(_, first)| first.txn < delta.txn) {
            self.promote();
        }
        self.pending.push((offset, delta));
    }

    fn promote(&mut self) {
        for (_, delta) in self.pending.drain(..) {
            self.cursor.txn = delta.txn;
            self.cursor.next = delta.next;
            self.cursor.seq = delta.seq;
            self.cursor.stream_time = self.cursor.stream_time.max(delta.stream_time);
            self.cursor.cover(&delta.changes.entries);
            self.ready.entries.extend(delta.changes.entries);
            self.ready.waits.extend(delta.changes.waits);
            self.ready.tallies.overwrite(&delta.changes.tallies);
            self.cursor.source_classes.extend(delta.changes.source_classes);
            self.lacks_snapshot &= !(delta.is_snapshot && delta.part == 0);
        }
    }

    /// What may be applied now, with the cursor that goes with it.
    pub fn take_ready(&mut self) -> (Changes, Cursor) {
        self.cursor.lineage = self.lineage;
        self.cursor.changelog_next = self.pending.first().map_or(self.next, |(offset, _)| *offset);
        (std::mem::take(&mut self.ready), self.cursor.clone())
    }

    /// How many entries may be applied now.
    pub fn ready_len(&self) -> usize {
        self.ready.entries.len() + self.ready.waits.len()
    }

    /// Checks, after our own barrier, that the state reaches the committed position.
    pub fn finish(&self) -> Result<(), RestoreError> {
        if self.lacks_snapshot {
            return Err(RestoreError::NoSnapshot);
        }
        if self.cursor.txn != 0 && self.cursor.next != self.committed_next {
            return Err(RestoreError::Incomplete { restored: self.cursor.next, committed: self.committed_next });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::{encode_barrier, encode_delta};

    fn delta(txn: u64, next: i64) -> Vec<u8> {
        let delta = Delta { lineage: 1, txn, is_last: true, base: next - 1, next, seq: txn, ..Delta::default() };
        let mut bytes = Vec::new();
        encode_delta(&delta, |record| {
            bytes = record.to_vec();
            Ok::<(), ()>(())
        })
        .expect("collecting cannot fail");
        bytes
    }

    fn barrier(txn: u64, found: u64, nonce: u64) -> Vec<u8> {
        encode_barrier(&Barrier { lineage: 1, txn, found, nonce, owner: String::new() })
    }

    fn restored(found: u64, next: i64, log: &[Vec<u8>]) -> (bool, Cursor, Result<(), RestoreError>) {
        let position = Position { lineage: 1, txn: found, next, ..Position::default() };
        let mut restore = Restore::new(&position, 99, Cursor::default(), 0, Vec::new());
        let mut is_done = false;
        for (offset, value) in log.iter().enumerate() {
            is_done = restore.feed(offset as i64, value).expect("readable");
        }
        let cursor = restore.take_ready().1;
        (is_done, cursor, restore.finish())
    }

    #[test]
    fn everything_up_to_the_position_is_applied() {
        let log = [barrier(1, 0, 1), delta(2, 10), delta(3, 20), barrier(4, 3, 99)];
        let (is_done, cursor, complete) = restored(3, 20, &log);
        assert!(is_done && complete.is_ok());
        assert_eq!((cursor.txn, cursor.next, cursor.changelog_next), (3, 20, 4));
    }

    #[test]
    fn half_of_a_torn_transaction_is_never_applied() {
        // Transaction 3 was torn: its DELTA is visible, its offsets are not.
        let log = [delta(2, 10), delta(3, 20), barrier(3, 2, 99)];
        let (is_done, cursor, complete) = restored(2, 10, &log);
        assert!(is_done && complete.is_ok());
        assert_eq!(cursor.txn, 2);
    }

    #[test]
    fn what_a_later_barrier_voided_stays_void() {
        let log = [delta(2, 10), delta(3, 20), barrier(3, 2, 7), delta(4, 15), delta(5, 30), barrier(6, 5, 99)];
        let position = Position { lineage: 1, txn: 5, next: 30, ..Position::default() };
        let mut restore = Restore::new(&position, 99, Cursor::default(), 0, Vec::new());
        for (offset, value) in log.iter().enumerate() {
            restore.feed(offset as i64, value).expect("readable");
        }
        assert_eq!(restore.torn(), 1);
        assert_eq!(restore.finish(), Ok(()));
        assert_eq!(restore.take_ready().1.txn, 5);
    }

    #[test]
    fn what_a_barrier_voids_after_it_was_applied_is_left_out_when_the_restore_begins_anew() {
        // The position fell back by two transactions; their numbers were given away again.
        let log =
            [delta(1, 5), delta(2, 10), delta(3, 20), barrier(2, 1, 7), delta(3, 8), delta(4, 9), barrier(5, 4, 99)];
        let position = Position { lineage: 1, txn: 4, next: 9, ..Position::default() };
        let mut restore = Restore::new(&position, 99, Cursor::default(), 0, Vec::new());
        let mut failed = None;
        for (offset, value) in log.iter().enumerate() {
            failed = failed.or(restore.feed(offset as i64, value).err());
        }
        assert_eq!(failed, Some(RestoreError::Voided { offset: 3, found: 1, applied: 2 }));

        let voids = vec![Void { before: 3, found: 1 }];
        let mut restore = Restore::new(&position, 99, Cursor::default(), 0, voids);
        for (offset, value) in log.iter().enumerate() {
            restore.feed(offset as i64, value).expect("readable");
        }
        assert_eq!((restore.finish(), restore.torn()), (Ok(()), 2));
        assert_eq!(restore.take_ready().1.txn, 4);
    }

    #[test]
    fn a_changelog_with_a_missing_end_is_noticed() {
        let log = [delta(2, 10), barrier(4, 3, 99)];
        let (_, _, complete) = restored(3, 20, &log);
        assert_eq!(complete, Err(RestoreError::Incomplete { restored: 10, committed: 20 }));
    }

    #[test]
    fn a_changelog_without_its_beginning_needs_a_snapshot() {
        let position = Position { lineage: 1, txn: 3, next: 20, ..Position::default() };
        let with_snapshot = |is_snapshot: bool| {
            let whole = Delta { lineage: 1, txn: 2, is_last: true, is_snapshot, next: 10, ..Delta::default() };
            let mut bytes = Vec::new();
            encode_delta(&whole, |record| {
                bytes = record.to_vec();
                Ok::<(), ()>(())
            })
            .expect("collecting cannot fail");
            let mut restore = Restore::new(&position, 99, Cursor::default(), 7, Vec::new());
            restore.require_snapshot();
            for (offset, value) in (7..).zip([bytes, delta(3, 20), barrier(4, 3, 99)]) {
                restore.feed(offset, &value).expect("readable");
            }
            restore.finish()
        };
        assert_eq!(with_snapshot(true), Ok(()));
        assert_eq!(with_snapshot(false), Err(RestoreError::NoSnapshot));
    }

    #[test]
    fn another_lineage_is_ignored() {
        let log = [delta(2, 10), barrier(4, 3, 99)];
        let position = Position { lineage: 2, txn: 1, next: 0, ..Position::default() };
        let mut restore = Restore::new(&position, 99, Cursor::default(), 0, Vec::new());
        for (offset, value) in log.iter().enumerate() {
            assert_eq!(restore.feed(offset as i64, value), Ok(false));
        }
        assert_eq!(restore.finish(), Ok(()));
    }
}
