//! What a task has fetched and has made while no transaction is open: records of events whose turn comes, and calls.
//!
//! Nothing here is state: it is lost with the task, and its next owner begins again.

use std::collections::{HashMap, HashSet, VecDeque};

use super::Task;
use super::case::CallWanted;
use crate::call::{Call, Reply, Ticket};
use crate::log::{Heard, Loose, Want};
use crate::state::Store;
use crate::waiting::Spot;

/// Records are fetched this long before they are due, milliseconds: longer than a fetch and the longest transaction.
const AHEAD_MS: i64 = 1000;
/// A clock that goes back by more than this was set, milliseconds.
const BACK_MS: i64 = 1000;
/// Events behind one whose turn comes that are fetched along with it.
const RUN: usize = 256;
/// Records that a task holds or has asked for at a time, and their bytes.
const HELD: usize = 4096;
const HELD_BYTES: usize = 8 * 1024 * 1024;
/// An event whose turn comes again within this, milliseconds, keeps its record: no fetch could be late.
const SOON_MS: i64 = 10_000;

/// Errands of one task.
#[derive(Debug, Default)]
pub(super) struct Errands {
    /// Commands that were read and not yet taken.
    pub(super) commands: VecDeque<Loose>,
    /// Records that were fetched. `None`: it is gone.
    pub(super) ready: HashMap<Spot, Option<Loose>>,
    ready_bytes: usize,
    pub(super) has_heard_all: bool,
    asked: HashSet<Spot>,
    /// What the clock said when it was last looked at.
    seen_ms: i64,
    /// Calls to make when the transaction is committed.
    pub(super) calls: Vec<CallWanted>,
    /// Calls under way: for whom, and which handler.
    under_way: HashMap<u64, (Spot, usize)>,
    /// What came of calls, until the event is through.
    pub(super) replies: HashMap<Spot, Vec<(usize, Reply)>>,
}

impl Errands {
    /// Takes a record out.
    pub(super) fn take(&mut self, spot: Spot) -> Option<Option<Loose>> {
        let record = self.ready.remove(&spot)?;
        self.ready_bytes = self.ready_bytes.saturating_sub(record.as_ref().map_or(0, Loose::size));
        Some(record)
    }

    /// Keeps a record that will be needed again, if there is room: half of it is for those that are fetched.
    pub(super) fn keep(&mut self, spot: Spot, record: Option<Loose>) {
        let size = record.as_ref().map_or(0, Loose::size);
        if record.is_some() && self.ready.len() < HELD / 2 && self.ready_bytes + size <= HELD_BYTES / 2 {
            self.ready_bytes += size;
            self.ready.insert(spot, record);
        }
    }

    /// Whether a record that will be needed after so long is kept until then. Half of the room is for records of events
    /// that are due earlier and were not kept.
    pub(super) fn keeps(&self, pause_ms: i64) -> bool {
        pause_ms <= SOON_MS && self.ready.len() < HELD / 2 && self.ready_bytes < HELD_BYTES / 2
    }

    /// An event's turn is over.
    pub(super) fn forget(&mut self, spot: Spot) {
        self.take(spot);
        self.replies.remove(&spot);
    }
}

impl<S: Store> Task<S> {
    /// Takes note of what came from the first retry topic.
    pub fn hear(&mut self, heard: Heard, tier: &str) {
        match heard {
            Heard::Command(record) => self.errands.commands.push_back(record),
            Heard::Other(_, offset) => {
                if self.errands.commands.is_empty() {
                    self.position.commands = Some((tier.to_owned(), offset + 1));
                }
            }
            Heard::End(_) => {
                self.errands.has_heard_all = true;
                self.drop_old_effects();
            }
        }
    }

    /// Whether a torn transaction had processed input that has not been processed again. What it did of commands came
    /// after that, and does so again: a redrive and a redelivery of the same event must not change places, or the
    /// other one of them passes this time.
    pub(super) fn has_torn_input(&self) -> bool {
        self.effects.places.keys().any(|(src, _)| *src >= self.position.next)
    }

    /// Whether a torn transaction had carried out commands that have not been carried out again, and nothing more of
    /// what it did before them is left: then newer input comes after them.
    pub(super) fn must_hear_first(&self, offset: i64) -> bool {
        let is_left = |effect: &(i64, u64)| {
            let (src, generation) = *effect;
            generation > 0 && src < self.committed.next && !self.used.contains(effect) && !self.waiting.has(src)
        };
        let effects = &self.effects.places;
        !effects.is_empty() && !effects.keys().any(|(src, _)| *src >= offset) && effects.keys().any(is_left)
    }

    /// Where the commands are read on, in this tier.
    pub fn commands_from(&self, tier: &str) -> i64 {
        let known = self.committed.commands.as_ref().filter(|(of, _)| of == tier);
        known.map_or(0, |(_, next)| *next)
    }

    /// Every command has been carried out that was sent before the partition was taken over: what is visible of a
    /// redrive that nobody asked for then was done before.
    pub(super) fn drop_old_effects(&mut self) {
        if self.effects.places.is_empty() || !self.errands.has_heard_all || !self.errands.commands.is_empty() {
            return;
        }
        let (waits, next) =
            (self.waiting.those_of(self.effects.places.keys().map(|(src, _)| *src)), self.committed.next);
        self.effects.places.retain(|(src, _), _| *src >= next || waits.contains(src));
    }

    /// Takes a record that was fetched for an event that waits.
    pub fn fetched(&mut self, want: &Want, record: Option<Loose>) {
        if !self.errands.asked.remove(&want.spot) {
            return;
        }
        if self.waiting.get(want.spot).is_some_and(|item| item.record_at() == want.record_at) {
            self.errands.ready_bytes += record.as_ref().map_or(0, Loose::size);
            self.errands.ready.insert(want.spot, record);
        }
    }

    /// The records that are wanted next, most urgent first.
    pub fn wants(&mut self, now_ms: i64) -> Vec<Want> {
        let Self { waiting, errands, partition, .. } = self;
        if now_ms.saturating_add(BACK_MS) < errands.seen_ms {
            waiting.set_back(now_ms);
        }
        errands.seen_ms = now_ms;
        let mut wants = Vec::new();
        if waiting.next_due().is_none_or(|due| due > now_ms.saturating_add(AHEAD_MS)) {
            return wants;
        }
        'all: for (resource, src) in waiting.due(now_ms.saturating_add(AHEAD_MS)) {
            for item in waiting.run_of((resource, src), RUN) {
                if errands.ready.len() + errands.asked.len() >= HELD || errands.ready_bytes >= HELD_BYTES {
                    break 'all;
                }
                let spot = (resource, item.src);
                if !errands.ready.contains_key(&spot) && errands.asked.insert(spot) {
                    wants.push(Want { partition: *partition, spot, record_at: item.record_at() });
                }
            }
        }
        wants
    }

    /// Whether there is something to do besides records that come in.
    pub fn has_errands(&self, now_ms: i64) -> bool {
        let has_turn = || self.waiting.due(now_ms).any(|spot| self.errands.ready.contains_key(&spot));
        (!self.errands.commands.is_empty() && !self.has_torn_input()) || has_turn()
    }

    /// The calls that the committed transaction wants, each with a number of its own.
    pub fn take_calls(&mut self, number: &mut u64) -> Vec<(Ticket, Call)> {
        let wanted = std::mem::take(&mut self.errands.calls);
        let calls = wanted.into_iter().map(|CallWanted { spot, generation, handler, call }| {
            *number += 1;
            self.errands.under_way.insert(*number, (spot, handler));
            (Ticket { partition: self.partition, offset: spot.1, generation, number: *number }, call)
        });
        calls.collect()
    }

    /// Takes what came of a call: the event's turn comes again.
    pub fn answered(&mut self, ticket: Ticket, reply: Reply) {
        let Some((spot, handler)) = self.errands.under_way.remove(&ticket.number) else { return };
        if self.waiting.get(spot).is_some_and(|item| item.generation() == ticket.generation) {
            let replies = self.errands.replies.entry(spot).or_default();
            replies.retain(|(of, _)| *of != handler);
            replies.push((handler, reply));
            self.waiting.set_busy(spot, false);
        }
    }
}
