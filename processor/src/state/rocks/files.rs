//! The files of one write: sorted tables, built beside the store, each with a range of keys of its own. One of another
//! class, or of the cursor, would make compactions rewrite everything in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use rocksdb::{Options, SstFileWriter};

use super::index;
use crate::state::wait::WaitChange;
use crate::state::{Changes, Cursor, Entry, Last, keys};

/// What the file of a filter is called.
pub(super) const FILTER_FILE: &str = "filter.sst";
/// Entries from which on the two tables are built side by side.
const WORTH_A_THREAD: usize = 4096;

/// Where files are built, and as what.
#[derive(Clone, Copy)]
pub(super) struct Workshop<'a> {
    pub(super) folder: &'a Path,
    pub(super) options: &'a Options,
}

impl Workshop<'_> {
    /// Builds one file.
    pub(super) fn file(
        self,
        name: &str,
        fill: impl FnOnce(&mut SstFileWriter<'_>) -> Result<(), rocksdb::Error>,
    ) -> Result<PathBuf, rocksdb::Error> {
        let path = self.folder.join(name);
        let mut file = SstFileWriter::create(self.options);
        file.open(&path)?;
        fill(&mut file)?;
        file.finish()?;
        Ok(path)
    }
}

/// One write.
pub(super) struct Write<'a> {
    pub(super) changes: &'a Changes,
    pub(super) cursor: &'a Cursor,
    /// Buckets that go: by class, the first and the one after the last.
    pub(super) expired: Vec<(u8, u32, u32)>,
    /// Whether a filter lies in the store that would know too little afterwards.
    pub(super) removes_filter: bool,
}

impl Write<'_> {
    /// Builds its files.
    pub(super) fn build(&self, workshop: Workshop<'_>) -> Result<Vec<PathBuf>, rocksdb::Error> {
        let mut paths = vec![workshop.file("cursor.sst", |file| self.put_cursor(file))?];
        if self.removes_filter {
            paths.push(workshop.file(FILTER_FILE, index::remove)?);
        }
        if !self.changes.waits.is_empty() {
            paths.push(workshop.file("waits.sst", |file| self.put_waits(file))?);
        }
        let seen = || self.table(keys::SEEN, self.seen_rows(), workshop);
        let last = || self.table(keys::LAST, self.last_rows(), workshop);
        let (seen, last) = if self.changes.entries.len() < WORTH_A_THREAD {
            (seen(), last())
        } else {
            thread::scope(|scope| {
                let last = scope.spawn(last);
                (seen(), last.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        };
        paths.extend(seen?);
        paths.extend(last?);
        Ok(paths)
    }

    fn put_cursor(&self, file: &mut SstFileWriter<'_>) -> Result<(), rocksdb::Error> {
        for (source, row) in &self.changes.tallies.0 {
            let mut key = vec![keys::TALLY];
            key.extend_from_slice(source.as_bytes());
            file.put(key, keys::encode_tally(row))?;
        }
        file.put(keys::CURSOR, keys::encode_cursor(self.cursor))
    }

    fn put_waits(&self, file: &mut SstFileWriter<'_>) -> Result<(), rocksdb::Error> {
        let key_of = |change: &WaitChange| keys::wait_key(change.slot, change.resource, change.src);
        let newest: BTreeMap<[u8; 23], &WaitChange> =
            self.changes.waits.iter().map(|change| (key_of(change), change)).collect();
        for (key, change) in newest {
            match &change.now {
                Some(waits) => {
                    let mut value = Vec::new();
                    waits.encode(&mut value);
                    file.put(key, value)?;
                }
                None => file.delete(key)?,
            }
        }
        Ok(())
    }

    /// What waited until its bucket was over is not written: nobody would remove it.
    fn is_live(&self, class: u8, entry: &Entry) -> bool {
        let bucket = keys::bucket_of(class, entry.seen.first_seen);
        self.cursor.buckets.get(&class).is_some_and(|(first, _)| *first <= bucket)
    }

    fn seen_rows(&self) -> Vec<Row> {
        let live = (0..).zip(&self.changes.entries).filter(|(_, entry)| self.is_live(entry.class, entry));
        let mut value = Vec::new();
        let row = |(at, entry): (u32, &Entry)| {
            let bucket = keys::bucket_of(entry.class, entry.seen.first_seen);
            let key = keys::seen_key(entry.class, bucket, entry.slot, entry.hash);
            value.clear();
            keys::encode_seen(&entry.seen, &mut value);
            Row::new(&key, at, &value)
        };
        live.map(row).collect()
    }

    fn last_rows(&self) -> Vec<Row> {
        let live = (0..).zip(&self.changes.entries).filter(|(_, entry)| self.is_live(entry.window_class, entry));
        let row = |(at, entry): (u32, &Entry)| {
            let (resource, occurred_at) = entry.last?;
            let bucket = keys::bucket_of(entry.window_class, entry.seen.first_seen);
            let key = keys::last_key(entry.window_class, bucket, entry.slot, resource);
            Some(Row::new(&key, at, &keys::encode_last(&Last { occurred_at, set_at: entry.seen.first_seen })))
        };
        live.filter_map(row).collect()
    }

    /// A file for each class that has something to write or to remove; of each key its newest value.
    fn table(&self, table: u8, mut rows: Vec<Row>, workshop: Workshop<'_>) -> Result<Vec<PathBuf>, rocksdb::Error> {
        rows.sort_unstable_by_key(|row| (row.key, row.at));
        let mut paths = Vec::new();
        let mut rest = rows.as_slice();
        for class in 0..keys::CLASSES.len() as u8 {
            let (mine, others) = rest.split_at(rest.partition_point(|row| row.class() <= class));
            rest = others;
            let gone = self.expired.iter().filter(|(of, ..)| *of == class);
            if mine.is_empty() && gone.clone().next().is_none() {
                continue;
            }
            let fill = |file: &mut SstFileWriter<'_>| {
                for (class, first, end) in gone {
                    let bucket = |bucket: &u32| keys::bucket_start(table, *class, *bucket);
                    file.delete_range(bucket(first), bucket(end))?;
                }
                for (at, row) in mine.iter().enumerate() {
                    // A later change of the same key wins.
                    if mine.get(at + 1).is_none_or(|next| next.key != row.key) {
                        self.put(row, table, file)?;
                    }
                }
                Ok(())
            };
            paths.push(workshop.file(&format!("{table}-{class}.sst"), fill)?);
        }
        Ok(paths)
    }

    fn put(&self, row: &Row, table: u8, file: &mut SstFileWriter<'_>) -> Result<(), rocksdb::Error> {
        let key = row.key_bytes();
        let key = key.get(..if table == keys::LAST { keys::LAST_BYTES } else { keys::SEEN_BYTES }).unwrap_or(&key);
        if let Some(value) = row.value() {
            return file.put(key, value);
        }
        let Some(entry) = self.changes.entries.get(row.at as usize) else { return Ok(()) };
        let mut value = Vec::new();
        keys::encode_seen(&entry.seen, &mut value);
        file.put(key, value)
    }
}

/// A key and its value while they are sorted. Numbers compare faster than bytes, and a value that lies beside its key
/// spares a look at an entry that is far away.
#[derive(Clone, Copy)]
struct Row {
    /// Zeros behind a shorter key.
    key: [u64; 3],
    at: u32,
    value_bytes: u8,
    value: [u8; VALUE_BYTES],
}

/// Longer than any value but that of a dead letter, or of an event that waits.
const VALUE_BYTES: usize = 14;

impl Row {
    fn new(bytes: &[u8], at: u32, long: &[u8]) -> Self {
        let mut padded = [0; 24];
        padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let mut key = [0; 3];
        key.iter_mut().zip(padded.as_chunks::<8>().0).for_each(|(to, from)| *to = u64::from_be_bytes(*from));
        let mut value = [0; VALUE_BYTES];
        value.iter_mut().zip(long).for_each(|(to, from)| *to = *from);
        let value_bytes = if long.len() > VALUE_BYTES { 0 } else { long.len() as u8 };
        Self { key, at, value_bytes, value }
    }

    fn key_bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let words = bytes.as_chunks_mut::<8>().0;
        words.iter_mut().zip(self.key).for_each(|(to, from)| *to = from.to_be_bytes());
        bytes
    }

    fn class(&self) -> u8 {
        (self.key[0] >> 48) as u8
    }

    /// None if it is too long to lie here.
    fn value(&self) -> Option<&[u8]> {
        self.value.get(..usize::from(self.value_bytes)).filter(|value| !value.is_empty())
    }
}
