//! Watching open dead letters: how many each partition has follows from its books, and costs nothing; since when the
//! oldest is one follows from its marks, which are read again when one of its letters was resolved.

use std::collections::BTreeMap;

use super::{Observer, Worker};
use crate::log::Log;
use crate::state::Stores;
use crate::task::{Count, Task};

/// Marks are read at most this often, milliseconds.
const PAUSE_MS: i64 = 10_000;
/// And no more than one part in so many of the worker's time goes into it.
const SHARE: i64 = 100;

/// What is known of the letters of every partition.
#[derive(Debug, Default)]
pub(super) struct Watch {
    is_on: bool,
    known: BTreeMap<i32, Known>,
    next_ms: i64,
}

/// What is known of the letters of one partition.
#[derive(Debug, Default)]
struct Known {
    dead: u64,
    since: Option<i64>,
    /// One was resolved since, perhaps the oldest.
    is_stale: bool,
}

/// How many events died in a transaction.
pub(super) fn died(counts: &[Count]) -> u64 {
    counts.iter().filter(|count| matches!(count, Count::Dead { .. })).count() as u64
}

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    /// From now on the observer is told of open dead letters.
    pub fn watch_letters(&mut self) {
        self.letters.is_on = true;
    }

    /// Takes note of a partition's letters after a transaction in which so many events died.
    pub(super) fn note_letters(&mut self, partition: i32, died: u64) {
        let Some(task) = self.tasks.get(&partition).filter(|_| self.letters.is_on) else { return };
        let known = self.letters.known.entry(partition).or_default();
        let dead = task.dead();
        known.is_stale |= dead != known.dead + died;
        if dead == 0 {
            (known.since, known.is_stale) = (None, false);
        } else if known.dead == 0 && !known.is_stale {
            known.since = Some(task.stream_time());
        }
        if dead != known.dead || died > 0 {
            self.observer.letters(partition, dead, known.since);
        }
        known.dead = dead;
    }

    /// Reads the marks of one partition, if it is time and something may have changed. Only between transactions.
    pub(super) fn look_at_letters(&mut self, now_ms: i64) {
        if now_ms < self.letters.next_ms {
            return;
        }
        let stale = self.letters.known.iter_mut().find(|(_, known)| known.is_stale);
        let Some((partition, known)) = stale else { return };
        known.is_stale = false;
        // A store that can't be read says so soon enough.
        let Some(Ok(since)) = self.tasks.get(partition).map(Task::oldest_dead) else { return };
        known.since = since;
        self.observer.letters(*partition, known.dead, known.since);
        let took_ms = self.log.now_ms().saturating_sub(now_ms).max(0);
        self.letters.next_ms = now_ms.saturating_add(PAUSE_MS.max(took_ms.saturating_mul(SHARE)));
    }

    pub(super) fn forget_letters(&mut self, partition: i32) {
        self.letters.known.remove(&partition);
    }
}
