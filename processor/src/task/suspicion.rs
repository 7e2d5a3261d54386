//! What may kill the process is handled alone, and whoever does so says it first, in the offset's metadata: the next
//! record, the turn of an event that waited, or a command.
//!
//! Records and errands are suspected apart, for either may go on while the other kills. A partition that was taken over
//! again and again without a record having passed handles its records one at a time; one that was taken over again and
//! again without its errands having come to an end does so with them.

use schemas::ReasonCode;

use super::Task;
use crate::books::Place;
use crate::position::Alone;
use crate::state::Store;
use crate::step::route::Death;

/// When something is found out to kill every process that handles it.
#[derive(Debug, Clone, Copy)]
pub struct Suspicion {
    /// Takeovers without a move from which on records, or errands, are handled one at a time.
    pub attempts: u32,
    /// Deaths with one thing in hand after which it is given up.
    pub deaths: u32,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self { attempts: 3, deaths: 3 }
    }
}

/// Errands that are done alone before all are done together again.
const ALONE_MOST: u32 = 32;

/// Which errands may be done in the open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// Any.
    All,
    /// This one; with [`Alone::Next`], none.
    Only(Alone),
}

impl<S: Store> Task<S> {
    /// Whether records are to be handled one at a time.
    pub fn is_suspect(&self, suspicion: Suspicion) -> bool {
        self.committed.attempts >= suspicion.attempts
    }

    /// Whether errands are to be done one at a time.
    pub fn are_errands_suspect(&self, suspicion: Suspicion) -> bool {
        self.committed.errand_attempts >= suspicion.attempts
    }

    /// Whether it is said that something is being handled alone.
    pub fn is_marked(&self) -> bool {
        self.committed.is_marked
    }

    /// What it is said to be, and the next offset then.
    pub fn marked_alone(&self) -> Option<(Alone, i64)> {
        self.committed.is_marked.then_some((self.committed.alone, self.committed.next))
    }

    /// The errand that has to be done alone now, if errands are suspect and one can be done. What processes died of
    /// comes before any other.
    pub fn errand_alone(&self, suspicion: Suspicion, now_ms: i64) -> Option<Alone> {
        if !self.are_errands_suspect(suspicion) {
            return None;
        }
        let (errands, waiting) = (&self.errands, &self.waiting);
        let command = errands.commands.front().filter(|_| !self.has_torn_input());
        let command = command.map(|record| Alone::Command(record.offset));
        let ready = waiting.due(now_ms).filter(|spot| errands.ready.contains_key(spot));
        let mut turns = ready.filter_map(|spot| waiting.get(spot).map(|item| Alone::Turn(item.src, item.generation())));
        match self.committed.alone {
            alone @ Alone::Turn(src, _) if self.committed.deaths > 0 && waiting.has(src) => {
                turns.find(|turn| *turn == alone)
            }
            alone @ Alone::Command(_)
                if self.committed.deaths > 0 && (command == Some(alone) || !errands.has_heard_all) =>
            {
                command.filter(|command| *command == alone)
            }
            Alone::Next | Alone::Turn(..) | Alone::Command(_) => turns.next().or(command),
        }
    }

    /// Says what is about to be handled, and nothing else: what to commit for that.
    pub fn mark(&mut self, suspicion: Suspicion, now_ms: i64) -> (i32, i64, String) {
        let alone = self.errand_alone(suspicion, now_ms).unwrap_or_default();
        if self.position.alone != alone {
            (self.position.alone, self.position.deaths) = (alone, 0);
        }
        self.position.is_marked = true;
        self.position.txn = self.committed.txn + 1;
        (self.partition, self.position.next, self.position.metadata())
    }

    /// The mark is committed.
    pub fn marked(&mut self) {
        self.committed = self.position.clone();
    }

    /// Which errands may be done.
    pub(super) fn may(&self, suspicion: Suspicion) -> May {
        match (self.committed.is_marked, self.are_errands_suspect(suspicion)) {
            (true, _) => May::Only(self.committed.alone),
            (false, true) => May::Only(Alone::Next),
            (false, false) => May::All,
        }
    }

    /// The next record waits for something else than a process that survives it. The open transaction says so, or its
    /// next owners would be counted among those that died of it.
    pub fn acquit(&mut self) {
        self.is_dirty |= self.committed.attempts > 0 || self.committed.is_marked;
        for position in [&mut self.committed, &mut self.position] {
            position.attempts = 0;
            position.is_marked = false;
        }
    }

    /// What the open transaction has shown to be harmless.
    pub(super) fn clear_suspicion(&mut self) {
        let has_moved = self.position.next != self.committed.next;
        if has_moved {
            self.position.attempts = 0;
        }
        let was_alone = self.committed.is_marked;
        // One errand may be done again and again while another kills: what clears them all is that none is left. Or that
        // many were done alone, for that is slow.
        self.alone_errands += u32::from(was_alone && self.has_errand);
        if self.has_no_errand_left() || self.alone_errands >= ALONE_MOST {
            (self.position.errand_attempts, self.alone_errands) = (0, 0);
        }
        let is_through = match self.position.alone {
            Alone::Next => has_moved,
            // Also if there was nothing to do for it any more.
            Alone::Turn(..) | Alone::Command(_) => was_alone,
        };
        if is_through {
            self.is_dirty |= was_alone;
            (self.position.alone, self.position.deaths, self.position.is_marked) = (Alone::Next, 0, false);
        }
    }

    /// Whether no event waits, and no command.
    fn has_no_errand_left(&self) -> bool {
        self.waiting.is_empty() && self.errands.commands.is_empty() && self.errands.has_heard_all
    }

    /// How many processes died of something, if that is enough.
    pub(super) fn died_of(&self, alone: Alone, suspicion: Suspicion) -> u32 {
        let is_enough = self.committed.alone == alone && self.committed.deaths >= suspicion.deaths;
        if is_enough { self.committed.deaths } else { 0 }
    }

    /// Why the next record is not even looked at.
    pub(super) fn poison(&self, suspicion: Suspicion, visible: Option<Place>) -> Option<Death> {
        let is_first = self.position.next == self.committed.next;
        let deaths = self.died_of(Alone::Next, suspicion);
        if !is_first || visible.is_some() || deaths == 0 {
            return None;
        }
        let message = format!("{deaths} processes died while they handled this record and nothing else");
        Some(Death { reason: ReasonCode::Poison, message, stage: "process" })
    }
}
