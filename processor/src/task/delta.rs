//! What a transaction says of its partition: one DELTA in the changelog, an offset and its metadata.

use super::Task;
use crate::books::Place;
use crate::changelog::{self, Delta};
use crate::emit::{Emitter, Out, Record};
use crate::log::{Acks, Fault};
use crate::state::{Changes, Entry, Store, keys};

/// A snapshot of what outlives the windows is written this often, in milliseconds: a small part of the shortest
/// retention that the changelog can have.
const SNAPSHOT_MS: i64 = 6 * 60 * 60 * 1000;

impl<S: Store> Task<S> {
    /// Whether a snapshot is due, records or not: the changelog of a partition without events grows old as well. One
    /// from a time to come was written under a wrong clock.
    pub fn is_snapshot_due(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.committed.snapshot_ms).unsigned_abs() >= SNAPSHOT_MS.unsigned_abs()
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
        let outliving = if is_snapshot { Some(self.outliving()?) } else { None };
        self.clear_suspicion();
        if !self.is_touched() {
            return Ok(());
        }
        self.position.txn = self.committed.txn + 1;
        self.position.delta_txn = self.position.txn;
        for source in self.overlay.open.source_classes.keys() {
            for place in Place::ALL {
                self.overlay.open.tallies.set(source, place, self.tallies.get(source, place));
            }
        }
        let mut delta = Delta {
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
        let mut open = None;
        if let Some(mut outliving) = outliving {
            outliving.entries.extend_from_slice(&delta.changes.entries);
            let mut waits = delta.changes.waits.clone();
            waits.append(&mut outliving.waits);
            let whole = Changes { entries: outliving.entries, waits, ..delta.changes.clone() };
            open = Some(std::mem::replace(&mut delta.changes, whole));
        }
        let sent = changelog::encode_delta(&delta, |bytes| send(&emitter.changelog(self.partition, bytes)));
        self.overlay.open = open.unwrap_or(delta.changes);
        sent
    }

    /// What outlives the windows besides the tallies: marks, oldest first, and what waits.
    fn outliving(&self) -> Result<Changes, Fault> {
        let stored = self.store.marks();
        let stored = stored.map_err(|error| Fault::Unsure { doing: "take a snapshot", detail: error.to_string() })?;
        let now = self.position.stream_time;
        let is_live = |entry: &&Entry| {
            entry.class == keys::MARKS
                && keys::bucket_of(entry.class, entry.seen.first_seen) >= keys::first_live_bucket(entry.class, now)
        };
        // What a mark once said of its resource is told elsewhere, and something newer may have been said since.
        let alone = |entry: &Entry| Entry { window_class: entry.class, last: None, ..*entry };
        let entries = stored.iter().chain(&self.overlay.kept().entries).filter(is_live).map(alone).collect();
        Ok(Changes { entries, waits: self.waiting.all().collect(), ..Changes::default() })
    }

    /// Learns where this partition's records went, and says what to commit for it: offset and metadata.
    pub fn offsets(&mut self, acks: &Acks) -> (i32, i64, String) {
        if let Some(offset) = acks.get(&(Out::Changelog, self.partition)) {
            self.position.changelog_next = offset + 1;
        }
        // While effects of a torn transaction lie ahead, the hints must keep pointing before them.
        if self.effects.places.keys().all(|effect| self.used.contains(effect)) && self.effects.seqs.is_empty() {
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
}

#[cfg(test)]
mod tests;
