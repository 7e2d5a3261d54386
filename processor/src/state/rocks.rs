//! Stores on disk: one RocksDB per partition directory, sharing one cache and one write buffer budget.
//!
//! The write-ahead log is on and not synced: kill -9 loses nothing, a power cut loses a suffix, and because data
//! and cursor share every batch the cursor then says exactly what to replay. A store that fails once is not
//! written again: its task closes it, and a takeover decides what it is still worth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, ErrorKind, IteratorMode, Options, ReadOptions,
    WriteBatch, WriteBufferManager,
};
use schemas::identity::Hash128;

use super::{Changes, Cursor, Last, ResourceHash, Seen, StateError, Store, Stores, keys};
use crate::books::Tallies;
use crate::varint::Malformed;

/// Memory for blocks, filters and write buffers of all stores of a process.
const CACHE_BYTES: usize = 128 * 1024 * 1024;
/// Of it, at most this for write buffers.
const WRITE_BUFFERS_BYTES: usize = 64 * 1024 * 1024;
/// Write buffer of one store.
const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Bits per key of the filters: about one false positive in a hundred.
const FILTER_BITS: f64 = 10.0;

/// The stores of one process.
pub struct RocksStores {
    directory: PathBuf,
    options: Options,
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
        let buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(WRITE_BUFFERS_BYTES, false, cache.clone());
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_bloom_filter(FILTER_BITS, false);
        table.set_whole_key_filtering(true);
        table.set_optimize_filters_for_memory(true);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_format_version(6);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_manager(&buffers);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_max_background_jobs(2);
        options.set_max_open_files(256);
        options.set_keep_log_file_num(2);
        Self { directory, options }
    }

    fn path(&self, partition: i32) -> PathBuf {
        self.directory.join(partition.to_string())
    }
}

impl Stores for RocksStores {
    type Store = RocksStore;

    fn open(&mut self, partition: i32) -> Result<RocksStore, StateError> {
        let path = self.path(partition);
        let broken = |detail: String| StateError::Broken { doing: "open", partition, detail };
        std::fs::create_dir_all(&path).map_err(|error| broken(error.to_string()))?;
        let db = DB::open(&self.options, &path).map_err(|error| open_error(partition, &error))?;
        let mut store = RocksStore { partition, db, buckets: BTreeMap::new(), value: Vec::new() };
        if let Some(cursor) = store.cursor()? {
            store.buckets = cursor.buckets;
        }
        Ok(store)
    }

    fn wipe(&mut self, partition: i32) -> Result<(), StateError> {
        remove(&self.path(partition)).map_err(|error| StateError::Broken {
            doing: "remove",
            partition,
            detail: error.to_string(),
        })
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
    StateError::Broken { doing: "open", partition, detail }
}

/// The store of one partition.
pub struct RocksStore {
    partition: i32,
    db: DB,
    buckets: BTreeMap<u8, (u32, u32)>,
    value: Vec<u8>,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl RocksStore {
    fn get<T>(&self, key: &[u8], decode: impl FnOnce(&[u8]) -> Result<T, Malformed>) -> Result<Option<T>, StateError> {
        let found = self.db.get_pinned(key).map_err(|error| self.broken("read", &error))?;
        match found {
            Some(value) => decode(&value).map(Some).map_err(|error| self.broken("read", &error)),
            None => Ok(None),
        }
    }

    fn broken(&self, doing: &'static str, error: &dyn std::fmt::Display) -> StateError {
        StateError::Broken { doing, partition: self.partition, detail: error.to_string() }
    }

    /// Removes the keys of buckets that are no longer in the cursor.
    fn remove_expired(&self, cursor: &Cursor, batch: &mut WriteBatch) {
        for (class, (first, last)) in &self.buckets {
            let end = match cursor.buckets.get(class) {
                Some((live, _)) => *live,
                None => last.saturating_add(1),
            };
            if *first < end {
                for table in [keys::SEEN, keys::LAST] {
                    batch.delete_range(
                        keys::bucket_start(table, *class, *first),
                        keys::bucket_start(table, *class, end),
                    );
                }
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
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([keys::TALLY + 1]);
        let start = [keys::TALLY];
        for item in self.db.iterator_opt(IteratorMode::From(&start, Direction::Forward), options) {
            let (key, value) = item.map_err(|error| self.broken("read", &error))?;
            keys::decode_tally(&key, &value, &mut tallies).map_err(|error| self.broken("read", &error))?;
        }
        Ok(tallies)
    }

    fn seen(&self, class: u8, bucket: u32, slot: u16, hash: Hash128) -> Result<Option<Seen>, StateError> {
        self.get(&keys::seen_key(class, bucket, slot, hash), keys::decode_seen)
    }

    fn last(&self, class: u8, bucket: u32, slot: u16, resource: ResourceHash) -> Result<Option<Last>, StateError> {
        self.get(&keys::last_key(class, bucket, slot, resource), keys::decode_last)
    }

    fn apply(&mut self, changes: &Changes, cursor: &Cursor) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        self.remove_expired(cursor, &mut batch);
        for entry in &changes.entries {
            let bucket = keys::bucket_of(entry.class, entry.seen.first_seen);
            self.value.clear();
            keys::encode_seen(&entry.seen, &mut self.value);
            batch.put(keys::seen_key(entry.class, bucket, entry.slot, entry.hash), &self.value);
            if let Some((resource, occurred_at)) = entry.last {
                let last = Last { occurred_at, set_at: entry.seen.first_seen };
                batch.put(keys::last_key(entry.class, bucket, entry.slot, resource), keys::encode_last(&last));
            }
        }
        for (source, row) in &changes.tallies.0 {
            let mut key = vec![keys::TALLY];
            key.extend_from_slice(source.as_bytes());
            batch.put(key, keys::encode_tally(row));
        }
        batch.put(keys::CURSOR, keys::encode_cursor(cursor));
        self.db.write(batch).map_err(|error| self.broken("write", &error))?;
        self.buckets.clone_from(&cursor.buckets);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Place;
    use crate::state::{Entry, Status};

    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn entry(n: u8, first_seen: i64) -> Entry {
        Entry {
            class: keys::class_of(4 * DAY),
            slot: u16::from(n),
            hash: Hash128([n; 16]),
            seen: Seen { first_seen, check: 1, status: Status::Done },
            last: Some(([n; 12], first_seen - 5)),
        }
    }

    fn apply(store: &mut RocksStore, entries: Vec<Entry>, cursor: &mut Cursor, stream_time: i64) {
        cursor.stream_time = stream_time;
        cursor.cover(&entries);
        cursor.expire();
        let mut tallies = Tallies::default();
        tallies.set("s", Place::Clean, 7);
        let changes = Changes { entries, tallies, ..Changes::default() };
        store.apply(&changes, cursor).expect("a healthy disk");
    }

    #[test]
    fn what_was_applied_is_there_after_reopening_and_expired_buckets_are_gone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut stores = RocksStores::new(directory.path().to_owned());
        let start = 1_700_000_000_000;
        let mut cursor = Cursor { txn: 3, ..Cursor::default() };
        let old = entry(1, start);
        let young = entry(2, start + 3 * DAY);
        let mut store = stores.open(0).expect("a new store");
        assert_eq!(store.cursor().expect("readable"), None);
        apply(&mut store, vec![old], &mut cursor, start);
        apply(&mut store, vec![young], &mut cursor, start + 3 * DAY);
        drop(store);

        let mut store = stores.open(0).expect("the same store");
        assert_eq!(store.cursor().expect("readable"), Some(cursor.clone()));
        assert_eq!(store.tallies().expect("readable").get("s", Place::Clean), 7);
        let bucket = |entry: &Entry| keys::bucket_of(entry.class, entry.seen.first_seen);
        let seen = |store: &RocksStore, entry: &Entry| {
            store.seen(entry.class, bucket(entry), entry.slot, entry.hash).expect("readable")
        };
        assert_eq!(seen(&store, &old), Some(old.seen));
        apply(&mut store, vec![], &mut cursor, start + 6 * DAY);
        assert_eq!(seen(&store, &old), None, "its bucket left the window");
        assert_eq!(seen(&store, &young), Some(young.seen));
        let last = store.last(young.class, bucket(&young), young.slot, [2; 12]).expect("readable");
        assert_eq!(last.map(|last| last.occurred_at), Some(young.seen.first_seen - 5));
    }

    #[test]
    fn a_second_owner_of_the_directory_is_told_so() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut stores = RocksStores::new(directory.path().to_owned());
        let _held = stores.open(0).expect("a new store");
        assert!(matches!(stores.open(0), Err(StateError::Locked { partition: 0 })));
    }

    #[test]
    fn a_wiped_store_is_new_and_wiping_twice_is_fine() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut stores = RocksStores::new(directory.path().to_owned());
        let mut cursor = Cursor::default();
        let mut store = stores.open(4).expect("a new store");
        apply(&mut store, vec![entry(1, 5 * DAY)], &mut cursor, 5 * DAY);
        drop(store);
        stores.wipe(4).expect("a healthy disk");
        stores.wipe(4).expect("a healthy disk");
        assert_eq!(stores.open(4).expect("a new store").cursor().expect("readable"), None);
    }
}
