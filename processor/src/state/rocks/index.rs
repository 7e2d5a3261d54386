//! The filter of a store: where it comes from, and how it outlives an orderly end.
//!
//! A large filter is kept in the store when its owner lets go of it, and taken back when the store is opened again. The
//! next write removes it in the same atomic step, so one that is there knows everything. After a crash there is none,
//! and it is filled from the store.

use std::sync::Arc;

use rocksdb::{DB, Direction, IteratorMode, ReadOptions, SstFileWriter};

use super::filling::{Filling, Turn};
use crate::state::filter::Filter;
use crate::state::keys;

/// Keys the filter of a new store is made for: 340 KiB.
pub(super) const FEWEST_KEYS: usize = 256 * 1024;
/// A filter of fewer keys is filled in a quarter of a second, and not kept.
pub(super) const WORTH_KEEPING: usize = 1_000_000;

/// What makes look-ups fast.
#[derive(Default)]
pub(super) struct Index {
    /// Knows every key of the store. None until it has been filled.
    filter: Option<Filter>,
    /// The next filter.
    filling: Option<Filling>,
    turn: Turn,
    /// Whether one lies in the store.
    is_kept: bool,
}

impl Index {
    /// That of a new store.
    pub(super) fn new(turn: Turn) -> Self {
        Self { turn, filter: Some(Filter::for_keys(FEWEST_KEYS)), ..Self::default() }
    }

    /// That of a store that goes as far as this transaction.
    pub(super) fn open(db: &Arc<DB>, turn: Turn, txn: u64) -> Result<Self, rocksdb::Error> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound([keys::FILTER + 1]);
        let from = IteratorMode::From(&[keys::FILTER], Direction::Forward);
        let rows = db.iterator_opt(from, options).collect::<Result<Vec<_>, _>>()?;
        let mut values = rows.iter().map(|(_, value)| &**value);
        // Somebody who knows of no filters may have written since.
        let is_of_now = values.next().is_some_and(|of| of == txn.to_be_bytes());
        let filter = if is_of_now { Filter::from_rows(values) } else { None };
        let mut index = Self { filter, turn, is_kept: !rows.is_empty(), ..Self::default() };
        index.tend(db)?;
        Ok(index)
    }

    /// `true`: the store has never heard of it.
    pub(super) fn never_knew(&self, key: u128) -> bool {
        self.filter.as_ref().is_some_and(|filter| !filter.may_know(key))
    }

    /// Notes a key that is about to be written: a filter may know too much, never too little.
    pub(super) fn note(&mut self, key: u128) {
        if let Some(filter) = &mut self.filter {
            filter.note(key);
        }
        if let Some(filling) = &mut self.filling {
            filling.note(key);
        }
    }

    /// Takes over a filter that was filled, and has one filled if it is needed.
    pub(super) fn tend(&mut self, db: &Arc<DB>) -> Result<(), rocksdb::Error> {
        if let Some(filled) = self.filling.take_if(|filling| filling.is_done()).and_then(Filling::finish) {
            self.filter = Some(filled?);
        }
        if self.filling.is_none() && self.filter.as_ref().is_none_or(Filter::is_full) {
            self.filling = Filling::begin(db, &self.turn);
        }
        Ok(())
    }

    /// Whether none is being filled.
    pub(super) fn is_idle(&self) -> bool {
        self.filling.is_none()
    }

    /// Whether a write must remove a filter.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// What was written removed it.
    pub(super) fn removed(&mut self) {
        self.is_kept = false;
    }

    /// The filter, if the store shall keep it now.
    pub(super) fn worth_keeping(&self) -> Option<&Filter> {
        self.filter.as_ref().filter(|filter| !self.is_kept && filter.keys() >= WORTH_KEEPING)
    }
}

#[cfg(test)]
impl Index {
    /// Whether there is a filter.
    pub(super) fn is_whole(&self) -> bool {
        self.filter.is_some()
    }
}

/// Removes a filter.
pub(super) fn remove(file: &mut SstFileWriter<'_>) -> Result<(), rocksdb::Error> {
    file.delete_range([keys::FILTER], [keys::FILTER + 1])
}

/// Writes a filter.
pub(super) fn write(filter: &Filter, txn: u64, file: &mut SstFileWriter<'_>) -> Result<(), rocksdb::Error> {
    file.put([keys::FILTER], txn.to_be_bytes())?;
    for (number, row) in (0_u32..).zip(filter.rows()) {
        let [a, b, c, d] = number.to_be_bytes();
        file.put([keys::FILTER, a, b, c, d], row)?;
    }
    Ok(())
}
