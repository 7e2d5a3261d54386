//! Stores on disk: one RocksDB per partition directory, sharing one cache.
//!
//! A store is written seldom and in bulk: sorted table files are built beside it and ingested in one atomic step,
//! data, tallies and cursor together. That needs no write-ahead log and no memtable, and what is ingested is on the
//! disk. A store that fails once is not written again: its task closes it, and a takeover decides what it is still
//! worth. One that could not be read is worth nothing: whoever opens it next finds it broken, and wipes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, ErrorKind, IteratorMode, Options, ReadOptions,
};
use schemas::identity::Hash128;

use self::files::{FILTER_FILE, Workshop, Write};
use self::filling::Turn;
use self::index::Index;
use self::writer::{Order, Ordered, Writer, ingest};
use super::wait::{WaitChange, Waits};
use super::{Changes, Cursor, Entry, Last, ResourceHash, Seen, StateError, Store, Stores, keys};
use crate::books::Tallies;
use crate::varint::{Fields, Malformed};

/// Memory for blocks of all stores of a process. Indexes and filters of open files come on top: 1.5 bytes a key.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Bits per key of the filters: about one false positive in a hundred.
const FILTER_BITS: f64 = 10.0;
const BLOCK_BYTES: usize = 8 * 1024;
/// Each write adds about three files to level 0; reads seldom come that far, so many may lie there.
const LEVEL_0_FILES: i32 = 24;
/// Small files, so that a compaction leaves the buckets of other days alone.
const FILE_BYTES: u64 = 8 * 1024 * 1024;

/// The stores of one process. Clones share everything.
#[derive(Clone)]
pub struct RocksStores {
    directory: PathBuf,
    options: Arc<Options>,
    damaged: Damaged,
    turn: Turn,
    writer: Writer,
}

/// Partitions whose files turned out to be damaged: they are worth nothing when somebody opens them again.
type Damaged = Arc<Mutex<BTreeSet<i32>>>;

fn damaged(all: &Damaged) -> MutexGuard<'_, BTreeSet<i32>> {
    // A set that somebody panicked beside is still a set.
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for RocksStores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStores").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl RocksStores {
    /// Stores below a directory, one subdirectory per partition.
    pub fn new(directory: PathBuf) -> Self {
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_bloom_filter(FILTER_BITS, false);
        table.set_whole_key_filtering(true);
        table.set_optimize_filters_for_memory(true);
        // Else each look-up that misses in the cache reads and checks a whole filter again.
        table.set_cache_index_and_filter_blocks(false);
        table.set_format_version(6);
        table.set_block_size(BLOCK_BYTES);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_level_zero_file_num_compaction_trigger(LEVEL_0_FILES);
        options.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES * 3);
        options.set_level_zero_stop_writes_trigger(LEVEL_0_FILES * 4);
        options.set_target_file_size_base(FILE_BYTES);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_max_background_jobs(2);
        options.set_max_open_files(256);
        options.set_keep_log_file_num(2);
        Self {
            directory,
            options: Arc::new(options),
            damaged: Damaged::default(),
            turn: Turn::default(),
            writer: Writer::default(),
        }
    }

    fn path(&self, partition: i32) -> PathBuf {
        self.directory.join(partition.to_string())
    }
}

impl Stores for RocksStores {
    type Store = RocksStore;

    fn open(&mut self, partition: i32) -> Result<RocksStore, StateError> {
        let path = self.path(partition);
        if damaged(&self.damaged).contains(&partition) {
            let detail = "a part of it could not be read".to_owned();
            return Err(StateError::Broken { doing: "open", partition, detail });
        }
        let unmade = |error: std::io::Error| opening_failed(partition, error.to_string());
        std::fs::create_dir_all(&path).map_err(unmade)?;
        let db = DB::open(&self.options, &path).map_err(|error| open_error(partition, &error))?;
        let workshop = path.join(WORKSHOP);
        remove(&workshop).and_then(|()| std::fs::create_dir(&workshop)).map_err(unmade)?;
        let options = Arc::clone(&self.options);
        let buckets = BTreeMap::new();
        let damaged = Arc::clone(&self.damaged);
        let index = Index::new(self.turn.clone());
        let (db, writer) = (Arc::new(db), self.writer.clone());
        let mut store = RocksStore { partition, options, workshop, db, damaged, buckets, index, writer, ordered: None };
        if let Some(cursor) = store.cursor()? {
            store.index =
                Index::open(&store.db, self.turn.clone(), cursor.txn).map_err(|error| store.unread(&error))?;
            store.buckets = cursor.buckets;
        }
        Ok(store)
    }

    fn wipe(&mut self, partition: i32) -> Result<(), StateError> {
        remove(&self.path(partition)).map_err(|error| StateError::Broken {
            doing: "remove",
            partition,
            detail: error.to_string(),
        })?;
        damaged(&self.damaged).remove(&partition);
        Ok(())
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn open_error(partition: i32, error: &rocksdb::Error) -> StateError {
    let detail = error.to_string();
    // RocksDB reports a held LOCK file as an I/O error; only its words tell.
    if error.kind() == ErrorKind::IOError && detail.contains("LOCK") && detail.contains("lock hold") {
        return StateError::Locked { partition };
    }
    opening_failed(partition, detail)
}

/// What the machine lacks now says nothing about the files: they are not to be thrown away for it.
fn opening_failed(partition: i32, detail: String) -> StateError {
    let lacks = ["No space left on device", "Too many open files", "Disk quota exceeded", "Cannot allocate memory"];
    if lacks.iter().any(|words| detail.contains(words)) {
        return StateError::Unopened { partition, detail };
    }
    StateError::Broken { doing: "open", partition, detail }
}

/// Where files are built before they are ingested.
const WORKSHOP: &str = "ingest";

/// The store of one partition.
pub struct RocksStore {
    partition: i32,
    options: Arc<Options>,
    workshop: PathBuf,
    db: Arc<DB>,
    damaged: Damaged,
    buckets: BTreeMap<u8, (u32, u32)>,
    index: Index,
    writer: Writer,
    /// The write that is being done beside us.
    ordered: Option<Ordered>,
}

impl Drop for RocksStore {
    /// What is being written holds the store open.
    fn drop(&mut self) {
        if let Some(ordered) = self.ordered.take() {
            // What came of it, the next one to open it sees.
            drop(ordered.wait());
        }
    }
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl RocksStore {
    fn get<T>(&self, key: &[u8], decode: impl FnOnce(&[u8]) -> Result<T, Malformed>) -> Result<Option<T>, StateError> {
        let found = self.db.get_pinned(key).map_err(|error| self.unread(&error))?;
        match found {
            Some(value) => decode(&value).map(Some).map_err(|error| self.unread(&error)),
            None => Ok(None),
        }
    }

    /// Whether nothing is being done beside the work, as after a while without writes.
    pub fn is_quiet(&self) -> Result<bool, StateError> {
        let count = |name: &str| self.db.property_int_value(name).map_err(|error| self.unread(&error));
        let running = count("rocksdb.num-running-compactions")?.unwrap_or_default();
        let pending = count("rocksdb.compaction-pending")?.unwrap_or_default();
        Ok(running + pending == 0 && self.index.is_idle() && self.ordered.is_none())
    }

    /// Everything it holds, as bytes, but for the cursor and what follows from the rest. For whoever compares stores.
    pub fn contents(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StateError> {
        let mut contents = BTreeMap::new();
        for kind in [keys::TALLY, keys::SEEN, keys::LAST, keys::WAIT] {
            let pairs = self.collect([kind], [kind + 1], |key, value| Ok((key.to_vec(), value.to_vec())))?;
            contents.extend(pairs);
        }
        Ok(contents)
    }

    /// What is there cannot be read: its next owner must not trust it.
    fn unread(&self, error: &dyn std::fmt::Display) -> StateError {
        damaged(&self.damaged).insert(self.partition);
        StateError::Broken { doing: "read", partition: self.partition, detail: error.to_string() }
    }

    /// A disk may be full, and what is there is right all the same. One that is damaged is told by its words.
    fn unwritten(&self, error: &rocksdb::Error) -> StateError {
        if error.kind() == ErrorKind::Corruption {
            damaged(&self.damaged).insert(self.partition);
        }
        StateError::Broken { doing: "write", partition: self.partition, detail: error.to_string() }
    }

    /// Everything from one key up to, without, another.
    fn collect<T, const N: usize>(
        &self,
        from: [u8; N],
        to: [u8; N],
        mut decode: impl FnMut(&[u8], &[u8]) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, StateError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let mut all = Vec::new();
        for item in self.db.iterator_opt(IteratorMode::From(&from, Direction::Forward), options) {
            let (key, value) = item.map_err(|error| self.unread(&error))?;
            all.push(decode(&key, &value).map_err(|error| self.unread(&error))?);
        }
        Ok(all)
    }

    /// Buckets that are no longer in the cursor: by class, the first and the one after the last.
    fn expired(&self, cursor: &Cursor) -> Vec<(u8, u32, u32)> {
        let gone = self.buckets.iter().filter_map(|(class, (first, last))| {
            let end = match cursor.buckets.get(class) {
                Some((live, _)) => *live,
                None => last.saturating_add(1),
            };
            (*first < end).then_some((*class, *first, end))
        });
        gone.collect()
    }

    fn workshop(&self) -> Workshop<'_> {
        Workshop { folder: &self.workshop, options: &self.options }
    }

    /// Knows of what is about to be written.
    fn note(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.index.note(filter_key(&entry.hash.0));
            if let Some((resource, _)) = &entry.last {
                self.index.note(filter_key(resource));
            }
        }
    }

    fn wait_for_write(&mut self) -> Result<(), StateError> {
        match self.ordered.take() {
            Some(ordered) => self.concluded(ordered.wait()),
            None => Ok(()),
        }
    }

    /// What a write beside us came to.
    fn concluded(&mut self, outcome: Option<Result<(), rocksdb::Error>>) -> Result<(), StateError> {
        self.ordered = None;
        match outcome {
            Some(done) => done.map_err(|error| self.unwritten(&error)),
            None => {
                let detail = "the writing thread panicked".to_owned();
                Err(StateError::Broken { doing: "write", partition: self.partition, detail })
            }
        }
    }
}

impl Store for RocksStore {
    fn cursor(&self) -> Result<Option<Cursor>, StateError> {
        self.get(keys::CURSOR, keys::decode_cursor)
    }

    fn tallies(&self) -> Result<Tallies, StateError> {
        let mut tallies = Tallies::default();
        self.collect([keys::TALLY], [keys::TALLY + 1], |key, value| keys::decode_tally(key, value, &mut tallies))?;
        Ok(tallies)
    }

    fn waits(&self) -> Result<Vec<WaitChange>, StateError> {
        self.collect([keys::WAIT], [keys::WAIT + 1], |key, value| {
            let (slot, resource, src) = keys::decode_wait_key(key)?;
            Ok(WaitChange { slot, resource, src, now: Waits::decode(&mut Fields::new(value))? })
        })
    }

    fn marks(&self) -> Result<Vec<Entry>, StateError> {
        self.collect([keys::SEEN, keys::MARKS], [keys::SEEN, keys::MARKS + 1], |key, value| {
            let (slot, hash) = keys::decode_seen_key(key)?;
            let (class, window_class) = (keys::MARKS, keys::MARKS);
            Ok(Entry { class, window_class, slot, hash, seen: keys::decode_seen(value)?, last: None })
        })
    }

    fn seen(&self, class: u8, bucket: u32, slot: u16, hash: Hash128) -> Result<Option<Seen>, StateError> {
        if self.index.never_knew(filter_key(&hash.0)) {
            return Ok(None);
        }
        self.get(&keys::seen_key(class, bucket, slot, hash), keys::decode_seen)
    }

    fn last(&self, class: u8, bucket: u32, slot: u16, resource: ResourceHash) -> Result<Option<Last>, StateError> {
        if self.index.never_knew(filter_key(&resource)) {
            return Ok(None);
        }
        self.get(&keys::last_key(class, bucket, slot, resource), keys::decode_last)
    }

    fn apply(&mut self, changes: &Changes, cursor: &Cursor) -> Result<(), StateError> {
        self.wait_for_write()?;
        let (expired, removes_filter) = (self.expired(cursor), self.index.is_kept());
        let paths = Write { changes, cursor, expired, removes_filter }.build(self.workshop());
        let paths = paths.map_err(|error| self.unwritten(&error))?;
        self.note(&changes.entries);
        ingest(&self.db, paths).map_err(|error| self.unwritten(&error))?;
        self.index.removed();
        self.buckets.clone_from(&cursor.buckets);
        Ok(())
    }

    fn apply_beside(&mut self, changes: Changes, cursor: Cursor) -> Result<(), StateError> {
        self.wait_for_write()?;
        let (expired, removes_filter) = (self.expired(&cursor), self.index.is_kept());
        self.note(&changes.entries);
        self.index.removed();
        self.buckets.clone_from(&cursor.buckets);
        let (db, options, workshop) = (Arc::clone(&self.db), Arc::clone(&self.options), self.workshop.clone());
        let order = Order { db, options, workshop, changes, cursor, expired, removes_filter };
        self.ordered = Some(self.writer.order(order));
        Ok(())
    }

    fn is_written(&mut self, patience: Duration) -> Result<bool, StateError> {
        let Some(ordered) = &self.ordered else { return Ok(true) };
        match ordered.outcome(patience) {
            Some(outcome) => self.concluded(outcome).map(|()| true),
            None => Ok(false),
        }
    }

    fn index(&mut self) -> Result<(), StateError> {
        // A filter that began now might miss what is being written: it was noted already.
        if self.ordered.is_some() {
            return Ok(());
        }
        self.index.tend(&self.db).map_err(|error| self.unread(&error))
    }

    fn let_go(&mut self) -> Result<(), StateError> {
        self.wait_for_write()?;
        let (Some(filter), Some(cursor)) = (self.index.worth_keeping(), self.cursor()?) else { return Ok(()) };
        let written = self.workshop().file(FILTER_FILE, |file| index::write(filter, cursor.txn, file));
        written.and_then(|path| ingest(&self.db, vec![path])).map_err(|error| self.unwritten(&error))
    }
}

/// The bytes of a key behind its prefix, as the filter wants them.
fn filter_key(hash: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash) {
        *to = *from;
    }
    // A resource has twelve bytes: fold, so that the upper half is never poor.
    let key = u128::from_le_bytes(bytes);
    key ^ (key << 64)
}

mod files;
mod filling;
mod index;
mod writer;
#[cfg(test)]
mod tests;
