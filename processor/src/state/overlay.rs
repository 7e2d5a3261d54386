//! What the open transaction has decided so far, in memory only, and the view of state through it.
//!
//! Nothing here reaches a store before the commit is known. A copy inside the same batch is found here.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use schemas::identity::Hash128;

use super::keys;
use super::{Changes, Cursor, Entry, Last, ResourceHash, Seen, StateError, Store};

/// The staged entries of one transaction and how to find them.
#[derive(Debug, Default)]
pub struct Overlay {
    /// What the transaction will change.
    pub changes: Changes,
    seen: HashMap<Hash128, usize, BuildHasherDefault<TakeBytes>>,
    last: HashMap<ResourceHash, usize, BuildHasherDefault<TakeBytes>>,
}

impl Overlay {
    /// Stages one event's change.
    pub fn push(&mut self, entry: Entry) {
        let at = self.changes.entries.len();
        self.seen.insert(entry.hash, at);
        if let Some((resource, _)) = entry.last {
            self.last.insert(resource, at);
        }
        self.changes.entries.push(entry);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.changes.entries.clear();
        self.changes.tallies.0.clear();
        self.changes.source_classes.clear();
        self.seen.clear();
        self.last.clear();
    }

    /// Whether nothing was staged.
    pub fn is_empty(&self) -> bool {
        self.changes.entries.is_empty() && self.changes.tallies.0.is_empty()
    }

    fn seen(&self, hash: Hash128) -> Option<&Entry> {
        self.seen.get(&hash).and_then(|at| self.changes.entries.get(*at))
    }

    fn last(&self, resource: ResourceHash) -> Option<Last> {
        let entry = self.last.get(&resource).and_then(|at| self.changes.entries.get(*at))?;
        let (_, occurred_at) = entry.last?;
        Some(Last { occurred_at, set_at: entry.seen.first_seen })
    }
}

/// State as the next decision sees it: the overlay before the store, buckets from the newest to the oldest.
#[derive(Debug)]
pub struct Reader<'a, S> {
    /// What the transaction staged.
    pub overlay: &'a Overlay,
    /// What is committed.
    pub store: &'a S,
    /// How far the committed state goes, with the buckets that hold anything.
    pub cursor: &'a Cursor,
}

impl<S: Store> Reader<'_, S> {
    /// What is known of an event of a source whose window is of `class`, at a stream time.
    pub fn seen(
        &self,
        source: &str,
        class: u8,
        slot: u16,
        hash: Hash128,
        stream_time: i64,
    ) -> Result<Option<Seen>, StateError> {
        // A long batch may outlive a class: then it is forgotten here as it would be in the store, or the decision
        // would hang on where the batch began.
        if let Some(Entry { class, seen, .. }) = self.overlay.seen(hash) {
            let is_live = keys::bucket_of(*class, seen.first_seen) >= keys::first_live_bucket(*class, stream_time);
            return Ok(is_live.then_some(*seen));
        }
        for class in self.classes(source, class) {
            for bucket in self.buckets(class, stream_time) {
                if let Some(seen) = self.store.seen(class, bucket, slot, hash)? {
                    return Ok(Some(seen));
                }
            }
        }
        Ok(None)
    }

    /// The last snapshot known of a resource.
    pub fn last(
        &self,
        source: &str,
        class: u8,
        slot: u16,
        resource: ResourceHash,
        stream_time: i64,
    ) -> Result<Option<Last>, StateError> {
        if let Some(last) = self.overlay.last(resource) {
            return Ok(Some(last));
        }
        let mut newest: Option<Last> = None;
        for class in self.classes(source, class) {
            for bucket in self.buckets(class, stream_time) {
                if let Some(last) = self.store.last(class, bucket, slot, resource)? {
                    if newest.is_none_or(|known| known.set_at < last.set_at) {
                        newest = Some(last);
                    }
                    break;
                }
            }
        }
        Ok(newest)
    }

    /// The classes in which this source may have written: a window that was changed left entries in others.
    fn classes(&self, source: &str, class: u8) -> impl Iterator<Item = u8> + use<S> {
        let written = self.cursor.source_classes.get(source).copied().unwrap_or_default();
        let mask = written | (1 << class);
        (0..keys::CLASSES.len() as u8).filter(move |class| mask & (1 << class) != 0)
    }

    fn buckets(&self, class: u8, stream_time: i64) -> impl Iterator<Item = u32> + use<S> {
        let live = keys::first_live_bucket(class, stream_time);
        let (first, last) = self.cursor.buckets.get(&class).copied().unwrap_or((1, 0));
        (first.max(live)..=last).rev()
    }
}

impl Cursor {
    /// Accounts for entries that are about to be written: which classes and buckets hold something afterwards.
    pub fn cover(&mut self, entries: &[Entry]) {
        for entry in entries {
            let bucket = keys::bucket_of(entry.class, entry.seen.first_seen);
            let range = self.buckets.entry(entry.class).or_insert((bucket, bucket));
            range.0 = range.0.min(bucket);
            range.1 = range.1.max(bucket);
        }
    }

    /// Accounts for a source writing in a class.
    pub fn note_source(&mut self, source: &str, class: u8) {
        match self.source_classes.get_mut(source) {
            Some(mask) => *mask |= 1 << class,
            None => {
                self.source_classes.insert(source.to_owned(), 1 << class);
            }
        }
    }

    /// Drops the buckets that every window of their class has left; the caller removes their keys.
    pub fn expire(&mut self) -> Vec<(u8, u32, u32)> {
        let mut gone = Vec::new();
        let stream_time = self.stream_time;
        self.buckets.retain(|class, (first, last)| {
            let live = keys::first_live_bucket(*class, stream_time);
            if *first < live {
                gone.push((*class, *first, live.min(last.saturating_add(1))));
                *first = live;
            }
            *first <= *last
        });
        gone
    }
}

/// A hasher for keys that are hashes already: takes their first eight bytes.
#[derive(Debug, Default)]
pub struct TakeBytes(u64);

impl Hasher for TakeBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}
