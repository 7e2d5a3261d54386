//! Stores in memory that survive a process, as a disk does: a journal of atomic writes, of which a power cut may lose
//! the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use processor::books::Tallies;
use processor::state::wait::WaitChange;
use processor::state::{Changes, Cursor, Entry, Last, ResourceHash, Seen, StateError, Store, Stores, keys};
use schemas::identity::{self, Hash128};
use schemas::{VerifiedEvent, partition};
use weir_tests::history::{Input, Known};

use crate::controls::Control;
use crate::plan::{Mishap, Plan};
use crate::world::World;

/// What is on one disk.
pub type Disk = Rc<RefCell<Files>>;

/// The stores on a disk, and which are held open.
#[derive(Default)]
pub struct Files {
    contents: BTreeMap<i32, Content>,
    open: BTreeSet<i32>,
}

/// What is in one store, and the writes that made it.
#[derive(Default, Clone)]
pub struct Content {
    pub cursor: Option<Cursor>,
    pub tallies: Tallies,
    seen: BTreeMap<[u8; 24], Seen>,
    last: BTreeMap<[u8; 20], Last>,
    waits: BTreeMap<[u8; 23], WaitChange>,
    journal: Vec<(Changes, Cursor)>,
}

impl Content {
    fn put(&mut self, entries: &[Entry]) {
        for entry in entries {
            let bucket = keys::bucket_of(entry.class, entry.seen.first_seen);
            self.seen.insert(keys::seen_key(entry.class, bucket, entry.slot, entry.hash), entry.seen);
            if let Some((resource, occurred_at)) = entry.last {
                let bucket = keys::bucket_of(entry.window_class, entry.seen.first_seen);
                let last = Last { occurred_at, set_at: entry.seen.first_seen };
                self.last.insert(keys::last_key(entry.window_class, bucket, entry.slot, resource), last);
            }
        }
    }

    fn write(&mut self, changes: &Changes, cursor: &Cursor) {
        self.put(&changes.entries);
        for change in &changes.waits {
            let key = keys::wait_key(change.slot, change.resource, change.src);
            match change.now {
                Some(_) => drop(self.waits.insert(key, change.clone())),
                None => drop(self.waits.remove(&key)),
            }
        }
        self.tallies.overwrite(&changes.tallies);
        self.cursor = Some(cursor.clone());
        self.journal.push((changes.clone(), cursor.clone()));
    }

    /// What the store knows, in the form of the model.
    pub fn known(&self) -> Known {
        let mut known = Known { now: self.cursor.as_ref().map_or(0, |cursor| cursor.stream_time), ..Known::default() };
        // Of several classes the newest counts, and of two of one time the mark, which is the last class.
        for (key, seen) in &self.seen {
            let known = known.seen.entry(Hash128(*key.last_chunk().expect("keys end with the hash"))).or_insert(*seen);
            *known = if known.first_seen <= seen.first_seen { *seen } else { *known };
        }
        for (key, last) in &self.last {
            let known = known.last.entry(*key.last_chunk().expect("keys end with the resource")).or_insert(*last);
            *known = if known.set_at <= last.set_at { *last } else { *known };
        }
        known.live()
    }
}

impl Files {
    /// The store of a partition.
    pub fn content(&self, partition: i32) -> Option<&Content> {
        self.contents.get(&partition)
    }

    /// A power cut: each store keeps some beginning of what was written.
    pub fn lose_tails(&mut self, plan: &mut Plan) {
        for content in self.contents.values_mut() {
            let kept = plan.below(content.journal.len() + 1);
            let journal = std::mem::take(&mut content.journal);
            *content = Content::default();
            for (changes, cursor) in &journal[..kept] {
                content.write(changes, cursor);
            }
        }
    }

    /// A new disk.
    pub fn clear(&mut self) {
        self.contents.clear();
    }

    /// The disk of another cluster, in which everything that is still to come was seen already.
    pub fn become_foreign(&mut self, input: &Input) {
        for (partition, log) in input {
            let mut content = Content::default();
            let mut entries = Vec::new();
            for record in log {
                let Ok(event) = VerifiedEvent::decode(&record.value) else { continue };
                let seen = Seen { first_seen: record.timestamp, check: 0, status: processor::state::Status::Done };
                let hash = identity::event_hash(event.source, event.identity);
                let (class, slot) = (keys::class_of(event.window_ms), partition::slot(&record.key));
                entries.push(Entry { class, window_class: class, slot, hash, seen, last: None });
            }
            let mut cursor = Cursor { lineage: u64::MAX, txn: 1, changelog_next: 1, ..Cursor::default() };
            cursor.cover(&entries);
            content.write(&Changes { entries, ..Changes::default() }, &cursor);
            self.contents.insert(*partition, content);
        }
    }

    /// A control: what an open transaction decided is written at once.
    pub fn write_early(&mut self, partition: i32, entries: &[Entry]) {
        self.contents.entry(partition).or_default().put(entries);
    }
}

/// The stores of one process.
pub struct MemoryStores {
    world: Rc<World>,
    me: usize,
    disk: Disk,
}

impl MemoryStores {
    /// On a disk.
    pub fn new(world: &Rc<World>, me: usize, disk: &Disk) -> Self {
        Self { world: Rc::clone(world), me, disk: Rc::clone(disk) }
    }
}

/// An open store.
pub struct MemoryStore {
    world: Rc<World>,
    me: usize,
    disk: Disk,
    partition: i32,
    /// Controls: what is in memory and not on the disk.
    unwritten: RefCell<Content>,
    /// What is being written, and whether somebody has asked for it before.
    beside: Option<(Changes, Cursor, bool)>,
}

impl Stores for MemoryStores {
    type Store = MemoryStore;

    fn open(&mut self, partition: i32) -> Result<MemoryStore, StateError> {
        self.world.point(self.me, "open").map_err(|fault| broken(partition, fault.to_string()))?;
        let mut files = self.disk.borrow_mut();
        if !files.open.insert(partition) {
            return Err(StateError::Locked { partition });
        }
        files.contents.entry(partition).or_default();
        let (world, disk) = (Rc::clone(&self.world), Rc::clone(&self.disk));
        Ok(MemoryStore { world, me: self.me, disk, partition, unwritten: RefCell::default(), beside: None })
    }

    fn wipe(&mut self, partition: i32) -> Result<(), StateError> {
        let mut files = self.disk.borrow_mut();
        assert!(!files.open.contains(&partition), "an open store is removed");
        files.contents.remove(&partition);
        Ok(())
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.disk.borrow_mut().open.remove(&self.partition);
    }
}

impl MemoryStore {
    fn with<T>(&self, read: impl Fn(&Content) -> Option<T>) -> Result<Option<T>, StateError> {
        if self.world.strikes(Mishap::Disk) {
            return Err(broken(self.partition, "by plan".to_owned()));
        }
        let files = self.disk.borrow();
        let content = files.content(self.partition).expect("an open store exists");
        Ok(read(&self.unwritten.borrow()).or_else(|| read(content)))
    }
}

fn broken(partition: i32, detail: String) -> StateError {
    StateError::Broken { doing: "use", partition, detail }
}

impl Store for MemoryStore {
    fn cursor(&self) -> Result<Option<Cursor>, StateError> {
        let cursor = self.with(|content| content.cursor.clone())?;
        let lineage = self.world.lineages.borrow().get(&self.partition).copied();
        Ok(cursor.map(|cursor| match (self.world.control, lineage) {
            (Control::TrustAnyDisk, Some(lineage)) => Cursor { lineage, ..cursor },
            _ => cursor,
        }))
    }

    fn tallies(&self) -> Result<Tallies, StateError> {
        Ok(self.with(|content| content.cursor.as_ref().map(|_| content.tallies.clone()))?.unwrap_or_default())
    }

    fn waits(&self) -> Result<Vec<WaitChange>, StateError> {
        let waits = self.with(|content| (!content.waits.is_empty()).then(|| content.waits.clone()))?;
        Ok(waits.unwrap_or_default().into_values().collect())
    }

    fn marks(&self) -> Result<Vec<Entry>, StateError> {
        let mark = |(key, seen): (&[u8; 24], &Seen)| Entry {
            class: keys::MARKS,
            window_class: keys::MARKS,
            slot: u16::from_be_bytes([key[6], key[7]]),
            hash: Hash128(*key.last_chunk().expect("keys end with the hash")),
            seen: *seen,
            last: None,
        };
        let marks = self.with(|content| {
            Some(content.seen.iter().filter(|(key, _)| key[1] == keys::MARKS).map(mark).collect::<Vec<_>>())
        })?;
        Ok(marks.unwrap_or_default())
    }

    fn seen(&self, class: u8, bucket: u32, slot: u16, hash: Hash128) -> Result<Option<Seen>, StateError> {
        let key = keys::seen_key(class, bucket, slot, hash);
        self.with(|content| content.seen.get(&key).copied())
    }

    fn last(&self, class: u8, bucket: u32, slot: u16, resource: ResourceHash) -> Result<Option<Last>, StateError> {
        let key = keys::last_key(class, bucket, slot, resource);
        self.with(|content| content.last.get(&key).copied())
    }

    fn apply_beside(&mut self, changes: Changes, cursor: Cursor) -> Result<(), StateError> {
        assert!(self.beside.is_none(), "one write at a time");
        self.beside = Some((changes, cursor, false));
        Ok(())
    }

    /// Never there when it is asked for first.
    fn is_written(&mut self, _: Duration) -> Result<bool, StateError> {
        match self.beside.take() {
            Some((changes, cursor, true)) => self.apply(&changes, &cursor).map(|()| true),
            Some((changes, cursor, false)) => {
                self.beside = Some((changes, cursor, true));
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn apply(&mut self, changes: &Changes, cursor: &Cursor) -> Result<(), StateError> {
        assert!(self.beside.is_none(), "one write at a time");
        self.world.point(self.me, "apply").map_err(|fault| broken(self.partition, fault.to_string()))?;
        {
            let mut files = self.disk.borrow_mut();
            let content = files.contents.get_mut(&self.partition).expect("an open store exists");
            let mut written = changes.clone();
            match self.world.control {
                Control::DedupInMemory => {
                    self.unwritten.borrow_mut().put(&changes.entries);
                    written.entries.clear();
                }
                // The entries of one write reach the disk with the next one.
                Control::CursorBeforeData => {
                    let mut unwritten = self.unwritten.borrow_mut();
                    unwritten.put(&changes.entries);
                    unwritten.journal.push((changes.clone(), cursor.clone()));
                    written.entries.clear();
                    if unwritten.journal.len() > 1 {
                        written.entries = unwritten.journal.remove(0).0.entries;
                    }
                }
                _ => {}
            }
            content.write(&written, cursor);
        }
        self.world.point(self.me, "applied").map_err(|fault| broken(self.partition, fault.to_string()))
    }
}
