//! What is decided and not yet in the store: the open transaction's changes, and those of committed ones that wait
//! to be written in bulk. And the view of state through all of it.
//!
//! The changelog has every committed change, so a crash loses nothing that waits here: a takeover reads it again.
//! A store that is written seldom, sorted and in bulk costs a tenth of one that is written with every transaction.

use hashbrown::hash_table::{Entry as Slot, HashTable};
use schemas::identity::Hash128;

use super::keys;
use super::{Changes, Cursor, Entry, Known, Last, ResourceHash, StateError, Store};

/// Last snapshots a partition caches, at least; at most twice as many and those that wait.
const CACHED: usize = 32 * 1024;

/// Changes that are not in the store, and how to find them.
#[derive(Debug, Default)]
pub struct Overlay {
    /// What the open transaction changes.
    pub open: Changes,
    /// What committed transactions changed.
    kept: Changes,
    /// When the oldest of it was kept.
    kept_since: Option<i64>,
    /// Newest entry of each event, by its number in `kept` and then `open`.
    seen: HashTable<u32>,
    /// Last snapshots that may not be in the store yet, and then a cache of those that are: resources come again.
    last: HashTable<(ResourceHash, Last)>,
    /// An older part of that cache.
    former: HashTable<(ResourceHash, Last)>,
}

impl Overlay {
    /// An overlay over a store that lacks some committed changes.
    pub fn new(kept: Changes, now_ms: i64) -> Self {
        let Changes { entries, tallies, source_classes, waits } = kept;
        let mut overlay = Self::default();
        for entry in entries {
            overlay.push(entry);
        }
        overlay.open.tallies = tallies;
        overlay.open.source_classes = source_classes;
        overlay.open.waits = waits;
        overlay.keep(now_ms);
        overlay
    }

    /// Stages one event's change.
    pub fn push(&mut self, entry: Entry) {
        let Self { open, kept, seen, last, .. } = self;
        // Far fewer are ever kept: a batch holds at most 32 bits' worth of records.
        let at = (kept.entries.len() + open.entries.len()) as u32;
        open.entries.push(entry);
        let entries = Entries { kept: &kept.entries, open: &open.entries };
        let same = |other: &u32| entries.get(*other).is_some_and(|other| other.hash == entry.hash);
        match seen.entry(short(&entry.hash.0), same, |at| entries.get(*at).map_or(0, |entry| short(&entry.hash.0))) {
            Slot::Occupied(mut slot) => *slot.get_mut() = at,
            Slot::Vacant(slot) => drop(slot.insert(at)),
        }
        let Some((resource, occurred_at)) = entry.last else { return };
        let new = (resource, Last { occurred_at, set_at: entry.seen.first_seen });
        match last.entry(short(&resource), |(of, _)| *of == resource, |(resource, _)| short(resource)) {
            Slot::Occupied(mut slot) => *slot.get_mut() = new,
            Slot::Vacant(slot) => drop(slot.insert(new)),
        }
    }

    /// The open transaction is committed: what it changed waits for the store now.
    pub fn keep(&mut self, now_ms: i64) {
        let Self { open, kept, .. } = self;
        // Every transaction that touched the partition has tallies.
        if open.tallies.0.is_empty() {
            return;
        }
        self.kept_since.get_or_insert(now_ms);
        kept.entries.append(&mut open.entries);
        kept.tallies.overwrite(&open.tallies);
        kept.source_classes.append(&mut open.source_classes);
        kept.waits.append(&mut open.waits);
        open.tallies.0.clear();
    }

    /// What waits for the store.
    pub fn kept(&self) -> &Changes {
        &self.kept
    }

    /// Since when something waits, if anything does.
    pub fn kept_since(&self) -> Option<i64> {
        self.kept_since
    }

    /// The store has everything that was kept. Only between transactions.
    pub fn written(&mut self) {
        debug_assert!(self.open.entries.is_empty(), "the numbers of open entries would move");
        let Self { kept, last, former, .. } = self;
        if last.len() > CACHED {
            former.clear();
            std::mem::swap(last, former);
        }
        self.seen.clear();
        kept.entries.clear();
        kept.tallies.0.clear();
        kept.source_classes.clear();
        kept.waits.clear();
        self.kept_since = None;
    }

    fn entries(&self) -> Entries<'_> {
        Entries { kept: &self.kept.entries, open: &self.open.entries }
    }

    fn seen(&self, hash: Hash128) -> Option<&Entry> {
        let entries = self.entries();
        let at = self.seen.find(short(&hash.0), |at| entries.get(*at).is_some_and(|entry| entry.hash == hash))?;
        entries.get(*at)
    }

    fn last(&self, resource: ResourceHash) -> Option<Last> {
        let find = |table: &HashTable<(ResourceHash, Last)>| {
            table.find(short(&resource), |(of, _)| *of == resource).map(|(_, last)| *last)
        };
        find(&self.last).or_else(|| find(&self.former))
    }
}

/// Kept entries and then open ones, under one numbering.
#[derive(Clone, Copy)]
struct Entries<'a> {
    kept: &'a [Entry],
    open: &'a [Entry],
}

impl<'a> Entries<'a> {
    fn get(self, at: u32) -> Option<&'a Entry> {
        let at = at as usize;
        self.kept.get(at).or_else(|| self.open.get(at - self.kept.len()))
    }
}

/// The keys are hashes already: their first eight bytes are as good as any.
fn short(hash: &[u8]) -> u64 {
    hash.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

/// State as the next decision sees it: the overlay before the store, buckets from the newest to the oldest.
#[derive(Debug)]
pub struct Reader<'a, S> {
    /// What is not in the store yet.
    pub overlay: &'a Overlay,
    /// What is in the store.
    pub store: &'a S,
    /// Which of its buckets hold anything.
    pub cursor: &'a Cursor,
}

impl<S: Store> Reader<'_, S> {
    /// What is known of an event of a source whose window is of `class`, at a stream time: the newest that any class
    /// knows, and of two of one time the mark.
    pub fn seen(
        &self,
        source: &str,
        class: u8,
        slot: u16,
        hash: Hash128,
        stream_time: i64,
    ) -> Result<Option<Known>, StateError> {
        // A long batch may outlive a class: then it is forgotten here as it would be in the store, or the decision
        // would hang on where the batch began.
        if let Some(Entry { class, seen, .. }) = self.overlay.seen(hash) {
            let is_live = keys::bucket_of(*class, seen.first_seen) >= keys::first_live_bucket(*class, stream_time);
            return Ok(is_live.then_some(Known { class: *class, seen: *seen }));
        }
        let mut newest: Option<Known> = None;
        for class in self.classes(source, class) {
            for bucket in self.buckets(class, stream_time) {
                if let Some(seen) = self.store.seen(class, bucket, slot, hash)? {
                    if newest.is_none_or(|known| known.seen.first_seen <= seen.first_seen) {
                        newest = Some(Known { class, seen });
                    }
                    break;
                }
            }
        }
        Ok(newest)
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
            self.cover_one(entry.class, entry.seen.first_seen);
            if entry.last.is_some() && entry.window_class != entry.class {
                self.cover_one(entry.window_class, entry.seen.first_seen);
            }
        }
    }

    fn cover_one(&mut self, class: u8, time: i64) {
        let bucket = keys::bucket_of(class, time);
        let range = self.buckets.entry(class).or_insert((bucket, bucket));
        range.0 = range.0.min(bucket);
        range.1 = range.1.max(bucket);
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

    /// Drops the buckets that every window of their class has left. Their keys go with the next write of the store.
    pub fn expire(&mut self) {
        let stream_time = self.stream_time;
        self.buckets.retain(|class, (first, last)| {
            *first = keys::first_live_bucket(*class, stream_time).max(*first);
            *first <= *last
        });
    }
}
