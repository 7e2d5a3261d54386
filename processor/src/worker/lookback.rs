//! Looking back: whether the group knows the last transaction of every partition, as the client said.
//!
//! A late request can set a committed offset back, or a commit be confirmed that never happened. While records come,
//! the next commit covers it; at rest nobody else would notice. The number that is compared is the owner's own, in
//! memory: none on a committed record of its partition is greater, for a former owner got no further than the barrier.
//! So nothing is read of the outputs, and a transaction of which nothing became visible is missed as well.

use super::{Observer, Worker};
use crate::log::{Fault, Log, Stored};
use crate::position::Position;
use crate::state::Stores;
use crate::takeover;

/// Between two looks, milliseconds.
const PAUSE_MS: i64 = 5_000;

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    /// Looks, if it is time. `Some`: the group lacks a transaction of ours, and what did that may still be on the wire;
    /// these partitions must be taken over anew. Only between transactions, and not while states are restored: then
    /// the client that is asked fetches.
    pub(super) fn look_back(&mut self) -> Option<Vec<i32>> {
        let now_ms = self.log.now_ms();
        // A clock that is set back delays nothing.
        let is_early = (1..=PAUSE_MS).contains(&self.next_look_ms.saturating_sub(now_ms));
        if is_early || !self.takeovers.is_empty() || self.tasks.is_empty() {
            return None;
        }
        self.next_look_ms = now_ms.saturating_add(PAUSE_MS);
        let mine: Vec<i32> = self.tasks.keys().copied().collect();
        // One answer could come from a coordinator that is none any more.
        let suspects: Vec<i32> = self.behind(&mine).into_iter().map(|(partition, _)| partition).collect();
        let behind = self.behind(&suspects);
        if behind.is_empty() {
            return None;
        }
        let mut missing = Vec::new();
        for (partition, known) in behind {
            match self.catch_up(partition, known) {
                Ok(true) => {}
                Ok(false) => missing.push(partition),
                Err(fault) => self.observer.not_looked(&fault),
            }
        }
        Some(missing)
    }

    /// Partitions of which the group knows less than we do, and the last transaction that it knows.
    fn behind(&mut self, partitions: &[i32]) -> Vec<(i32, u64)> {
        if partitions.is_empty() {
            return Vec::new();
        }
        let told = match self.log.glance(partitions) {
            Ok(told) => told,
            // No answer says nothing. The next look is soon.
            Err(fault) => {
                self.observer.not_looked(&fault);
                return Vec::new();
            }
        };
        let behind = told.into_iter().filter_map(|(partition, stored)| {
            let task = self.tasks.get(&partition)?;
            Some((partition, behind(task.committed(), &stored?)?))
        });
        behind.collect()
    }

    /// Commits again what is there and only not known to the group. `false`: it is not there, and neither is the task
    /// any more; what it keeps for its store was never committed.
    fn catch_up(&mut self, partition: i32, known: u64) -> Result<bool, Fault> {
        let Some(task) = self.tasks.get_mut(&partition) else { return Ok(true) };
        let own = task.committed();
        // Later ones wrote nothing but a barrier, which we have read, or a mark.
        let is_visible = known >= own.delta_txn || takeover::has_last_record(&mut self.log, partition, own)?;
        self.observer.behind(partition, (own.txn, known), is_visible);
        if is_visible {
            task.commit_again();
        } else {
            self.tasks.remove(&partition);
        }
        Ok(is_visible)
    }
}

/// The last transaction that the group knows, if that is not ours but one before it. An offset that is missing or of
/// another history is for a takeover to judge, when there is one: our next commit replaces it.
fn behind(own: &Position, stored: &Stored) -> Option<u64> {
    let known = Position::parse(stored.next, &stored.metadata).ok()?;
    (known.lineage == own.lineage && known.txn < own.txn).then_some(known.txn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lineage: u64, txn: u64, expected: Option<u64>) {
        let own = Position { lineage: 7, txn: 5, next: 40, ..Position::default() };
        let known = Position { lineage, txn, next: 30, ..Position::default() };
        let stored = Stored { next: known.next, metadata: known.metadata() };
        assert_eq!(behind(&own, &stored), expected, "{lineage}, {txn}");
    }

    #[test]
    fn only_an_older_transaction_of_the_same_history_is_behind() {
        check(7, 5, None);
        check(7, 4, Some(4));
        // Somebody has overtaken us: the group will say so.
        check(7, 6, None);
        check(8, 4, None);
        let own = Position { lineage: 7, txn: 5, ..Position::default() };
        assert_eq!(behind(&own, &Stored { next: 0, metadata: "of somebody else".to_owned() }), None);
    }
}
