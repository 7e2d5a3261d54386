//! Fills the filter of a store that was there before, in a thread of its own, while the partition works.
//!
//! Until it is whole every look-up goes to the store: right, but slower. One filter of a process is filled at a time,
//! so that it never takes more than one core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use rocksdb::{DB, ReadOptions};

use super::filter_key;
use super::index::FEWEST_KEYS;
use crate::state::filter::Filter;
use crate::state::keys;

/// Keys that are noted at a time: in a row of their own the waits for memory overlap.
const STRIDE: usize = 1024;
/// The store is read from its beginning to its end.
const READAHEAD_BYTES: usize = 1024 * 1024;

/// Whether one of the stores of a process is being read for its filter.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<AtomicBool>);

/// Gives the turn back, however the thread ends.
pub(super) struct Taken(Turn);

impl Turn {
    pub(super) fn take(&self) -> Option<Taken> {
        (!self.0.swap(true, Ordering::AcqRel)).then(|| Taken(self.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// A filter that is being filled.
pub(super) struct Filling {
    thread: Option<JoinHandle<Result<Filter, rocksdb::Error>>>,
    is_unwanted: Arc<AtomicBool>,
    /// What was written since it began, and may stand behind the thread's back.
    since: Vec<u128>,
}

impl Filling {
    /// Begins, unless another store has its turn, or there is no thread to be had.
    pub(super) fn begin(db: &Arc<DB>, turn: &Turn) -> Option<Self> {
        let taken = turn.take()?;
        let is_unwanted = Arc::new(AtomicBool::new(false));
        let (db, stop) = (Arc::clone(db), Arc::clone(&is_unwanted));
        let thread = Builder::new().name("filter".to_owned()).spawn(move || {
            let _taken = taken;
            fill(&db, &stop)
        });
        Some(Self { thread: Some(thread.ok()?), is_unwanted, since: Vec::new() })
    }

    /// Notes a key that is about to be written.
    pub(super) fn note(&mut self, key: u128) {
        self.since.push(key);
    }

    /// Whether the thread is done, so that nobody waits for it.
    pub(super) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The filter, or why the store can't be read. None if the thread panicked.
    pub(super) fn finish(mut self) -> Option<Result<Filter, rocksdb::Error>> {
        let filled = self.thread.take()?.join().ok()?;
        Some(filled.map(|mut filter| {
            self.since.iter().for_each(|key| filter.note(*key));
            filter
        }))
    }
}

impl Drop for Filling {
    /// The thread holds the store open: whoever closes it must find it closed.
    fn drop(&mut self) {
        self.is_unwanted.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // What it found no longer matters, nor how it ended.
            drop(thread.join());
        }
    }
}

fn fill(db: &DB, is_unwanted: &AtomicBool) -> Result<Filter, rocksdb::Error> {
    let keys = db.property_int_value("rocksdb.estimate-num-keys")?.unwrap_or_default() as usize;
    let mut filter = Filter::for_keys((2 * keys).max(FEWEST_KEYS));
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(READAHEAD_BYTES);
    options.set_iterate_lower_bound([keys::SEEN]);
    options.set_iterate_upper_bound([keys::LAST + 1]);
    let mut all = db.raw_iterator_opt(options);
    all.seek_to_first();
    let mut some = Vec::with_capacity(STRIDE);
    while let Some(key) = all.key() {
        some.extend(key.get(keys::PREFIX_BYTES..).map(filter_key));
        if some.len() == STRIDE {
            some.drain(..).for_each(|key| filter.note(key));
            if is_unwanted.load(Ordering::Acquire) {
                break;
            }
        }
        all.next();
    }
    some.drain(..).for_each(|key| filter.note(key));
    all.status()?;
    Ok(filter)
}
