//! The owner of one partition of `verified-events`: its position, its state, and what the open transaction adds.
//!
//! Takes records in offset order, turns decisions into staged state and records to produce. After a failed
//! transaction the task is thrown away and taken over anew: there is no other way back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::ReasonCode;

use crate::batch::StoredHeaders;
use crate::books::{Place, Tallies, UNKNOWN_SOURCE};
use crate::changelog::{self, Delta};
use crate::emit::{Emitter, Out, Pass, Record, Stamp};
use crate::log::{Acks, Fault};
use crate::position::Position;
use crate::state::overlay::{Overlay, Reader};
use crate::state::{Changes, Cursor, StateError, Store};
use crate::step::handle::Handlers;
use crate::step::route::Death;
use crate::step::{self, Decision, Input, Outcome, Undecided};

/// A record's append time may be ahead of our clock by this much before its partition waits.
pub const CLOCK_AHEAD_MS: i64 = 10 * 60 * 1000;

/// A snapshot of what outlives the windows is written this often, in milliseconds: a small part of the shortest
/// retention that the changelog can have.
const SNAPSHOT_MS: i64 = 6 * 60 * 60 * 1000;

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

/// A record that kills every process that handles it is found, and set aside, in two stages. Partitions that were
/// taken over `attempts` times without moving are handled one record at a time, and who does so says it first, in
/// the offset's metadata. A record that `deaths` processes did not survive is a dead letter.
#[derive(Debug, Clone, Copy)]
pub struct Suspicion {
    /// Takeovers without a move from which on records are handled one at a time.
    pub attempts: u32,
    /// Deaths with one record in hand after which it is given up.
    pub deaths: u32,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self { attempts: 3, deaths: 3 }
    }
}

/// Effects that a torn transaction left visible, found by reconcile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Where each input offset's effect stands.
    pub places: BTreeMap<i64, Place>,
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
    counts: Vec<Count>,
    /// The store failed and is not written again.
    is_store_broken: bool,
}

impl<S: Store> Task<S> {
    /// A task whose state has been restored: a store that goes as far as `cursor`, and what it lacks.
    pub fn new(
        partition: i32,
        position: Position,
        store: S,
        cursor: Cursor,
        kept: Changes,
        effects: Effects,
        now_ms: i64,
    ) -> Result<Self, StateError> {
        let mut tallies = store.tallies()?;
        tallies.overwrite(&kept.tallies);
        Ok(Self {
            partition,
            committed: position.clone(),
            position,
            store,
            cursor,
            tallies,
            overlay: Overlay::new(kept, now_ms),
            effects,
            counts: Vec::new(),
            is_store_broken: false,
        })
    }

    /// Next input offset that is not committed.
    pub fn next(&self) -> i64 {
        self.committed.next
    }

    /// Committed tallies.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Takes one record: decides, stages, and sends what comes of it.
    pub fn take(
        &mut self,
        input: &Input<'_>,
        stored: StoredHeaders<'_>,
        shared: &Shared,
        now_ms: i64,
        emitter: &mut Emitter,
        send: &mut dyn FnMut(&Record<'_>) -> Result<(), Fault>,
    ) -> Result<(), TakeError> {
        if input.offset < self.position.next {
            return Ok(());
        }
        if input.timestamp > now_ms.saturating_add(CLOCK_AHEAD_MS) {
            return Err(TakeError::Wait(format!(
                "the record at offset {} carries an append time {} s ahead of this machine's clock",
                input.offset,
                (input.timestamp - now_ms) / 1000
            )));
        }
        let now = self.position.stream_time.max(input.timestamp);
        let visible = self.effects.places.get(&input.offset).copied();
        let view = Reader { overlay: &self.overlay, store: &self.store, cursor: &self.cursor };
        let decision = match self.poison(shared.suspicion, visible) {
            Some(death) => step::route::undecodable(death),
            None => step::decide(input, now, &view, &shared.handlers, visible).map_err(|error| match error {
                Undecided::State(error) => TakeError::State(error),
                Undecided::UnknownSchema { .. } => TakeError::Wait(error.to_string()),
            })?,
        };
        self.position.stream_time = now;
        self.position.next = input.offset + 1;
        if visible.is_none() {
            self.emit(&decision, input, stored, shared, emitter, send)?;
        }
        // Nobody looks whether this one is visible already: the topic keeps the last of each dead letter.
        if let Some(dead) = decision.supersedes {
            let stamp = Stamp { txn: self.committed.txn + 1, seq: None };
            send(&emitter.superseded(self.partition, dead, input, stamp))?;
        }
        self.stage(decision);
        Ok(())
    }

    /// Why the next record is not even looked at.
    fn poison(&self, suspicion: Suspicion, visible: Option<Place>) -> Option<Death> {
        let is_first = self.position.next == self.committed.next;
        if !is_first || visible.is_some() || self.committed.deaths < suspicion.deaths {
            return None;
        }
        let message =
            format!("{} processes died while they handled this record and nothing else", self.committed.deaths);
        Some(Death { reason: ReasonCode::Poison, message, stage: "process" })
    }

    fn emit(
        &mut self,
        decision: &Decision<'_>,
        input: &Input<'_>,
        stored: StoredHeaders<'_>,
        shared: &Shared,
        emitter: &mut Emitter,
        send: &mut dyn FnMut(&Record<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut stamp = Stamp { txn: self.committed.txn + 1, seq: None };
        let pass = Pass { is_stale: false, is_future: false };
        let event = decision.event.as_ref();
        match (&decision.outcome, event) {
            (Outcome::Clean { is_stale, is_future }, Some(event)) => {
                stamp.seq = Some(self.next_seq());
                let pass = Pass { is_stale: *is_stale, is_future: *is_future };
                send(&emitter.event(Out::Clean, shared.clean_partitions, event, input, stamp, pass))?;
            }
            (Outcome::StaleRouted, Some(event)) => {
                send(&emitter.event(Out::Stale, shared.clean_partitions, event, input, stamp, pass))?;
            }
            (Outcome::Dead(death), event) => {
                send(&emitter.dead(event, input, stored, &shared.input_topic, death, stamp))?;
            }
            (Outcome::Clean { .. } | Outcome::StaleRouted | Outcome::StaleDropped | Outcome::Duplicate { .. }, _) => {}
        }
        Ok(())
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

    fn stage(&mut self, decision: Decision<'_>) {
        let source = decision.event.as_ref().map_or(UNKNOWN_SOURCE, |event| event.source);
        self.tallies.add(source, decision.outcome.place());
        if decision.supersedes.is_some() {
            self.tallies.shift(source, Place::Dead, Place::Duplicate);
        }
        match &decision.outcome {
            Outcome::Dead(death) => {
                self.counts.push(Count::Dead { source: source.to_owned(), reason: death.reason.as_str() });
            }
            Outcome::Duplicate { is_conflict: true } => {
                self.counts.push(Count::Conflict { source: source.to_owned() });
            }
            Outcome::Duplicate { is_conflict: false }
            | Outcome::Clean { .. }
            | Outcome::StaleRouted
            | Outcome::StaleDropped => {}
        }
        self.touch(source, decision.entry.map(|entry| entry.class));
        if let Some(entry) = decision.entry {
            self.overlay.push(entry);
        }
    }

    fn touch(&mut self, source: &str, class: Option<u8>) {
        let mask = match class {
            Some(class) => {
                self.cursor.note_source(source, class);
                self.cursor.source_classes.get(source).copied().unwrap_or_default()
            }
            None => self.cursor.source_classes.get(source).copied().unwrap_or_default(),
        };
        match self.overlay.open.source_classes.get_mut(source) {
            Some(known) => *known = mask,
            None => {
                self.overlay.open.source_classes.insert(source.to_owned(), mask);
            }
        }
    }

    /// Whether the open transaction has something of this partition.
    pub fn is_touched(&self) -> bool {
        self.position.next != self.committed.next || self.position.snapshot_ms != self.committed.snapshot_ms
    }

    /// Whether a snapshot is due, records or not: the changelog of a partition without events grows old as well.
    pub fn is_snapshot_due(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.committed.snapshot_ms) >= SNAPSHOT_MS
    }

    /// Sends what the state changes, if it does, one DELTA in as many records as its size asks for.
    pub fn send_delta(
        &mut self,
        now_ms: i64,
        emitter: &Emitter,
        send: &mut dyn FnMut(&Record<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let is_snapshot = self.is_snapshot_due(now_ms);
        if is_snapshot {
            self.position.snapshot_ms = now_ms;
            self.overlay.open.source_classes.clone_from(&self.cursor.source_classes);
            for source in self.tallies.0.keys() {
                self.overlay.open.source_classes.entry(source.clone()).or_default();
            }
        }
        if !self.is_touched() {
            return Ok(());
        }
        if self.position.next != self.committed.next {
            self.position.attempts = 0;
            self.position.deaths = 0;
            self.position.is_marked = false;
        }
        self.position.txn = self.committed.txn + 1;
        self.position.delta_txn = self.position.txn;
        for source in self.overlay.open.source_classes.keys() {
            for place in Place::ALL {
                self.overlay.open.tallies.set(source, place, self.tallies.get(source, place));
            }
        }
        let delta = Delta {
            lineage: self.position.lineage,
            txn: self.position.txn,
            part: 0,
            is_last: true,
            is_snapshot,
            base: self.committed.next,
            next: self.position.next,
            seq: self.position.seq,
            stream_time: self.position.stream_time,
            changes: std::mem::take(&mut self.overlay.open),
        };
        let sent = changelog::encode_delta(&delta, |bytes| send(&emitter.changelog(self.partition, bytes)));
        self.overlay.open = delta.changes;
        sent
    }

    /// Learns where this partition's records went, and says what to commit for it: offset and metadata.
    pub fn offsets(&mut self, acks: &Acks) -> (i32, i64, String) {
        if let Some(offset) = acks.get(&(Out::Changelog, self.partition)) {
            self.position.changelog_next = offset + 1;
        }
        // While effects of a torn transaction lie ahead, the hints must keep pointing before them.
        let last_effect = self.effects.places.keys().next_back().copied();
        if last_effect.is_none_or(|offset| offset < self.position.next) && self.effects.seqs.is_empty() {
            let hints = &mut self.position.hints;
            for (out, known) in
                [(Out::Clean, &mut hints.clean), (Out::Stale, &mut hints.stale), (Out::Dead, &mut hints.dead)]
            {
                for (partition, next) in known {
                    if let Some(offset) = acks.get(&(out, *partition)) {
                        *next = (*next).max(offset + 1);
                    }
                }
            }
        }
        (self.partition, self.position.next, self.position.metadata())
    }

    /// Whether records are to be handled one at a time.
    pub fn is_suspect(&self, suspicion: Suspicion) -> bool {
        self.committed.attempts >= suspicion.attempts
    }

    /// Whether it is said that the next record is being handled.
    pub fn is_marked(&self) -> bool {
        self.committed.is_marked
    }

    /// Says that the next record is about to be handled and nothing else: what to commit for that.
    pub fn mark(&mut self) -> (i32, i64, String) {
        self.position.is_marked = true;
        self.position.txn = self.committed.txn + 1;
        (self.partition, self.position.next, self.position.metadata())
    }

    /// The next record waits for something else than a process that survives it.
    pub fn acquit(&mut self) {
        for position in [&mut self.committed, &mut self.position] {
            position.attempts = 0;
            position.is_marked = false;
        }
    }

    /// The mark is committed.
    pub fn marked(&mut self) {
        self.committed = self.position.clone();
    }

    /// The transaction is committed: what it changed is true now. What to count is the answer.
    pub fn settled(&mut self, now_ms: i64) -> Vec<Count> {
        self.committed = self.position.clone();
        self.overlay.keep(now_ms);
        self.effects.places = self.effects.places.split_off(&self.committed.next);
        std::mem::take(&mut self.counts)
    }

    /// How many changes wait for the store, and since when.
    pub fn waiting(&self) -> (usize, Option<i64>) {
        (self.overlay.kept().entries.len(), self.overlay.kept_since())
    }

    /// Works a little on the store's index. `true`: there is more to do.
    pub fn index(&mut self) -> Result<bool, StateError> {
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
}

impl<S: Store> step::View for Reader<'_, S> {
    fn seen(&self, about: &step::About<'_>) -> Result<Option<crate::state::Seen>, StateError> {
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
