//! The owner of one partition of `verified-events`: its position, its state, and what the open transaction adds.
//!
//! Takes records in offset order, turns decisions into staged state and records to produce. After a failed
//! transaction the task is thrown away and taken over anew: there is no other way back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::command::RecordHeaders;
use schemas::resolution::Outcome as Resolved;

use crate::books::{Place, Tallies};
use crate::emit::{Emitter, Record};
use crate::log::Fault;
use crate::position::Position;
use crate::state::overlay::{Overlay, Reader};
use crate::state::wait::WaitChange;
use crate::state::{Changes, Cursor, DeadRef, Entry, Known, ResourceHash, StateError, Store};
use crate::step::handle::Handlers;
use crate::step::order::short_hash;
use crate::step::{self, Input, Torn, Turn, Undecided};
use crate::waiting::Waiting;
use case::Case;
use errands::Errands;
use overtaken::Overtaken;

mod case;
mod commands;
mod delta;
mod errands;
mod letters;
mod overtaken;
mod suspicion;
mod turns;

pub use suspicion::Suspicion;

/// A record's append time may be ahead of our clock by this much before its partition waits.
pub const CLOCK_AHEAD_MS: i64 = 10 * 60 * 1000;

/// What every task of a worker shares.
#[derive(Debug)]
pub struct Shared {
    /// Rules that judge events.
    pub handlers: Arc<Handlers>,
    /// Full name of `verified-events`.
    pub input_topic: String,
    /// Partitions of `clean-events`.
    pub clean_partitions: i32,
    /// When a record is suspected of killing processes.
    pub suspicion: Suspicion,
}

/// Effects that a torn transaction left visible, found by reconcile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Where each event's effect stands, by its offset and how often it had been redriven.
    pub places: BTreeMap<(i64, u64), Place>,
    /// The resource of each event that is in `clean-events`, by its offset; redriven ones have left their order.
    pub passed: BTreeMap<i64, ResourceHash>,
    /// Sequence numbers in use beyond the position's.
    pub seqs: BTreeSet<u64>,
}

/// Why a task cannot take a record.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The partition waits at this record.
    #[error("{0}")]
    Wait(String),
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Kafka failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// One thing to count, once its transaction is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// An event died.
    Dead {
        /// Its source.
        source: String,
        /// Its reason.
        reason: &'static str,
    },
    /// One signed id with two bodies.
    Conflict {
        /// Its source.
        source: String,
    },
    /// An event failed and waits for its next try.
    Retried {
        /// Its source.
        source: String,
        /// Why.
        reason: &'static str,
    },
    /// An event that had failed before, or was redriven, reached its last place.
    Attempts {
        /// Its source.
        source: String,
        /// How often it was handled.
        attempts: u32,
    },
    /// A command about a dead letter was carried out.
    Redriven(Resolved),
}

/// What one call of a task needs besides the task.
pub struct Means<'a> {
    /// What every task of the worker shares.
    pub shared: &'a Shared,
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: i64,
    /// Builds records.
    pub emitter: &'a mut Emitter,
    /// Adds a record to the open transaction.
    pub send: &'a mut dyn FnMut(&Record<'_>) -> Result<(), Fault>,
}

impl std::fmt::Debug for Means<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

/// The owner of one partition.
#[derive(Debug)]
pub struct Task<S> {
    partition: i32,
    committed: Position,
    position: Position,
    store: S,
    cursor: Cursor,
    tallies: Tallies,
    overlay: Overlay,
    effects: Effects,
    overtaken: Overtaken,
    /// Effects that the open transaction has made up for.
    used: Vec<(i64, u64)>,
    /// The open transaction has a turn or a command.
    has_errand: bool,
    /// How many of those were done alone.
    alone_errands: u32,
    counts: Vec<Count>,
    /// Everything that waits, as the open transaction leaves it.
    waiting: Waiting,
    errands: Errands,
    /// The open transaction changes something besides the offset.
    is_dirty: bool,
    /// The store failed and is not written again.
    is_store_broken: bool,
}

/// What a takeover restored of a partition.
#[derive(Debug)]
pub struct Restored<S> {
    /// A store that goes as far as `cursor`.
    pub store: S,
    /// How far it goes.
    pub cursor: Cursor,
    /// What it lacks.
    pub kept: Changes,
    /// What torn transactions left visible.
    pub effects: Effects,
}

impl<S: Store> Task<S> {
    /// A task whose state has been restored.
    pub fn new(
        partition: i32,
        position: Position,
        restored: Restored<S>,
        now_ms: i64,
        is_overtaking: bool,
    ) -> Result<Self, StateError> {
        let Restored { store, cursor, kept, mut effects } = restored;
        let mut tallies = store.tallies()?;
        tallies.overwrite(&kept.tallies);
        let mut waiting = Waiting::new(is_overtaking);
        for change in store.waits()?.iter().chain(&kept.waits) {
            waiting.apply(change);
        }
        // The clock of the owner before may have been ahead.
        waiting.set_back(now_ms);
        // Whoever has been redriven may be on its way still: that is known when all commands have been read.
        let waits = waiting.those_of(effects.places.keys().map(|(src, _)| *src));
        effects.places.retain(|(src, generation), _| *src >= position.next || *generation > 0 || waits.contains(src));
        let overtaken = Overtaken::by(&mut effects, is_overtaking);
        Ok(Self {
            partition,
            committed: position.clone(),
            position,
            store,
            cursor,
            tallies,
            overlay: Overlay::new(kept, now_ms),
            effects,
            overtaken,
            used: Vec::new(),
            has_errand: false,
            alone_errands: 0,
            counts: Vec::new(),
            waiting,
            errands: Errands::default(),
            is_dirty: false,
            is_store_broken: false,
        })
    }

    /// Next input offset that is not committed.
    pub fn next(&self) -> i64 {
        self.committed.next
    }

    /// The position as it was last committed, as far as we were told.
    pub fn committed(&self) -> &Position {
        &self.committed
    }

    /// How many effects of torn transactions it has to make up for.
    pub fn torn(&self) -> u64 {
        self.effects.places.len() as u64
    }

    /// Everything that waits.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Committed tallies.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Takes one record: decides, stages, and sends what comes of it.
    pub fn take<'a>(
        &mut self,
        input: &'a Input<'a>,
        originals: &'a dyn Fn() -> RecordHeaders<'a>,
        means: &mut Means<'_>,
    ) -> Result<(), TakeError> {
        if input.offset < self.position.next {
            return Ok(());
        }
        if input.timestamp > means.now_ms.saturating_add(CLOCK_AHEAD_MS) {
            return Err(TakeError::Wait(format!(
                "the record at offset {} carries an append time {} s ahead of this machine's clock",
                input.offset,
                (input.timestamp - means.now_ms) / 1000
            )));
        }
        if self.must_hear_first(input.offset) {
            let message = "commands are heard first: a torn transaction had carried some of them out";
            return Err(TakeError::Wait(message.to_owned()));
        }
        let now = self.position.stream_time.max(input.timestamp);
        let visible = self.visible(input.offset, 0);
        let decision = match self.poison(means.shared.suspicion, visible) {
            Some(death) => {
                let dead = DeadRef { offset: input.offset, generation: 0 };
                step::route::undecodable(death, &step::about_place(self.partition, input.offset, now), dead)
            }
            None => {
                let turn = self.first_turn(input.key, &means.shared.handlers);
                self.decide(input, turn, now, &means.shared.handlers, visible)?
            }
        };
        self.position.stream_time = now;
        self.position.next = input.offset + 1;
        let case = Case { visible, originals, ..Case::first(input) };
        self.conclude(decision, &case, means)
    }

    /// What a record that is read for the first time meets.
    fn first_turn(&self, key: &[u8], handlers: &Handlers) -> Turn<'static> {
        if self.waiting.is_empty() {
            return Turn::First { is_held_back: false, has_room: true };
        }
        let resource = short_hash(key);
        let (of_resource, of_all) = handlers.retries.room;
        let has_room = self.waiting.len_of(resource) < of_resource && self.waiting.len() < of_all;
        Turn::First { is_held_back: self.waiting.holds_back(resource), has_room }
    }

    fn decide<'i>(
        &self,
        input: &Input<'i>,
        turn: Turn<'_>,
        now: i64,
        handlers: &Handlers,
        visible: Option<Place>,
    ) -> Result<step::Decision<'i>, TakeError> {
        let is_overtaken = turn.past().generation == 0 && self.overtaken.has(input);
        let torn = Torn { visible, is_overtaken };
        step::decide(input, turn, now, &self.view(), handlers, torn).map_err(|error| match error {
            Undecided::State(error) => TakeError::State(error),
            Undecided::UnknownSchema { .. } | Undecided::NoRoom => TakeError::Wait(error.to_string()),
        })
    }

    /// Where a torn transaction already left the effect of an event.
    fn visible(&mut self, src: i64, generation: u64) -> Option<Place> {
        let place = self.effects.places.get(&(src, generation)).copied();
        if place.is_some() {
            self.used.push((src, generation));
        }
        place
    }

    /// State as the open transaction leaves it.
    fn view(&self) -> Reader<'_, S> {
        Reader { overlay: &self.overlay, store: &self.store, cursor: &self.cursor }
    }

    /// The next free sequence number. Numbers a torn transaction used are skipped, so that the set has no gap.
    fn next_seq(&mut self) -> u64 {
        let mut seq = self.position.seq + 1;
        while self.effects.seqs.contains(&seq) {
            seq += 1;
        }
        if self.effects.seqs.is_empty() {
            self.position.seq = seq;
        } else {
            self.effects.seqs.insert(seq);
            self.close_seq_gaps();
        }
        seq
    }

    fn close_seq_gaps(&mut self) {
        while self.effects.seqs.remove(&(self.position.seq + 1)) {
            self.position.seq += 1;
        }
    }

    fn touch(&mut self, source: &str, class: Option<u8>) {
        if let Some(class) = class {
            self.cursor.note_source(source, class);
        }
        let mask = self.cursor.source_classes.get(source).copied().unwrap_or_default();
        match self.overlay.open.source_classes.get_mut(source) {
            Some(known) => *known = mask,
            None => {
                self.overlay.open.source_classes.insert(source.to_owned(), mask);
            }
        }
    }

    /// Stages what the state shall know of an event.
    fn push(&mut self, source: &str, entry: Entry) {
        self.touch(source, Some(entry.class));
        if entry.last.is_some() && entry.window_class != entry.class {
            self.touch(source, Some(entry.window_class));
        }
        self.overlay.push(entry);
    }

    /// Stages that an event waits, waits on, or waits no more.
    fn wait(&mut self, change: WaitChange) {
        self.waiting.apply(&change);
        self.overlay.open.waits.push(change);
        self.is_dirty = true;
    }

    /// Whether the open transaction has something of this partition.
    pub fn is_touched(&self) -> bool {
        self.is_dirty
            || self.position.next != self.committed.next
            || self.position.snapshot_ms != self.committed.snapshot_ms
    }

    /// Has the next transaction commit everything again, whether something is new or not.
    pub fn commit_again(&mut self) {
        self.is_dirty = true;
    }

    /// The transaction is committed: what it changed is true now. What to count is the answer.
    pub fn settled(&mut self, now_ms: i64) -> Vec<Count> {
        self.committed = self.position.clone();
        self.overlay.keep(now_ms);
        for effect in self.used.drain(..) {
            self.effects.places.remove(&effect);
        }
        (self.is_dirty, self.has_errand) = (false, false);
        self.drop_old_effects();
        std::mem::take(&mut self.counts)
    }

    /// How many changes wait for the store, and since when.
    pub fn unwritten(&self) -> (usize, Option<i64>) {
        (self.overlay.kept().entries.len() + self.overlay.kept().waits.len(), self.overlay.kept_since())
    }

    /// Sees to the store's index.
    pub fn index(&mut self) -> Result<(), StateError> {
        self.store.index()
    }

    /// Writes what waits into the store, in one atomic write with the cursor. Only between transactions.
    pub fn write(&mut self) -> Result<(), StateError> {
        if self.overlay.kept_since().is_none() || self.is_store_broken {
            return Ok(());
        }
        self.is_store_broken = true;
        self.cursor.lineage = self.committed.lineage;
        self.cursor.txn = self.committed.txn;
        self.cursor.next = self.committed.next;
        self.cursor.seq = self.committed.seq;
        self.cursor.stream_time = self.committed.stream_time;
        self.cursor.changelog_next = self.committed.changelog_next;
        self.cursor.cover(&self.overlay.kept().entries);
        self.cursor.expire();
        self.store.apply(self.overlay.kept(), &self.cursor)?;
        self.is_store_broken = false;
        self.overlay.written();
        Ok(())
    }

    /// Writes what waits; the store is about to be closed.
    pub fn close(&mut self) -> Result<(), StateError> {
        self.write()?;
        if self.is_store_broken { Ok(()) } else { self.store.let_go() }
    }
}

impl<S: Store> step::View for Reader<'_, S> {
    fn seen(&self, about: &step::About<'_>) -> Result<Option<Known>, StateError> {
        Reader::seen(self, about.source, about.class, about.slot, about.hash, about.now)
    }

    fn last(
        &self,
        about: &step::About<'_>,
        resource: crate::state::ResourceHash,
    ) -> Result<Option<crate::state::Last>, StateError> {
        Reader::last(self, about.source, about.class, about.slot, resource, about.now)
    }
}
