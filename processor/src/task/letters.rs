//! What a partition knows of its open dead letters: how many there are, and since when the oldest is one.

use super::Task;
use crate::books::Place;
use crate::state::{StateError, Status, Store, keys};

impl<S: Store> Task<S> {
    /// How many dead letters are open: neither redriven nor discarded. Committed, and exact.
    pub fn dead(&self) -> u64 {
        self.tallies.iter().filter(|(_, place, _)| *place == Place::Dead).map(|(_, _, count)| count).sum()
    }

    /// Append time of the last record that was processed.
    pub fn stream_time(&self) -> i64 {
        self.committed.stream_time
    }

    /// When the oldest open dead letter died, in stream time. Reads every mark, and so is not for every transaction.
    /// A letter without a mark is not found: its event had a window longer than the marks. Only between
    /// transactions.
    pub fn oldest_dead(&self) -> Result<Option<i64>, StateError> {
        let stored = self.store.marks()?;
        let mut oldest = None;
        for entry in stored.iter().chain(&self.overlay.kept().entries) {
            let is_older = oldest.is_none_or(|oldest| entry.seen.first_seen < oldest);
            if entry.class != keys::MARKS || !is_older || !matches!(entry.seen.status, Status::Dead(_)) {
                continue;
            }
            // What was resolved since has a newer mark, and the old one stays until its bucket is over.
            let now = self.committed.stream_time;
            let known = self.view().seen("", keys::MARKS, entry.slot, entry.hash, now)?;
            if known.is_some_and(|known| known.seen == entry.seen) {
                oldest = Some(entry.seen.first_seen);
            }
        }
        Ok(oldest)
    }
}

#[cfg(test)]
mod tests;
